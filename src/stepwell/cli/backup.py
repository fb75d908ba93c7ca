"""``stepwell backup``: a copy of the database file, while a server runs on it."""

from __future__ import annotations

import asyncio

import click

from stepwell.cli.copying import as_json, store, with_progress


@click.command()
@click.argument("file", type=click.Path(dir_okay=False))
@store("The database: a SQLite file.")
@as_json
def command(file: str, store: str, as_json: bool) -> None:
    """Copy the database to FILE as one moment sees it, while a server runs on it.

    To restore it, stop the server, and put FILE where the database was, without the files -wal and -shm beside that.
    """
    from stepwell.cli.options import print_json
    from stepwell.server.moving import backup_file

    size = with_progress("copying", lambda progress: asyncio.to_thread(backup_file, store, file, progress))
    if as_json:
        import msgspec

        print_json(msgspec.json.encode({"file": file, "bytes": size}))
    else:
        click.echo(f"{store} is in {file}, {size:,} bytes.")
