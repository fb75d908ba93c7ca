"""A process of the version before goes on while a newer one adds to its tables; one that starts then refuses them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import asyncpg
import pytest

from stepwell.errors import SchemaTooNew
from stepwell.storage.migrations import Migration, migrations
from stepwell.storage.postgres.schema import apply, layout
from stepwell.storage.postgres.store import PostgresStore
from stepwell.storage.tables import TABLES
from tests.meta.sources import ROOT
from tests.postgres import database
from tests.storage.conftest import postgres
from tests.storage.test_postgres_faults import SHARDS, Faults, script

pytestmark = pytest.mark.slow

LATEST = migrations("postgres")[-1].number
KEY = "0123456789abcdef" * 2
NEWER = "; ".join(
    [
        *(f'ALTER TABLE stepwell.{table.name} ADD COLUMN "a_new_one" text' for table in TABLES),
        "CREATE TABLE stepwell.newer (shard bigint NOT NULL, id text NOT NULL, PRIMARY KEY (shard, id))",
        "CREATE INDEX newer_runs ON stepwell.runs (shard, a_new_one)",
    ]
)
"""What a migration may do while the version before it serves (ADR 0045)."""


class Migrates(Faults):
    """Another process migrates while the statement of this number is on its way."""

    migrating: Future[None] | None = None

    def strike(self, text: str) -> str:
        if super().strike(text):
            # It waits for whoever is in a transaction, and these go on meanwhile.
            self.migrating = ThreadPoolExecutor(1).submit(asyncio.run, _migrated(self.url))
        return ""


async def _migrated(url: str) -> None:
    """As a newer version would."""
    connection = await asyncpg.connect(url)
    try:
        newer = [*migrations("postgres"), Migration(LATEST + 1, "newer", NEWER)]
        await apply(connection, "there", newer, await layout(connection, "there"), SHARDS)
    finally:
        await connection.close()


@pytest.fixture
def url() -> Iterator[str]:
    with database() as made:
        yield made


@pytest.mark.parametrize("number", [0, 3, 7, 12, 20, 30, 40])
async def test_a_process_that_runs_goes_on_while_a_newer_version_migrates(number: int, url: str):
    store = await asyncio.to_thread(postgres, SHARDS)
    expected = await script(store)
    await store.close()
    faults = Migrates(url, kind="migrate")
    store = await PostgresStore.open(url, here=True, shards=SHARDS, pool=3, connect=faults.connect)
    faults.seen.clear()
    faults.number = number

    found = await script(store)

    assert faults.migrating is not None
    await asyncio.wrap_future(faults.migrating)
    await store.close()
    assert found == expected
    with pytest.raises(SchemaTooNew, match=f"has schema {LATEST + 1}; this Stepwell knows schemas up to {LATEST}"):
        await PostgresStore.open(url, here=True)


class Struck:
    """A connection of which the next migrations end in a deadlock: so often."""

    def __init__(self, connection: Any, times: int) -> None:
        self._connection, self._times = connection, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def execute(self, text: str, *values: Any) -> Any:
        found = await self._connection.execute(text, *values)
        if text == NEWER and self._times:
            self._times -= 1
            raise asyncpg.DeadlockDetectedError("as if it had been chosen")
        return found


@pytest.mark.parametrize(("times", "applied"), [(3, True), (10, False)])
async def test_a_migration_that_ends_in_a_deadlock_is_tried_again(times: int, applied: bool, url: str):
    await _made(url)
    connection = await asyncpg.connect(url)
    before = await layout(connection, "there")
    newer = [*migrations("postgres"), Migration(LATEST + 1, "newer", NEWER)]

    try:
        with nullcontext() if applied else pytest.raises(asyncpg.DeadlockDetectedError):
            await apply(Struck(connection, times), "there", newer, before, SHARDS)
        schema = await connection.fetchval("SELECT value FROM stepwell.meta WHERE key = 'schema'")
        assert schema == LATEST + applied
    finally:
        await connection.close()


def test_a_server_that_starts_on_a_newer_schema_says_so_and_ends_before_it_writes(url: str):
    asyncio.run(_made(url))
    asyncio.run(_migrated(url))

    command = [sys.executable, "-m", "stepwell.cli", "start", "--store", url, "--port", "0"]
    keys = ["--event-key", KEY, "--signing-key", f"signkey-prod-{KEY}{KEY}"]
    said = subprocess.run([*command, *keys], cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert said.returncode == 1
    assert f"has schema {LATEST + 1}; this Stepwell knows schemas up to {LATEST}" in said.stderr
    assert "upgrade Stepwell here, or restore the backup made before the upgrade" in said.stderr


async def _made(url: str) -> None:
    await (await PostgresStore.open(url, here=True, shards=SHARDS)).close()
