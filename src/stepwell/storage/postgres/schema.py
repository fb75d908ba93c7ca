"""Applies migrations to PostgreSQL: each in one transaction, together with its number, one process at a time.

All tables are in a schema of their own. The lock ends with the transaction, so that it also holds through a pooler that
gives each transaction another session (ADR 0034).
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Final, NamedTuple, Protocol

from stepwell.errors import ConfigurationError, StorageError
from stepwell.limits import SHARDS_DEFAULT, SHARDS_MAX
from stepwell.storage.migrations import Migration, migrations, too_new

SCHEMA: Final = "stepwell"

_LOCK: Final = "SELECT pg_advisory_xact_lock(8319385945374026860)"  # a number that nobody else uses: b"stepwell"
# For this transaction: a migration may take as long as it does, and finds the tables by their bare names.
_PREPARE: Final = f"SET LOCAL statement_timeout = 0; SET LOCAL search_path = {SCHEMA}"
_CREATE: Final = f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"
_CREATED: Final = f"SELECT to_regnamespace('{SCHEMA}') IS NOT NULL"
_SET_VERSION: Final = f"UPDATE {SCHEMA}.meta SET value = $1 WHERE key = 'schema'"
_SET_SHARDS: Final = f"UPDATE {SCHEMA}.meta SET value = $1 WHERE key = 'shards'"
_FILL_SHARDS: Final = f"""
INSERT INTO {SCHEMA}.shards (shard, version, swept_at) SELECT generate_series(0, $1::bigint - 1), 0, 0"""
# One look at all names, as one snapshot shows them: between two, another process may have made the tables.
_NAMES: Final = """
SELECT c.relname::text, c.relname = 'meta' AND (
  SELECT count(*) FROM pg_catalog.pg_attribute AS a
  WHERE a.attrelid = c.oid AND (a.attname, a.atttypid) IN (('key', 'text'::regtype), ('value', 'bigint'::regtype))) = 2
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = $1::text AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') ORDER BY 1"""
_META: Final = f"SELECT key, value FROM {SCHEMA}.meta WHERE key IN ('schema', 'epoch', 'shards')"
_SERVER: Final = """
SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), pg_is_in_recovery()"""

VERSION_MIN: Final = 130000
_DEADLOCK: Final = "40P01"
_TRIES: Final = 10
_NO_RIGHT: Final = "42501"  # insufficient_privilege, https://www.postgresql.org/docs/current/errcodes-appendix.html


class Connection(Protocol):
    """What is needed of a connection by asyncpg."""

    async def execute(self, query: str, *values: Any) -> str: ...

    async def fetch(self, query: str, *values: Any) -> list[Any]: ...

    def transaction(self) -> AbstractAsyncContextManager[Any]: ...


class Layout(NamedTuple):
    """How far the tables are: the number of the last migration, 0 if there are none, and the number of shards."""

    number: int
    shards: int


class Migrated(NamedTuple):
    """What became of the migrations: names of files. ``shards`` is how many the database has."""

    shards: int
    applied: tuple[str, ...]
    already: tuple[str, ...]


async def migrate(connection: Connection, where: str, *, shards: int | None = None) -> Migrated:
    """Apply what is missing. ``where`` names the database in errors, without a password.

    A new database gets so many ``shards``, by default ``SHARDS_DEFAULT``; one that has another number is refused with
    ``ConfigurationError``. Raises ``SchemaTooNew`` if the database knows more than this version, and ``StorageError``
    if the schema belongs to another program or may not be made.
    """
    refuse_shards(shards)
    known = migrations("postgres")
    before = await layout(connection, where)
    _refuse_other_shards(before, shards, where)
    try:
        after, applied = await apply(connection, where, known, before, shards or SHARDS_DEFAULT)
    except Exception as error:
        if getattr(error, "sqlstate", None) == _NO_RIGHT:
            raise _no_right(where, str(error)) from error
        raise
    _refuse_other_shards(after, shards, where)  # who made it meanwhile may have been told something else
    return Migrated(after.shards, tuple(applied), tuple(each.name for each in known if each.name not in applied))


async def apply(
    connection: Connection, where: str, known: list[Migration], found: Layout, shards: int
) -> tuple[Layout, list[str]]:
    """Apply those that are newer than what was found; what there is then, and the names of those that were applied.

    Processes of the version before go on meanwhile (ADR 0045), and lock tables in another order than a migration does:
    one that ends in a deadlock has changed nothing, and is tried again.
    """
    applied: list[str] = []
    for _ in range(_TRIES - 1):
        try:
            return await _apply(connection, where, known, found, shards, applied)
        except Exception as error:
            if getattr(error, "sqlstate", None) != _DEADLOCK:
                raise
    return await _apply(connection, where, known, found, shards, applied)


