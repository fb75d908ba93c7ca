"""``stepwell import``: what ``stepwell export`` wrote, in an empty database."""

from __future__ import annotations

import click

from stepwell.cli.copying import as_json, store, tell, with_progress
from stepwell.storage.address import shown


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@store("A SQLite file that does not exist yet, or an empty database as postgresql://….", required=True)
@click.option("--shards", type=int, help="How many shards a new PostgreSQL database gets, for ever. Default: 16.")
@as_json
def command(file: str, store: str, shards: int | None, as_json: bool) -> None:
    """Read FILE, or with - standard input, into a database that is empty.

    No server starts on the database before all of it is there. If it is stopped on the way, the same command goes on.
    """
    from stepwell.server.moving import import_file, refuse_shards_of_file

    refuse_shards_of_file(store, shards)
    copied = with_progress("importing", lambda progress: import_file(file, store, progress, shards=shards))
    tell(copied, f"{copied.rows:,} rows are in {shown(store)}.", as_json=as_json, store=shown(store))
