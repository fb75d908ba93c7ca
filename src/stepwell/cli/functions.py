"""``stepwell functions``: what is registered, and what starts it."""

from __future__ import annotations

import click

from stepwell.cli.client import connect, data, opened
from stepwell.cli.options import print_json, reading
from stepwell.clock import SystemClock
from stepwell.views.functions import FunctionView


@click.command()
@click.option("--archived", is_flag=True, help="Also those that have left their app.")
@reading
def command(archived: bool, as_json: bool, url: str | None, db: str | None, token: str | None) -> None:
    """List the registered functions."""
    api = connect(url, db, token)
    try:
        body = api.get("/v2/functions", {"archived": "true"} if archived else None)
    finally:
        api.close()
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