async def _apply(
    connection: Connection, where: str, known: list[Migration], found: Layout, shards: int, applied: list[str]
) -> tuple[Layout, list[str]]:
    if found.number == 0:
        await _refuse_server(connection, where)
    for migration in known:
        if found.number >= migration.number:
            continue  # the usual case takes no lock
        async with connection.transaction():
            await connection.execute(_LOCK)
            found = await layout(connection, where)  # asked again: another process may have been faster
            if found.number >= migration.number:
                continue
            # IF NOT EXISTS would ask for the right to create one also where an administrator has.
            if found.number == 0 and await connection.fetch(_CREATED) == [(False,)]:
                await connection.execute(_CREATE)
            await connection.execute(_PREPARE)
            await connection.execute(migration.text)
            await connection.execute(_SET_VERSION, migration.number)
            if found.number == 0:
                await connection.execute(_SET_SHARDS, shards)
                await connection.execute(_FILL_SHARDS, shards)
                found = Layout(0, shards)
        applied.append(migration.name)
        found = found._replace(number=migration.number)
    return found, applied


async def layout(connection: Connection, where: str) -> Layout:
    """How far the tables are. Changes nothing. Raises ``SchemaTooNew`` and ``StorageError``."""
    names = await connection.fetch(_NAMES, SCHEMA)
    if not names:
        return Layout(0, 0)
    found: dict[str, int] = {}
    if any(ours for _, ours in names):
        try:
            found = {str(key): int(value) for key, value in await connection.fetch(_META)}
        except Exception as error:
            if getattr(error, "sqlstate", None) == _NO_RIGHT:
                raise _no_right(where, str(error)) from error
            raise
    if not {"schema", "epoch", "shards"} <= found.keys():
        raise StorageError(
            what=f"the schema {SCHEMA!r} in {where} belongs to another program",
            why=f"it has tables of its own, such as {names[0][0]!r}, and is not one that Stepwell made",
            fix="name another database; Stepwell makes the schema if it is not there",
        )
    latest = migrations("postgres")[-1].number
    if found["schema"] > latest:
        raise too_new(where, found["schema"], latest)
    return Layout(found["schema"], found["shards"])


def pending(found: Layout, shards: int | None = None) -> list[str]:
    """The SQL that ``migrate`` would run on a database that is so far, one transaction after the other."""
    texts: list[str] = []
    for migration in migrations("postgres"):
        if migration.number <= found.number:
            continue
        first = migration.number == 1
        count = str(shards or SHARDS_DEFAULT)
        parts = [
            "BEGIN",
            *([_CREATE] if first else []),
            _PREPARE.replace("; ", ";\n"),
            f"-- {migration.name}\n{migration.text.strip().removesuffix(';')}",
            _SET_VERSION.replace("$1", str(migration.number)),
            *([_SET_SHARDS.replace("$1", count), _FILL_SHARDS.replace("$1::bigint", count)] if first else []),
            "COMMIT",
        ]
        texts.append(";\n".join(parts) + ";\n")
    return texts


def refuse_shards(shards: int | None) -> None:
    """Raises ``ConfigurationError`` for a number of shards that cannot be."""
    if shards is not None and (not 1 <= shards <= SHARDS_MAX or shards & (shards - 1)):
        raise ConfigurationError(
            what=f"a database cannot have {shards} shards",
            why=f"the number is a power of two from 1 to {SHARDS_MAX}: the last bits of an id say where it belongs",
            fix=f"leave it out, which means {SHARDS_DEFAULT}, or take a power of two",
        )


def _refuse_other_shards(found: Layout, shards: int | None, where: str) -> None:
    if found.number and shards is not None and shards != found.shards:
        raise ConfigurationError(
            what=f"{where} has {found.shards} shards, and {shards} were asked for",
            why="the number is fixed when the tables are made: ids say by it where their rows are",
            fix=f"leave the number out, or say {found.shards}; to change it, export into a new database",
        )


async def _refuse_server(connection: Connection, where: str) -> None:
    ((version, encoding, standby),) = await connection.fetch(_SERVER)
    if version < VERSION_MIN:
        raise StorageError(
            what=f"{where} is PostgreSQL {version // 10000}",
            why=f"Stepwell needs PostgreSQL {VERSION_MIN // 10000} or later",
            fix="upgrade the server, or name another one",
        )
    if encoding != "UTF8":
        raise StorageError(
            what=f"the database {where} has the encoding {encoding}",
            why="names and ids may have any character of Unicode",
            fix="create the database with ENCODING 'UTF8' TEMPLATE template0",
        )
    if standby:
        raise StorageError(
            what=f"{where} is a standby",
            why="it repeats what its primary writes, and takes no writes of its own",
            fix="name the primary; with several hosts in the URL add target_session_attrs=read-write",
        )


def _no_right(where: str, said: str) -> StorageError:
    return StorageError(
        what=f"this user may not use the schema {SCHEMA!r} in {where}: {said}",
        why="Stepwell keeps its tables in a schema of its own, and makes it unless it is there",
        fix=f"as an administrator of the database: CREATE SCHEMA {SCHEMA} AUTHORIZATION the_user; or, as the owner of "
        f"the tables, if they are there: GRANT USAGE ON SCHEMA {SCHEMA} TO the_user, and what else a server needs",
    )
