"""Spreads the tables over the nodes of a Citus cluster: what has a shard by the shard, all else on every node.

https://docs.citusdata.com/en/stable/develop/api_udf.html. Tables that are distributed already are left as they are, so
it may be run again after each migration.
"""

from __future__ import annotations

from typing import Final

from stepwell.errors import ConfigurationError
from stepwell.storage.postgres.schema import SCHEMA, Connection

DISTRIBUTED: Final = (
    # The first is what the others are placed beside.
    *("runs", "shards", "commits", "events", "outcomes", "run_events", "steps", "attempts", "notes", "metadata"),
    *("logs", "items", "waits", "requests", "orders", "cells", "slots", "audit"),
)
"""Tables whose rows belong to a shard."""

REFERENCE: Final = (
    *("meta", "moves", "functions", "function_versions", "standing_orders", "apps", "users", "sessions"),
    *("listeners", "postings"),
)
"""Tables that belong to no shard: small, and the same on every node."""

# Citus puts rows where the hash of the shard says, so with as many parts as shards some would have several and others
# none. With more there is less of that; each is a table of its own on a node for each of ours.
_PARTS_PER_SHARD: Final = 2
_PARTS_MIN: Final = 32  # what Citus makes if nobody says

_EXTENSION: Final = """
SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'citus'),
  EXISTS (SELECT 1 FROM pg_catalog.pg_available_extensions WHERE name = 'citus')"""
_SPREAD: Final = """
SELECT c.relname::text FROM pg_catalog.pg_dist_partition AS d
JOIN pg_catalog.pg_class AS c ON c.oid = d.logicalrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = $1::text"""


async def present(connection: Connection) -> bool:
    """Whether the extension is there."""
    ((there, _),) = await connection.fetch(_EXTENSION)
    return bool(there)


async def refuse_without(connection: Connection, where: str) -> None:
    """Raises ``ConfigurationError`` where there is no Citus."""
    ((there, available),) = await connection.fetch(_EXTENSION)
    if there:
        return
    if available:
        raise ConfigurationError(
            what=f"the extension citus is not created in {where}",
            why="it is installed on the server, and each database has to ask for it",
            fix="as a superuser: CREATE EXTENSION citus on every node, then citus_add_node for each worker",
        )
    raise ConfigurationError(
        what=f"there is no extension citus in {where}",
        why="the tables are distributed over several PostgreSQL servers by Citus, which this server has not installed",
        fix="leave --citus out: one PostgreSQL needs none; or install Citus (https://docs.citusdata.com) and try again",
    )


def statements(shards: int) -> dict[str, str]:
    """What distributes each table of a database of so many shards, in this order."""
    first, *others = DISTRIBUTED
    parts = max(_PARTS_MIN, _PARTS_PER_SHARD * shards)
    texts = {
        first: f"SELECT create_distributed_table('{SCHEMA}.{first}', 'shard', shard_count => {parts},"
        " colocate_with => 'none')"
    }
    for table in others:
        texts[table] = (
            f"SELECT create_distributed_table('{SCHEMA}.{table}', 'shard', colocate_with => '{SCHEMA}.{first}')"
        )
    for table in REFERENCE:
        texts[table] = f"SELECT create_reference_table('{SCHEMA}.{table}')"
    return texts


async def missing(connection: Connection, shards: int) -> dict[str, str]:
    """``statements`` for the tables that are not distributed yet. The extension must be there."""
    there = {name for (name,) in await connection.fetch(_SPREAD, SCHEMA)}
    return {table: text for table, text in statements(shards).items() if table not in there}


async def distribute(connection: Connection, shards: int) -> dict[str, str]:
    """Do it, each table in a transaction of its own: one that is killed goes on when it is called again."""
    texts = await missing(connection, shards)
    for text in texts.values():
        await connection.execute(text)
    return texts
