"""What people decide until they take it back: to archive or to drain a function, an app, or all there is, and to pause
an app (semantics §9.5, §9.6, §9.9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from stepwell.dashboard.action import Act, Action, Ask, Done, Form, Given
from stepwell.dashboard.actions.functions import REASON, find_function, page_of, pause_fields, pause_given
from stepwell.dashboard.operations import Operations
from stepwell.dashboard.page import Missing, Visit
from stepwell.limits import PAUSE_REASON_CHARS_MAX
from stepwell.model.questions import ListFunctions
from stepwell.model.standing import EVERYTHING, StandingKind, of_app, of_function

_GIVES: Final = {
    StandingKind.ARCHIVE: (
        "Archive",
        "No trigger matches any more: nothing starts, and nobody is told why.",
        "Runs that there are go on, and what has happened stays. It can be brought back.",
    ),
    StandingKind.DRAIN: (
        "Drain",
        "Nothing new begins: events say that they were drained, and can be replayed.",
        "Runs that there are go on to their end.",
    ),
    StandingKind.PAUSE: ("Pause", "All functions of it, also those that it gets later.", "Until it is resumed:"),
}
_TAKES_BACK: Final = {
    StandingKind.ARCHIVE: ("Bring back", "From now on triggers match again. Ticks and events of before start nothing."),
    StandingKind.DRAIN: ("End the drain", "New runs begin again. What was drained stays so: a replay starts it."),
    StandingKind.PAUSE: ("Resume", "What waited for that goes on. What was skipped stays skipped: a replay starts it."),
}
_DONE: Final = {
    StandingKind.ARCHIVE: ("is archived", "is back"),
    StandingKind.DRAIN: ("is drained: nothing new begins", "begins runs again"),
    StandingKind.PAUSE: ("is paused", "goes on"),
}


@dataclass(frozen=True, slots=True)
class _About:
    """What an order is about: its target, what people call it, and its page."""

    target: str
    name: str
    page: str


async def _about(visit: Visit) -> _About:
    """From the address. Raises ``Missing``."""
    if "function_id" in visit.path:
        id = find_function(visit).id
        return _About(of_function(id), id, page_of(id))
    app_id = visit.path.get("app_id")
    if app_id is None:
        return _About(EVERYTHING, "Everything", "/functions")
    stored = await visit.source.reader.read(ListFunctions(archived=True))
    if all(each.app_id != app_id for each in stored):
        raise Missing("There is no such app", "No function was ever registered under it.")
    return _About(of_app(app_id), f"The app {app_id}", f"/functions?app={quote(app_id, safe='')}")


def _asking(kind: StandingKind) -> Ask:
    async def ask(visit: Visit) -> Form:
        about, (verb, *says) = await _about(visit), _GIVES[kind]
        fields = pause_fields() if kind == StandingKind.PAUSE else [REASON]
        return Form(
            title=f"{verb} {_within(about.name)}?",
            says=says,
            verb=verb,
            back=about.page,
            fields=fields,
            harm=about.target == EVERYTHING,
        )

    return ask


def _giving(kind: StandingKind) -> Act:
    async def give(operations: Operations, visit: Visit, given: Given) -> Done:
        about = await _about(visit)
        if kind == StandingKind.PAUSE:
            events, runs, reason = pause_given(given)
            await operations.pause_all(about.target, events=events, runs=runs, reason=reason)
        else:
            reason = given.text("reason", chars_max=PAUSE_REASON_CHARS_MAX)
            given.check()
            await operations.give(kind, about.target, reason=reason)
        return Done(text=f"{about.name} {_DONE[kind][0]}.", address=about.page, word="Look at it")

    return give


def _asking_back(kind: StandingKind) -> Ask:
    async def ask(visit: Visit) -> Form:
        about, (verb, says) = await _about(visit), _TAKES_BACK[kind]
        return Form(title=f"{verb}: {_within(about.name)}?", says=[says], verb=verb, back=about.page)

    return ask


def _taking_back(kind: StandingKind) -> Act:
    async def take_back(operations: Operations, visit: Visit, given: Given) -> Done:
        about = await _about(visit)
        found = await operations.withdraw(kind, about.target)
        text = f"{about.name} {_DONE[kind][1]}." if found else "That did not hold: perhaps one of its app does."
        return Done(text=text, address=about.page, word="Look at it")

    return take_back


def _within(name: str) -> str:
    """As it stands within a sentence."""
    return name[:1].lower() + name[1:] if name.startswith(("The ", "Everything")) else name


def _pair(kind: StandingKind, path: str, verbs: tuple[str, str], what: str) -> tuple[Action, Action]:
    do, undo = verbs
    return (
        Action(name=f"{do}-{what}", path=f"{path}/{do}", ask=_asking(kind), act=_giving(kind)),
        Action(name=f"{undo}-{what}", path=f"{path}/{undo}", ask=_asking_back(kind), act=_taking_back(kind)),
    )


_FUNCTION: Final = "/functions/{function_id}"
_APP: Final = "/apps/{app_id}"
STANDING: Final = (
    *_pair(StandingKind.ARCHIVE, _FUNCTION, ("archive", "unarchive"), "function"),
    *_pair(StandingKind.DRAIN, _FUNCTION, ("drain", "undrain"), "function"),
    *_pair(StandingKind.ARCHIVE, _APP, ("archive", "unarchive"), "app"),
    *_pair(StandingKind.DRAIN, _APP, ("drain", "undrain"), "app"),
    *_pair(StandingKind.PAUSE, _APP, ("pause", "resume"), "app"),
    *_pair(StandingKind.DRAIN, "/functions", ("drain", "undrain"), "everything"),
)
