"""``stepwell export``: all that is in a database, as a file that can be imported elsewhere."""

from __future__ import annotations

import click

from stepwell import __version__
from stepwell.cli.copying import as_json, store, tell, with_progress


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@store("The database: a SQLite file, or postgresql://….")
@as_json
def command(file: str, store: str, as_json: bool) -> None:
    """Write all that is in a database to FILE, or with - to standard output, as one moment sees it.

    It works while a server runs on the database. FILE is JSON Lines; with a name that ends with .gz it is compressed.
    """
    from stepwell.server.moving import export

    copied = with_progress("exporting", lambda progress: export(store, file, progress, version=__version__))
    tell(copied, f"{copied.rows:,} rows are in {file}.", as_json=as_json, err=file == "-", file=file)
