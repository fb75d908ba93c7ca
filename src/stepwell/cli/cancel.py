"""``stepwell cancel``: end a run before it ends itself, or many."""

from __future__ import annotations

from threading import Event

import click
import msgspec

from stepwell.cli.client import Api, connect, data, opened
from stepwell.cli.naming import run_id
from stepwell.cli.options import print_json, reaching
from stepwell.views.cancellation import CancellationView
from stepwell.views.nouns import RunView
from stepwell.views.wording import count

_LOOK_S = 0.1


class _Cancelled(msgspec.Struct):
    cancelled: bool
    run: RunView


@click.command()
@click.argument("id", required=False)
@click.option("--function", "function_id", metavar="ID", help="Cancel all runs of this function, in place of one run.")
@click.option("--if", "condition", metavar="EXPRESSION", help="Of these, those for whose event this is true.")
@click.option("--started-after", metavar="MOMENT", help="Of these, those created then or later: 2026-01-02T03:04:05Z.")
@click.option("--started-before", metavar="MOMENT", help="Of these, those created then or earlier. Default: now.")
@click.option("--dry-run", is_flag=True, help="Only say how many there are.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@reaching
def command(
    id: str | None,
    function_id: str | None,
    condition: str | None,
    started_after: str | None,
    started_before: str | None,
    dry_run: bool,
    as_json: bool,
    url: str | None,
    token: str | None,
) -> None:
    """Cancel a run, or all runs of a function that fit. What has ended already stays as it is.

    ID is a run's id, the last characters of it (4 or more), or 'last'.
    """
    selecting = {"if": condition, "startedAfter": started_after, "startedBefore": started_before}
    if (id is None) == (function_id is None):
        raise click.UsageError("Name one run, or with --function the function whose runs are meant.")
    if id is not None and (dry_run or any(value is not None for value in selecting.values())):
        raise click.UsageError("--if, --started-after, --started-before and --dry-run go with --function.")
    api = connect(url, None, token)
    try:
        if id is not None:
            _one(api, id, as_json=as_json)
        else:
            given = {name: value for name, value in selecting.items() if value is not None}
            _many(api, {"functionId": function_id, "dryRun": dry_run, **given}, as_json=as_json)
    finally:
        api.close()


def _one(api: Api, id: str, *, as_json: bool) -> None:
    body = api.post(f"/v2/runs/{run_id(api, id)}/cancel")
    if as_json:
        print_json(bytes(opened(body).data))
        return
    answer: _Cancelled = data(body, _Cancelled)
    run = answer.run
    if answer.cancelled:
        click.echo(f"{run.function_id} {run.id} is cancelled.")
    else:
        click.echo(f"{run.function_id} {run.id} had ended already: {run.status}.")


def _many(api: Api, selecting: dict[str, object], *, as_json: bool) -> None:
    body = api.post("/v2/cancellations", msgspec.json.encode(selecting))
    order: CancellationView = data(body, CancellationView)
    pause = Event()
    while order.id is not None and order.ended_at is None:  # the server goes on with it also if nobody waits
        pause.wait(_LOOK_S)
        body = api.get(f"/v2/cancellations/{order.id}")
        order = data(body, CancellationView)
    if as_json:
        print_json(bytes(opened(body).data))
    elif order.id is None:
        click.echo(f"{count(order.cancelled, 'run')} of {order.function_id} would be cancelled.")
    else:
        click.echo(f"{count(order.cancelled, 'run')} of {order.function_id} cancelled.")
