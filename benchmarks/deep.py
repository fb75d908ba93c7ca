"""Deep backlogs: a million runs of one function that wait, and what that costs the others, and themselves."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from benchmarks.floors import percentile, resident_kib, scratch
from benchmarks.multiply import make_due, multiply, park
from stepwell import (
    BatchEvents,
    Concurrency,
    Context,
    Debounce,
    Event,
    RateLimit,
    RunConcurrency,
    Singleton,
    Stepwell,
    Throttle,
)
from stepwell.engine.dispatch import claim
from stepwell.engine.draft import Draft
from stepwell.model.changes import Plan
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import DueItems
from stepwell.runtime.engine import Engine

R = TypeVar("R")
Served = list[tuple[float, str]]  # when, and for which key

_LATER_MS = 30 * 24 * 3_600_000
_USER = "event.data.user"
_ALONE = Concurrency(1, key=_USER)
BLOCKED = (
    "deep_start_ms_p99",
    "deep_start_p50_ratio",
    "deep_start_p99_ratio",
    "deep_claim_us",
    "deep_claim_ratio",
    "deep_memory_mib",
)
DRAINED = ("drain_keys_per_s", "drain_keys_ratio", "drain_keys_live_ratio", "drain_spread", "drain_spread_few_keys")
_SLOT = "json_extract(runs.slots, '$[0]')"


class Deep:
    """An app with functions that are limited to one run for each user, and with some that nothing limits."""

    def __init__(self) -> None:
        self.app = app = Stepwell("deep")
        self.steps: list[float] = []
        self.served: Served = []
        self.started = 0.0
        self.want = 0
        self.finished = asyncio.Event()
        self.engine: Engine

        @app.create_function(id="held", trigger="deep/held", run_concurrency=RunConcurrency(1, key=_USER))
        async def held(ctx: Context[Any]) -> None:
            await ctx.step.sleep("rest", "300d")

        @app.create_function(id="alone", trigger="deep/alone", concurrency=_ALONE)
        async def alone(ctx: Context[Any]) -> None:
            self._serve(ctx.event.data["user"])

        @app.create_function(id="free", trigger="deep/free")
        async def free(ctx: Context[Any]) -> None:
            self._serve(ctx.event.data["user"])

        @app.create_function(id="debounced", trigger="deep/debounced", debounce=Debounce("1d", key=_USER))
        async def debounced(ctx: Context[Any]) -> None: ...

        @app.create_function(id="batched", trigger="deep/batched", batch_events=BatchEvents(100, "1d", key=_USER))
        async def batched(ctx: Context[Any]) -> None: ...

        @app.create_function(id="rated", trigger="deep/rated", rate_limit=RateLimit(1, "1d", key=_USER))
        async def rated(ctx: Context[Any]) -> None: ...

        @app.create_function(id="throttled", trigger="deep/throttled", throttle=Throttle(1, "7d", 0, _USER))
        async def throttled(ctx: Context[Any]) -> None: ...

        @app.create_function(id="paced", trigger="deep/paced", throttle=Throttle(1, "2s", 0, _USER))
        async def paced(ctx: Context[Any]) -> None:
            self._serve(ctx.event.data["user"])

        @app.create_function(id="single", trigger="deep/single", singleton=Singleton("skip", key=_USER))
        async def single(ctx: Context[Any]) -> None:
            await ctx.step.sleep("rest", "300d")

        @app.create_function(id="wait", trigger="deep/wait")
        async def wait(ctx: Context[Any]) -> None:
            match = "async.data.user == event.data.user"
            await ctx.step.wait_for_event("done", "deep/done", timeout="300d", if_=match)
            self._serve(ctx.event.data["user"])

        async def small() -> str:
            return "x" * 90

        @app.create_function(id="steps", trigger="deep/steps")
        async def steps(ctx: Context[Any]) -> None:
            for number in range(100):
                before = time.perf_counter()
                await ctx.step.run(f"s{number}", small)
                self.steps.append((time.perf_counter() - before) * 1000)
            self._serve("")

    def expect(self, runs: int) -> None:
        self.served, self.want = [], runs
        self.finished = asyncio.Event()

    async def send(self, name: str, users: Sequence[object], *, ts: int | None = None) -> None:
        events = [Event(name, {"user": f"u-{user}"}, ts=ts) for user in users]
        for first in range(0, len(events), 500):
            await self.app.send(events[first : first + 500])

    async def calm(self) -> None:
        """Nothing is due and nothing runs."""
        engine, more = self.engine, True
        while more or engine.caller.live:
            await asyncio.sleep(0.002)
            due = await engine.store.read(DueItems(engine.clock.now_ms(), 1, EVERYWHERE))
            more = len(due) > 0

    def _serve(self, user: str) -> None:
        self.served.append((time.perf_counter(), user))
        if len(self.served) == self.want:
            self.finished.set()


def on_deep(path: Path, act: Callable[[Deep], Coroutine[Any, Any, R]]) -> R:
    """Do something with an engine on this file."""

    async def run() -> R:
        deep = Deep()
        async with deep.app.embedded(path, grace=0, retention=None) as engine:
            deep.engine = engine.engine
            return await act(deep)

    return uvloop.run(run())


# Blocked: what it costs the others ------------------------------------------------------------------------------------


def hold(path: Path, *, keys: int, each: int) -> None:
    """A database where ``each`` runs of each key wait behind one that sleeps."""

    async def begin(deep: Deep) -> None:
        for _ in range(2):  # one that holds the place, and one that waits for it
            await deep.send("deep/held", list(range(keys)))
            await deep.calm()

    on_deep(path, begin)
    multiply(path, "deep-held", each - 1, new=True)


async def beside(deep: Deep, runs: int = 400) -> dict[str, float]:
    """What a function that nothing limits has of it: how soon its runs start, what a claim costs, how much memory."""
    await deep.calm()
    starts: list[float] = []
    for number in range(runs + 100):
        deep.expect(1)
        before = time.perf_counter()
        await deep.send("deep/free", [number])
        await deep.finished.wait()
        starts.append((deep.served[0][0] - before) * 1000)
    await deep.calm()
    claims: list[float] = []
    for _ in range(5):
        before = time.process_time()
        for _ in range(200):
            await deep.engine.commit(_empty_claim)
        claims.append((time.process_time() - before) / 200 * 1e6)
    return {
        "p50": percentile(starts[100:], 0.5),
        "p99": percentile(starts[100:], 0.99),
        "claim_us": min(claims),
        "resident_kib": resident_kib(),
    }


def _empty_claim(draft: Draft) -> Plan:
    return claim(draft, shard=0, room=100, new_token=itertools.count(1).__next__, serves=lambda _: True)


def blocked(quick: bool) -> dict[str, float]:
    """The free function beside 1,000 blocked runs, and beside a thousand times as many. Each in a process of its own,
    in turn: memory is compared, and the pace of a shared machine drifts."""
    rounds = 2 if quick else 3
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        few, many = Path(folder) / "few.db", Path(folder) / "many.db"
        hold(few, keys=1000, each=1)
        hold(many, keys=1000 if quick else 10_000, each=100)
        found = [(_apart(few), _apart(many)) for _ in range(rounds)]

    def least(index: int, name: str) -> float:
        return min(pair[index][name] for pair in found)

    return {
        "deep_start_ms_p99": least(1, "p99"),
        "deep_start_p50_ratio": least(1, "p50") / least(0, "p50"),
        "deep_start_p99_ratio": least(1, "p99") / least(0, "p99"),
        "deep_claim_us": least(1, "claim_us"),
        "deep_claim_ratio": least(1, "claim_us") / least(0, "claim_us"),
        "deep_memory_mib": max(0.0, least(1, "resident_kib") - least(0, "resident_kib")) / 1024,
    }


def _apart(path: Path) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-m", "benchmarks.deep", str(path)], check=True, capture_output=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


# Draining: what it costs themselves -----------------------------------------------------------------------------------


def drained(quick: bool) -> dict[str, float]:
    """Runs a second of 10,000 keys of which each may have one at a time, next to those that nothing limits."""
    keys, each = 10_000, (2 if quick else 5)
    users = [number % keys for number in range(keys * each)]
    ratios: list[float] = []
    lives: list[float] = []
    for _ in range(2 if quick else 3):  # in turn: the pace of a shared machine drifts
        limited, spread = _drain("alone", keys, each)
        ratios.append(limited / _drain("free", keys, each)[0])
        lives.append(_send_and_serve("alone", users) / _send_and_serve("free", users))
    return {
        "drain_keys_ratio": max(ratios),
        "drain_keys_live_ratio": max(lives),
        "drain_keys_per_s": limited,
        "drain_spread": spread,
        "drain_spread_few_keys": _uneven(100 if quick else 200),
    }


def _drain(name: str, keys: int, each: int) -> tuple[float, float]:
    """A backlog written beforehand: how many runs a second, and how unevenly the keys are served."""
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        path = Path(folder) / "drain.db"

        async def schedule(deep: Deep) -> None:
            await deep.send(f"deep/{name}", list(range(keys)), ts=int(time.time() * 1000) + _LATER_MS)

        async def drain(deep: Deep) -> tuple[float, Served]:
            return await _all_served(deep, keys * each)

        on_deep(path, schedule)
        multiply(path, f"deep-{name}", each - 1)
        now = int(time.time() * 1000)
        if name == "alone":
            park(path, "deep-alone", _SLOT)
        make_due(path, f"deep-{name}", now, first=name == "alone")
        rate, served = on_deep(path, drain)
        return rate, spread(served)


def _send_and_serve(name: str, users: list[int]) -> float:
    """The same for events that are sent while others run."""
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:

        async def serve(deep: Deep) -> float:
            sending = asyncio.create_task(deep.send(f"deep/{name}", users))
            rate, _ = await _all_served(deep, len(users))
            await sending
            return rate

        return on_deep(Path(folder) / "live.db", serve)


def _uneven(each: int) -> float:
    """A hundred keys with so many runs each come after one that has a hundred times as many waiting."""
    users = [number % 100 for number in range(each * 100)]

    async def serve(deep: Deep) -> Served:
        deep.expect(each * 200)
        await deep.send("deep/alone", [1000] * (each * 100))
        before = len(deep.served)
        await deep.send("deep/alone", users)
        while {user for _, user in deep.served[before:]} != {f"u-{user}" for user in (*range(100), 1000)}:
            await asyncio.sleep(0.001)
        sent = len(deep.served)
        while len(deep.served) - sent < each * 50:
            await asyncio.sleep(0.01)
        return deep.served[sent:]

    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        return spread(on_deep(Path(folder) / "uneven.db", serve))


async def _all_served(deep: Deep, runs: int) -> tuple[float, Served]:
    """Runs a second, and which key was served when."""
    deep.expect(runs)
    before = time.perf_counter()
    await deep.finished.wait()
    return runs / (time.perf_counter() - before), deep.served


def spread(served: Served) -> float:
    """How many times as often as the least served key the most served one was, in the worst second or, if all is over
    in less than ten, the worst tenth.

    A key counts until its last run here. One that was not served in that time counts as served once: with more keys
    than runs a second that is nobody's fault, but then nobody may be served thrice.
    """
    begin, end = served[0][0], served[-1][0]
    length = min(1.0, (end - begin) / 10)
    last = {user: at for at, user in served}
    counts: dict[int, Counter[str]] = {}
    for at, user in served:
        counts.setdefault(int((at - begin) / length), Counter())[user] += 1
    worst = 1.0
    for window, counted in counts.items():
        least = min((counted[user] for user, at in last.items() if at >= begin + (window + 1) * length), default=None)
        if least is not None:
            # Less one: the edges of a window cut through a round, before some keys and after others.
            worst = max(worst, (max(counted.values()) - 1) / max(1, least))
    return worst


if __name__ == "__main__":
    print(json.dumps(on_deep(Path(sys.argv[1]), beside)))
