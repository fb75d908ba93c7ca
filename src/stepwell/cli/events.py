"""``stepwell events``: what has been received."""

from __future__ import annotations

import click

from stepwell.cli.client import connect, data, opened
from stepwell.cli.options import print_json, reading
from stepwell.clock import SystemClock
from stepwell.server.views import EventView


@click.command()
@click.option("--name", help="Only events of this name.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@click.option("--internal", is_flag=True, help="Also those that Stepwell itself makes.")
@reading
def command(
    name: str | None, limit: int, internal: bool, as_json: bool, url: str | None, db: str | None, token: str | None
) -> None:
    """List events, newest first."""
    query = {"limit": str(limit)}
    if name:
        query["name"] = name
    if internal:
        query["internal"] = "true"
    api = connect(url, db, token)
    try:
        body = api.get("/v2/events", query)
    finally:
        api.close()
    if as_json:
        print_json(bytes(opened(body).data))
        return
    from stepwell.cli.show import console, events_table

    events: list[EventView] = data(body, list[EventView])
    out = console()
    if events:
        out.print(events_table(events, SystemClock().now_ms(), out.width))
    else:
        out.print("No events.")
