"""``stepwell functions``: what is registered, what starts it, and which configurations a function has had."""

from __future__ import annotations

from contextlib import closing

import click

from stepwell.cli.client import connect, data, opened
from stepwell.cli.listing import Listing
from stepwell.cli.naming import function_path
from stepwell.cli.options import print_json, reading
from stepwell.clock import SystemClock
from stepwell.views.functions import FunctionView
from stepwell.views.versions import VersionView


@click.group(cls=Listing)
def command() -> None:
    """List the registered functions."""


@command.lists
@click.command()
@click.option("--archived", is_flag=True, help="Also those that have left their app.")
@reading
def show(archived: bool, as_json: bool, url: str | None, db: str | None, token: str | None) -> None:
    with closing(connect(url, db, token)) as api:
        body = api.get("/v2/functions", {"archived": "true"} if archived else None)
    if as_json:
        print_json(bytes(opened(body).data))
        return
    from stepwell.cli.show import console, functions_table

    functions: list[FunctionView] = data(body, list[FunctionView])
    out = console()
    if functions:
        out.print(functions_table(functions, SystemClock().now_ms(), out.width))
    else:
        out.print("No functions.")


@command.command()
@click.argument("function")
@reading
def versions(function: str, as_json: bool, url: str | None, db: str | None, token: str | None) -> None:
    """Show which configurations FUNCTION has had, since when, and what each has changed, the newest first.

    FUNCTION is its full id, or the one in the code if only one app has it. The configurations themselves are in --json.
    """
    with closing(connect(url, db, token)) as api:
        body = api.get(function_path(function, "versions"))
    if as_json:
        print_json(bytes(opened(body).data))
        return
    from stepwell.cli.show import console, versions_table

    found: list[VersionView] = data(body, list[VersionView])
    out = console()
    out.print(versions_table(found, SystemClock().now_ms(), out.width))
