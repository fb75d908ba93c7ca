"""Through pgbouncer in transaction mode, of a version that knows nothing of prepared statements: the harder case."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from asyncpg import connection as driver  # pyright: ignore[reportMissingTypeStubs]

from stepwell.storage.postgres.connections import Connections
from stepwell.storage.postgres.direct import connected
from stepwell.storage.postgres.driver import Raw
from stepwell.storage.postgres.session import Session
from stepwell.storage.postgres.store import PostgresStore
from tests import postgres
from tests.meta.sources import ROOT
from tests.pooler import Pooler
from tests.postgres import asyncpg

SHARDS = 4


@pytest.fixture(scope="module")
def pooler() -> Iterator[Pooler]:
    made = Pooler(postgres.server(), pool=2)
    yield made
    made.close()


@pytest.fixture
def url(pooler: Pooler) -> Iterator[str]:
    """An empty database, through the pooler."""
    with postgres.database() as made:
        yield pooler.at(urlsplit(made).path[1:])


async def test_what_another_process_has_prepared_is_never_executed_in_place_of_our_own(
    url: str, monkeypatch: pytest.MonkeyPatch
):
    ours = await Session(url).connect()
    monkeypatch.setattr(driver, "_uid", 0)  # another process counts its statements from the beginning, too
    theirs = await Session(url).connect()
    monkeypatch.setattr(driver, "_uid", 0)

    # Given a session of the server for each, in which it prepares the first statement that it ever has
    await ours.execute("BEGIN")
    await theirs.execute("BEGIN")
    assert await _said(ours, "ours") == "ours"
    monkeypatch.setattr(driver, "_uid", 0)
    assert await _said(theirs, "theirs") == "theirs"

    # When they change places, which is the pooler's own affair
    await ours.execute("ROLLBACK")
    await theirs.execute("ROLLBACK")
    await ours.execute("BEGIN")

    # Then ours is refused, and not taken for theirs
    with pytest.raises(asyncpg.InvalidSQLStatementNameError):
        await _said(ours, "ours")
    ours.terminate()
    theirs.terminate()


async def _said(connection: Raw, word: str) -> Any:
    ((found,),) = await connection.fetch(f"SELECT '{word}' WHERE $1 = 1", 1)
    return found


@pytest.mark.slow
def test_processes_that_start_at_once_behind_a_pooler_all_do(url: str):
    """Each finds out by itself that what it prepares is not there in its next transaction."""
    text = """
import asyncio, sys
from stepwell.storage.postgres.store import PostgresStore
from stepwell.model.questions import RegistryStamp
async def main():
    store = await PostgresStore.open(sys.argv[1], here=True, shards=4)
    for _ in range(20):
        assert await store.now_ms() > 0
        await store.changed()
        await store.read(RegistryStamp())
    await store.close()
asyncio.run(main())
"""
    started = [
        subprocess.Popen([sys.executable, "-c", text, url], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [process.communicate(timeout=60)[1] for process in started]

    assert [process.returncode for process in started] == [0] * 4, said


async def test_connections_that_are_in_use_when_all_are_to_be_forgotten_are_so_when_they_come_back(url: str):
    connections = Connections(Session(url).connect, 2, lambda: "me")

    async with connections.borrow() as held:
        connections.forget()
        assert held.usable

    assert not held.usable
    async with connections.borrow() as another:
        assert another is not held
    async with connections.borrow() as again:
        assert again is another
    await connections.close()


async def test_who_looks_after_a_database_may_come_through_the_pooler(url: str):
    store = await PostgresStore.open(url, here=True, shards=SHARDS)
    await store.close()

    reading = await PostgresStore.reading(url)
    async with connected(url) as (connection, _):
        for _ in range(10):
            assert await connection.fetch("SELECT 1 WHERE $1 = 1", 1) == [(1,)]

    assert reading.shards == SHARDS
    await reading.close()
