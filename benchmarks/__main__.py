"""``scripts/bench [--quick] [--json] [--history] [--only NAME]``: figures, bars, and exit 1 when one falls short."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import embedded, floors, history, served, virtual
from benchmarks.embedded import run_all

# name, unit, bar (None: shown only), whether more is better. Bars are those of synchronous=FULL.
BARS: dict[str, tuple[str, float | None, bool]] = {
    "sequential_step_ms": ("ms", None, False),  # floor + 0.25, filled in below
    "sqlite_full_commit_ms": ("ms", None, False),
    "steps_per_s": ("/s", 10_000, True),
    "steps_per_s_2kb": ("/s", 5_000, True),
    "step_ms_with_cpu_hog": ("ms", 6, False),
    "runs_per_s": ("/s", None, True),
    "start_ms_p50": ("ms", 1, False),
    "start_ms_p99": ("ms", 5, False),
    "parallel_200_ms": ("ms", 25, False),
    "kib_per_sleeping_run": ("KiB", 1, False),
    "step_ms_while_sleeping": ("ms", None, False),
    "wake_late_ms_p50": ("ms", 100, False),
    "wake_late_ms_p99": ("ms", 250, False),
    "events_per_s_1": ("/s", 4_000, True),
    "events_per_s_100": ("/s", 30_000, True),
    "idle_cpu_pct": ("%", 1, False),
    "rss_mib": ("MiB", 90, False),
    "ready_s": ("s", 0.6, False),
    "virtual_30_days_ms": ("ms", 50, False),
    "virtual_year_of_hourly_cron_s": ("s", 2, False),
    "fsync_ms": ("ms", None, False),
    "asyncio_switch_us": ("us", None, False),
    "bare_http_ms": ("ms", None, False),
}
_STEP_OVER_FLOOR_MS = 0.25
_NOISE = 1.35  # a figure with a past behind it may differ this much from the one without: shared machines are noisy


def measure(*, quick: bool, path: str | None = None, only: str | None = None) -> dict[str, float]:
    """All figures. ``path`` is a database to measure on instead of a new one."""
    found: dict[str, float] = {}

    def on_engine(run: Callable[[Any], Any]) -> Any:
        return uvloop.run(run_all(run, path))

    def wanted(name: str) -> bool:
        return only is None or only in name

    if wanted("floor") or wanted("sequential"):
        found["sqlite_full_commit_ms"] = floors.commit_ms()
        found["fsync_ms"] = floors.fsync_ms()
        found["asyncio_switch_us"] = floors.switch_us()
    if wanted("sequential"):
        # The floor is measured before and after, because the machine's pace drifts.
        found["sequential_step_ms"] = on_engine(lambda b: embedded.sequential(b, runs=4 if quick else 10))["p50"]
        found["sqlite_full_commit_ms"] = (found["sqlite_full_commit_ms"] + floors.commit_ms()) / 2
    if wanted("steps_per_s"):
        runs = [on_engine(embedded.five) for _ in range(1 if quick else 3)]
        best = sorted(runs, key=lambda run: run["steps_per_s"])[len(runs) // 2]
        found |= {"steps_per_s": best["steps_per_s"], "runs_per_s": best["runs_per_s"]}
        found["steps_per_s_2kb"] = on_engine(lambda b: embedded.five(b, large=True))["steps_per_s"]
    if wanted("hog"):
        found["step_ms_with_cpu_hog"] = on_engine(embedded.with_hog)
    if wanted("start"):
        start = on_engine(embedded.starts)
        found |= {"start_ms_p50": start["p50"], "start_ms_p99": start["p99"]}
    if wanted("parallel"):
        found["parallel_200_ms"] = on_engine(embedded.wide)
    if wanted("sleeping"):
        sleeping = on_engine(lambda b: embedded.sleepers(b, 4000 if quick else 10_000))
        found["kib_per_sleeping_run"] = sleeping["kib_per_sleeping_run"]
        found["step_ms_while_sleeping"] = sleeping["step_ms_meanwhile"]
    if wanted("wake"):
        wake = on_engine(embedded.wakeups)
        found |= {"wake_late_ms_p50": wake["p50"], "wake_late_ms_p99": wake["p99"]}
    seconds = 3.0 if quick else 8.0
    if wanted("events"):
        found["events_per_s_1"] = served.events(1, seconds, path)["events_per_s"]
        found["events_per_s_100"] = served.events(100, seconds, path)["events_per_s"]
    if wanted("idle") and path is None:
        idle = served.idle(4.0 if quick else 20.0)
        found |= {"idle_cpu_pct": idle["cpu_pct"], "rss_mib": idle["rss_mib"]}
    if wanted("ready") and path is None:
        found["ready_s"] = served.ready_s()
        found["bare_http_ms"] = served.bare_round_trip_ms()
    if wanted("virtual") and path is None:
        found["virtual_30_days_ms"] = virtual.month_ms()
        found["virtual_year_of_hourly_cron_s"] = virtual.year_s()
    return found


def judge(found: dict[str, float]) -> list[str]:
    """Which figures fall short, in words."""
    short: list[str] = []
    for name, (unit, bar, more) in BARS.items():
        if name not in found:
            continue
        if name == "sequential_step_ms":
            bar = found["sqlite_full_commit_ms"] + _STEP_OVER_FLOOR_MS
        value = found[name]
        missed = bar is not None and (value < bar if more else value > bar)
        sign = "" if bar is None else f"{'>=' if more else '<='} {bar:,.10g} {unit}"
        print(f"  {name:<32}{value:>14,.3f} {unit:<5}{sign:<20}{'MISSED' if missed else 'ok' if sign else ''}")
        if missed:
            short.append(f"{name} is {value:,.3f} {unit}, the bar is {sign}")
    return short


def with_history(plain: dict[str, float]) -> list[str]:
    """The same figures on a database with a past; which of them got worse."""
    short: list[str] = []
    for title, runs, blocked in (
        ("1,000,000 finished runs", 1_000_000, 0),
        ("100,000 blocked items", 0, 100_000),
    ):
        with tempfile.TemporaryDirectory(dir=floors.scratch()) as folder:
            path = Path(folder) / "history.db"
            started = time.perf_counter()
            history.grow(path, runs=runs, blocked=blocked)
            print(f"\nwith {title} (made in {time.perf_counter() - started:.0f} s, {path.stat().st_size >> 20} MiB)")
            found = measure(quick=True, path=str(path))
            for name, value in found.items():
                before, (_, _, more) = plain[name], BARS[name]
                ratio = before / value if more else value / before if before else 1.0
                bar = BARS[name][1]
                within_bar = bar is not None and (value >= bar if more else value <= bar)
                worse = ratio > _NOISE and not within_bar and bar is not None
                print(f"  {name:<32}{value:>14,.3f}   {ratio:>5.2f} x the plain cost {'WORSE' if worse else ''}")
                if worse:
                    short.append(f"{name} is {ratio:.2f} times as dear with {title}")
    return short


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: at most 50 s")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument(
        "--history", action="store_true", help="again with 1,000,000 finished runs, and 100,000 blocked"
    )
    parser.add_argument("--only", help="measure what has this in its name")
    options = parser.parse_args()
    started = time.perf_counter()
    print(floors.scratch_text())
    found = measure(quick=options.quick, only=options.only)
    short = judge(found)
    if options.history:
        short += with_history(found)
    for line in short:
        print(f"short: {line}", file=sys.stderr)
    if options.json:
        print(json.dumps({name: round(value, 4) for name, value in found.items()}))
    else:
        held = sum(1 for name in found if BARS[name][1] is not None or name == "sequential_step_ms")
        print(f"{held - len(short)} of {held} bars held, {time.perf_counter() - started:.0f} s")
    return 1 if short else 0


if __name__ == "__main__":
    raise SystemExit(main())
