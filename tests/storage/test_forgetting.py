"""No table keeps a row of a run that retention forgot: asked of the tables that there are, not of those we think of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import pytest

from stepwell.storage.interface import Store, Swept
from stepwell.storage.sqlite import SqliteStore
from tests.storage.conftest import postgres

OLD, KEPT = "01OLD0000000000000000000A0", "01KEPT000000000000000000A0"
OF_NO_RUN = {
    "meta": "numbers of the database",
    "moves": "copies of the installation",
    "shards": "a row for each shard",
    "commits": "a row for each connection that writes",
    "functions": "registered",
    "function_versions": "the newest of each function",
    "standing_orders": "given by operators until they take them back",
    "apps": "registered",
    "users": "made by people until they remove them",
    "sessions": "forgotten when they expire",
    "audit": "what people did, forgotten a year later",
    "orders": "about many runs, forgotten by their own end",
    "cells": "named by keys, forgotten when they expire",
    "listeners": "forgotten when they expire",
    "postings": "forgotten when they expire",
}
# A row that is forgotten with a run says so by one of these, in this order.
NAMES_RUN = ("run_id", "holder")


class Column(NamedTuple):
    table: str
    name: str
    kind: str


class Database(NamedTuple):
    store: Store
    execute: Callable[[str, tuple[Any, ...]], list[tuple[Any, ...]]]
    columns: list[Column]
    schema: str
    mark: str  # of a parameter

    @property
    def tables(self) -> dict[str, list[Column]]:
        found: dict[str, list[Column]] = {}
        for column in self.columns:
            found.setdefault(column.table, []).append(column)
        return found


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    made = _sqlite(tmp_path / "s.db") if request.param == "sqlite" else _postgres()
    yield made
    asyncio.run(made.store.close())


def test_each_table_is_forgotten_with_a_run_or_said_to_have_nothing_of_runs(database: Database):
    silent = {name for name, columns in database.tables.items() if _run_column(name, columns) is None}

    assert silent - OF_NO_RUN.keys() == set()
    assert OF_NO_RUN.keys() - database.tables.keys() <= {"shards", "commits"}


def test_nothing_of_a_run_is_left_in_any_table(database: Database):
    for run in (OLD, KEPT):
        _fill(database, run, ended_at=50 if run == OLD else 500)

    asyncio.run(_sweep(database.store))

    for name in database.tables:
        if name not in OF_NO_RUN:
            assert _mentions(database, name, OLD) == 0, name
            assert _mentions(database, name, KEPT) > 0, name


async def _sweep(store: Store) -> None:
    assert await store.sweep(100, 10) == Swept(runs=1, events=1, more=False)


def _fill(database: Database, run: str, ended_at: int) -> None:
    """A row of the run in each table that may have one, with the run's id in each text."""
    known = {
        "ended_at": ended_at,
        "received_at": 10,
        "run_id": run,
        "shard": 0,
        "status": "COMPLETED",
        "event_id": f"E{run[1:]}",
    }
    ids = {"runs": [run], "events": [f"E{run[1:]}"], "items": [run, f"{run}/start"]}
    for name, columns in database.tables.items():
        for row_id in [] if name in OF_NO_RUN else ids.get(name, [f"{run}-x"]):
            values: list[Any] = []
            for column in columns:
                text: Any = row_id if column.name == "id" else f"{run}/x"
                kinds: dict[str, Any] = {"text": text, "int": 1, "blob": b"1"}
                values.append(known.get(column.name, kinds[column.kind]))
            quoted = ", ".join(f'"{column.name}"' for column in columns)
            marks = ", ".join(f"{database.mark}{number}" for number in range(1, len(columns) + 1))
            database.execute(f"INSERT INTO {database.schema}{name} ({quoted}) VALUES ({marks})", tuple(values))


def _mentions(database: Database, table: str, run: str) -> int:
    texts = [column.name for column in database.tables[table] if column.kind == "text"]
    where = " OR ".join(f'"{name}" LIKE {database.mark}1' for name in texts)
    ((count,),) = database.execute(f"SELECT count(*) FROM {database.schema}{table} WHERE {where}", (f"%{run[1:]}%",))
    return int(count)


def _run_column(table: str, columns: list[Column]) -> str | None:
    if table in ("runs", "events"):
        return "id"
    return next((name for name in NAMES_RUN if any(column.name == name for column in columns)), None)


def _sqlite(path: Path) -> Database:
    store = SqliteStore.open(path, leader=False)

    def execute(text: str, row: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        connection = apsw.Connection(str(path))
        try:
            return connection.execute(text, row).fetchall()
        finally:
            connection.close()

    kinds = {"TEXT": "text", "INTEGER": "int", "BLOB": "blob"}
    found = execute(
        "SELECT t.name, c.name, c.type FROM pragma_table_list AS t, pragma_table_info(t.name) AS c"
        " WHERE t.schema = 'main' AND t.name NOT LIKE 'sqlite%'",
        (),
    )
    columns = [Column(table, name, kinds[kind]) for table, name, kind in found]
    return Database(store, execute, columns, "", "?")


def _postgres() -> Database:
    from tests.postgres import ask, emptied

    store = postgres(shards=1)
    url = emptied(1)

    def execute(text: str, row: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return ask(url, text, *row)

    kinds = {"text": "text", "bigint": "int", "bytea": "blob"}
    found = execute(
        "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns"
        " WHERE table_schema = 'stepwell' ORDER BY table_name, ordinal_position",
        (),
    )
    columns = [Column(table, name, kinds[kind]) for table, name, kind in found]
    return Database(store, execute, columns, "stepwell.", "$")
