"""``stepwell users``: who may log in to the dashboard, and as what."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Final
from urllib.parse import quote

import click
import msgspec

from stepwell.cli.client import connect, data, opened, posted
from stepwell.cli.listing import Listing
from stepwell.cli.options import print_json, reaching, reading
from stepwell.clock import SystemClock
from stepwell.ids import secret
from stepwell.model.user import Role
from stepwell.views.access import SessionView, UserView
from stepwell.views.wording import printable

_ROLES: Final = click.Choice([role.value for role in Role])
_GENERATED_BITS: Final = 128


@click.group(cls=Listing)
def command() -> None:
    """List who may log in to the dashboard, and as what: a viewer looks, an operator acts, an admin decides who may."""


@command.lists
@click.command()
@reading
def show_all(as_json: bool, url: str | None, db: str | None, token: str | None) -> None:
    with closing(connect(url, db, token)) as api:
        body = api.get("/v2/users")
    if as_json:
        print_json(bytes(opened(body).data))
        return
    from stepwell.cli.show import console, users_table

    users: list[UserView] = data(body, list[UserView])
    out = console()
    if users:
        out.print(users_table(users, SystemClock().now_ms()))
    else:
        out.print("No users. Add one: stepwell users add NAME --role admin")


@command.command()
@click.argument("name")
@click.option("--role", type=_ROLES, default=Role.VIEWER.value, show_default=True, help="What they may do.")
@click.option("--generate", is_flag=True, help="Make a password and print it, once.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@reaching
def add(name: str, role: str, generate: bool, as_json: bool, url: str | None, token: str | None) -> None:
    """Let somebody log in.

    The password is asked for, or read as a line of standard input.
    """
    password = _password(generate)
    body = msgspec.json.encode({"name": name, "role": role, "password": password})
    answer = posted("/v2/users", body, url=url, token=token)
    user: UserView = data(answer, UserView)
    _tell(user, f"{user.name} may log in, as {user.role}.", password if generate else None, as_json=as_json)


@command.command()
@click.argument("name")
@click.option("--generate", is_flag=True, help="Make a password and print it, once.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@reaching
def passwd(name: str, generate: bool, as_json: bool, url: str | None, token: str | None) -> None:
    """Give somebody another password. Their sessions end.

    The password is asked for, or read as a line of standard input.
    """
    password = _password(generate)
    answer = posted(_path(name, "password"), msgspec.json.encode({"password": password}), url=url, token=token)
    user: UserView = data(answer, UserView)
    _tell(user, f"{user.name} has another password.", password if generate else None, as_json=as_json)


@command.command()
@click.argument("name")
@click.argument("role", type=_ROLES)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@reaching
def role(name: str, role: str, as_json: bool, url: str | None, token: str | None) -> None:
    """Say what somebody may do. Their sessions end."""
    answer = posted(_path(name, "role"), msgspec.json.encode({"role": role}), url=url, token=token)
    user: UserView = data(answer, UserView)
    _tell(user, f"{user.name} is {user.role} now.", None, as_json=as_json)


@command.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@reaching
def remove(name: str, as_json: bool, url: str | None, token: str | None) -> None:
    """Let somebody log in no more. Their sessions end."""
    with closing(connect(url, None, token)) as api:
        answer = api.delete(_path(name), {})
    if as_json:
        print_json(bytes(opened(answer).data))
        return
    click.echo(f"{printable(name)} cannot log in any more.")


@command.command()
@reading
def sessions(as_json: bool, url: str | None, db: str | None, token: str | None) -> None:
    """List who is logged in, the latest first."""
    with closing(connect(url, db, token)) as api:
        body = api.get("/v2/sessions")
    if as_json:
        print_json(bytes(opened(body).data))
        return
    from stepwell.cli.show import console, sessions_table

    found: list[SessionView] = data(body, list[SessionView])
    out = console()
    if found:
        out.print(sessions_table(found, SystemClock().now_ms()))
    else:
        out.print("Nobody is logged in.")


@command.command()
@click.argument("session")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@reaching
def end(session: str, as_json: bool, url: str | None, token: str | None) -> None:
    """End a session. SESSION is its id as 'stepwell users sessions' has it."""
    with closing(connect(url, None, token)) as api:
        answer = api.delete(f"/v2/sessions/{quote(session, safe='')}", {})
    if as_json:
        print_json(bytes(opened(answer).data))
        return
    ended: SessionView = data(answer, SessionView)
    click.echo(f"The session of {printable(ended.who)} is ended.")


def _path(name: str, what: str = "") -> str:
    return f"/v2/users/{quote(name, safe='')}{what and f'/{what}'}"


def _password(generate: bool) -> str:
    if generate:
        return secret(_GENERATED_BITS)
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")


def _tell(user: UserView, said: str, password: str | None, *, as_json: bool) -> None:
    if as_json:
        told = msgspec.to_builtins(user)
        print_json(msgspec.json.encode(told if password is None else {**told, "password": password}))
        return
    click.echo(said)
    if password is not None:
        click.echo(f"Password: {password}")
