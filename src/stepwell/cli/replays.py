"""``stepwell replays``: what is started again in bulk, and how far that is; aborts it."""

from __future__ import annotations

import click

from stepwell.cli.client import Api, connect, data, opened
from stepwell.cli.options import print_json, reading
from stepwell.cli.replay import followed, told
from stepwell.errors import NotFound
from stepwell.views.replay import ReplayView


@click.command()
@click.argument("id", required=False)
@click.option("--abort", is_flag=True, help="Start no more runs for this replay; those that it has started go on.")
@click.option("--follow", is_flag=True, help="Stay until it is over, and show how far it is.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@reading
def command(
    id: str | None,
    abort: bool,
    follow: bool,
    limit: int,
    as_json: bool,
    url: str | None,
    db: str | None,
    token: str | None,
) -> None:
    """List replays, newest first, or show one.

    ID is a replay's id, or 'last'.
    """
    if id is None and (abort or follow):
        raise click.UsageError("Name the replay that is meant: its id, or 'last'.")
    if abort and follow:
        raise click.UsageError("A replay that is aborted has nothing to follow. Use one of them.")
    api = connect(url, db, token)
    try:
        if id is None:
            body = api.get("/v2/replays", {"limit": str(limit)})
        elif abort:
            body = api.post(f"/v2/replays/{_meant(api, id)}/abort")
        else:
            body = api.get(f"/v2/replays/{_meant(api, id)}")
            body = followed(api, body, quiet=as_json) if follow else body
    finally:
        api.close()
    if as_json:
        print_json(bytes(opened(body).data))
    elif id is not None:
        click.echo(told(data(body, ReplayView)))
    else:
        replays: list[ReplayView] = data(body, list[ReplayView])
        click.echo("\n".join(map(told, replays)) or "No replays.")


def _meant(api: Api, text: str) -> str:
    """Raises ``NotFound``."""
    if text.lower() != "last":
        return text.strip()
    found: list[ReplayView] = data(api.get("/v2/replays", {"limit": "1"}), list[ReplayView])
    if not found or found[0].id is None:
        raise NotFound("there is no replay yet", "nobody has ordered one", "order one: stepwell replay FUNCTION")
    return found[0].id
