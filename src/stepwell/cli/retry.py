"""``stepwell retry``: make the next attempt now."""

from __future__ import annotations

import click
import msgspec

from stepwell.cli.client import connect, data, opened
from stepwell.cli.naming import run_id
from stepwell.cli.options import print_json, reaching
from stepwell.server.hurrying import RetriedView


@click.command()
@click.argument("id")
@click.option("--step", metavar="STEP", help="Only this step, by its name or the id in the trace.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@reaching
def command(id: str, step: str | None, as_json: bool, url: str | None, token: str | None) -> None:
    """Make the next attempts for which a run waits now, not later. Each counts as any other; limits hold.

    ID is a run's id, the last characters of it (4 or more), or 'last'.
    """
    api = connect(url, None, token)
    try:
        answer = api.post(f"/v2/runs/{run_id(api, id)}/retry", msgspec.json.encode({"stepId": step}))
    finally:
        api.close()
    if as_json:
        print_json(bytes(opened(answer).data))
        return
    shown: RetriedView = data(answer, RetriedView)
    run = shown.run
    tried = [repr(name) for name in shown.steps] + ["its own code"] * shown.code
    if tried:
        click.echo(f"{run.function_id} {run.id} tries {' and '.join(tried)} again.")
    else:
        click.echo(f"{run.function_id} {run.id} waits for no attempt: {run.status}.")
