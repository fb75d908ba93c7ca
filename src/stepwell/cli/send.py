"""``stepwell send``: an event from the command line, and what it started."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import click
import msgspec

from stepwell.cli.client import connect, data
from stepwell.cli.options import print_json, reaching
from stepwell.cli.values import json_object, text_of
from stepwell.clock import SystemClock, to_ms
from stepwell.ids import RandomIds
from stepwell.views.wording import at, count, parse_moment

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class _Ids(msgspec.Struct):
    ids: list[str]


@click.command()
@click.argument("name")
@click.option("--data", "given", metavar="JSON", help="Its data: a JSON object, @FILE, or - for standard input.")
@click.option("--id", "key", help="Its id: the same one starts nothing twice within 24 hours.")
@click.option("--ts", help="When it happens: RFC 3339 or milliseconds. In the future, runs start then.")
@click.option("--user", metavar="JSON", help="Its user: a JSON object.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@reaching
def command(
    name: str,
    given: str | None,
    key: str | None,
    ts: str | None,
    user: str | None,
    as_json: bool,
    url: str | None,
    token: str | None,
) -> None:
    """Send an event, and say what it started."""
    event: dict[str, Any] = {
        "name": name,
        "data": json_object("--data", text_of("--data", given)) if given is not None else {},
    }
    if key is not None:
        event["id"] = key
    if ts is not None:
        event["ts"] = _moment(ts)
    if user is not None:
        event["user"] = json_object("--user", user.encode())
    api = connect(url, None, token)
    try:
        clock = SystemClock()
        body = api.post("/v2/events", msgspec.json.encode(event), seed=_seed(clock.now_ms()))
        sent: _Ids = data(body, _Ids)
        answer = api.get(f"/v2/events/{sent.ids[0]}/why")
    finally:
        api.close()
    _report(answer, as_json=as_json)


def _report(answer: bytes, *, as_json: bool) -> None:
    from stepwell.cli.client import opened
    from stepwell.views.why.shapes import EventWhy

    why: EventWhy = data(answer, EventWhy)
    if as_json:
        print_json(bytes(opened(answer).data))
        return
    click.echo(f"{why.name}  {why.id}")
    for run in why.runs:
        click.echo(f"  started {click.style(run.function_id, bold=True)}  {run.id}")
    for outcome in why.outcomes:
        reason = f": {outcome.reason}" if outcome.reason else ""
        stead = f"  {outcome.run_id}" if outcome.run_id else ""
        click.echo(f"  did not start {outcome.function_id}, {outcome.kind}{reason}{stead}")
    for held in why.held:
        starts = at(parse_moment(held.at), SystemClock().now_ms(), None)
        until = f"run {held.run_id} starts at {starts}, or sooner when there are enough"
        if held.by == "debounce":
            until = f"run {held.run_id} starts at {starts}, unless a newer event comes"
        click.echo(f"  held back for {held.function_id} by {held.by}, with {count(held.count, 'event')}: {until}")
    for function in why.unstarted:
        why_not = f": {function.expression} is not true" if function.because == "condition" else ""
        if function.because == "archived":
            why_not = ", which is archived"
        click.echo(f"  did not start {function.function_id}{why_not}")
    if not (why.runs or why.outcomes or why.held or why.unstarted):
        click.echo(click.style("  0 functions started: none has a trigger for this name.", fg="yellow"))
        click.echo("  It may still have resumed runs that waited for it, or cancelled runs: that is not counted here.")
        if why.nearest:
            click.echo(f"  Did you mean {' or '.join(map(repr, why.nearest))}?")


def _moment(text: str) -> int:
    from datetime import datetime

    if text.isascii() and text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not a moment. Write 2026-01-02T03:04:05Z, or milliseconds since 1970.", param_hint="--ts"
        ) from None
    return to_ms(moment.astimezone() if moment.tzinfo is None else moment)


def _seed(now: int) -> str:
    """So that asking again after a lost answer starts nothing twice (protocol §9.3)."""
    entropy = 0
    for char in RandomIds().ulid(now)[10:]:
        entropy = entropy * 32 + _ALPHABET.index(char)
    return f"{now},{b64encode(entropy.to_bytes(10)).decode()}"
