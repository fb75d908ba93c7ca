"""Users, their sessions and the audit log over REST v2, for whoever has a key of the server."""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec
from starlette.responses import Response

from stepwell.limits import USERS_MAX
from stepwell.model.questions import ListSessions, ListUsers
from stepwell.model.user import Role, Session
from stepwell.runtime import users
from stepwell.runtime.engine import Engine
from stepwell.runtime.passwords import Passwords
from stepwell.server.envelopes import Page, v2
from stepwell.server.operations import Asked, Operation, Style
from stepwell.server.parameters import CURSOR, LIMIT, choice, moment, text
from stepwell.views.access import (
    AuditView,
    SessionView,
    Sought,
    UserView,
    audit_view,
    find_audit,
    session_named,
    session_view,
    user_view,
)
from stepwell.views.nouns import View

SESSIONS_SHOWN: Final = 1_000
_AUDIT: Final = (
    LIMIT,
    CURSOR,
    text("who", "only of this user, or of this key"),
    choice("via", "only what came this way", "dashboard", "api", "cli"),
    text("action", "only this action"),
    text("target", "only about this: the id of a run, a function, an app, the name of a user"),
    moment("since", "only at this moment or later"),
    moment("until", "only before this moment"),
)


class Adding(msgspec.Struct, frozen=True, kw_only=True):
    """Who is to log in, and what they may do."""

    name: str
    password: str
    role: str = Role.VIEWER.value


class ChangingRole(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody may do from now on."""

    role: str


class ChangingPassword(msgspec.Struct, frozen=True, kw_only=True):
    """With what somebody logs in from now on."""

    password: str


class RemovedView(View, frozen=True):
    """The name of whoever cannot log in any more."""

    name: str


class AccessV2:
    """The endpoints of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._passwords = Passwords()

    def routes(self, prefix: str) -> list[Operation]:
        op = partial(Operation, style=Style.V2)
        user, session = f"{prefix}/users/{{user}}", f"{prefix}/sessions/{{session}}"
        return [
            op("GET", f"{prefix}/users", self.users, "who may log in, and as what", answer=list[UserView]),
            op("POST", f"{prefix}/users", self.add, "lets somebody log in", body=Adding, answer=UserView),
            op("DELETE", user, self.remove, "lets somebody log in no more", answer=RemovedView),
            op(
                "POST",
                f"{user}/role",
                self.change_role,
                "says what somebody may do; their sessions end",
                body=ChangingRole,
                answer=UserView,
            ),
            op(
                "POST",
                f"{user}/password",
                self.change_password,
                "says with what somebody logs in; their sessions end",
                body=ChangingPassword,
                answer=UserView,
            ),
            op("GET", f"{prefix}/sessions", self.sessions, "who is logged in", answer=list[SessionView]),
            op("DELETE", session, self.end, "ends a session", answer=SessionView),
            op(
                "GET",
                f"{prefix}/audit",
                self.audit,
                "what people did, newest first",
                query=_AUDIT,
                answer=list[AuditView],
                paged=True,
            ),
        ]

    async def users(self, asked: Asked) -> Response:
        found = await self._engine.store.read(ListUsers(USERS_MAX))
        return v2(self._engine.clock, [user_view(each) for each in found])

    async def add(self, asked: Asked) -> Response:
        given: Adding = asked.body
        user = await users.add_user(self._engine, self._passwords, given.name, given.role, given.password)
        return v2(self._engine.clock, user_view(user))

    async def remove(self, asked: Asked) -> Response:
        user = await users.remove_user(self._engine, asked.path["user"])
        return v2(self._engine.clock, RemovedView(name=user.name))

    async def change_role(self, asked: Asked) -> Response:
        user = await users.change_role(self._engine, asked.path["user"], asked.body.role)
        return v2(self._engine.clock, user_view(user))

    async def change_password(self, asked: Asked) -> Response:
        name: str = asked.path["user"]
        user = await users.change_password(self._engine, self._passwords, name, asked.body.password)
        return v2(self._engine.clock, user_view(user))

    async def sessions(self, asked: Asked) -> Response:
        return v2(self._engine.clock, [session_view(each) for each in await self._sessions()])

    async def end(self, asked: Asked) -> Response:
        named = session_named(await self._sessions(), asked.path["session"])
        id = asked.path["session"] if named is None else named.id
        return v2(self._engine.clock, session_view(await users.end_session(self._engine, id)))

    async def audit(self, asked: Asked) -> Response:
        query, limit = asked.query, asked.query["limit"]
        who, via, action, target = (str(query[name] or "") for name in ("who", "via", "action", "target"))
        sought = Sought(who, via, action, target, query["since"], query["until"])
        found = await find_audit(self._engine.store, sought, limit, query["cursor"])
        page = Page(limit, found.before is not None, found.before)
        return v2(self._engine.clock, [audit_view(each) for each in found.entries], page=page)

    async def _sessions(self) -> list[Session]:
        return await self._engine.store.read(ListSessions(self._engine.clock.now_ms(), SESSIONS_SHOWN))
