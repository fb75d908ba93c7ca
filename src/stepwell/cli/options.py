"""The options that all commands share which read from a server."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def not_empty(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Refuses an empty text, which mostly is a variable of the shell that is not set."""
    if value is not None and not value.strip():
        raise click.BadParameter("it is empty. Name a file, such as shop.db, or leave the option out.", ctx, param)
    return value


def reaching(command: F) -> F:
    """``--url`` and ``--token``: which server."""
    for option in (
        click.option("--token", envvar="STEPWELL_TOKEN", help="The server's token or signing key, if it has one."),
        click.option(
            "--url",
            envvar="STEPWELL_URL",
            help="The server. Default: the 'stepwell dev' of this directory, else http://127.0.0.1:8288.",
        ),
    ):
        command = option(command)
    return command


def reading(command: F) -> F:
    """``--url``, ``--token``, ``--db`` and ``--json``: where to read, and for whom."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON for programs."),
        click.option(
            "--db",
            "--store",
            "db",
            type=click.Path(dir_okay=False),
            callback=not_empty,
            metavar="FILE|URL",
            help="Read this file, or postgresql://…, instead of asking a server.",
        ),
    ):
        command = option(command)
    return reaching(command)


def print_json(data: bytes) -> None:
    """One JSON document: indented for people, on one line for programs."""
    import msgspec

    text = msgspec.json.format(data, indent=2 if sys.stdout.isatty() else -1)
    click.echo(text.decode())
