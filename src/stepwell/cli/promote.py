"""``stepwell promote``: a SQLite file becomes a PostgreSQL deployment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from stepwell import __version__
from stepwell.cli.copying import as_json, tell, with_progress
from stepwell.cli.options import not_empty, print_json
from stepwell.storage.address import shown

if TYPE_CHECKING:
    from stepwell.server.promoting import Inventory


@click.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option(
    "--to", required=True, metavar="URL", callback=not_empty, help="An empty database, as postgresql://user@host/name."
)
@click.option("--shards", type=int, help="How many shards a new database gets, for ever. Default: 16.")
@click.option("--dry-run", is_flag=True, help="Say what would be copied, and change nothing.")
@click.option("--undo", is_flag=True, help="Take it back, before a server has run there; that database is emptied.")
@as_json
def command(file: str, to: str, shards: int | None, dry_run: bool, undo: bool, as_json: bool) -> None:
    """Make a PostgreSQL deployment of FILE, a SQLite file on which no server runs.

    All runs go on there: those that sleep, wait, are queued or try again. Afterwards no server starts on FILE any more.
    If it is stopped on the way, the same command goes on.
    """
    from stepwell.server import promoting

    if dry_run and undo:
        raise click.UsageError("--dry-run says what would be copied, and --undo copies nothing. Use one of them.")
    promoting.refuse_other_target(to)
    if dry_run:
        _show(asyncio.run(promoting.inventory(file)), as_json)
        return
    place = shown(to)
    if undo:
        asyncio.run(promoting.undo(file, to))
        if as_json:
            print_json(b'{"undone":true}')
        else:
            click.echo(f"{file} can be served again. {place} is empty.")
        return
    copied = with_progress(
        "promoting", lambda progress: promoting.promote(file, to, progress, version=__version__, shards=shards)
    )
    tell(copied, f"{copied.rows:,} rows are in {place}. Servers start there now, and not on {file}.", as_json=as_json)


def _show(found: Inventory, as_json: bool) -> None:
    if as_json:
        import msgspec

        print_json(msgspec.json.encode(found))
        return
    for title, counts in (("rows", found.tables), ("runs", found.runs), ("owed", found.items)):
        for name, count in counts.items():
            if count:
                click.echo(f"{title:6}{name:18}{count:>12,}")
    click.echo(f"{found.rows:,} rows would be copied.")
    if found.led:
        click.echo("A process runs on the file: stop it first.")
