"""What admins decide about users, and users about themselves."""

from __future__ import annotations

from stepwell.engine import users
from stepwell.errors import ConfigurationError, LimitExceeded, NotFound
from stepwell.limits import PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN, USER_NAME_CHARS_MAX, USERS_MAX
from stepwell.model.questions import GetUser
from stepwell.model.user import Role, Session, User, is_user_name
from stepwell.runtime.engine import Engine
from stepwell.runtime.passwords import Passwords


async def add_user(
    engine: Engine, passwords: Passwords, name: str, role: str, password: str, *, only_first: bool = False
) -> User:
    """Let somebody log in; with ``only_first`` only if nobody can yet. Raises ``ConfigurationError`` for what no user
    can have or who is there already, and ``LimitExceeded``."""
    if not is_user_name(name):
        raise ConfigurationError(
            f"{name[:80]!r} is no name of a user",
            f"it has 1 to {USER_NAME_CHARS_MAX} small letters, digits and . _ @ + -, and begins with one of the first",
            "an address of mail is a good one",
        )
    _check_role(role)
    hash = await passwords.hash(checked_password(password, name))
    user = User(name=name, role=role, password=hash, created_at=0, changed_at=0)
    verdict = await engine.commit(lambda draft: users.add_user(draft, user, only_first=only_first))
    found: User | bool | None = verdict.result.value
    if found is None:
        raise LimitExceeded(f"there are {USERS_MAX} users", "each of them may log in", "remove one first")
    if isinstance(found, bool):
        if only_first:
            raise ConfigurationError(
                "there is a user already", "the first admin is made once", "log in, or ask an admin for a user"
            )
        raise ConfigurationError(
            f"there is a user {name!r} already", "names are given once", "change that one, or take another name"
        )
    return found


async def change_role(engine: Engine, name: str, role: str) -> User:
    """What somebody may do from now on. Ends their sessions. Raises ``NotFound``, and ``ConfigurationError`` also for
    the last admin."""
    _check_role(role)
    verdict = await engine.commit(lambda draft: users.change_user(draft, name, role=role))
    return _found(verdict.result.value, name)


async def change_password(engine: Engine, passwords: Passwords, name: str, password: str) -> User:
    """With what somebody logs in from now on. Ends their sessions. Raises ``NotFound`` and ``ConfigurationError``."""
    hash = await passwords.hash(checked_password(password, name))
    verdict = await engine.commit(lambda draft: users.change_user(draft, name, password=hash))
    return _found(verdict.result.value, name)


async def show_password(engine: Engine, passwords: Passwords, name: str, present: str) -> str:
    """What is kept of the ``present`` password of somebody who shows it. Raises ``ConfigurationError`` if it is
    another."""
    user = await engine.store.read(GetUser(name))
    if not await passwords.fits(present, None if user is None else user.password):
        raise ConfigurationError("the present password is not that", "it shows that it is you", "type it again")
    assert user is not None, "nothing fits what is not there"
    return user.password


async def change_own_password(engine: Engine, passwords: Passwords, name: str, shown: str, password: str) -> User:
    """As ``change_password``, by somebody for themselves: ``shown`` is what ``show_password`` has found. Raises
    ``ConfigurationError`` also if the password was changed since."""
    hash = await passwords.hash(checked_password(password, name))
    verdict = await engine.commit(lambda draft: users.change_user(draft, name, password=hash, shown=shown))
    if verdict.result.value is False:
        raise ConfigurationError(
            "the password was changed meanwhile", "the one that you have shown is not yours any more", "log in anew"
        )
    return _found(verdict.result.value, name)


async def remove_user(engine: Engine, name: str) -> User:
    """Let somebody log in no more. Raises ``NotFound``, and ``ConfigurationError`` for the last admin of others."""
    return _found((await engine.commit(lambda draft: users.remove_user(draft, name))).result.value, name)


async def end_session(engine: Engine, session_id: str, *, who: str | None = None) -> Session:
    """End a session, of anybody or only if it is one of ``who``. Raises ``NotFound``."""
    ended: Session | None = (await engine.commit(lambda draft: users.end_session(draft, session_id, who))).result.value
    if ended is None:
        raise NotFound("there is no such session", "it has ended", "list them: stepwell users sessions")
    return ended


def checked_password(password: str, name: str) -> str:
    """Raises ``ConfigurationError`` for one that is guessed first."""
    if not PASSWORD_CHARS_MIN <= len(password) <= PASSWORD_CHARS_MAX:
        why = "a short one is guessed, and a very long one only costs time"
        fix = f"take one of {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters"
        raise ConfigurationError(f"the password has {len(password)} characters", why, fix)
    if password.lower() == name or len(set(password)) < _DIFFERENT_MIN:
        raise ConfigurationError(
            "the password is easily guessed",
            "it is the name of the user, or a few characters over and over",
            "take another",
        )
    return password


_DIFFERENT_MIN = 4


def _check_role(role: str) -> None:
    if role not in list(Role):
        choices = ", ".join(Role)
        raise ConfigurationError(f"there is no role {role[:80]!r}", "it says what a user may do", f"one of {choices}")


def _found(user: User | None, name: str) -> User:
    if user is None:
        raise NotFound(f"there is no user {name[:100]!r}", "the name is not known", "list them: stepwell users")
    return user
