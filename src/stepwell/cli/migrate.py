"""``stepwell migrate``: brings the tables of a database to what this version knows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
import msgspec

from stepwell.cli.options import not_empty, print_json
from stepwell.errors import ConfigurationError
from stepwell.limits import SHARDS_DEFAULT
from stepwell.storage.address import is_postgres


class Report(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was done, or would be. ``sql`` is only there for a dry run, ``distributed`` only with ``--citus``."""

    store: str
    dry_run: bool
    schema: int
    shards: int
    applied: tuple[str, ...]
    already: tuple[str, ...]
    distributed: tuple[str, ...] | None = None
    sql: tuple[str, ...] | None = None


@click.command()
@click.option(
    "--store",
    required=True,
    envvar="STEPWELL_STORE",
    callback=not_empty,
    metavar="FILE|URL",
    help="The database: a SQLite file, or postgresql://….",
)
@click.option("--shards", type=int, help="How many shards a new PostgreSQL database gets, for ever. Default: 16.")
@click.option("--citus", is_flag=True, help="Distribute the tables over the nodes of a Citus cluster.")
@click.option("--dry-run", is_flag=True, help="Print the SQL, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def command(store: str, shards: int | None, citus: bool, dry_run: bool, as_json: bool) -> None:
    """Bring a database's tables to what this version knows.

    A server does the same when it starts; this is for those who give it no right to change tables, and for a look at
    what an upgrade would do. It may be run again at any time, and while servers run.
    """
    if is_postgres(store):
        report = asyncio.run(_postgres(store, shards, citus, dry_run))
    else:
        if citus or shards is not None:
            raise ConfigurationError(
                what=f"the SQLite file {store} cannot be divided",
                why="one file is one shard, on one machine",
                fix="leave --shards and --citus out, or name a database as postgresql://…",
            )
        report = _sqlite(store, dry_run)
    if as_json:
        print_json(msgspec.json.encode(report))
    elif dry_run:
        click.echo("\n".join(report.sql or ()) or f"-- {report.store} is up to date: schema {report.schema}")
    else:
        _tell(report)


def _tell(report: Report) -> None:
    from stepwell.views.wording import count

    for name in report.applied:
        click.echo(f"applied      {name}")
    for name in report.already:
        click.echo(f"was there    {name}")
    for name in report.distributed or ():
        click.echo(f"distributed  {name}")
    divided = f", {count(report.shards, 'shard')}"
    click.echo(f"{report.store} is up to date: schema {report.schema}{divided}")


def _sqlite(path: str, dry_run: bool) -> Report:
    from stepwell.storage.migrations import migrations
    from stepwell.storage.sqlite.driver import executor
    from stepwell.storage.sqlite.files import Files
    from stepwell.storage.sqlite.looking import look
    from stepwell.storage.sqlite.schema import migrate, pending, version

    names = [(each.number, each.name) for each in migrations("sqlite")]
    found = look(path, lambda connection: version(executor(connection), path)) if Path(path).exists() else 0
    if dry_run:
        missing = tuple(name for number, name in names if number > found)
        sql: tuple[str, ...] | None = tuple(pending(found))
    else:
        files = Files(path, "full")
        connection = files.connect("writer")
        try:
            missing, sql = migrate(executor(connection), path), None
        finally:
            connection.close()
            files.close()
        found = names[-1][0]
    already = tuple(name for _, name in names if name not in missing)
    return Report(store=path, dry_run=dry_run, schema=found, shards=1, applied=missing, already=already, sql=sql)


async def _postgres(url: str, shards: int | None, citus: bool, dry_run: bool) -> Report:
    from stepwell.storage.migrations import migrations
    from stepwell.storage.postgres import citus as distribution
    from stepwell.storage.postgres.direct import connected
    from stepwell.storage.postgres.schema import layout, migrate, pending, refuse_shards

    refuse_shards(shards)
    names = [(each.number, each.name) for each in migrations("postgres")]
    async with connected(url) as (connection, where):
        if citus:
            await distribution.refuse_without(connection, where)  # before anything is changed
        distributed: tuple[str, ...] | None = None
        sql: tuple[str, ...] | None = None
        if dry_run:
            found = await layout(connection, where)
            missing = tuple(name for number, name in names if number > found.number)
            count, number = found.shards or shards or SHARDS_DEFAULT, found.number
            steps = await distribution.missing(connection, count) if citus else {}
            sql = (*pending(found, shards), *(f"{text};\n" for text in steps.values()))
        else:
            done = await migrate(connection, where, shards=shards)
            missing, count, number = done.applied, done.shards, names[-1][0]
            steps = await distribution.distribute(connection, count) if citus else {}
        if citus:
            distributed = tuple(steps)
    already = tuple(name for _, name in names if name not in missing)
    return Report(
        store=where,
        dry_run=dry_run,
        schema=number,
        shards=count,
        applied=missing,
        already=already,
        distributed=distributed,
        sql=sql,
    )
