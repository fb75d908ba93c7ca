"""``/settings/users``: who may log in, and as what. For admins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from stepwell.dashboard.page import Page, Shown, Visit
from stepwell.limits import USERS_MAX
from stepwell.model.questions import ListSessions, ListUsers
from stepwell.model.user import User

_SESSIONS_MAX: Final = 1_000


class Row(NamedTuple):
    """Somebody; ``seen_at`` is when they were here last, if they are logged in."""

    user: User
    sessions: int
    seen_at: int | None


class UsersPage(NamedTuple):
    rows: Sequence[Row]
    login: bool
    first: bool = True


async def show(visit: Visit) -> Shown:
    reader = visit.source.reader
    users: list[User] = await reader.read(ListUsers(USERS_MAX))
    seen: dict[str, list[int]] = {}
    for each in await reader.read(ListSessions(visit.now, _SESSIONS_MAX)):
        seen.setdefault(each.who, []).append(each.seen_at)
    rows = [Row(each, len(seen.get(each.name, ())), max(seen.get(each.name, ()), default=None)) for each in users]
    return Shown(title="Users", view=UsersPage(rows, visit.guest.session), topics=("users", "sessions"))


PAGE: Final = Page(
    path="/settings/users", show=show, section="settings", template="users.html", parts=("results",), personal=True
)
