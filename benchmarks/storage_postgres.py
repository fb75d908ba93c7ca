"""Steps saved per second by PostgreSQL's store beside SQLite's, each on a new database in memory.

``python -m benchmarks.storage_postgres`` starts a PostgreSQL that pip installs; with a URL it uses that
database, which must be empty.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from stepwell.clock import monotonic_s
from stepwell.ids import RandomIds
from stepwell.model.changes import Decision, Enqueue, Grant, SaveStep
from stepwell.model.item import Item, Lease
from stepwell.model.step import Step
from stepwell.storage.postgres.store import PostgresStore
from stepwell.storage.sqlite import SqliteStore

RUNS: Final = 500
STEPS: Final = 10
ALONE: Final = 300


async def measure(store: Any) -> tuple[float, float]:
    """Steps a second of many runs at once, and the median of milliseconds for a step of a run alone."""
    ids = RandomIds(1)
    runs = [ids.ulid(1) for _ in range(RUNS)]
    for run in runs:
        item = Item(id=run, kind="run", function_id="bench", at=1, run_id=run)
        await store.commit(Decision((Enqueue(item), Grant(run, 7, 9))))
    began = monotonic_s()
    await asyncio.gather(*(_steps(store, run, STEPS) for run in runs))
    together = RUNS * STEPS / (monotonic_s() - began)
    alone: list[float] = []
    for number in range(ALONE):
        began = monotonic_s()
        await _save(store, runs[0], STEPS + number)
        alone.append((monotonic_s() - began) * 1_000)
    return together, sorted(alone)[len(alone) // 2]


async def _steps(store: Any, run: str, count: int) -> None:
    for number in range(count):
        await _save(store, run, number)


async def _save(store: Any, run: str, number: int) -> None:
    step = Step(
        run_id=run, id=str(number), name="charge", kind="step", status="COMPLETED", ended_at=2, output=b"1" * 100
    )
    verdict = await store.commit(Decision((SaveStep(step),), Lease(run, 7)))
    assert verdict.held


async def main(url: str) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        stores: dict[str, Any] = {"SQLite": SqliteStore.open(Path(folder) / "s.db")}
        for name, store in stores.items():
            _say(name, *await measure(store))
            await store.close()
    store = await PostgresStore.open(url, here=True)
    _say(f"PostgreSQL, {store.shards} shards", *await measure(store))
    await store.close()


def _say(name: str, together: float, alone: float) -> None:
    print(f"{name:24} {together:8.0f} steps/s of {RUNS} runs   {alone:6.2f} ms for a step alone")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(main(sys.argv[1]))
    else:
        from tests.postgres import database

        with database() as found:
            asyncio.run(main(found))
