"""Four replicas that are kept busy, but not to the full: events come one by one, as they do in production.

``python -m benchmarks.postgres_steady STORE RATE SECONDS SEED`` is one of them. It says ``ready``; told to go, it sends
so many events a second at random moments, each of which starts a run of five steps, and prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Final

from benchmarks.floors import percentile
from benchmarks.postgres_load import SMALL
from benchmarks.postgres_server import postgres
from stepwell import Context, Event, Stepwell

STEADY = (
    "postgres_steady_event_ms_p50",
    "postgres_steady_run_ms_p50",
    "postgres_steady_run_ms_p99",
    "postgres_steady_cpu_us_per_step",
)
_REPLICAS: Final = 4
_RATE: Final = 300.0  # events a second, in all
_STEPS: Final = 5
_WARM_S: Final = 2.0
_SEED: Final = 20260101
_TOO_LONG_S: Final = 60.0


def steady(quick: bool) -> dict[str, float]:
    """300 events a second to four replicas on two processors: how soon each is accepted, and how soon its run of five
    steps is over; and the CPU of the replicas for a step."""
    seconds = 3.0 if quick else 15.0
    with postgres() as server, server.database() as url:
        command = [sys.executable, "-m", __spec__.name, url, str(_RATE / _REPLICAS), str(seconds)]
        with ExitStack() as stack:
            # One after the other: the first makes the tables.
            seeds = range(_SEED, _SEED + _REPLICAS)
            replicas = [stack.enter_context(_started([*command, str(seed)])) for seed in seeds]
            for replica in replicas:
                assert replica.stdin is not None
                replica.stdin.write("go\n")
                replica.stdin.flush()
            found = [_told(replica) for replica in replicas]
    runs = [ms for each in found for ms in each["runs_ms"]]
    figures = (
        percentile([ms for each in found for ms in each["events_ms"]], 0.5),
        percentile(runs, 0.5),
        percentile(runs, 0.99),
        sum(each["cpu_s"] for each in found) / (len(runs) * _STEPS) * 1e6,
    )
    return dict(zip(STEADY, figures, strict=True))


@contextmanager
def _started(command: list[str]) -> Generator[subprocess.Popen[str]]:
    root = Path(__file__).resolve().parents[1]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
    try:
        if _out(process).readline().strip() != "ready":
            raise RuntimeError(f"{' '.join(command)} has ended before it was ready")
        yield process
    finally:
        process.kill()
        process.wait()


def _told(process: subprocess.Popen[str]) -> dict[str, Any]:
    line = _out(process).readline()
    if not line:
        raise RuntimeError("a replica has ended before it was done; it has said why")
    found: dict[str, Any] = json.loads(line)
    return found


def _out(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


async def _serve(store: str, rate: float, seconds: float, chance: random.Random) -> dict[str, Any]:
    app = Stepwell("bench")
    load = _Load(app, rate, chance)

    async def small() -> str:
        return SMALL

    @app.create_function(id="five", trigger="bench/five")
    async def five(ctx: Context[Any]) -> None:
        for number in range(_STEPS):
            await ctx.step.run(f"s{number}", small)
        load.over(ctx.event.data["n"])

    async with app.embedded(store, grace=0):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await load.send(_WARM_S)
        load.forget()
        cpu = time.process_time()
        await load.send(seconds)
        cpu = time.process_time() - cpu
    return {"events_ms": load.events_ms, "runs_ms": load.runs_ms, "cpu_s": cpu}


class _Load:
    """All is counted from the moment at which an event was due, so that a loop that was held up is not left out: until
    it was accepted, and until the last step of its run is known to be written."""

    def __init__(self, app: Stepwell, rate: float, chance: random.Random) -> None:
        self._app, self._rate, self._chance = app, rate, chance
        self._due: dict[int, float] = {}
        self.events_ms: list[float] = []
        self.runs_ms: list[float] = []

    def forget(self) -> None:
        self.events_ms.clear()
        self.runs_ms.clear()

    def over(self, number: int) -> None:
        due = self._due.pop(number, None)
        if due is not None:  # else it is of a peer whose lease was lost
            self.runs_ms.append((time.perf_counter() - due) * 1000)

    async def send(self, seconds: float) -> None:
        due = time.perf_counter()
        until = due + seconds
        sending: list[asyncio.Task[None]] = []
        while due < until:
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            sending.append(asyncio.create_task(self._send(due)))
            due += self._chance.expovariate(self._rate)
        await asyncio.gather(*sending)
        until = time.perf_counter() + _TOO_LONG_S
        while self._due:
            if time.perf_counter() > until:
                raise RuntimeError(f"{len(self._due)} runs have not ended here: another replica has taken them over")
            await asyncio.sleep(0.01)

    async def _send(self, due: float) -> None:
        number = self._chance.getrandbits(63)
        self._due[number] = due
        await self._app.send(Event("bench/five", {"n": number}))
        self.events_ms.append((time.perf_counter() - due) * 1000)


if __name__ == "__main__":
    import uvloop

    store, rate, seconds, seed = sys.argv[1:]
    found = uvloop.run(_serve(store, float(rate), float(seconds), random.Random(int(seed))))
    os.set_blocking(sys.stdout.fileno(), True)  # that is more than a pipe takes at once
    print(json.dumps(found), flush=True)
