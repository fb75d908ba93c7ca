"""A process of the version before goes on while a newer one adds to its tables; one that starts then refuses them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from stepwell.errors import SchemaTooNew
from stepwell.storage.migrations import migrations
from stepwell.storage.postgres.store import PostgresStore
from stepwell.storage.tables import TABLES
from tests.meta.sources import ROOT
from tests.postgres import administrate, database
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
        f"UPDATE stepwell.meta SET value = {LATEST + 1} WHERE key = 'schema'",
    ]
)
"""What a migration may do while the version before it serves (ADR 0045)."""


class Migrates(Faults):
    """Another process migrates while the statement of this number is on its way."""

    migrating: Future[None] | None = None

    def strike(self, text: str) -> str:
        if super().strike(text):
            # It waits for whoever is in a transaction, and these go on meanwhile.
            self.migrating = ThreadPoolExecutor(1).submit(administrate, NEWER, self.url)
        return ""


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
    store = await PostgresStore.open(url, shards=SHARDS, pool=3, connect=faults.connect)
    faults.seen.clear()
    faults.number = number

    found = await script(store)

    assert faults.migrating is not None
    await asyncio.wrap_future(faults.migrating)
    await store.close()
    assert found == expected
    with pytest.raises(SchemaTooNew, match=f"has schema {LATEST + 1}; this Stepwell knows schemas up to {LATEST}"):
        await PostgresStore.open(url)


def test_a_server_that_starts_on_a_newer_schema_says_so_and_ends_before_it_writes(url: str):
    asyncio.run(_made(url))
    administrate(NEWER, url)

    command = [sys.executable, "-m", "stepwell.cli", "start", "--store", url, "--port", "0"]
    keys = ["--event-key", KEY, "--signing-key", f"signkey-prod-{KEY}{KEY}"]
    said = subprocess.run([*command, *keys], cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert said.returncode == 1
    assert f"has schema {LATEST + 1}; this Stepwell knows schemas up to {LATEST}" in said.stderr
    assert "upgrade Stepwell here, or restore the backup made before the upgrade" in said.stderr


async def _made(url: str) -> None:
    await (await PostgresStore.open(url, shards=SHARDS)).close()
