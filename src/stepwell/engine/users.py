"""Who may log in, as decisions: what is known of a user, and what ends with a change of it (ADR 0048).

Each holds the first place, where all of them take turns.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from msgspec.structs import replace

from stepwell.engine.draft import Draft
from stepwell.errors import ConfigurationError
from stepwell.limits import SESSIONS_PER_USER_MAX, USERS_MAX
from stepwell.model.changes import BeginSession, DropUser, EndSession, EndSessions, Plan, SaveUser
from stepwell.model.questions import GetSession, GetUser, ListUsers, Lock, ask
from stepwell.model.user import Role, Session, User

_FIRST = 0


def add_user(draft: Draft, user: User, *, only_first: bool = False) -> Plan:
    """The value is the user as they are kept. ``False`` if there is one of that name, or with ``only_first`` any;
    ``None`` if there are as many as there may be."""
    yield from ask(Lock((_FIRST,)))
    known = yield from ask(ListUsers(USERS_MAX))
    if len(known) >= USERS_MAX:
        return draft.decision(None)
    if any(each.name == user.name for each in known) or (known and only_first):
        return draft.decision(False)
    made = replace(user, created_at=draft.now, changed_at=draft.now)
    draft.add(SaveUser(made))
    return draft.decision(made)


def change_user(
    draft: Draft, name: str, *, role: str | None = None, password: str | None = None, shown: str | None = None
) -> Plan:
    """Who they are from now on has to be shown anew: their sessions end. The value is the user, if there is one.

    ``shown`` is what was kept of the password that somebody has shown to do this: ``False`` if it is another by now.
    Raises ``ConfigurationError`` if nobody would be an admin any more.
    """
    yield from ask(Lock((_FIRST,)))
    known = yield from ask(GetUser(name))
    if known is None:
        return draft.decision(None)
    if shown is not None and known.password != shown:
        return draft.decision(False)
    changed = replace(
        known,
        role=known.role if role is None else role,
        password=known.password if password is None else password,
        changed_at=draft.now,
    )
    if changed.role != known.role:
        yield from _check_admins(known, alone=False)
    if (changed.role, changed.password) != (known.role, known.password):
        draft.add(SaveUser(changed), EndSessions(name))
    return draft.decision(changed)


def remove_user(draft: Draft, name: str) -> Plan:
    """The value is the user that there was. Raises ``ConfigurationError`` if those who stay had no admin any more."""
    yield from ask(Lock((_FIRST,)))
    known = yield from ask(GetUser(name))
    if known is not None:
        yield from _check_admins(known, alone=True)
        draft.add(DropUser(name), EndSessions(name))
    return draft.decision(known)


def log_in(draft: Draft, session: Session, shown: str | None = None) -> Plan:
    """Somebody has shown who they are: a user by a password, of which ``shown`` is what was kept. The value is false if
    it is another by now, or there is no such user any more: to compare takes a while."""
    yield from ask(Lock((_FIRST,)))
    if shown is not None:
        known = yield from ask(GetUser(session.who))
        if known is None or known.password != shown:
            return draft.decision(False)
    draft.add(BeginSession(session, draft.now, SESSIONS_PER_USER_MAX))
    return draft.decision(True)


def end_session(draft: Draft, session_id: str, who: str | None = None) -> Plan:
    """The value is the session that was ended: of anybody, or only one of ``who``."""
    yield from ask(Lock((_FIRST,)))
    known = yield from ask(GetSession(session_id))
    if known is None or (who is not None and known.who != who):
        return draft.decision(None)
    draft.add(EndSession(session_id))
    return draft.decision(known)


def _check_admins(leaving: User, *, alone: bool) -> Generator[Any, Any, None]:
    """Somebody is to be an admin no more: two who take that from each other at once would leave nobody who may give it.
    With ``alone`` it may be the only user, after whom the first one is made anew."""
    if leaving.role != Role.ADMIN:
        return
    others = [each for each in (yield from ask(ListUsers(USERS_MAX))) if each.name != leaving.name]
    if any(each.role == Role.ADMIN for each in others) or (alone and not others):
        return
    raise ConfigurationError(
        f"{leaving.name} is the last admin",
        "nobody could say any more who may do what",
        "make somebody else an admin first: stepwell users role NAME admin",
    )
