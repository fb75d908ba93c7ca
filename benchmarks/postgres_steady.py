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


def steady(quick: bool) -> dict[str, float]:
    """300 events a second to four replicas on two processors: how soon each is accepted, and how soon its run of five
    steps is over; and the CPU of the replicas for a step."""
    seconds = 3.0 if quick else 15.0
    with postgres() as server, server.database() as url:
        command = [sys.executable, "-m", __spec__.name, url, str(_RATE / _REPLICAS), str(seconds)]
        # One after the other: the first makes the tables.
        replicas = [_started([*command, str(_SEED + index)]) for index in range(_REPLICAS)]
        for replica in replicas:
            assert replica.stdin is not None
            replica.stdin.write("go\n")
            replica.stdin.flush()
        found = [json.loads(_out(replica).readline()) for replica in replicas]
        for replica in replicas:
            replica.wait()
    runs = [ms for each in found for ms in each["runs_ms"]]
    figures = (
        percentile([ms for each in found for ms in each["events_ms"]], 0.5),
        percentile(runs, 0.5),
        percentile(runs, 0.99),
        sum(each["cpu_s"] for each in found) / (len(runs) * _STEPS) * 1e6,
    )
    return dict(zip(STEADY, figures, strict=True))


def _started(command: list[str]) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[1]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
    if _out(process).readline().strip() != "ready":
        raise RuntimeError(f"{' '.join(command)} has ended before it was ready")
    return process


def _out(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


async def _serve(store: str, rate: float, seconds: float, chance: random.Random) -> dict[str, Any]:
    app = Stepwell("bench")
    events_ms: list[float] = []
    sent: dict[int, float] = {}
    runs_ms: list[float] = []

    async def small() -> str:
        return SMALL

    @app.create_function(id="five", trigger="bench/five")
    async def five(ctx: Context[Any]) -> None:
        for number in range(_STEPS):
            await ctx.step.run(f"s{number}", small)
        began = sent.pop(ctx.event.data["n"], None)  # a peer may have taken it over, and then nobody can tell
        if began is not None:
            runs_ms.append((time.perf_counter() - began) * 1000)

    async def send(number: int) -> None:
        sent[number] = began = time.perf_counter()
        await app.send(Event("bench/five", {"n": number}))
        events_ms.append((time.perf_counter() - began) * 1000)

    async def load(seconds: float) -> None:
        due = time.perf_counter()
        until = due + seconds
        sending: list[asyncio.Task[None]] = []
        while due < until:
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            sending.append(asyncio.create_task(send(chance.getrandbits(63))))
            due += chance.expovariate(rate)
        await asyncio.gather(*sending)
        while sent:
            await asyncio.sleep(0.01)

    async with app.embedded(store, grace=0):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await load(_WARM_S)
        events_ms.clear()
        runs_ms.clear()
        cpu = time.process_time()
        await load(seconds)
        cpu = time.process_time() - cpu
    return {"events_ms": events_ms, "runs_ms": runs_ms, "cpu_s": cpu}


if __name__ == "__main__":
    import uvloop

    store, rate, seconds, seed = sys.argv[1:]
    found = uvloop.run(_serve(store, float(rate), float(seconds), random.Random(int(seed))))
    os.set_blocking(sys.stdout.fileno(), True)  # that is more than a pipe takes at once
    print(json.dumps(found), flush=True)
