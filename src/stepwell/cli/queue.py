"""``stepwell queue``: what functions are owed, and what holds it up."""

from __future__ import annotations

from contextlib import suppress
from threading import Event
from typing import TYPE_CHECKING

import click

from stepwell.cli.client import Api, connect, data, opened
from stepwell.cli.naming import function_path
from stepwell.cli.options import print_json, reading
from stepwell.clock import SystemClock
from stepwell.views.queues.shapes import FunctionQueueView, QueueView

if TYPE_CHECKING:
    from rich.console import Group

_LOOK_S = 1


@click.command()
@click.argument("function", required=False)
@click.option(
    "--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many keys, the deepest first."
)
@click.option("--watch", is_flag=True, help="Keep it up to date until Ctrl-C.")
@reading
def command(
    function: str | None, limit: int, watch: bool, as_json: bool, url: str | None, db: str | None, token: str | None
) -> None:
    """Show how many runs are due, running, held back and by what, and when the next can move.

    With FUNCTION, its full id or the one in the code if only one app has it, also by key: which limit, who holds it,
    who is first in line.
    """
    if watch and as_json:
        raise click.UsageError("--watch draws a table; --json prints one document. Use one of them.")
    path = function_path(function, "queue") if function else "/v2/queue"
    query = {"limit": str(limit)} if function else {}
    api = connect(url, db, token)
    try:
        if as_json:
            print_json(bytes(opened(api.get(path, query)).data))
        elif watch:
            with suppress(KeyboardInterrupt):  # which is how one leaves
                _watch(api, path, query)
        else:
            from stepwell.cli.show import console

            out = console()
            out.print(_drawn(api, path, query, out.width))
    finally:
        api.close()


def _drawn(api: Api, path: str, query: dict[str, str], width: int) -> Group:
    from stepwell.cli.waiting import function_queue, queues

    now, answer = SystemClock().now_ms(), api.get(path, query)
    if query:
        one: FunctionQueueView = data(answer, FunctionQueueView)
        return function_queue(one, now, width)
    found: list[QueueView] = data(answer, list[QueueView])
    return queues(found, now, width)


def _watch(api: Api, path: str, query: dict[str, str]) -> None:
    from rich.live import Live

    from stepwell.cli.show import console

    out, pause = console(), Event()
    with Live(console=out, auto_refresh=False) as live:
        while True:
            live.update(_drawn(api, path, query, out.width), refresh=True)
            pause.wait(_LOOK_S)
