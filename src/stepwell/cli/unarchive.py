"""``stepwell unarchive``: bring an archived function back."""

from __future__ import annotations

import click

from stepwell.cli.options import reaching
from stepwell.cli.ordering import withdraw


@click.command()
@click.argument("function", required=False)
@click.option("--app", "app_id", metavar="APP", help="The app that was archived.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@reaching
def command(function: str | None, app_id: str | None, as_json: bool, url: str | None, token: str | None) -> None:
    """Bring back what an operator has archived. Events and ticks of the meantime start nothing.

    A function that its app does not list comes back when its app lists it again. FUNCTION is its full id, or the one in
    the code if only one app has it.
    """
    if (function is None) == (app_id is None):
        raise click.UsageError("Name one function, or with --app the app that is meant.")
    says = ("{} is archived no more.", "{} was not archived by an operator.")
    withdraw("archive", function, app_id, says, as_json=as_json, url=url, token=token)
