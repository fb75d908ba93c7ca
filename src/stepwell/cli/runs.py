"""``stepwell runs``: the newest runs, once or as they come."""

from __future__ import annotations

from contextlib import suppress
from threading import Event

import click
import msgspec

from stepwell.cli.client import Api, connect, data, opened
from stepwell.cli.options import print_json, reading
from stepwell.clock import SystemClock
from stepwell.model.run import RunStatus
from stepwell.views.nouns import ListedRun

_LOOK_S = 0.5


@click.command()
@click.option("--function", "function_id", metavar="ID", help="Only runs of this function.")
@click.option("--status", type=click.Choice(list(RunStatus), case_sensitive=False), help="Only runs in this state.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@click.option("--watch", is_flag=True, help="Keep the list up to date until Ctrl-C.")
@reading
def command(
    function_id: str | None,
    status: str | None,
    limit: int,
    watch: bool,
    as_json: bool,
    url: str | None,
    db: str | None,
    token: str | None,
) -> None:
    """List runs, newest first."""
    if watch and as_json:
        raise click.UsageError("--watch draws a table; --json prints one document. Use one of them.")
    query = {"limit": str(limit)}
    if function_id:
        query["functionId"] = function_id
    if status:
        query["status"] = status
    api = connect(url, db, token)
    try:
        if as_json:
            print_json(msgspec.json.encode(_find(api, query, limit)[0]))
        elif watch:
            with suppress(KeyboardInterrupt):  # which is how one leaves
                _watch(api, query)
        else:
            _print(api, query, limit)
    finally:
        api.close()


def _find(api: Api, query: dict[str, str], limit: int) -> tuple[list[ListedRun], bool]:
    """Up to so many, and whether there are more. What the server has to search for comes in several pages."""
    found: list[ListedRun] = []
    more: str | None = None
    while True:
        asked = query | {"limit": str(limit - len(found))} | ({"cursor": more} if more else {})
        body = api.get("/v2/runs", asked)
        found += data(body, list[ListedRun])
        page = opened(body).page
        more = page.cursor if page is not None and page.has_more else None
        if more is None or len(found) >= limit:
            return found, more is not None


def _print(api: Api, query: dict[str, str], limit: int) -> None:
    from stepwell.cli.show import console, runs_table

    runs, more = _find(api, query, limit)
    out = console()
    if not runs:
        out.print("No runs." if len(query) == 1 else "No such runs.")
        return
    out.print(runs_table(runs, SystemClock().now_ms(), out.width))
    if more:
        out.print(f"\nThere are more: --limit {min(limit * 5, 1000)}", style="dim")


def _watch(api: Api, query: dict[str, str]) -> None:
    from rich.live import Live

    from stepwell.cli.show import console, runs_table

    out, clock, pause = console(), SystemClock(), Event()
    with Live(console=out, auto_refresh=False) as live:
        while True:
            runs: list[ListedRun] = data(api.get("/v2/runs", query), list[ListedRun])
            room = max(out.height - 2, 3)
            live.update(runs_table(runs[:room], clock.now_ms(), out.width), refresh=True)
            pause.wait(_LOOK_S)
