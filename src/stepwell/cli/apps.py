"""``stepwell apps``: which apps there are, where, and what was wrong at the last sync."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from stepwell.cli.client import Api, connect, data, opened, posted
from stepwell.cli.options import print_json, reaching, reading
from stepwell.clock import SystemClock
from stepwell.errors import NotFound
from stepwell.views.functions import AppView, SyncView


@click.group(invoke_without_command=True, subcommand_metavar="[COMMAND]")
@reading
@click.pass_context
def command(ctx: click.Context, as_json: bool, url: str | None, db: str | None, token: str | None) -> None:
    """List apps: where they are, how many functions they have, and why one cannot be synced."""
    if ctx.invoked_subcommand is not None:
        if db is not None:
            raise click.UsageError("A database file can only be read: --db goes with the list.")
        # What stands before the name of the command means the same as behind it.
        given: dict[str, Any] = {"url": url, "token": token, "as_json": as_json or None}
        given = {name: value for name, value in given.items() if value is not None}
        ctx.default_map = dict.fromkeys(("sync", "remove"), given)
        return
    api = connect(url, db, token)
    try:
        apps, syncs = api.get("/v2/apps"), api.get("/v2/syncs")
    finally:
        api.close()
    if as_json:
        print_json(msgspec.json.encode({"apps": opened(apps).data, "syncs": opened(syncs).data}))
        return
    from stepwell.cli.show import apps_table, console

    found: list[AppView] = data(apps, list[AppView])
    addresses: list[SyncView] = data(syncs, list[SyncView])
    out = console()
    if found or addresses:
        out.print(apps_table(found, addresses, SystemClock().now_ms(), out.width))
    else:
        out.print("No apps.")


@command.command()
@click.argument("address")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@reaching
def sync(address: str, as_json: bool, url: str | None, token: str | None) -> None:
    """Ask the app at ADDRESS what it has, and wait until it has said so.

    The server asks it again from then on, as if it had been started with -u ADDRESS.
    """
    body = posted("/v2/syncs", msgspec.json.encode({"url": address}), url=url, token=token)
    if as_json:
        print_json(bytes(opened(body).data))
        return
    synced: SyncView = data(body, SyncView)
    click.echo(f"{synced.app_id or 'the app'} is synced at {synced.url}.")


@command.command()
@click.argument("app")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@reaching
def remove(app: str, as_json: bool, url: str | None, token: str | None) -> None:
    """Ask an app no more, and start no more runs of its functions. Runs that exist go on while it answers.

    APP is its address, or its id.
    """
    api = connect(url, None, token)
    try:
        body = api.delete("/v2/syncs", _address(api, app))
    finally:
        api.close()
    if as_json:
        print_json(bytes(opened(body).data))
        return
    removed: SyncView = data(body, SyncView)
    click.echo(f"{removed.app_id or 'what is'} at {removed.url} is removed.")


def _address(api: Api, app: str) -> dict[str, str]:
    """Where an app is, and which of those there. Raises ``NotFound``."""
    if "://" in app:
        return {"url": app}
    found: list[SyncView] = [each for each in data(api.get("/v2/syncs"), list[SyncView]) if each.app_id == app]
    if len(found) == 1:
        return {"url": found[0].url, "app": app}
    fix = "list them: stepwell apps"
    if found:
        raise NotFound(f"the app {app!r} has {len(found)} addresses", ", ".join(each.url for each in found), fix)
    raise NotFound(f"no app {app!r} has an address", "only what is served at an address can be removed", fix)
