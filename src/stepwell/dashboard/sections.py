"""What is in the navigation, and all keys: one table each, which the frame, the list of keys and the palette show."""

from __future__ import annotations

from typing import Final, NamedTuple


class Section(NamedTuple):
    """A page of the navigation. ``name`` is that of its icon and of ``Page.section``; ``key`` leads there after g."""

    name: str
    word: str
    path: str
    key: str


class Shortcut(NamedTuple):
    """Keys, pressed one after the other or, with a plus between them, together."""

    keys: tuple[str, ...]
    does: str


SECTIONS: Final = (
    Section("overview", "Overview", "/", "o"),
    Section("runs", "Runs", "/runs", "r"),
    Section("events", "Events", "/events", "e"),
    Section("functions", "Functions", "/functions", "f"),
    Section("queue", "Queue", "/queue", "q"),
    Section("crons", "Crons", "/crons", "c"),
    Section("apps", "Apps", "/apps", "a"),
    Section("settings", "Settings", "/settings", "s"),
)

SHORTCUTS: Final = (
    Shortcut(("Ctrl", "k"), "Find and do anything"),
    Shortcut(("j", "k"), "Next, previous row"),
    Shortcut(("Enter",), "Open it"),
    Shortcut(("/",), "Search"),
    *(Shortcut(("g", section.key), section.word) for section in SECTIONS),
    Shortcut(("Esc",), "Close, or leave the search"),
    Shortcut(("?",), "This list"),
)
