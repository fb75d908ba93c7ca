"""Which backend an installation is copied from or to: the composition root of the commands that copy."""

from __future__ import annotations

from contextlib import AsyncExitStack

from stepwell.clock import SystemClock
from stepwell.engine.keyed import place_of_cell, place_of_timer
from stepwell.errors import ConfigurationError, StorageError
from stepwell.ids import RandomIds
from stepwell.storage.address import is_postgres
from stepwell.storage.exports import ExportSource, ExportTarget
from stepwell.storage.homes import Keyed
from stepwell.storage.moving import Copied, Progress, Source, Target, copy
from stepwell.storage.sqlite.backup import backup
from stepwell.storage.sqlite.moving import SqliteSource, SqliteTarget


async def export(store: str, path: str, progress: Progress, *, version: str) -> Copied:
    """Write all that is in a store to a file that does not exist yet, as one moment saw it. ``"-"`` is standard output.
    ``version`` is the one of Stepwell that does it.

    Raises ``StorageError``.
    """
    async with AsyncExitStack() as stack:
        source = await source_of(store, version)
        stack.push_async_callback(source.close)
        target = ExportTarget(path)
        stack.push_async_callback(target.close)
        return await copy(source, target, progress)


async def import_file(path: str, store: str, progress: Progress, *, shards: int | None = None) -> Copied:
    """Read such a file into a store that is empty, or where an import of this very file has begun.

    ``shards`` is for a PostgreSQL database that has no tables yet. Raises ``InvalidExport`` and ``StorageError``.
    """
    async with AsyncExitStack() as stack:
        source = ExportSource(path)
        stack.push_async_callback(source.close)
        target = await target_of(store, path, shards=shards)
        stack.push_async_callback(target.close)
        return await copy(source, target, progress)


def refuse_shards_of_file(store: str, shards: int | None) -> None:
    """Raises ``ConfigurationError`` if a file is to have several shards."""
    if shards is not None and not is_postgres(store):
        raise ConfigurationError(
            what=f"the SQLite file {store} cannot be divided",
            why="one file is one shard, on one machine",
            fix="leave --shards out, or name a database as postgresql://…",
        )


async def source_of(store: str, version: str) -> Source:
    """What a store holds at this moment. Raises ``StorageError``."""
    now = SystemClock().now_ms()
    id = RandomIds().ulid(now)
    if not is_postgres(store):
        return SqliteSource(store, id=id, stepwell=version, made_at=now)
    from stepwell.storage.postgres.moving import PostgresSource

    return await PostgresSource.open(store, id=id, stepwell=version, made_at=now)


async def target_of(store: str, origin: str, *, shards: int | None = None) -> Target:
    """A store that is empty; ``shards`` is for a PostgreSQL database without tables. Raises ``StorageError``."""
    if not is_postgres(store):
        return SqliteTarget(store, origin)
    from stepwell.storage.postgres.moving import PostgresTarget

    return await PostgresTarget.open(store, origin, shards=shards, keyed=Keyed(place_of_cell, place_of_timer))


def backup_file(store: str, path: str, progress: Progress) -> int:
    """Copy a SQLite file, with a server running on it, to one that does not exist yet. How many bytes it has.

    Raises ``StorageError``.
    """
    if is_postgres(store):
        raise StorageError(
            what="a PostgreSQL database is not backed up by Stepwell",
            why="it has tools of its own, which go on from where a backup ended (point-in-time recovery)",
            fix="use pg_dump, or the backups of whoever runs it for you; a copy that can be moved to another kind of "
            "database is made by 'stepwell export'",
        )
    return backup(store, path, progress)
