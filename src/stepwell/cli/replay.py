"""``stepwell replay``: start many runs again."""

from __future__ import annotations

from threading import Event

import click
import msgspec

from stepwell.cli.client import Api, connect, data, opened
from stepwell.cli.moments import moment
from stepwell.cli.options import print_json, reaching
from stepwell.clock import SystemClock
from stepwell.ids import secret
from stepwell.views.replay import ReplayView
from stepwell.views.wording import count

_KEY_BITS = 128
_LOOK_S = 0.2
_HELD_SHOWN = 3
_HELD = {"drain": ("drained", "undrain"), "pause": ("paused", "resume")}
_STATUSES = ("completed", "failed", "cancelled", "skipped")


@click.command()
@click.argument("function", required=False)
@click.option("--app", "app_id", metavar="ID", help="Replay all functions of this app, in place of one function.")
@click.option("--since", metavar="MOMENT", help="Those created then or later: 2026-01-02T03:04:05Z, or 2h ago.")
@click.option("--until", metavar="MOMENT", help="Those created then or earlier. Default: now.")
@click.option(
    "--status",
    "statuses",
    type=click.Choice(_STATUSES, case_sensitive=False),
    multiple=True,
    help="Those that ended so; skipped: events that a pause or a drain kept out. Can be repeated. Default: failed.",
)
@click.option("--if", "condition", metavar="EXPRESSION", help="Of these, those for whose event this is true.")
@click.option("--rate", metavar="N/TIME", help="Start so many in which time: 10/s, 100/m, 1/30s.")
@click.option("--name", default="", help="What it is for, for people who look at it.")
@click.option("--dry-run", is_flag=True, help="Only say how many there are.")
@click.option("--follow", is_flag=True, help="Stay until all are started, and show how far it is.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@reaching
def command(
    function: str | None,
    app_id: str | None,
    since: str | None,
    until: str | None,
    statuses: tuple[str, ...],
    condition: str | None,
    rate: str | None,
    name: str,
    dry_run: bool,
    follow: bool,
    as_json: bool,
    url: str | None,
    token: str | None,
) -> None:
    """Start all runs of a function again that fit: a new run for each, with the code as it is now.

    FUNCTION is its full id, or the one in the code if only one app has it.
    """
    if (function is None) == (app_id is None):
        raise click.UsageError("Name one function, or with --app the app whose functions are meant.")
    now = SystemClock().now_ms()
    given = {
        "functionId": function,
        "appId": app_id,
        "createdAfter": moment("--since", since, now),
        "createdBefore": moment("--until", until, now),
        "statuses": list(statuses) or None,
        "if": condition,
        "rate": rate,
        "name": name,
        "dryRun": dry_run,
        # A request whose answer was lost is sent again, and must not start them twice.
        "idempotencyKey": secret(_KEY_BITS),
    }
    asked = msgspec.json.encode({name: value for name, value in given.items() if value is not None})
    api = connect(url, None, token)
    try:
        body = api.post("/v2/replays", asked)
        if follow and not dry_run:
            body = followed(api, body, quiet=as_json)
    finally:
        api.close()
    if as_json:
        print_json(bytes(opened(body).data))
    else:
        click.echo(told(data(body, ReplayView)))


def followed(api: Api, body: bytes, *, quiet: bool) -> bytes:
    """Look at a replay until it is over, and show how far it is. The server goes on with it also if nobody looks."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from stepwell.cli.show import console

    pause = Event()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(), transient=True, disable=quiet) as bar:
        replay: ReplayView = data(body, ReplayView)
        task = bar.add_task("started", total=replay.matched)
        while replay.ended_at is None:
            waits = f", waits for {replay.held[0].function_id}" if replay.held else ""
            bar.update(task, completed=replay.started + replay.skipped, description=f"started{waits}")
            pause.wait(_LOOK_S)
            body = api.get(f"/v2/replays/{replay.id}")
            replay = data(body, ReplayView)
    return body


def told(replay: ReplayView) -> str:
    """A replay in a sentence or two."""
    of = replay.function_ids[0] if len(replay.function_ids) == 1 else replay.app_id
    if replay.id is None:
        return _with_held(f"{count(replay.matched, 'run')} of {of} would be started again.", replay)
    named = f" {replay.name!r}" if replay.name else ""
    skipped = f", {replay.skipped:,} could not be" if replay.skipped else ""
    if replay.ended_at is None:
        rate = f" at {replay.rate}" if replay.rate else ""
        first = f"Replay {replay.id}{named} starts {count(replay.matched, 'run')} of {of} again{rate}"
        return _with_held(f"{first}: {replay.started:,} started{skipped}, {replay.left:,} left.", replay)
    how = "was aborted" if replay.status == "ABORTED" else "is done"
    left = f", {replay.left:,} were left" if replay.left else ""
    return f"Replay {replay.id}{named} {how}: {count(replay.started, 'run')} of {of} started{skipped}{left}."


def _with_held(said: str, replay: ReplayView) -> str:
    """With what has to be done before it can go on."""
    shown = replay.held[:_HELD_SHOWN]
    lines = [
        f"  It waits while {each.function_id} is {_HELD[each.by][0]}: stepwell {_HELD[each.by][1]} {each.argument}"
        for each in shown
    ]
    more = len(replay.held) - len(shown)
    return "\n".join([said, *lines, *([f"  … and {more:,} more"] if more else [])])
