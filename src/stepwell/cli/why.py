"""``stepwell why``: why a run waits or failed, or what became of an event."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from stepwell.cli.client import Api, connect, decoded, opened
from stepwell.cli.naming import run_id
from stepwell.cli.options import print_json, reading
from stepwell.clock import SystemClock
from stepwell.errors import NotFound
from stepwell.ids import is_ulid
from stepwell.views.wording import printable

if TYPE_CHECKING:
    from stepwell.views.why import RunWhy


@click.command()
@click.argument("id")
@reading
def command(id: str, as_json: bool, url: str | None, db: str | None, token: str | None) -> None:
    """Say why a run waits or failed, or what became of an event.

    ID is that of a run or of an event, the last characters of a run's id (4 or more), or 'last'.
    """
    api = connect(url, db, token)
    try:
        answer = _ask(api, id)
        if as_json:
            print_json(answer)
        else:
            _print(api, answer)
    finally:
        api.close()


def _print(api: Api, answer: bytes) -> None:
    from stepwell.views.why import RunWhy, Why, sentences

    why = decoded(answer, Why)
    for line in sentences(why, SystemClock().now_ms(), None):
        click.echo(printable(line))
    page = api.page(_path(why) if isinstance(why, RunWhy) else f"/events/{why.id}")
    if page is not None:
        click.echo(click.style(page, dim=True))


def _ask(api: Api, id: str) -> bytes:
    found = run_id(api, id)
    try:
        return bytes(opened(api.get(f"/v2/runs/{found}/why")).data)
    except NotFound:
        if not is_ulid(found):
            raise
    try:
        return bytes(opened(api.get(f"/v2/events/{found}/why")).data)
    except NotFound:
        raise NotFound(
            f"there is no run and no event {found}",
            "it was never there, or retention has removed it",
            "list them: stepwell runs, stepwell events",
        ) from None


def _path(why: RunWhy) -> str:
    """Of the page of a run, with the step open that says why."""
    step: str | None = getattr(why.cause, "step", None)
    return f"/runs/{why.id}" + (f"#step={quote(step)}" if step else "")
