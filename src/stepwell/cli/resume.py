"""``stepwell resume``: let a paused function go on."""

from __future__ import annotations

import click

from stepwell.cli.client import data, opened, posted
from stepwell.cli.naming import function_path
from stepwell.cli.options import print_json, reaching
from stepwell.cli.ordering import withdraw
from stepwell.server.pausing import ResumedView


@click.command()
@click.argument("function", required=False)
@click.option("--app", "app_id", metavar="APP", help="The app that was paused.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@reaching
def command(function: str | None, app_id: str | None, as_json: bool, url: str | None, token: str | None) -> None:
    """Let a paused function, or app, go on, with all runs that wait for that. What it skipped stays skipped.

    FUNCTION is its full id, or the one in the code if only one app has it.
    """
    if (function is None) == (app_id is None):
        raise click.UsageError("Name one function, or with --app the app that is meant.")
    if function is None:
        says = ("{} goes on.", "{} was not paused.")
        withdraw("pause", None, app_id, says, as_json=as_json, url=url, token=token)
        return
    answer = posted(function_path(function, "resume"), url=url, token=token)
    if as_json:
        print_json(bytes(opened(answer).data))
        return
    shown: ResumedView = data(answer, ResumedView)
    if shown.function.pause is None:
        click.echo(f"{shown.function.id} {'goes on' if shown.resumed else 'was not paused'}.")
        return
    app = shown.function.app_id  # whose pause is left
    own = "is no longer paused by itself" if shown.resumed else "was not paused by itself"
    click.echo(f"{shown.function.id} {own}. Its app is: stepwell resume --app {app}")
