"""``stepwell skip``: end a sleep before its time."""

from __future__ import annotations

import click

from stepwell.cli.hurrying import hurry
from stepwell.cli.options import reaching
from stepwell.server.hurrying import SkippedView


@click.command()
@click.argument("id")
@click.option("--step", metavar="STEP", help="Only this sleep, by its name or the id in the trace.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@reaching
def command(id: str, step: str | None, as_json: bool, url: str | None, token: str | None) -> None:
    """End the sleeps in which a run rests before their time: it goes on now.

    ID is a run's id, the last characters of it (4 or more), or 'last'.
    """
    shown = hurry(id, "skip-sleep", step, SkippedView, as_json=as_json, url=url, token=token)
    if shown is None:
        return
    run = shown.run
    if shown.steps:
        click.echo(f"{run.function_id} {run.id} goes on: {' and '.join(map(repr, shown.steps))} is over.")
    else:
        click.echo(f"{run.function_id} {run.id} does not sleep: {run.status}.")
