"""Who is logged in: rows that all processes share, so that they can be looked at and ended (ADR 0048).

A browser shows a secret, of which the row has the hash. A page of somebody else cannot use it: browsers send it along
with requests of our own pages only (``SameSite=Strict``), and what changes anything has to come from one and to show
the session's own token (invariants S19, S20).
"""

from __future__ import annotations

import hmac
import re
from functools import partial
from hashlib import sha256
from typing import Final

import msgspec

from stepwell.engine.users import end_session, log_in
from stepwell.ids import secret
from stepwell.limits import SESSION_CHECKED, SESSION_LIFE, SESSION_SEEN, USER_NAME_CHARS_MAX
from stepwell.model.audit import AuditEntry
from stepwell.model.changes import Decision, EndSession, SaveAudit, SeeSession
from stepwell.model.questions import GetSession, GetUser, ListUsers
from stepwell.model.user import Role, Session, User
from stepwell.runtime.acting import Actor
from stepwell.runtime.engine import Engine
from stepwell.runtime.passwords import Passwords
from stepwell.server.attempts import Attempts
from stepwell.server.guard import Guard
from stepwell.server.replies import Refused
from stepwell.server.setup import is_setup_token

_MS: Final = type(SESSION_LIFE)(milliseconds=1)
_LIFE_MS: Final = SESSION_LIFE // _MS
_CHECKED_MS: Final = SESSION_CHECKED // _MS
_SEEN_MS: Final = SESSION_SEEN // _MS
_COOKIE_BITS: Final = 256
_COOKIE: Final = re.compile(r"[0-9a-f]{64}")
_KNOWN_MAX: Final = 1_000
_AGENT_CHARS_MAX: Final = 200
_BY_KEY: Final = "key "
COOKIE: Final = "stepwell"
SECURE_COOKIE: Final = "__Host-stepwell"  # browsers take it over TLS only, from this host alone


class Login(msgspec.Struct, frozen=True):
    """Somebody who is logged in, and what they may do. ``csrf`` is what forms of theirs have to say."""

    id: str
    who: str
    role: Role
    csrf: str


