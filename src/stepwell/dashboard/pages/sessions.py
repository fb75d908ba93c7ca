"""``/settings/sessions``: where somebody is logged in; to an admin, where anybody is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from stepwell.dashboard.page import Page, Shown, Visit
from stepwell.model.questions import ListSessions
from stepwell.model.user import Role, Session

_ROWS: Final = 200
_SYSTEMS: Final = (
    *(("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows")),
    *(("Mac OS X", "macOS"), ("CrOS", "ChromeOS"), ("Linux", "Linux")),
)
_BROWSERS: Final = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"))


class Row(NamedTuple):
    session: Session
    browser: str
    own: bool


class SessionsPage(NamedTuple):
    """``everybody`` is whether those of all are shown; ``more`` whether there are more than are."""

    rows: Sequence[Row]
    everybody: bool
    more: bool
    login: bool
    first: bool = True


async def show(visit: Visit) -> Shown:
    guest = visit.guest
    everybody = guest.may(Role.ADMIN)
    found = await visit.source.reader.read(ListSessions(visit.now, _ROWS + 1, None if everybody else guest.name))
    rows = [Row(each, browser_of(each.agent), each.id == guest.id) for each in found[:_ROWS]]
    view = SessionsPage(rows, everybody, len(found) > _ROWS, guest.session)
    return Shown(title="Sessions", view=view, topics=("sessions",))


def browser_of(agent: str) -> str:
    """What a browser says it is, in two words."""
    name = next((word for mark, word in _BROWSERS if mark in agent), "Safari" if "Safari/" in agent else "")
    system = next((word for mark, word in _SYSTEMS if mark in agent), "")
    return " on ".join(filter(None, (name, system))) or agent[:40] or "—"


PAGE: Final = Page(
    path="/settings/sessions",
    show=show,
    section="settings",
    template="sessions.html",
    parts=("results",),
    personal=True,
)
