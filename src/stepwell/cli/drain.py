"""``stepwell drain``: let nothing new begin, and what there is come to its end."""

from __future__ import annotations

import click

from stepwell.cli.options import reaching
from stepwell.cli.ordering import give


@click.command()
@click.argument("function", required=False)
@click.option("--app", "app_id", metavar="APP", help="All functions of this app, also those that it gets later.")
@click.option("--all", "everything", is_flag=True, help="All functions of all apps.")
@click.option("--reason", default="", metavar="TEXT", help="For people who ask why.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@reaching
def command(
    function: str | None,
    app_id: str | None,
    everything: bool,
    reason: str,
    as_json: bool,
    url: str | None,
    token: str | None,
) -> None:
    """Drain a function, an app, or all there is, before maintenance: nothing new begins, and runs go on to their end.

    Events are kept, and say that they were skipped. FUNCTION is its full id, or the one in the code if only one app has
    it.
    """
    if (function is not None) + (app_id is not None) + everything != 1:
        raise click.UsageError("Name one function, an app with --app, or --all.")
    body: dict[str, object] = {"kind": "drain", "functionId": function, "appId": app_id, "reason": reason}
    order = give(body, "{} is drained. Nothing new begins; runs go on.", as_json=as_json, url=url, token=token)
    if not as_json:
        end = order.function_id or (f"--app {order.app_id}" if order.app_id else "--all")
        click.echo(f"Let new runs begin again: stepwell undrain {end}")
