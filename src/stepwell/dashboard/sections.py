"""What is in the navigation, all keys, and what can be done wherever one is: one table each, which the frame, the list
of keys, the settings and the palette show."""

from __future__ import annotations

from typing import Final, NamedTuple

from stepwell.model.user import Role


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


class Tab(NamedTuple):
    """A page of the settings, for those who are ``role``."""

    name: str
    word: str
    role: Role

    @property
    def path(self) -> str:
        return f"/settings/{self.name}"


class Deed(NamedTuple):
    """An action that is about nothing in particular: the address of its form, and who may do it. ``icon`` is the name
    of one."""

    word: str
    path: str
    icon: str
    role: Role = Role.OPERATOR


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

TABS: Final = (
    Tab("users", "Users", Role.ADMIN),
    Tab("sessions", "Sessions", Role.VIEWER),
    Tab("audit", "Audit log", Role.VIEWER),
    Tab("about", "About", Role.VIEWER),
)

DRAIN: Final = Deed("Drain everything", "/functions/drain", "pause")
UNDRAIN: Final = Deed("End the drain of everything", "/functions/undrain", "pause")
DEEDS: Final = (
    Deed("Send events", "/events/send", "events"),
    Deed("Send a signal", "/runs/signal", "events"),
    Deed("Run many again", "/runs/bulk/replay", "again"),
    Deed("Cancel many", "/runs/bulk/cancel", "slash"),
    DRAIN,
    UNDRAIN,
    Deed("Sync an app", "/apps/sync", "apps", Role.ADMIN),
    Deed("Add a user", "/settings/users/add", "settings", Role.ADMIN),
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
