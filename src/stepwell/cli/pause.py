"""``stepwell pause``: hold a function until somebody resumes it."""

from __future__ import annotations

import click
import msgspec

from stepwell.cli.client import data, opened, posted
from stepwell.cli.naming import function_path
from stepwell.cli.options import print_json, reaching
from stepwell.cli.ordering import give
from stepwell.views.functions import FunctionView

_EVENTS = {"skip": "Events start no run.", "hold": "Events start runs that wait."}
_RUNS = {
    "finish": "The runs that there are go on.",
    "hold": "The runs that there are wait from their next rest on.",
    "cancel": "The runs that there are get cancelled.",
}


@click.command()
@click.argument("function", required=False)
@click.option("--app", "app_id", metavar="APP", help="All functions of this app, also those that it gets later.")
@click.option(
    "--events",
    type=click.Choice(list(_EVENTS)),
    default="skip",
    show_default=True,
    help="What becomes of events and ticks: they start no run, or runs that wait.",
)
@click.option(
    "--runs",
    type=click.Choice(list(_RUNS)),
    default="finish",
    show_default=True,
    help="What becomes of the runs that there are: they go on, wait from their next rest on, or are cancelled.",
)
@click.option("--reason", default="", metavar="TEXT", help="For people who ask why.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@reaching
def command(
    function: str | None,
    app_id: str | None,
    events: str,
    runs: str,
    reason: str,
    as_json: bool,
    url: str | None,
    token: str | None,
) -> None:
    """Pause a function, or an app, until it is resumed. It stays paused over restarts and new code.

    FUNCTION is its full id, or the one in the code if only one app has it. Invokes of it fail meanwhile. If it is
    paused already, these choices take the place of those it had.
    """
    if (function is None) == (app_id is None):
        raise click.UsageError("Name one function, or with --app the app that is meant.")
    if function is None:
        asked: dict[str, object] = {"kind": "pause", "appId": app_id, "events": events, "runs": runs, "reason": reason}
        give(asked, f"{{}} is paused. {_EVENTS[events]} {_RUNS[runs]}", as_json=as_json, url=url, token=token)
        if not as_json:
            click.echo(f"Let it go on: stepwell resume --app {app_id}")
        return
    body = msgspec.json.encode({"events": events, "runs": runs, "reason": reason})
    answer = posted(function_path(function, "pause"), body, url=url, token=token)
    if as_json:
        print_json(bytes(opened(answer).data))
        return
    shown: FunctionView = data(answer, FunctionView)
    click.echo(f"{shown.id} is paused. {_EVENTS[events]} {_RUNS[runs]}")
    click.echo(f"Let it go on: stepwell resume {shown.id}")
