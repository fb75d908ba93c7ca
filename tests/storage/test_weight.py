"""A database stops growing when retention takes away as much as comes: the benchmark of that, small."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import retention
from stepwell.storage.postgres.store import PostgresStore
from tests.postgres import asyncpg, database

GROWTH_MAX = 1.2
RUNS, WINDOW, CHUNK = 6_000, 300, 100


@pytest.fixture
def url() -> Iterator[str]:
    with database() as made:
        yield made


async def test_a_file_weighs_no_more_after_ten_times_as_many_runs(tmp_path: Path):
    early, late = await retention.on_sqlite(tmp_path, RUNS, WINDOW, CHUNK)

    assert (early.runs, late.runs) == (RUNS // 10, RUNS)
    assert late.size_bytes <= GROWTH_MAX * early.size_bytes


@pytest.mark.slow
async def test_tables_in_postgresql_weigh_no_more_after_ten_times_as_many_runs(url: str):
    await (await PostgresStore.open(url, shards=1)).close()

    early, late = await retention.on_postgres(url, RUNS, WINDOW, CHUNK, vacuums=True)

    assert (early.runs, late.runs) == (RUNS // 10, RUNS)
    assert late.size_bytes <= GROWTH_MAX * early.size_bytes


@pytest.mark.slow
async def test_shards_and_marks_are_rewritten_in_place(url: str):
    """None of their columns that change is in an index, and their pages have room."""
    await (await PostgresStore.open(url, shards=4)).close()
    connection = await asyncpg.connect(url)
    await connection.execute("INSERT INTO stepwell.commits (shard, writer, number, at) VALUES (0, 'w', 0, 0)")
    texts = (
        "UPDATE stepwell.shards SET version = version + 1, swept_at = i WHERE shard = 0",
        "UPDATE stepwell.commits SET number = i, at = i WHERE shard = 0 AND writer = 'w'",
    )
    for text in texts:
        await connection.execute(f"DO $$ BEGIN FOR i IN 1..3000 LOOP {text}; COMMIT; END LOOP; END $$")
    await connection.execute("SELECT pg_stat_force_next_flush()")

    found = await connection.fetch(
        "SELECT relname::text, n_tup_hot_upd, pg_relation_size(relid) FROM pg_stat_user_tables"
        " WHERE schemaname = 'stepwell' AND relname IN ('shards', 'commits')"
    )
    await connection.close()

    assert len(found) == 2
    for name, in_place, size in found:
        assert in_place == 3_000, name
        assert size <= 4 * 8_192, name


@pytest.mark.slow
async def test_autovacuum_comes_early_to_every_table_that_grows_and_shrinks(url: str):
    await (await PostgresStore.open(url)).close()
    connection = await asyncpg.connect(url)
    found = dict(
        map(tuple, await connection.fetch("SELECT relname::text, reloptions::text FROM pg_class WHERE relkind = 'r'"))
    )
    await connection.close()

    told = {name for name, options in found.items() if "autovacuum_vacuum_scale_factor" in (options or "")}
    assert told == {
        *("events", "outcomes", "runs", "run_events", "steps", "attempts", "notes", "metadata", "logs"),
        *("items", "waits", "requests", "cells", "slots", "audit", "listeners", "postings"),
    }
