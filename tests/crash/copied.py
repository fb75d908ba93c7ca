"""The tables of a PostgreSQL database as a SQLite file, row for row with their shards: so that one judge is enough.

It is no export, which writes what an installation is and leaves out what follows from it: this is what is there.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw
import asyncpg

from stepwell.storage.postgres.driver import Connection
from stepwell.storage.sqlite.driver import executor
from stepwell.storage.sqlite.schema import migrate
from stepwell.storage.tables import TABLES, Table

_SEEN = (
    "SELECT table_name::text FROM information_schema.columns WHERE table_schema = 'stepwell' AND column_name = 'seen'"
)


def copied(url: str, path: Path) -> None:
    """Write everything that is in the database to a new file."""
    with ThreadPoolExecutor(1) as thread:  # whoever asks may be on a loop already
        found = thread.submit(lambda: asyncio.run(_read(url))).result()
    file = apsw.Connection(str(path))
    execute = executor(file)
    migrate(execute, str(path))
    execute("BEGIN IMMEDIATE", ())
    for table, rows in found:
        columns = _columns(table)
        text = f"INSERT INTO {table.name} ({_quoted(columns)}) VALUES ({', '.join('?' * len(columns))})"
        for row in rows:
            execute(text, row)
    execute("COMMIT", ())
    file.close()


async def _read(url: str) -> list[tuple[Table, list[tuple[Any, ...]]]]:
    raw: Any = await asyncpg.connect(url)
    connection = Connection(raw, "")
    try:
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        ordered = {name for (name,) in await connection.fetch(_SEEN)}
        found = []
        for table in TABLES:
            order = " ORDER BY shard, seen" if table.name in ordered else ""
            text = f"SELECT {_quoted(_columns(table))} FROM stepwell.{table.name}{order}"
            found.append((table, await connection.fetch(text)))
        return found
    finally:
        await connection.close()


def _columns(table: Table) -> tuple[str, ...]:
    return (*(("shard",) if table.sharded else ()), *table.columns, *table.zero)


def _quoted(columns: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in columns)