class TooMany(Exception):
    """Too many have tried to log in. ``wait_s`` is for how many seconds nobody may."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(wait_s)
        self.wait_s = wait_s


class Sessions:
    """Gives sessions to whoever shows a password or a key, knows them again, and ends them.

    What is known of a session is asked for anew after ``SESSION_CHECKED``: so long may one be of use that was ended by
    another process.
    """

    def __init__(self, engine: Engine, guard: Guard, passwords: Passwords, attempts: Attempts) -> None:
        self._engine = engine
        self._guard = guard
        self._passwords = passwords
        self._attempts = attempts
        self._known: dict[str, tuple[int, Login | None]] = {}

    @property
    def needed(self) -> bool:
        """Whether anybody has to log in: not where the server has neither keys nor a token."""
        return bool(self._guard.lasting_keys)

    async def find(self, cookie: str, *, anew: bool = False) -> Login | None:
        """Who shows this, if it is one of ours and has not ended: with ``anew`` as it is now. Raises
        ``StorageUnavailable``."""
        if not _COOKIE.fullmatch(cookie):
            return None
        id, now = _id(cookie), self._now()
        checked_at, login = self._known.get(id, (0, None))
        if anew or not checked_at <= now < checked_at + _CHECKED_MS:
            login = await self._look(id, cookie, now)
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            self._known[id] = (now, login)
        return login

    async def by_password(self, name: str, password: str, agent: str) -> str | None:
        """The cookie of a new session for a user; ``None`` if that is not their password, or there is no such user.
        Raises ``TooMany``."""
        name = name.strip().lower()[: USER_NAME_CHARS_MAX + 1]  # nobody is called by more of it
        attempt = self._attempts.begin(name, self._now())
        if isinstance(attempt, int):
            raise TooMany(attempt)
        user = await self._engine.store.read(GetUser(name))
        if not await self._passwords.fits(password, None if user is None else user.password):
            if user is not None:
                self._note_refusal(name)
            return None
        assert user is not None, "nothing fits what is not there"
        self._attempts.forgive(attempt)
        return await self.begin(name, agent, user.password)

    async def by_key(self, key: str, agent: str) -> str | None:
        """The cookie of a new session for whoever has a key of the server, or its token. Raises ``TooMany``."""
        attempt = self._attempts.begin("", self._now())
        if isinstance(attempt, int):
            raise TooMany(attempt)
        shown = b"Bearer " + key.strip().encode()
        try:
            self._guard.check_token(shown)
        except Refused:
            return None
        self._attempts.forgive(attempt)
        return await self.begin(self._guard.holder(shown), agent)

    async def begin(self, who: str, agent: str, shown: str | None = None) -> str | None:
        """The cookie of a new session of somebody who has shown who they are. ``shown`` is what was kept of their
        password then: ``None`` if it is another by now, so that nobody gets in with one that was taken from them."""
        cookie, now = secret(_COOKIE_BITS), self._now()
        agent = "".join(char for char in agent if char.isprintable())[:_AGENT_CHARS_MAX]
        session = Session(id=_id(cookie), who=who, begun_at=now, seen_at=now, expires_at=now + _LIFE_MS, agent=agent)
        with Actor(self._engine, who, "dashboard").act("log-in", who):
            verdict = await self._engine.commit(partial(log_in, session=session, shown=shown))
        return cookie if verdict.result.value else None

    async def log_out(self, login: Login) -> None:
        """End the session of somebody who asks for it."""
        self.forget()
        with Actor(self._engine, login.who, "dashboard").act("log-out", login.who):
            await self._engine.commit(partial(end_session, session_id=login.id))

    async def end(self, login: Login) -> None:
        """End it for another one: that somebody has logged in says it."""
        self.forget()
        await self._engine.store.commit(Decision((EndSession(login.id),)))

    def forget(self) -> None:
        """What is known of sessions may have changed: ask anew."""
        self._known.clear()

    # The first user ---------------------------------------------------------------------------------------------------

    async def anybody(self) -> bool:
        """Whether there is a user."""
        users: list[User] = await self._engine.store.read(ListUsers(1))
        return bool(users)

    async def may_set_up(self, token: str) -> bool:
        """Whether this is the way to the first admin: there is no user, and the link that was printed has not ended."""
        return is_setup_token(self._guard, token, self._now()) and not await self.anybody()

    # What is known ----------------------------------------------------------------------------------------------------

    async def _look(self, id: str, cookie: str, now: int) -> Login | None:
        session = await self._engine.store.read(GetSession(id))
        if session is None or not session.begun_at <= now < session.expires_at:
            return None
        role = await self._role(session.who)
        if role is None:
            return None
        if now - session.seen_at >= _SEEN_MS:
            # Nobody waits for it: what fails is written a moment later.
            self._engine.store.commit(Decision((SeeSession(id, now),))).add_done_callback(_heard)
        return Login(id, session.who, role, sha256(f"form {cookie}".encode()).hexdigest())

    def _note_refusal(self, name: str) -> None:
        """Nobody waits for it, so that it takes no longer than for a user that there is not."""
        entry = AuditEntry(
            id=self._engine.new_id(0), at=self._now(), who="", via="dashboard", action="refuse-login", target=name
        )
        self._engine.store.commit(Decision((SaveAudit(entry),))).add_done_callback(_heard)

    async def _role(self, who: str) -> Role | None:
        """What somebody may do; ``None`` if they may not even look: a key that was taken away, a user who is gone."""
        if who.startswith(_BY_KEY):
            return Role.ADMIN if who in self._guard.holders else None
        user = await self._engine.store.read(GetUser(who))
        return None if user is None else Role(user.role)

    def _now(self) -> int:
        return self._engine.clock.now_ms()


def same(expected: str, given: str) -> bool:
    """Whether a form says what its session has given out."""
    return hmac.compare_digest(expected.encode(), given.encode(errors="replace"))


def _id(cookie: str) -> str:
    return sha256(cookie.encode()).hexdigest()


def _heard(future: object) -> None:
    """Take the exception, if there is one, so that nobody is told that none did."""
    getattr(future, "exception", lambda: None)()
