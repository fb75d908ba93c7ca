"""What admins do about users, everybody about their own password, and either about sessions."""

from __future__ import annotations

from typing import Final

from stepwell.dashboard.action import Action, Choice, Done, Field, Form, Given, Kind
from stepwell.dashboard.operations import Operations
from stepwell.dashboard.page import Missing, Visit
from stepwell.limits import PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN
from stepwell.model.questions import GetSession, GetUser
from stepwell.model.user import Role, Session, User

_USERS: Final = "/settings/users"
_SESSIONS: Final = "/settings/sessions"
_ROLES: Final = (
    Choice(value=Role.VIEWER, word="Viewer", says="Sees all pages but this one."),
    Choice(value=Role.OPERATOR, word="Operator", says="And acts: cancels, runs again, pauses, sends."),
    Choice(value=Role.ADMIN, word="Admin", says="And says who may do what."),
)


async def _user(visit: Visit) -> User:
    found: User | None = await visit.source.reader.read(GetUser(visit.path["user"]))
    if found is None:
        raise Missing("There is no such user", "Somebody may have removed them.")
    return found


async def _session(visit: Visit) -> Session:
    found: Session | None = await visit.source.reader.read(GetSession(visit.path["session"]))
    if found is None or not (visit.guest.may(Role.ADMIN) or found.who == visit.guest.name):
        raise Missing("There is no such session", "It has ended.")
    return found


def _passwords() -> list[Field]:
    help = f"{PASSWORD_CHARS_MIN} characters or more."
    return [
        Field(name="password", label="Password", kind=Kind.PASSWORD, required=True, help=help),
        Field(name="again", label="Password again", kind=Kind.PASSWORD, required=True),
    ]


def _password(given: Given) -> str:
    password = given.texts.get("password", "")
    if len(password) < PASSWORD_CHARS_MIN or len(password) > PASSWORD_CHARS_MAX:
        given.wrong["password"] = f"It has {len(password)} characters; {PASSWORD_CHARS_MIN} is the least."
    elif password != given.texts.get("again", ""):
        given.wrong["again"] = "It is not the same as the first."
    return password


async def _ask_add(visit: Visit) -> Form:
    name = Field(name="name", label="Name", required=True, help="Small letters; an address of mail is a good one.")
    role = Field(name="role", label="Role", kind=Kind.CHOICE, value=Role.VIEWER, choices=_ROLES, required=True)
    return Form(title="Add a user", says=[], verb="Add the user", back=_USERS, fields=[name, role, *_passwords()])


async def _add(operations: Operations, visit: Visit, given: Given) -> Done:
    name = given.text("name", required=True).lower()
    role = given.choice("role", list(Role))
    password = _password(given)
    given.check()
    await operations.add_user(name, role, password)
    return Done(text=f"{name} may log in, as {role}.", address=_USERS, word="All users")


async def _ask_role(visit: Visit) -> Form:
    user = await _user(visit)
    role = Field(name="role", label="Role", kind=Kind.CHOICE, value=user.role, choices=_ROLES, required=True)
    says = ["They are logged out everywhere, and log in anew."]
    return Form(title=f"What may {user.name} do?", says=says, verb="Change the role", back=_USERS, fields=[role])


async def _role(operations: Operations, visit: Visit, given: Given) -> Done:
    user = await _user(visit)
    role = given.choice("role", list(Role))
    if user.name == visit.guest.name and role != user.role:
        given.wrong["role"] = "This is your own. Let another admin change it."
    given.check()
    await operations.change_role(user.name, role)
    return Done(text=f"{user.name} is {role} now.", address=_USERS, word="All users")


async def _ask_password(visit: Visit) -> Form:
    user = await _user(visit)
    says = ["They are logged out everywhere, and log in with the new one."]
    return Form(title=f"Give {user.name} another password", says=says, verb="Set it", back=_USERS, fields=_passwords())


async def _set_password(operations: Operations, visit: Visit, given: Given) -> Done:
    user = await _user(visit)
    password = _password(given)
    given.check()
    await operations.change_password(user.name, password)
    return Done(text=f"{user.name} has another password.", address=_USERS, word="All users")


async def _ask_own(visit: Visit) -> Form:
    if await visit.source.reader.read(GetUser(visit.guest.name)) is None:
        raise Missing("There is no password to change", "You are not logged in as a user.")
    present = Field(name="present", label="Present password", kind=Kind.PASSWORD, required=True)
    says = ["You are logged out everywhere, also here, and log in with the new one."]
    return Form(
        title="Change your password", says=says, verb="Change it", back=_SESSIONS, fields=[present, *_passwords()]
    )


async def _set_own(operations: Operations, visit: Visit, given: Given) -> Done:
    password = _password(given)
    given.check()
    await operations.change_own_password(visit.guest.name, given.texts.get("present", ""), password)
    return Done(text="You have another password.", address="/login", word="Log in", go=True)


async def _ask_remove(visit: Visit) -> Form:
    user = await _user(visit)
    says = ["They are logged out everywhere, and cannot log in any more.", "What they did stays in the audit log."]
    return Form(title=f"Remove {user.name}?", says=says, verb="Remove the user", back=_USERS, harm=True)


async def _remove(operations: Operations, visit: Visit, given: Given) -> Done:
    user = await _user(visit)
    if user.name == visit.guest.name:
        raise Missing("This is you", "Let another admin remove you.")
    await operations.remove_user(user.name)
    return Done(text=f"{user.name} cannot log in any more.", address=_USERS, word="All users")


async def _ask_end(visit: Visit) -> Form:
    session = await _session(visit)
    own = session.id == visit.guest.id
    says = ["It is the one you use now: you are logged out." if own else "Whoever uses it is logged out."]
    return Form(title=f"End this session of {session.who}?", says=says, verb="End the session", back=_SESSIONS)


async def _end(operations: Operations, visit: Visit, given: Given) -> Done:
    session = await _session(visit)
    await operations.end_session(session.id, None if visit.guest.may(Role.ADMIN) else visit.guest.name)
    return Done(text=f"The session of {session.who} is ended.", address=_SESSIONS, word="All sessions")


_ONE: Final = f"{_USERS}/{{user}}"
ADD: Final = Action(name="add-user", path=f"{_USERS}/add", ask=_ask_add, act=_add, role=Role.ADMIN)
CHANGE_ROLE: Final = Action(name="change-role", path=f"{_ONE}/role", ask=_ask_role, act=_role, role=Role.ADMIN)
CHANGE_PASSWORD: Final = Action(
    name="change-password", path=f"{_ONE}/password", ask=_ask_password, act=_set_password, role=Role.ADMIN
)
CHANGE_OWN: Final = Action(
    name="change-own-password", path="/settings/password", ask=_ask_own, act=_set_own, role=Role.VIEWER
)
REMOVE: Final = Action(name="remove-user", path=f"{_ONE}/remove", ask=_ask_remove, act=_remove, role=Role.ADMIN)
END: Final = Action(name="end-session", path=f"{_SESSIONS}/{{session}}/end", ask=_ask_end, act=_end, role=Role.VIEWER)
