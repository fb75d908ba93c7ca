"""``stepwell rerun``: start a run again."""

from __future__ import annotations

import click
import msgspec

from stepwell.cli.client import connect, data, opened
from stepwell.cli.naming import run_id
from stepwell.cli.options import print_json, reaching
from stepwell.ids import secret
from stepwell.server.views import RunView

_KEY_BITS = 128


@click.command()
@click.argument("id")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@reaching
def command(id: str, as_json: bool, url: str | None, token: str | None) -> None:
    """Start a run again: a new run for the same event, with the code as it is now. The old one stays as it is.

    ID is a run's id, the last characters of it (4 or more), or 'last'.
    """
    api = connect(url, None, token)
    try:
        # A request whose answer was lost is sent again, and must not start a second one.
        body = msgspec.json.encode({"idempotencyKey": secret(_KEY_BITS)})
        answer = api.post(f"/v2/runs/{run_id(api, id)}/rerun", body)
    finally:
        api.close()
    if as_json:
        print_json(bytes(opened(answer).data))
        return
    run: RunView = data(answer, RunView)
    click.echo(f"{run.function_id} {run.id} runs {run.original_run_id} again.")
