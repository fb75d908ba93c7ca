"""``stepwell events``: what has been received, and what became of it."""

from __future__ import annotations

from urllib.parse import quote

import click
import msgspec

from stepwell.cli.client import connect, data, opened
from stepwell.cli.listing import Listing
from stepwell.cli.options import print_json, reading
from stepwell.clock import SystemClock
from stepwell.views.nouns import EventView
from stepwell.views.why.shapes import EventWhy
from stepwell.views.wording import printable


@click.group(cls=Listing)
def command() -> None:
    """List events, newest first; or show one, and what became of it."""


@command.lists
@click.command()
@click.option("--name", help="Only events of this name.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@click.option("--internal", is_flag=True, help="Also those that Stepwell itself makes.")
@reading
def show_all(
    name: str | None, limit: int, internal: bool, as_json: bool, url: str | None, db: str | None, token: str | None
) -> None:
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


@command.command()
@click.argument("id")
@reading
def show(id: str, as_json: bool, url: str | None, db: str | None, token: str | None) -> None:
    """Show an event, and for each function that it could have started a run, or why there is none.

    ID is the internal id, as 'stepwell events' has it.
    """
    api = connect(url, db, token)
    try:
        path = f"/v2/events/{quote(id.strip().upper(), safe='')}"
        body = api.get(path)
        if as_json:
            print_json(bytes(opened(body).data))
            return
        why: EventWhy = data(api.get(f"{path}/why"), EventWhy)
    finally:
        api.close()
    from stepwell.views.why import sentences

    event: EventView = data(body, EventView)
    facts = {"id": event.id, "ts": event.ts, "source": event.source, "v": event.v}
    click.echo(f"{printable(event.name)}  {event.internal_id}")
    click.echo("  ".join(f"{name} {printable(value)}" for name, value in facts.items() if value is not None))
    click.echo(msgspec.json.format(bytes(event.data), indent=2).decode())
    click.echo()
    for line in sentences(why, SystemClock().now_ms(), None):
        click.echo(printable(line))
