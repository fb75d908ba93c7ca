"""Databases that an older version has left, with runs in every state: this version takes them over and ends them.

``frozen/make.py`` makes them. Those of versions that were released stay as they are.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import pytest

from stepwell.storage.migrations import migrations
from stepwell.storage.sqlite.driver import executor
from stepwell.testing.audit import audit_file
from tests.crash.cluster import wait_until
from tests.crash.copied import copied
from tests.edge.frozen import app as frozen
from tests.postgres import administrate, ask, database

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent / "frozen"
PATIENCE_S = 150.0  # those that were frozen a moment ago rest for two minutes yet
LEFT = """
SELECT (SELECT count(*) FROM {0}runs WHERE ended_at IS NULL AND function_id <> 'frozen-ticking')
  + (SELECT count(*) FROM {0}items WHERE kind = 'window')"""
RUNS = "SELECT id, function_id, status, output FROM {0}runs"
DONE = "SELECT run_id, name FROM {0}steps WHERE ended_at IS NOT NULL AND kind = 'run'"


def versions(backend: str) -> list[int]:
    return sorted(int(path.stem.rpartition("-")[2]) for path in FOLDER.glob(f"{backend}-*.sql"))


def texts(backend: str, version: int) -> str:
    return (FOLDER / f"{backend}-{version}.sql").read_text()


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_there_is_one_of_each_version(backend: str):
    assert versions(backend) == [each.number for each in migrations(backend)], "python -m tests.edge.frozen.make"


@pytest.mark.parametrize("version", versions("sqlite"))
def test_the_migrations_of_a_file_that_was_frozen_are_what_they_were(version: int):
    """Whoever changes a migration that others have applied has tables that they do not have."""
    old, new = apsw.Connection(":memory:"), apsw.Connection(":memory:")
    old.execute(texts("sqlite", version))
    execute = executor(new)
    for migration in migrations("sqlite")[:version]:
        execute(migration.text)

    assert _tables(old) == _tables(new), "if it was not released yet: python -m tests.edge.frozen.make"


@pytest.mark.parametrize("version", versions("postgres"))
def test_the_migrations_of_a_database_that_was_frozen_are_what_they_were(version: int):
    with database() as old, database() as new:
        administrate(texts("postgres", version), old)
        administrate("CREATE SCHEMA stepwell", new)
        for migration in migrations("postgres")[:version]:
            administrate(f"BEGIN; SET LOCAL search_path = stepwell; {migration.text}; COMMIT", new)

        assert _columns(old) == _columns(new), "if it was not released yet: python -m tests.edge.frozen.make"
        assert _indexes(old) == _indexes(new)


@pytest.mark.parametrize("version", versions("sqlite"))
async def test_what_an_older_version_left_in_a_file_comes_to_its_end(version: int, tmp_path: Path):
    path = tmp_path / "frozen.db"
    connection = apsw.Connection(str(path))
    connection.execute(texts("sqlite", version))
    connection.close()

    def look(text: str) -> list[Any]:
        reading = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        reading.set_busy_timeout(5_000)
        try:
            return reading.execute(text.format("")).fetchall()
        finally:
            reading.close()

    await _comes_to_its_end(str(path), look)

    assert [str(each) for each in audit_file(path)] == []


@pytest.mark.parametrize("version", versions("postgres"))
async def test_what_an_older_version_left_in_a_database_comes_to_its_end(version: int, url: str, tmp_path: Path):
    await asyncio.to_thread(administrate, texts("postgres", version), url)

    await _comes_to_its_end(url, lambda text: ask(url, text.format("stepwell.")))

    await asyncio.to_thread(copied, url, tmp_path / "copied.db")
    assert [str(each) for each in audit_file(tmp_path / "copied.db")] == []


@pytest.fixture
def url() -> Iterator[str]:
    with database() as made:
        yield made


async def _comes_to_its_end(place: str, look: Callable[[str], list[Any]]) -> None:
    before = await asyncio.to_thread(look, RUNS)
    done = {(run, name) for run, name in await asyncio.to_thread(look, DONE)}
    assert len(before) > 100
    frozen.began.clear()

    async with frozen.app.embedded(place, retention=None, grace="1s") as engine:
        assert await engine.resume("paused")
        quiet = partial(wait_until, lambda: look(LEFT)[0][0] == 0, "all have ended", PATIENCE_S)
        await asyncio.to_thread(quiet)

    runs = await asyncio.to_thread(look, RUNS)
    assert {run[0] for run in before} <= {run[0] for run in runs}
    for run_id, function_id, status, output in runs:
        function = function_id.removeprefix("frozen-")
        if function in ("failed", "cancelled"):
            assert status == function.upper()
        elif function != "ticking" or status == "COMPLETED":
            assert (status, json.loads(output)) == ("COMPLETED", frozen.OUTPUTS[function]), (run_id, function)
    assert {run[1].removeprefix("frozen-") for run in runs} >= frozen.OUTPUTS.keys() - {"ticking"}
    assert not done & frozen.began.keys(), "what had its result does not begin again"
    assert max(frozen.began.values()) == 1


def _tables(connection: apsw.Connection) -> list[Any]:
    found = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2").fetchall()
    return [(kind, name, sql and re.sub(r"\s+", " ", sql)) for kind, name, sql in found]


def _columns(url: str) -> list[Any]:
    return ask(
        url,
        "SELECT table_name::text, column_name::text, data_type::text, is_nullable::text, collation_name::text"
        " FROM information_schema.columns WHERE table_schema = 'stepwell' ORDER BY 1, 2",
    )


def _indexes(url: str) -> list[Any]:
    return ask(url, "SELECT indexdef FROM pg_indexes WHERE schemaname = 'stepwell' ORDER BY 1")
