"""What the store itself costs, without engine and SDK: ``python -m benchmarks.storage_commit [--normal]``.

Compare figures within one run only: the floor is measured in the same process, because the machine's pace drifts.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import uvloop

from benchmarks.floors import commit_ms, percentile, scratch
from stepwell.model.changes import Decision, Drop, Enqueue, Grant, Plan, SaveStep
from stepwell.model.item import Item, Lease
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import DueItems, GetSteps, ask
from stepwell.model.step import Step
from stepwell.storage.sqlite import SqliteStore

_ids = itertools.count()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--normal", action="store_true", help="durability='normal'")
    durability: Literal["full", "normal"] = "normal" if parser.parse_args().normal else "full"
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        store = SqliteStore.open(Path(folder) / "bench.db", durability=durability)
        uvloop.run(_measure(store))


async def _measure(store: SqliteStore) -> None:
    floors: list[float] = []
    lone: list[float] = []
    for _ in range(10):  # in turns, because the pace of a shared machine drifts by more than what is measured
        floors.append(commit_ms(200) * 1000)
        lone += await _lone(store, 200)
    floor, step = percentile(floors, 0.5), percentile(lone, 0.5)
    _show("floor: BEGIN, INSERT, COMMIT at FULL, one thread", floor, "us")
    _show("lone fenced step, p50", step, "us", f"floor + {step - floor:,.0f}")
    _show("lone fenced step, p99", percentile(lone, 0.99), "us")
    for size in (100, 2_000, 20_000):
        _show(f"1,000 submitters, {size:,} B outputs", await _grouped(store, 1_000, 20, size), "steps/s")
    _show("1,000 submitters, 2 kB, four rows a run", await _runs(store, 1_000), "runs/s")
    for blocked in (0, 100_000):
        await _block(store, blocked)
        _show(f"claim of nothing, {blocked:,} items blocked", await _claim(store, 300), "us")
    _show("read the steps of a run", await _read(store, 300), "us")
    await store.close()


async def _lone(store: SqliteStore, count: int) -> list[float]:
    lease = await _lease(store)
    taken: list[float] = []
    for _ in range(count):
        started = time.perf_counter()
        await store.commit(Decision((SaveStep(_step(lease.item_id, 100)),), lease))
        taken.append((time.perf_counter() - started) * 1e6)
    return taken


async def _grouped(store: SqliteStore, submitters: int, steps: int, size: int) -> float:
    leases = await asyncio.gather(*(_lease(store) for _ in range(submitters)))

    async def submit(lease: Lease) -> None:
        for _ in range(steps):
            await store.commit(Decision((SaveStep(_step(lease.item_id, size)),), lease))

    started = time.perf_counter()
    await asyncio.gather(*(submit(lease) for lease in leases))
    return submitters * steps / (time.perf_counter() - started)


async def _runs(store: SqliteStore, submitters: int) -> float:
    """Each: an item, a claim, one step, the item dropped."""

    async def submit() -> None:
        lease = await _lease(store)
        await store.commit(Decision((SaveStep(_step(lease.item_id, 2_000)),), lease))
        await store.commit(Decision((Drop(lease.item_id),), lease))

    started = time.perf_counter()
    await asyncio.gather(*(submit() for _ in range(submitters)))
    return submitters / (time.perf_counter() - started)


async def _block(store: SqliteStore, count: int) -> None:
    for start in range(0, count, 1_000):
        numbers = range(start, min(start + 1_000, count))
        items = [
            Item(id=f"blocked-{n}", kind="run", function_id="f", at=None, backlog=f"key-{n}", queued_at=n)
            for n in numbers
        ]
        await store.commit(Decision(tuple(Enqueue(item) for item in items)))


async def _claim(store: SqliteStore, count: int) -> float:
    def plan() -> Plan:
        due = yield from ask(DueItems(1, 100, EVERYWHERE))
        return Decision(result=len(due))

    return await _median(count, lambda: store.commit(plan))


async def _read(store: SqliteStore, count: int) -> float:
    lease = await _lease(store)
    steps = tuple(SaveStep(_step(lease.item_id, 100)) for _ in range(5))
    await store.commit(Decision(steps, lease))
    return await _median(count, lambda: store.read(GetSteps(lease.item_id)))


async def _median(count: int, ask_once: Any) -> float:
    taken: list[float] = []
    for _ in range(count):
        started = time.perf_counter()
        await ask_once()
        taken.append((time.perf_counter() - started) * 1e6)
    return percentile(taken, 0.5)


async def _lease(store: SqliteStore) -> Lease:
    run = f"01J{next(_ids):023d}"
    item = Item(id=run, kind="run", function_id="f", at=1 << 40, run_id=run)
    await store.commit(Decision((Enqueue(item), Grant(run, 7, 1 << 41))))
    return Lease(run, 7)


def _step(run: str, size: int) -> Step:
    number = next(_ids)
    return Step(
        run_id=run,
        id=f"{number * 2654435761 % 2**32:040x}",
        name="charge",
        kind="step",
        status="COMPLETED",
        started_at=number,
        ended_at=number,
        output=b"x" * size,
    )


def _show(what: str, value: float, unit: str, note: str = "") -> None:
    print(f"  {what:<52}{value:>12,.0f} {unit:<8}{note}")


if __name__ == "__main__":
    main()
