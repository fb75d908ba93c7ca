"""``stepwell run``: one run as a tree, once or until it has ended."""

from __future__ import annotations

import sys
from threading import Event

import click

from stepwell.cli.client import Api, connect, data, opened
from stepwell.cli.naming import run_id
from stepwell.cli.options import print_json, reading
from stepwell.clock import SystemClock
from stepwell.views.trace import TraceView
from stepwell.views.wording import printable

_LOOK_S_MIN, _LOOK_S_MAX = 0.05, 0.5


@click.command()
@click.argument("id")
@click.option(
    "--watch",
    is_flag=True,
    help="Stay until it has ended, and show what it logs; exit with 1 unless it completed.",
)
@reading
def command(id: str, watch: bool, as_json: bool, url: str | None, db: str | None, token: str | None) -> None:
    """Show one run: its steps, attempts, errors and times.

    ID is a run's id, the last characters of it (4 or more), or 'last'. With --watch, what its code logs is written to
    standard error as it comes; --json leaves that out.
    """
    api = connect(url, db, token)
    try:
        found = run_id(api, id)
        trace = _followed(api, found, draw=not as_json) if watch else _trace(api, found)
        if as_json:
            print_json(bytes(opened(api.get(f"/v2/runs/{found}/trace", {"outputs": "full"})).data))
        elif not watch:
            _print(api, trace)
        if watch and trace.run.status != "COMPLETED":
            raise SystemExit(1)
    finally:
        api.close()


def _trace(api: Api, run: str) -> TraceView:
    found: TraceView = data(api.get(f"/v2/runs/{run}/trace"), TraceView)
    return found


def _print(api: Api, trace: TraceView) -> None:
    from stepwell.cli.show import console
    from stepwell.cli.tree import trace_tree
    from stepwell.views.why import RunWhy, sentences

    out, now = console(), SystemClock().now_ms()
    out.print(trace_tree(trace, now))
    if trace.run.ended_at is None:
        why: RunWhy = data(api.get(f"/v2/runs/{trace.run.id}/why"), RunWhy)
        out.print()
        for line in sentences(why, now, None)[1:]:
            out.print(printable(line))
    page = api.page(f"/runs/{trace.run.id}")
    if page is not None:
        click.echo(click.style(f"\n{page}", dim=True))


def _followed(api: Api, run: str, *, draw: bool) -> TraceView:
    """Look again and again until the run has ended."""
    pause, wait = Event(), _LOOK_S_MIN
    if not draw:
        while (trace := _trace(api, run)).run.ended_at is None:
            pause.wait(wait)
            wait = min(wait * 2, _LOOK_S_MAX)
        return trace
    from rich.live import Live
    from rich.text import Text

    from stepwell.cli.logs import Following
    from stepwell.cli.show import console
    from stepwell.cli.tree import trace_tree

    out, clock = console(), SystemClock()
    together = out.is_terminal and sys.stderr.isatty()

    def say(line: str) -> None:
        if together:  # where the tree is drawn anew below it
            out.print(Text.from_ansi(line), soft_wrap=True)
        else:
            click.echo(line, err=True)

    following = Following(api, run, say=say)
    with Live(console=out, auto_refresh=False, vertical_overflow="visible", redirect_stderr=False) as live:
        while True:
            trace = _trace(api, run)
            following.look(last=trace.run.ended_at is not None)
            if trace.run.ended_at is not None or out.is_terminal:
                live.update(trace_tree(trace, clock.now_ms()), refresh=True)
            if trace.run.ended_at is not None:
                return trace
            pause.wait(wait)
            wait = min(wait * 2, _LOOK_S_MAX)
