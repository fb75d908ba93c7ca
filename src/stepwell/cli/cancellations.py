"""``stepwell cancellations``: what is cancelled in bulk, and how far that is; ends it."""

from __future__ import annotations

import click

from stepwell.cli.client import Api, connect, data, opened
from stepwell.cli.options import print_json, reading
from stepwell.errors import NotFound
from stepwell.model.order import OrderStatus
from stepwell.views.cancellation import CancellationView
from stepwell.views.wording import count


@click.command()
@click.argument("id", required=False)
@click.option("--end", is_flag=True, help="Cancel no more runs for this order, and forget it.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@reading
def command(
    id: str | None, end: bool, limit: int, as_json: bool, url: str | None, db: str | None, token: str | None
) -> None:
    """List orders to cancel many runs, newest first, or show one.

    ID is an order's id, or 'last'.
    """
    if id is None and end:
        raise click.UsageError("Name the order that is meant: its id, or 'last'.")
    api = connect(url, db, token)
    try:
        if id is None:
            body = api.get("/v2/cancellations", {"limit": str(limit)})
        else:
            path = f"/v2/cancellations/{_meant(api, id)}"
            body = api.delete(path, {}) if end else api.get(path)
    finally:
        api.close()
    if as_json:
        print_json(bytes(opened(body).data))
    elif end:
        click.echo("No more runs are cancelled for it.")
    elif id is not None:
        click.echo(_told(data(body, CancellationView)))
    else:
        orders: list[CancellationView] = data(body, list[CancellationView])
        click.echo("\n".join(map(_told, orders)) or "No cancellations.")


def _told(order: CancellationView) -> str:
    """An order in a sentence."""
    by = f" by {order.who}" if order.who else ""
    said = f"Cancellation {order.id}{by}"
    done = f"{count(order.cancelled, 'run')} of {order.function_id} cancelled"
    if order.status == OrderStatus.RUNNING:
        return f"{said} goes on: {done} so far."
    return f"{said} {'was stopped' if order.status == OrderStatus.ABORTED else 'is done'}: {done}."


def _meant(api: Api, text: str) -> str:
    """Raises ``NotFound``."""
    if text.lower() != "last":
        return text.strip()
    found: list[CancellationView] = data(api.get("/v2/cancellations", {"limit": "1"}), list[CancellationView])
    if not found or found[0].id is None:
        raise NotFound(
            "there is no cancellation yet", "nobody has ordered one", "order one: stepwell cancel --function ID"
        )
    return found[0].id
