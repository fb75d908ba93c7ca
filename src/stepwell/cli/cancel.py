"""``stepwell cancel``: end a run before it ends itself."""

from __future__ import annotations

import click
import msgspec

from stepwell.cli.client import connect, data, opened
from stepwell.cli.naming import run_id
from stepwell.cli.options import print_json, reaching
from stepwell.server.views import RunView


class _Cancelled(msgspec.Struct):
    cancelled: bool
    run: RunView


@click.command()
@click.argument("id")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@reaching
def command(id: str, as_json: bool, url: str | None, token: str | None) -> None:
    """Cancel a run. One that has ended already stays as it is.

    ID is a run's id, the last characters of it (4 or more), or 'last'.
    """
    api = connect(url, None, token)
    try:
        body = api.post(f"/v2/runs/{run_id(api, id)}/cancel")
    finally:
        api.close()
    if as_json:
        print_json(bytes(opened(body).data))
        return
    answer: _Cancelled = data(body, _Cancelled)
    run = answer.run
    if answer.cancelled:
        click.echo(f"{run.function_id} {run.id} is cancelled.")
    else:
        click.echo(f"{run.function_id} {run.id} had ended already: {run.status}.")
