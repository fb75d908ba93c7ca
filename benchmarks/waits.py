"""An event among a hundred thousand runs that wait for one, each for another value."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.deep import Deep, on_deep
from benchmarks.floors import percentile, resident_kib, scratch
from benchmarks.multiply import multiply
from stepwell.model.questions import Count

WAITING = (
    "event_for_wait_ms_p99",
    "event_for_wait_cpu_us",
    "event_for_wait_cpu_ratio",
    "event_for_none_cpu_ratio",
    "waits_memory_mib",
)
_ORIGINALS = 100


def waiting(quick: bool) -> dict[str, float]:
    """An event that resumes one of so many runs, and one that none of them waits for, next to the same with few. Each
    in a process of its own."""
    waits = 20_000 if quick else 100_000
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        few, many = Path(folder) / "few.db", Path(folder) / "many.db"
        wait(few, 2 * _ORIGINALS)
        wait(many, waits)
        one, other = _apart(few), _apart(many)
        p99 = min(other["p99"], *(_apart(many, part)["p99"] for part in (1, 2)))  # what the machine allows
    return {
        "event_for_wait_ms_p99": p99,
        "event_for_wait_cpu_us": other["cpu_us"],
        "event_for_wait_cpu_ratio": other["cpu_us"] / one["cpu_us"],
        "event_for_none_cpu_ratio": other["none_us"] / one["none_us"],
        "waits_memory_mib": max(0.0, other["resident_kib"] - one["resident_kib"]) / 1024,
    }


def wait(path: Path, runs: int) -> None:
    """A database in which so many runs wait for an event with a value of their own."""

    async def begin(deep: Deep) -> None:
        await deep.send("deep/wait", list(range(_ORIGINALS)))
        await deep.calm()

    on_deep(path, begin)
    multiply(path, "deep-wait", runs // _ORIGINALS - 1, waits=True)


async def resume(deep: Deep, part: int) -> dict[str, float]:
    """Resume some of the runs, from everywhere among the others. Each ``part`` is of others."""
    await deep.calm()
    copies = max(1, (await deep.engine.store.read(Count(0))).waits // _ORIGINALS - 1)
    taken: list[float] = []
    resuming: list[float] = []
    unheard: list[float] = []
    for _ in range(_ORIGINALS):
        before, cpu_before = time.perf_counter(), time.process_time()
        await deep.send("deep/done", ["nobody"])
        unheard.append((time.process_time() - cpu_before) * 1e6)
        taken.append((time.perf_counter() - before) * 1000)
    for number in range(_ORIGINALS):
        deep.expect(1)
        before, cpu_before = time.perf_counter(), time.process_time()
        await deep.send("deep/done", [f"{number}-{1 + (number * 7 + part) % copies}"])
        taken.append((time.perf_counter() - before) * 1000)
        await deep.finished.wait()
        resuming.append((time.process_time() - cpu_before) * 1e6)
    return {
        "p99": percentile(taken, 0.99),
        "cpu_us": percentile(resuming, 0.5),
        "none_us": percentile(unheard, 0.5),
        "resident_kib": resident_kib(),
    }


def _apart(path: Path, part: int = 0) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.waits", str(path), str(part)], check=True, capture_output=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    print(json.dumps(on_deep(Path(sys.argv[1]), lambda deep: resume(deep, int(sys.argv[2])))))
