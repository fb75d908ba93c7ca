"""What one more event costs among ten thousand keys and a hundred thousand, of which each has something remembered; and
how punctual the turns of a throttle are when a hundred thousand runs wait for theirs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.deep import Deep, on_deep
from benchmarks.floors import percentile, scratch
from benchmarks.multiply import multiply

CONTROLS = ("debounced", "batched", "rated", "throttled", "single")
WINDOWS = (
    *(f"{name}_us" for name in CONTROLS),
    *(f"{name}_keys_ratio" for name in CONTROLS),
    "debounced_events_ratio",
)
TURNS = ("turn_late_ms_p50", "turn_late_ms_p99", "turn_cpu_ratio")
_LOT, _LOTS = 250, 3
_PERIOD_S = 2.0  # of the throttle "paced"


def windows(quick: bool) -> dict[str, float]:
    """The CPU that an event takes, in microseconds, until nothing is due.

    Next to a tenth of the keys, and not to a few: among few keys the events of one decision change the same pages.
    """
    many = 10_000 if quick else 100_000
    found: dict[str, float] = {}
    for name in CONTROLS:
        few = _on_new(partial(_among, name=name, keys=many // 10))
        found[f"{name}_us"] = _on_new(partial(_among, name=name, keys=many))
        found[f"{name}_keys_ratio"] = found[f"{name}_us"] / few
    found["debounced_events_ratio"] = _on_new(partial(_of_one, events=many))
    return found


def turns(quick: bool) -> dict[str, float]:
    """How late runs start whose turn has come, and what CPU each takes next to one that nothing holds up."""
    keys, each = 1000, 20 if quick else 100
    periods = 3 if quick else 5
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        path = Path(folder) / "turns.db"

        async def begin(deep: Deep) -> None:
            await deep.send("deep/paced", list(range(keys)))
            await deep.send("deep/paced", list(range(keys)))
            await deep.calm()  # one of each key has started, and the other is put aside for its turn

        async def pace(deep: Deep) -> dict[str, float]:
            deep.expect(keys * periods)
            before = time.process_time()
            await deep.finished.wait()
            cpu = (time.process_time() - before) / (keys * periods)
            last: dict[str, float] = {}
            late: list[float] = []
            for at, user in deep.served:
                if user in last:
                    late.append((at - last[user] - _PERIOD_S) * 1000)
                last[user] = at
            return {"p50": percentile(late, 0.5), "p99": percentile(late, 0.99), "cpu": cpu}

        async def free(deep: Deep) -> float:
            before = time.process_time()
            deep.expect(keys * periods)
            await deep.send("deep/free", list(range(keys * periods)))
            await deep.finished.wait()
            return (time.process_time() - before) / (keys * periods)

        on_deep(path, begin)
        multiply(path, "deep-paced", each, new=True)
        paced = on_deep(path, pace)
        alone = on_deep(path.with_name("free.db"), free)
    return {
        "turn_late_ms_p50": paced["p50"],
        "turn_late_ms_p99": paced["p99"],
        "turn_cpu_ratio": paced["cpu"] / alone,
    }


async def _among(deep: Deep, name: str, keys: int) -> float:
    """One more event for a key that has one already, among so many."""
    await deep.send(f"deep/{name}", list(range(keys)))
    await deep.calm()
    random = Random(1)
    return await _cpu_us(deep, name, lambda: random.sample(range(keys), _LOT))


async def _of_one(deep: Deep, events: int) -> float:
    """One more event for a key that has had so many, next to one that has had few."""
    few = await _cpu_us(deep, "debounced", lambda: [1] * _LOT)
    await deep.send("deep/debounced", [1] * events)
    return await _cpu_us(deep, "debounced", lambda: [1] * _LOT) / few


async def _cpu_us(deep: Deep, name: str, users: Callable[[], list[int]]) -> float:
    taken: list[float] = []
    for _ in range(_LOTS):
        lot = users()
        before = time.process_time()
        await deep.send(f"deep/{name}", lot)
        await deep.calm()
        taken.append((time.process_time() - before) / _LOT * 1e6)
    return min(taken)


def _on_new(act: Callable[[Deep], Coroutine[Any, Any, float]]) -> float:
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        return on_deep(Path(folder) / "windows.db", act)
