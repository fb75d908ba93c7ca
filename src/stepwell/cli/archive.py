"""``stepwell archive``: let nothing start a function any more."""

from __future__ import annotations

import click

from stepwell.cli.options import reaching
from stepwell.cli.ordering import give


@click.command()
@click.argument("function", required=False)
@click.option("--app", "app_id", metavar="APP", help="All functions of this app, also those that it gets later.")
@click.option("--reason", default="", metavar="TEXT", help="For people who ask why.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@reaching
def command(
    function: str | None, app_id: str | None, reason: str, as_json: bool, url: str | None, token: str | None
) -> None:
    """Archive a function, or an app: nothing starts it any more, whatever its app says, until it is unarchived.

    Its runs go on as long as their app serves them, and all that is known of them stays. FUNCTION is its full id, or
    the one in the code if only one app has it.
    """
    if (function is None) == (app_id is None):
        raise click.UsageError("Name one function, or with --app the app that is meant.")
    body: dict[str, object] = {"kind": "archive", "functionId": function, "appId": app_id, "reason": reason}
    order = give(body, "{} is archived. Its runs go on.", as_json=as_json, url=url, token=token)
    if not as_json:
        back = order.function_id or f"--app {order.app_id}"
        click.echo(f"Bring it back: stepwell unarchive {back}")
