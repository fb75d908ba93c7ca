"""``stepwell retry``: make the next attempt now."""

from __future__ import annotations

import click

from stepwell.cli.hurrying import hurry
from stepwell.cli.options import reaching
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
    shown = hurry(id, "retry", step, RetriedView, as_json=as_json, url=url, token=token)
    if shown is None:
        return
    run = shown.run
    tried = [repr(name) for name in shown.steps] + ["its own code"] * shown.code
    if tried:
        click.echo(f"{run.function_id} {run.id} tries {' and '.join(tried)} again.")
    else:
        click.echo(f"{run.function_id} {run.id} waits for no attempt: {run.status}.")
