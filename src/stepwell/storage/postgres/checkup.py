"""Looks at a PostgreSQL database as a doctor: how the server is set, what may be done there, and whether rows fit
together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from stepwell.clock import Clock
from stepwell.errors import StepwellError
from stepwell.storage.checkup import Check, Finding, State, findings, questions
from stepwell.storage.migrations import migrations
from stepwell.storage.postgres.citus import DISTRIBUTED, REFERENCE, missing, present
from stepwell.storage.postgres.driver import Connection as Reading
from stepwell.storage.postgres.schema import SCHEMA, VERSION_MIN, Layout, layout

_SETTINGS: Final = """
SELECT name, setting FROM pg_catalog.pg_settings
WHERE name IN ('server_version_num', 'server_version', 'server_encoding', 'max_connections', 'fsync', 'autovacuum',
  'full_page_writes', 'synchronous_commit')"""
_DANGERS: Final = {
    "fsync": ("a failure of power or of the system can destroy the database", State.WRONG),
    "full_page_writes": ("a failure of power can leave half-written pages", State.WRONG),
    "autovacuum": ("rows that change all the time make the tables grow without end", State.WARNING),
}
_RECOVERY: Final = "SELECT pg_is_in_recovery()"
_USED: Final = "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend'"
_TIME: Final = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_SESSION: Final = "SELECT pg_backend_pid()"
_RIGHTS: Final = f"""
SELECT t.name FROM unnest($1::text[]) AS t (name) WHERE EXISTS (
  SELECT 1 FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS r (name)
  WHERE NOT has_table_privilege('{SCHEMA}.' || t.name, r.name))"""
_SHARDS: Final = f"SELECT count(*), coalesce(min(shard), 0), coalesce(max(shard), -1) FROM {SCHEMA}.shards"
_FURTHEST: Final = f"SELECT greatest((SELECT max(shard) FROM {SCHEMA}.runs), (SELECT max(shard) FROM {SCHEMA}.events))"

_LEFT_MIN: Final = 10  # a server's pool and a person beside it
_SKEW_MS_MAX: Final = 1_000


async def checks(connection: Any, where: str, clock: Clock) -> list[Check]:
    """The server, the way to it, and the schema, on a connection by asyncpg. Changes nothing."""
    settings = {str(name): str(value) for name, value in await connection.fetch(_SETTINGS)}
    found = list(_server(settings))
    ((standby,),) = await connection.fetch(_RECOVERY)
    if standby:
        found.append(
            Check(
                name="primary",
                state=State.WRONG,
                says="this is a standby, which takes no writes",
                fix="name the primary; with several hosts add target_session_attrs=read-write to the URL",
            )
        )
    found += [check async for check in _connections(connection, settings)]
    found.append(await _clock(connection, clock))
    found += [check async for check in _pooler(connection)]
    found += [check async for check in _schema(connection, where)]
    return found


async def inconsistencies(connection: Any) -> tuple[list[Finding], int]:
    """What the rows of one snapshot should not be to each other, and the moment of that by the database's clock."""
    found: list[Finding] = []
    reading = Reading(connection, "doctor")
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute(f"SET LOCAL search_path = {SCHEMA}")
        ((now,),) = await connection.fetch(_TIME)
        for look, text in questions(now):
            found += findings(look, await reading.fetch(text))
    return found, now


def _server(settings: Mapping[str, str]) -> list[Check]:
    number, version = int(settings["server_version_num"]), settings["server_version"]
    found = [Check(name="server", says=f"PostgreSQL {version}")]
    if number < VERSION_MIN:
        least = VERSION_MIN // 10_000
        found = [
            Check(name="server", state=State.WRONG, says=f"PostgreSQL {version}", fix=f"upgrade it to {least} or later")
        ]
    if settings["server_encoding"] != "UTF8":
        found.append(
            Check(
                name="encoding",
                state=State.WRONG,
                says=f"the database has the encoding {settings['server_encoding']}, which lacks characters",
                fix="create it with ENCODING 'UTF8' TEMPLATE template0",
            )
        )
    for name, (danger, state) in _DANGERS.items():
        if settings[name] == "on":
            found.append(Check(name=name, says="on"))
        else:
            found.append(
                Check(name=name, state=state, says=f"it is off: {danger}", fix=f"ALTER SYSTEM SET {name} = on")
            )
    commit = settings["synchronous_commit"]
    if commit == "off":
        found.append(
            Check(
                name="synchronous_commit",
                state=State.WRONG,
                says="it is off for this user: what was acknowledged last can be lost, and a step can run again",
                fix="set it to on, for the server or for this user (ALTER ROLE … SET synchronous_commit = on)",
            )
        )
    else:
        found.append(Check(name="synchronous_commit", says=commit))
    return found


