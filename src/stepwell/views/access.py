"""Users, sessions and what people did, as they are shown: never a password, nor its hash, nor what a browser shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from stepwell.ids import ulid
from stepwell.limits import SEARCH_ROWS_MAX
from stepwell.model.audit import AuditEntry
from stepwell.model.event import rfc3339
from stepwell.model.questions import ListAudit
from stepwell.model.user import Session, User
from stepwell.views.nouns import Reader, View

_CHUNK: Final = 200
_SHOWN: Final = 16  # digits of the hash of a session: enough to name one


class UserView(View, frozen=True):
    """Somebody who may log in. ``changed_at`` is when their role or password was set."""

    name: str
    role: str
    created_at: str
    changed_at: str


class SessionView(View, frozen=True):
    """Somebody who is logged in. ``agent`` is what their browser says it is; ``seen_at`` is exact to a minute."""

    id: str
    who: str
    begun_at: str
    seen_at: str
    expires_at: str
    agent: str


class AuditView(View, frozen=True):
    """What a person did. ``who`` is the name of a user, ``key …`` with the fingerprint of a key of the server, or empty
    where nobody has to say. ``via`` is ``dashboard``, ``api`` or ``cli``."""

    id: str
    at: str
    who: str
    via: str
    action: str
    target: str
    detail: str
    request_id: str


def user_view(user: User) -> UserView:
    return UserView(
        name=user.name, role=user.role, created_at=rfc3339(user.created_at), changed_at=rfc3339(user.changed_at)
    )


def session_view(session: Session) -> SessionView:
    return SessionView(
        id=session.id,
        who=session.who,
        begun_at=rfc3339(session.begun_at),
        seen_at=rfc3339(session.seen_at),
        expires_at=rfc3339(session.expires_at),
        agent=session.agent,
    )


def audit_view(entry: AuditEntry) -> AuditView:
    return AuditView(
        id=entry.id,
        at=rfc3339(entry.at),
        who=entry.who,
        via=entry.via,
        action=entry.action,
        target=entry.target,
        detail=entry.detail,
        request_id=entry.request,
    )


class Sought(NamedTuple):
    """Which entries are looked for: all of those that say something. ``since`` and ``until`` are moments."""

    who: str = ""
    via: str = ""
    action: str = ""
    target: str = ""
    since: int | None = None
    until: int | None = None

    def fits(self, entry: AuditEntry) -> bool:
        return (
            self.who in ("", entry.who)
            and self.via in ("", entry.via)
            and self.action in ("", entry.action)
            and self.target in ("", entry.target)
        )


class Found(NamedTuple):
    """What was found, the newest first. ``before`` is where to go on, if there may be more; ``cut`` whether that is
    because as many were looked at as one request may, and not because the page is full."""

    entries: Sequence[AuditEntry]
    before: str | None
    cut: bool = False


async def find_audit(reader: Reader, sought: Sought, limit: int, before: str | None = None) -> Found:
    """A page of entries. By who and by target they are found by an index; for the rest up to ``SEARCH_ROWS_MAX`` are
    looked at."""
    after = "" if sought.since is None else ulid(max(0, sought.since), 0)
    if sought.until is not None:
        bound = ulid(max(0, sought.until), 0)
        before = bound if before is None else min(before, bound)
    found: list[AuditEntry] = []
    for _ in range(0, SEARCH_ROWS_MAX, _CHUNK):
        rows = await reader.read(ListAudit(_CHUNK, before, after, sought.who or None, target=sought.target or None))
        for entry in rows:
            if len(found) == limit:
                return Found(found, found[-1].id)
            if sought.fits(entry):
                found.append(entry)
        if len(rows) < _CHUNK:
            return Found(found, None)
        before = rows[-1].id
    return Found(found, before, cut=len(found) < limit)


def session_named(sessions: Sequence[Session], name: str) -> Session | None:
    """The one session whose id begins so, as lists show it."""
    fits = [each for each in sessions if len(name) >= _SHOWN and each.id.startswith(name)]
    return fits[0] if len(fits) == 1 else None
