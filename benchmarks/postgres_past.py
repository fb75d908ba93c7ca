"""A PostgreSQL database with a past, filled by SQL, and what a claim costs there."""

from __future__ import annotations

import time
from typing import Any, Final

from benchmarks.embedded import KEYED
from stepwell.ids import RandomIds
from stepwell.model.changes import Decision, Drop, Enqueue, Grant, Plan
from stepwell.model.item import Item
from stepwell.model.questions import DueItems, ask
from stepwell.storage.postgres.store import PostgresStore

_BATCH: Final = 100
_BATCHES: Final = 5
_SINGLES: Final = 100
_DUE_AT: Final = 1  # before all else that is due
_PLACE: Final = 3

# Ids whose last digit says the shard of sixteen (ADR 0035).
_ID: Final = "'01H' || lpad(i::text, 21, '0') || '0' || upper(to_hex(i % 16))"
_AGO: Final = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint - 3600000"


_KEY: Final = KEYED.prefix("bench-blocked")  # of a function that nobody serves, so that nothing lets go of them


def _numbers(first: int, last: int) -> str:
    return f"(SELECT i, {_ID} AS id, {_AGO} AS at FROM generate_series({first}, {last}) AS i) AS n"


_RUNS: Final = """
INSERT INTO stepwell.runs (shard, id, function_id, event_id, queued_at, scheduled_at, function_version,
  status, started_at, ended_at, output, depth, guarded, execution_version) SELECT i % 16, id, """


def finished(rows: int) -> str:
    """A script that adds so many finished runs of one step, with their events. They only have to be there."""
    numbers = _numbers(1, rows)
    return f"""DO $$ BEGIN
    INSERT INTO stepwell.events (shard, id, name, ts, received_at, data, source, depth, copied)
      SELECT i % 16, id, 'bench/old', at, at, '{{}}'::bytea, 'api', 0, 0 FROM {numbers};
    {_RUNS} 'bench-five', id, at, at, 1, 'COMPLETED', at, at + i / 1000, 'null'::bytea, 0, 0, -1 FROM {numbers};
    INSERT INTO stepwell.steps (shard, run_id, id, name, kind, status, repeat, position, attempt, started_at, ended_at,
      output, seen) SELECT i % 16, id, lpad(i::text, 40, '0'), 's0', 'run', 'COMPLETED', 0, 1, 0, at, at,
      convert_to('"{"x" * 90}"', 'UTF8'), i FROM {numbers};
    END $$"""


def blocked(rows: int, after: int) -> str:
    """A script that adds so many runs that are blocked, behind 10,000 keys; the first ``after`` numbers are taken."""
    numbers = _numbers(after + 1, after + rows)
    return f"""DO $$ BEGIN
    {_RUNS} 'bench-blocked', id, at, at, 1, 'QUEUED', NULL, NULL, NULL, 0, 0, -1 FROM {numbers};
    INSERT INTO stepwell.items (shard, id, kind, function_id, at, run_id, lease, attempt, backlog, queued_at, poked,
      losses, mark) SELECT i % 16, id, 'run', 'bench-blocked', NULL, id, 0, 0, '{_KEY}u-' || i % 10000, at, 0, 0, 0
      FROM {numbers};
    END $$"""


async def claimed(url: str) -> tuple[float, float]:
    """Microseconds for an item in claims of a hundred, and in claims of one; the least of some tries."""
    store = await PostgresStore.open(url)
    try:
        shard = _PLACE & (store.shards - 1)
        ids = [RandomIds(1).ulid(number, _PLACE) for number in range(_BATCH * _BATCHES + _SINGLES)]
        items = [Item(id=name, kind="run", function_id="bench", at=_DUE_AT, run_id=name) for name in ids]
        await store.commit(Decision(tuple(map(Enqueue, items))))
        batches = [await _claim(store, shard, _BATCH) / _BATCH for _ in range(_BATCHES)]
        singles = sorted([await _claim(store, shard, 1) for _ in range(_SINGLES)])
        await store.commit(Decision(tuple(map(Drop, ids))))
        return min(batches), singles[_SINGLES // 2]
    finally:
        await store.close()


async def _claim(store: PostgresStore, shard: int, count: int) -> float:
    def plan() -> Plan:
        found: list[Any] = yield from ask(DueItems(_DUE_AT, count, shard))
        return Decision(tuple(Grant(item.id, 7, 1 << 50) for item in found), result=len(found))

    began = time.perf_counter()
    verdict = await store.commit(plan)
    assert verdict.result == count
    return (time.perf_counter() - began) * 1e6
