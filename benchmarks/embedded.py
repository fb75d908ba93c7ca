"""Steps, runs, starts, parallel branches, sleepers and wake-ups of an embedded engine on one SQLite file."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.floors import percentile, resident_kib, scratch
from stepwell import Concurrency, Context, Event, Stepwell
from stepwell.model.questions import Count
from stepwell.runtime.engine import Engine

SMALL = "x" * 90
LARGE = "y" * 2000
KEYED = Concurrency(1, key="event.data.user")
_CACHE_FULL_AT = 16_000  # runs: each adds a page's worth of rows until the 16 MiB of page cache are full


class Bench:
    """One app with the functions that the measurements start, and what they noted down."""

    def __init__(self) -> None:
        self.app = app = Stepwell("bench")
        self.steps: list[float] = []
        self.started: dict[int, float] = {}
        self.woken: list[float] = []
        self.wake_at = 0.0
        self.done = 0
        self.want = 0
        self.finished = asyncio.Event()
        self.live: Callable[[], int] = lambda: 0  # calls in flight
        self.gate = asyncio.Event()  # shut: the one run of "limited" that may go holds its slot
        self.burning = threading.Event()
        self.enough = threading.Event()

        async def small() -> str:
            return SMALL

        async def large() -> str:
            return LARGE

        async def never() -> None:
            await asyncio.Event().wait()

        @app.create_function(id="sequential", trigger="bench/sequential")
        async def sequential(ctx: Context[Any]) -> None:
            for number in range(int(ctx.event.data["steps"])):
                before = time.perf_counter()
                await ctx.step.run(f"s{number}", small)
                self.steps.append(time.perf_counter() - before)
            self._one()

        @app.create_function(id="five", trigger="bench/five")
        async def five(ctx: Context[Any]) -> None:
            body = large if ctx.event.data.get("large") else small
            for number in range(5):
                await ctx.step.run(f"s{number}", body)
            self._one()

        @app.create_function(id="start", trigger="bench/start")
        async def start(ctx: Context[Any]) -> None:
            self.started[int(ctx.event.data["n"])] = time.perf_counter()
            self._one()

        @app.create_function(id="wide", trigger="bench/wide")
        async def wide(ctx: Context[Any]) -> None:
            await asyncio.gather(*(ctx.step.run(f"b{number}", small) for number in range(200)))
            self._one()

        @app.create_function(id="sleeper", trigger="bench/sleep")
        async def sleeper(ctx: Context[Any]) -> None:
            await ctx.step.sleep("rest", int(ctx.event.data["ms"]))

        @app.create_function(id="riser", trigger="bench/rise")
        async def riser(ctx: Context[Any]) -> None:
            await ctx.step.run("before", small)
            await ctx.step.sleep_until("rest", _moment(int(ctx.event.data["at"])))
            self.woken.append(time.time() - self.wake_at)
            self._one()

        def burn() -> None:
            self.burning.set()
            number = 0
            while not self.enough.is_set():
                for _ in range(20_000):
                    number = (number * 31 + 7) % 1_000_003

        @app.create_function(id="hog", trigger="bench/hog")
        async def hog(ctx: Context[Any]) -> None:
            await ctx.step.run("burn", burn)  # a plain body: the engine runs it in a thread
            self._one()

        async def hold() -> str:
            await self.gate.wait()
            return SMALL

        @app.create_function(id="limited", trigger="bench/limited", concurrency=1)
        async def limited(ctx: Context[Any]) -> None:
            await ctx.step.run("hold", hold)
            self._one()
            if self.finished.is_set():
                self.gate.clear()  # the next run holds the slot until more are wanted

        @app.create_function(id="keyed", trigger="bench/keyed", concurrency=KEYED)
        async def keyed(ctx: Context[Any]) -> None:
            await ctx.step.run("hold", never)

    def expect(self, runs: int) -> None:
        self.done, self.want = 0, runs
        self.finished = asyncio.Event()

    def _one(self) -> None:
        self.done += 1
        if self.done == self.want:
            self.finished.set()


def _moment(ms: int) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ms / 1000, UTC)


async def sequential(bench: Bench, runs: int = 5, steps: int = 100) -> dict[str, float]:
    bench.steps = []
    for _ in range(runs):
        bench.expect(1)
        await send(bench, "bench/sequential", steps=steps)
        await bench.finished.wait()
    ms = [taken * 1000 for taken in bench.steps]
    return {"p50": percentile(ms, 0.5), "p99": percentile(ms, 0.99)}


async def five(bench: Bench, runs: int = 1000, *, large: bool = False) -> dict[str, float]:
    bench.expect(runs)
    started = time.perf_counter()
    await asyncio.gather(*(send(bench, "bench/five", large=large) for _ in range(runs)))
    await bench.finished.wait()
    elapsed = time.perf_counter() - started
    return {"steps_per_s": runs * 5 / elapsed, "runs_per_s": runs / elapsed}


async def starts(bench: Bench, runs: int = 300) -> dict[str, float]:
    taken: list[float] = []
    for number in range(runs):
        bench.expect(1)
        before = time.perf_counter()
        await send(bench, "bench/start", n=number)
        await bench.finished.wait()
        taken.append((bench.started[number] - before) * 1000)
    return {"p50": percentile(taken, 0.5), "p99": percentile(taken, 0.99)}


async def wide(bench: Bench, rounds: int = 10) -> float:
    taken: list[float] = []
    for _ in range(rounds):
        bench.expect(1)
        before = time.perf_counter()
        await send(bench, "bench/wide")
        await bench.finished.wait()
        taken.append((time.perf_counter() - before) * 1000)
    return percentile(taken, 0.5)


async def sleepers(bench: Bench, runs: int = 10_000) -> dict[str, float]:
    """Memory of runs that sleep. First the page cache of SQLite fills, which is bounded and belongs to no run."""
    held = bench.live()
    await _sleep_lot(bench, _CACHE_FULL_AT, held)
    before = resident_kib()
    await _sleep_lot(bench, runs, held)
    grown = (resident_kib() - before) / runs
    meanwhile = await sequential(bench, runs=2)
    return {"kib_per_sleeping_run": max(grown, 0.0), "step_ms_meanwhile": meanwhile["p50"]}


async def _sleep_lot(bench: Bench, runs: int, held: int) -> None:
    for _ in range(runs // 500):
        await asyncio.gather(*(send(bench, "bench/sleep", ms=3_600_000) for _ in range(500)))
    while bench.live() > held:
        await asyncio.sleep(0.01)


async def limited(bench: Bench, runs: int = 300) -> float:
    """Runs a second of a function of which one may run at a time: each begins when the one before frees its slot."""
    await asyncio.gather(*(send(bench, "bench/limited") for _ in range(runs)))
    while not bench.live():
        await asyncio.sleep(0.001)
    bench.expect(runs)
    started = time.perf_counter()
    bench.gate.set()
    await bench.finished.wait()
    return runs / (time.perf_counter() - started)


async def wakeups(bench: Bench, runs: int = 2000) -> dict[str, float]:
    """All runs sleep until the same moment; how late does each go on?"""
    bench.woken = []
    at = int(time.time() * 1000) + 2500
    bench.wake_at = at / 1000
    bench.expect(runs)
    await asyncio.gather(*(send(bench, "bench/rise", at=at) for _ in range(runs)))
    await bench.finished.wait()
    late = [taken * 1000 for taken in bench.woken]
    return {"p50": percentile(late, 0.5), "p99": percentile(late, 0.99)}


async def with_hog(bench: Bench) -> float:
    """The sequential step while the body of another run's step burns CPU in Python."""
    bench.burning.clear()
    bench.enough.clear()
    await send(bench, "bench/hog")
    while not bench.burning.is_set():
        await asyncio.sleep(0.001)
    try:
        return (await sequential(bench, runs=2, steps=60))["p50"]
    finally:
        bench.expect(1)
        bench.enough.set()
        await bench.finished.wait()


async def send(bench: Bench, name: str, **data: Any) -> None:
    await bench.app.send(Event(name, data))


async def run_all(measure: Callable[[Bench], Any], path: str | None = None) -> Any:
    """One measurement on a fresh engine, on a new file or on the one given."""
    bench = Bench()
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        # No grace: what holds the slot of a limit would use all of it.
        async with bench.app.embedded(path or str(Path(folder) / "bench.db"), grace=0) as engine:
            bench.live = lambda: len(engine.engine.caller.live)
            await _calm(engine.engine)
            return await measure(bench)


async def _calm(engine: Engine) -> None:
    """What was due at the start has been begun: with a past that is what holds the slots of limits."""
    while (await engine.store.read(Count(engine.clock.now_ms()))).oldest_due is not None:
        await asyncio.sleep(0.01)
