"""``stepwell debounce`` and ``stepwell batch``: events that are held back, and what a person may do to them."""

from __future__ import annotations

from typing import Final, Literal

import click
import msgspec

from stepwell.cli.client import Api, connect, data, opened
from stepwell.cli.listing import Listing
from stepwell.cli.naming import function_path
from stepwell.cli.options import print_json, reaching, reading
from stepwell.clock import SystemClock
from stepwell.views.queues.shapes import ActedView, WindowView
from stepwell.views.wording import count, printable

_ABOUT: Final = {
    "debounce": "List the events that wait until no more of them come: for which run, and until when.",
    "batch": "List the events that are collected for one run, and until when.",
}
_FUNCTION: Final = "FUNCTION is its full id, or the one in the code if only one app has it."


def windows_command(control: Literal["debounce", "batch"]) -> Listing:
    """The command for one of the two rules."""
    group = Listing(name=control, help=f"{_ABOUT[control]}\n\n{_FUNCTION}")

    @group.lists
    @click.command()
    @click.argument("function", required=False)
    @click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many.")
    @reading
    def show(
        function: str | None, limit: int, as_json: bool, url: str | None, db: str | None, token: str | None
    ) -> None:
        query = {"control": control, "limit": str(limit)} | ({"functionId": function} if function else {})
        api = connect(url, db, token)
        try:
            answer = api.get("/v2/windows", query)
        finally:
            api.close()
        if as_json:
            print_json(bytes(opened(answer).data))
            return
        from stepwell.cli.show import console
        from stepwell.cli.waiting import windows

        out, found = console(), data(answer, list[WindowView])
        out.print(windows(found, SystemClock().now_ms(), out.width))
        page = opened(answer).page
        if page is not None and page.has_more:
            out.print(f"\nThere are more: --limit {min(limit * 5, 200)}", style="dim")

    for action, says in (
        ("run", f"Start the run of a {control} now.\n\n{_FUNCTION} Without a key all that are open are meant."),
        (
            "delete",
            f"Delete what a {control} holds: its events start no run, and say so.\n\n{_FUNCTION} Without a key all that"
            " are open are meant.",
        ),
    ):
        group.add_command(_acting(control, action, says))
    return group


def _acting(control: str, action: str, says: str) -> click.Command:
    @click.command(name=action, help=says)
    @click.argument("function")
    @click.option("--key", help="Only the one of this key.")
    @click.option("--dry-run", is_flag=True, help="Say how many there are, and leave them.")
    @click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
    @reaching
    def act(function: str, key: str | None, dry_run: bool, as_json: bool, url: str | None, token: str | None) -> None:
        body = msgspec.json.encode({"control": control, "key": key, "dryRun": dry_run})
        api = connect(url, None, token)
        try:
            done = _whole(api, function_path(function, f"windows/{action}"), body)
        finally:
            api.close()
        if as_json:
            print_json(msgspec.json.encode(done))
            return
        windows = f"{count(done.windows, 'window')}{' or more' if done.more else ''} of {done.function_id}"
        if dry_run:
            click.echo(f"{windows} would be {'started' if action == 'run' else 'deleted'}.")
            return
        click.echo(f"{windows} {'closed' if action == 'run' else 'deleted'}.")
        for run_id in done.run_ids:
            click.echo(f"  started  {run_id}")
        for outcome in done.outcomes:
            click.echo(f"  {outcome.kind}: {printable(outcome.reason)}")

    return act


def _whole(api: Api, path: str, body: bytes) -> ActedView:
    """Ask again while there are more: the server does some at a time."""
    whole: ActedView | None = None
    while True:
        done: ActedView = data(api.post(path, body), ActedView)
        if whole is not None:
            done = msgspec.structs.replace(
                done,
                windows=whole.windows + done.windows,
                run_ids=[*whole.run_ids, *done.run_ids],
                outcomes=[*whole.outcomes, *done.outcomes],
            )
        whole = done
        if not done.more or done.dry_run:
            return done