async def _connections(connection: Any, settings: Mapping[str, str]) -> AsyncIterator[Check]:
    ((used,),) = await connection.fetch(_USED)
    most = int(settings["max_connections"])
    if most - used < _LEFT_MIN:
        yield Check(
            name="max_connections",
            state=State.WARNING,
            says=f"{used} of {most} connections are in use",
            fix="raise it, give each server a smaller pool, or put a pooler in transaction mode between",
        )
    else:
        yield Check(name="max_connections", says=f"{used} of {most} in use")


async def _clock(connection: Any, clock: Clock) -> Check:
    before = clock.now_ms()
    ((there,),) = await connection.fetch(_TIME)
    after = clock.now_ms()
    skew = there - (before + after) // 2
    if abs(skew) <= _SKEW_MS_MAX + (after - before) // 2:
        return Check(name="clock", says=f"{abs(skew)} ms apart from this machine's")
    return Check(
        name="clock",
        state=State.WARNING,
        says=f"the database's clock is {abs(skew)} ms {'ahead of' if skew > 0 else 'behind'} this machine's",
        fix="set both by NTP: servers go by the database's clock, and your logs by the machine's",
    )


async def _pooler(connection: Any) -> AsyncIterator[Check]:
    """A pooler makes up the number of a session that it tells when it is connected to."""
    async with connection.transaction(readonly=True):
        ((first,),) = await connection.fetch(_SESSION)
        ((second,),) = await connection.fetch(_SESSION)
    if first != second:
        yield Check(
            name="pooler",
            state=State.WRONG,
            says="a pooler gives each statement another session, so that no transaction is one",
            fix="set it to transaction mode (pool_mode = transaction), or connect without it",
        )
    elif first != connection.get_server_pid():
        yield Check(name="pooler", says="there is one between, and it keeps transactions together")
    else:
        yield Check(name="pooler", says="none")


async def _schema(connection: Any, where: str) -> AsyncIterator[Check]:
    try:
        found = await layout(connection, where)
    except StepwellError as error:
        yield Check(name="schema", state=State.WRONG, says=error.what, fix=error.fix)
        return
    latest = migrations("postgres")[-1].number
    if found.number < latest:
        lacks = (
            f"it has schema {found.number}, this version needs {latest}" if found.number else "there are no tables yet"
        )
        yield Check(
            name="schema",
            state=State.WRONG,
            says=lacks,
            fix="start a server of this version on it, or 'stepwell migrate'",
        )
        return
    yield Check(name="schema", says=f"schema {found.number}, {found.shards} shards")
    denied = [name for (name,) in await connection.fetch(_RIGHTS, [*DISTRIBUTED, *REFERENCE])]
    if denied:
        yield Check(
            name="rights",
            state=State.WRONG,
            says=f"this user may not read and write {', '.join(denied)}",
            fix=f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {SCHEMA} TO the_user",
        )
        return
    async for check in _shards(connection, found):
        yield check
    if await present(connection):
        left = list(await missing(connection, found.shards))
        if left:
            yield Check(
                name="citus",
                state=State.WARNING,
                says=f"Citus is there, and {', '.join(left)} are on one node",
                fix="'stepwell migrate --citus' distributes them",
            )


async def _shards(connection: Any, found: Layout) -> AsyncIterator[Check]:
    ((count, lowest, highest),) = await connection.fetch(_SHARDS)
    ((furthest,),) = await connection.fetch(_FURTHEST)
    if (count, lowest, highest) != (found.shards, 0, found.shards - 1):
        yield Check(
            name="shards",
            state=State.WRONG,
            says=f"the table of shards has {count} of {found.shards}: nothing can be decided in the others",
            fix="restore it: one row for each number from 0, version 0 where it is not known",
        )
    elif furthest is not None and furthest >= found.shards:
        yield Check(
            name="shards",
            state=State.WRONG,
            says=f"there are rows in shard {furthest}, and only {found.shards} shards: nobody will find them",
            fix="somebody has changed the number in the table meta: set it back",
        )
