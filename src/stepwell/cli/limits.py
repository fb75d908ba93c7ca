"""``stepwell limits``: the rules of functions, what is in use of each, and who uses it."""

from __future__ import annotations

import click
import msgspec

from stepwell.cli.client import Api, connect, data, opened, posted
from stepwell.cli.listing import Listing
from stepwell.cli.naming import function_path
from stepwell.cli.options import print_json, reaching, reading
from stepwell.clock import SystemClock
from stepwell.views.functions import FunctionView
from stepwell.views.queues.shapes import ForgottenView, LimitsView

_RESETTABLE = ("rate-limit", "idempotency", "throttle")


@click.group(cls=Listing)
def command() -> None:
    """Show the rules of functions, and by key what is in use of each: slots and who holds them, starts that are free
    and when the next is, keys that have been seen.

    FUNCTION is its full id, or the one in the code if only one app has it.
    """


@command.lists
@click.command()
@click.argument("function", required=False)
@click.option("--control", metavar="RULE", help="Only this rule, such as throttle.")
@click.option("--key", help="Only the state of this key.")
@click.option("--after", metavar="KEY", help="Only keys after this one.")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="How many keys of each rule.")
@reading
def show(
    function: str | None,
    control: str | None,
    key: str | None,
    after: str | None,
    limit: int,
    as_json: bool,
    url: str | None,
    db: str | None,
    token: str | None,
) -> None:
    given = {"control": control, "key": key, "after": after, "limit": str(limit)}
    query = {name: value for name, value in given.items() if value}
    api = connect(url, db, token)
    try:
        answers = [_limits(api, each, query) for each in ([function] if function else _functions(api))]
    finally:
        api.close()
    if as_json:
        print_json(answers[0] if function else msgspec.json.encode([msgspec.Raw(answer) for answer in answers]))
        return
    from stepwell.cli.show import console
    from stepwell.cli.waiting import limits

    found = [msgspec.json.decode(answer, type=LimitsView) for answer in answers]
    console().print(limits(found, SystemClock().now_ms()))


def _limits(api: Api, function: str, query: dict[str, str]) -> bytes:
    return bytes(opened(api.get(function_path(function, "limits"), query)).data)


def _functions(api: Api) -> list[str]:
    found: list[FunctionView] = data(api.get("/v2/functions"), list[FunctionView])
    return [function.id for function in found]


@command.command()
@click.argument("function")
@click.argument("key", required=False)
@click.option("--key", "named", metavar="KEY", help="The same as KEY.")
@click.option("--control", type=click.Choice(_RESETTABLE), help="Only this rule. Default: all that remember the key.")
@click.option("--reason", default="", metavar="TEXT", help="For people who ask why.")
@click.option("--dry-run", is_flag=True, help="Say what would be forgotten, and leave it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@reaching
def reset(
    function: str,
    key: str | None,
    named: str | None,
    control: str | None,
    reason: str,
    dry_run: bool,
    as_json: bool,
    url: str | None,
    token: str | None,
) -> None:
    """Have a key of a rate limit, idempotency or throttle forgotten, as if no run had started for it.

    KEY is its value, and none for a rule without a key. That it was done is shown by 'stepwell limits'.
    """
    if key is not None and named is not None:
        raise click.UsageError("KEY and --key both name a key. Give one of them.")
    given = {"key": key or named or "", "control": control, "reason": reason, "dryRun": dry_run}
    answer = posted(function_path(function, "limits/reset"), msgspec.json.encode(given), url=url, token=token)
    if as_json:
        print_json(bytes(opened(answer).data))
        return
    from stepwell.cli.waiting import reset_said

    done: ForgottenView = data(answer, ForgottenView)
    for each in done.forgotten:
        click.echo(f"{done.function_id}: {reset_said(each)} {'would be' if dry_run else 'is'} forgotten.")
