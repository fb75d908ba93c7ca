"""What happens while a password is compared, which takes a while (invariants S18, S19)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from stepwell import Stepwell
from stepwell.engine.users import change_user, remove_user
from stepwell.errors import ConfigurationError, LimitExceeded
from stepwell.limits import LOGIN_FAILURES_MAX, USER_NAME_CHARS_MAX
from stepwell.model.questions import GetUser, ListSessions, ListUsers
from stepwell.model.user import Role
from stepwell.runtime.passwords import Cost, Passwords
from stepwell.runtime.users import add_user, change_role
from stepwell.runtime.users import remove_user as remove_user_of
from stepwell.server.attempts import Attempt, Attempts
from stepwell.server.guard import Guard
from stepwell.server.operating import Operating
from stepwell.server.sessions import Sessions
from stepwell.testing import Harness, harness

OLD, NEW = "correct horse battery", "another horse battery"


class Slow(Passwords):
    """Something else is done as soon as a password has been compared."""

    def __init__(self) -> None:
        super().__init__(Cost(4, 8, 1))
        self.then: Callable[[], Awaitable[object]] | None = None

    async def fits(self, password: str, kept: str | None) -> bool:
        found = await super().fits(password, kept)
        if self.then is not None:
            await self.then()
        return found


class Desk:
    """A server without its sockets."""

    def __init__(self, t: Harness) -> None:
        self.t, self.passwords, self.attempts = t, Slow(), Attempts()
        self.sessions = Sessions(t.engine, Guard(token="t" * 20), self.passwords, self.attempts)
        self.operating = Operating(t.engine, self.passwords, self.attempts, None)
        self.do(lambda: add_user(t.engine, self.passwords, "ada", Role.ADMIN, OLD))

    def do(self, make: Callable[[], Any]) -> Any:
        return self.t._do(make)

    def log_in(self, password: str = OLD) -> str | None:
        cookie: str | None = self.do(lambda: self.sessions.by_password("ada", password, "curl"))
        return cookie

    def change_own(self, present: str) -> None:
        self.do(lambda: self.operating.change_own_password("ada", present, NEW))

    @property
    def logged_in(self) -> list[str]:
        now = self.t.engine.clock.now_ms()
        return [each.who for each in self.do(lambda: self.t.engine.store.read(ListSessions(now, 9)))]


@pytest.fixture
def desk() -> Iterator[Desk]:
    with harness(Stepwell("shop")) as t:
        yield Desk(t)


def reset(desk: Desk) -> Callable[[], Awaitable[object]]:
    """An admin gives the user another password, whose hash this is."""
    return lambda: desk.t.engine.commit(lambda draft: change_user(draft, "ada", password="scrypt$4$8$1$00$00"))


def removed(desk: Desk) -> Callable[[], Awaitable[object]]:
    return lambda: desk.t.engine.commit(lambda draft: remove_user(draft, "ada"))


def test_who_shows_a_password_is_logged_in(desk: Desk) -> None:
    assert desk.log_in() is not None
    assert desk.logged_in == ["ada"]


@pytest.mark.parametrize("what", [reset, removed])
def test_nobody_gets_in_by_a_password_that_is_taken_from_them_while_it_is_compared(desk: Desk, what: Any) -> None:
    desk.passwords.then = what(desk)

    assert desk.log_in() is None
    assert desk.logged_in == []


def test_a_role_that_changes_meanwhile_keeps_nobody_out(desk: Desk) -> None:
    desk.do(lambda: add_user(desk.t.engine, desk.passwords, "lin", Role.ADMIN, OLD))
    desk.passwords.then = lambda: desk.t.engine.commit(lambda draft: change_user(draft, "ada", role=Role.VIEWER))

    cookie = desk.log_in()

    assert cookie is not None
    desk.passwords.then = None
    assert desk.do(lambda: desk.sessions.find(cookie)).role == Role.VIEWER


def test_nobody_keeps_a_password_by_one_that_is_taken_from_them_meanwhile(desk: Desk) -> None:
    desk.passwords.then = reset(desk)

    with pytest.raises(ConfigurationError, match="changed meanwhile"):
        desk.change_own(OLD)

    assert desk.do(lambda: desk.t.engine.store.read(GetUser("ada"))).password == "scrypt$4$8$1$00$00"


def test_whoever_finds_a_browser_open_cannot_try_passwords_for_long(desk: Desk) -> None:
    for _ in range(LOGIN_FAILURES_MAX):
        with pytest.raises(ConfigurationError, match="not that"):
            desk.change_own("a guess, a guess")

    with pytest.raises(LimitExceeded, match="not looked at"):
        desk.change_own(OLD)

    desk.t.advance("1m")
    desk.change_own(OLD)
    assert desk.log_in(NEW) is not None


def test_passwords_that_are_right_are_not_counted(desk: Desk) -> None:
    for present, _ in zip((OLD, *[NEW] * LOGIN_FAILURES_MAX), range(LOGIN_FAILURES_MAX + 1), strict=True):
        desk.change_own(present)


def test_whoever_wants_to_act_is_looked_at_as_they_are_now(desk: Desk) -> None:
    cookie = desk.log_in()
    assert cookie is not None
    assert desk.do(lambda: desk.sessions.find(cookie)) is not None
    desk.do(lambda: remove_user_of(desk.t.engine, "ada"))

    assert desk.do(lambda: desk.sessions.find(cookie, anew=True)) is None
    assert desk.do(lambda: desk.sessions.find(cookie)) is None, "and so it is known"


def test_a_name_takes_no_more_room_than_a_name_may_have(desk: Desk) -> None:
    assert desk.do(lambda: desk.sessions.by_password("a" * 1_000_000, OLD, "")) is None

    attempt = desk.attempts.begin("other", desk.t.engine.clock.now_ms())
    assert isinstance(attempt, Attempt)
    assert max(len(each.name) for each in desk.attempts._attempts) == USER_NAME_CHARS_MAX + 1


def test_two_admins_who_take_that_from_each_other_at_once_leave_one(desk: Desk) -> None:
    desk.do(lambda: add_user(desk.t.engine, desk.passwords, "lin", Role.ADMIN, OLD))

    async def both(one: Awaitable[object], other: Awaitable[object]) -> list[object]:
        return await asyncio.gather(one, other, return_exceptions=True)

    engine = desk.t.engine
    _, refused = desk.do(lambda: both(change_role(engine, "lin", Role.VIEWER), remove_user_of(engine, "ada")))

    assert isinstance(refused, ConfigurationError) and refused.what == "ada is the last admin"
    assert [each.name for each in desk.do(lambda: engine.store.read(ListUsers(9)))] == ["ada", "lin"]
    with pytest.raises(ConfigurationError, match="last admin"):
        desk.do(lambda: change_role(engine, "ada", Role.OPERATOR))
    desk.do(lambda: remove_user_of(engine, "lin"))
    desk.do(lambda: remove_user_of(engine, "ada"))  # after the only one the first is made anew
    assert desk.do(lambda: engine.store.read(ListUsers(9))) == []
