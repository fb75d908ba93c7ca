"""Retention on PostgreSQL: each shard by whoever comes first, and none that has nothing old is held."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from stepwell.model.changes import CreateRun, FinishRun
from stepwell.model.questions import ListRuns
from stepwell.storage.interface import Swept
from stepwell.storage.postgres.store import PostgresStore
from tests.postgres import asyncpg, database
from tests.storage.nouns import run, write

NOW = 1_000_000


@pytest.fixture
def url() -> Iterator[str]:
    with database() as made:
        yield made


async def test_of_two_processes_one_makes_the_rounds_of_a_shard_and_the_other_goes_on_when_it_stops(url: str):
    one, other = await PostgresStore.open(url, here=True, shards=2), await PostgresStore.open(url, here=True)
    for number in range(6):
        await _ended(one, f"R{number}", place=0)

    first = await one.sweep(100, 2, now=NOW)
    meanwhile = await other.sweep(100, 2, now=NOW + 39)
    then = await one.sweep(100, 2, now=NOW + 50)
    after_it = await other.sweep(100, 10, now=NOW + 50 + 41)
    await one.close()
    await other.close()

    assert [first.runs, then.runs, after_it.runs] == [2, 2, 2]
    assert meanwhile == Swept(runs=0, events=0, more=False)
    assert not after_it.more


async def test_a_process_that_looked_while_another_made_the_round_takes_nothing_more(url: str):
    """Both have looked before one of them has the lock; the clock of the second is behind."""
    one, other = await PostgresStore.open(url, here=True, shards=1), await PostgresStore.open(url, here=True)
    for number in range(4):
        await _ended(one, f"R{number}", place=0)
    look = other._retention._read

    async def look_late(work: Any) -> Any:
        found = await look(work)
        if getattr(found, "runs", None):
            await one.sweep(100, 2, now=NOW)
        return found

    other._retention._read = look_late
    late = await other.sweep(100, 3, now=NOW + 20)
    left = len(await one.read(ListRuns(10)))
    await one.close()
    await other.close()

    assert late.runs == 0
    assert left == 2


async def test_shards_with_more_than_a_round_may_forget_take_turns(url: str):
    store = await PostgresStore.open(url, here=True, shards=4)
    for number in range(12):
        await _ended(store, f"R{number:02}", place=number % 4)

    rounds = [await store.sweep(100, 2, now=NOW + 50 * number) for number in range(5)]
    await store.close()

    assert [each.runs for each in rounds] == [2, 2, 2, 2, 4]
    assert [each.more for each in rounds] == [True] * 4 + [False]


async def test_a_shard_without_anything_old_is_not_locked(url: str):
    store = await PostgresStore.open(url, here=True, shards=4)
    await _ended(store, "R1", place=2)
    before = await _versions(url)

    assert (await store.sweep(100, 10, now=NOW)).runs == 1

    after = await _versions(url)
    await store.close()
    assert {shard for shard in after if after[shard] != before[shard]} == {2}


async def _ended(store: PostgresStore, name: str, place: int) -> None:
    run_id = f"{name:0>24}0{place}"
    await write(store, CreateRun(run(run_id, event_id="e")), FinishRun(run_id, "COMPLETED", 50))


async def _versions(url: str) -> dict[int, int]:
    connection = await asyncpg.connect(url)
    found = await connection.fetch("SELECT shard, version FROM stepwell.shards")
    await connection.close()
    return dict(map(tuple, found))
