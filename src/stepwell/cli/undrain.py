"""``stepwell undrain``: let new runs begin again."""

from __future__ import annotations

import click

from stepwell.cli.options import reaching
from stepwell.cli.ordering import withdraw


@click.command()
@click.argument("function", required=False)
@click.option("--app", "app_id", metavar="APP", help="The app that was drained.")
@click.option("--all", "everything", is_flag=True, help="All functions of all apps were.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@reaching
def command(
    function: str | None, app_id: str | None, everything: bool, as_json: bool, url: str | None, token: str | None
) -> None:
    """Let new runs begin again. What was skipped meanwhile stays skipped; 'stepwell why EVENT' says so for each,
    and 'stepwell replay --status skipped' starts it.

    FUNCTION is its full id, or the one in the code if only one app has it.
    """
    if (function is not None) + (app_id is not None) + everything != 1:
        raise click.UsageError("Name one function, an app with --app, or --all.")
    withdraw(
        "drain",
        function,
        app_id,
        ("{} is drained no more.", "{} was not drained."),
        as_json=as_json,
        url=url,
        token=token,
    )
