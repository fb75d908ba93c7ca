"""``scripts/simulate``: plays the worlds of many seeds and says what was wrong in them.

A violation prints its seed, with which the very same world is played again: ``scripts/simulate --seed K`` tells its
story.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from stepwell.clock import SystemClock
from stepwell.testing.faults import Faults
from stepwell.testing.plans import Plan, make_plan, shards_of
from stepwell.testing.shrink import shrink
from stepwell.testing.world import Report, play

_LOT = 10  # seeds a worker takes at a time
_SHOWN = 60  # lines of a story that a failing seed prints
_ENOUGH = 300  # worlds in which everything has to have happened at least once

MUST_HAPPEN = frozenset(
    {
        *(f"action {kind}" for kind in ("send", "cancel", "crash", "depose", "jump")),
        *Faults.__struct_fields__,
        *(f"body {how}" for how in ("ok", "error", "after", "fatal")),
        *(f"run {status}" for status in ("COMPLETED", "FAILED", "CANCELLED")),
        *(f"wait {status}" for status in ("COMPLETED", "TIMED_OUT")),
        *(f"outcome {kind}" for kind in ("run", "deduplicated", "idempotent")),
        *(f"note {kind}" for kind in ("lease-lost", "cancelled")),
        *("blocked by a limit", "branches share a limit", "start later", "repeated step", "own code fails", "tick"),
        *("crash", "two at once", "start failed", "stale body", "client asks again", "doubled work"),
        "left alone",
        *("action limit", "limits changed"),
        *("action deploy", "deployed", "start put off", "one alone", "batch", "as many at work as may be"),
        *(f"outcome {kind}" for kind in ("rate-limited", "singleton", "debounced", "paused", "drained")),
        *("order: archive", "order: drain", "order taken back: archive", "no outcome: archived"),
        *("cancelled", "cancelled too late", "failure handled", "step error caught"),
        *("invoke COMPLETED, child COMPLETED", "invoke FAILED, child FAILED", "invoke FAILED, child CANCELLED"),
        *("invoke FAILED, child COMPLETED", "invoke FAILED, child None"),
    }
)
"""A simulation in which one of these never happens does not test what it says."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description="Seeded worlds with faults, and their judge.")
    parser.add_argument("--seeds", type=int, default=300, help="how many worlds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="play this one alone, and tell its story")
    parser.add_argument("--shards", type=int, help="how many shards each store has; else the seed decides")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        return _one(options.seed, options.shards)
    seeds = range(options.first, options.first + options.seeds)
    clock = SystemClock()
    began = clock.now_ms()
    reports = _all(seeds, options.shards, options.jobs)
    took_ms = clock.now_ms() - began
    bad = [report for report in reports if report.violations]
    for report in bad[:5]:
        _tell(report)
    if bad:
        plan, report = shrink(make_plan(bad[0].seed, options.shards or shards_of(bad[0].seed)))
        sys.stdout.write(f"\nthe world of seed {plan.seed}, shrunk:\n{_described(plan)}")
        _tell(report)
    reached: Counter[str] = Counter()
    for report in reports:
        reached.update(report.reached)
    missing = sorted(MUST_HAPPEN - reached.keys()) if len(reports) >= _ENOUGH else []
    figures = {
        "seeds": len(reports),
        "violations": sum(len(report.violations) for report in bad),
        "failing_seeds": [report.seed for report in bad],
        "runs": sum(report.runs for report in reports),
        "commits": sum(report.commits for report in reports),
        "reached": dict(sorted(reached.items())),
        "missing": missing,
        "ms_per_seed": round(took_ms * options.jobs / max(len(reports), 1)),
    }
    if options.json:
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        for name, count in sorted(reached.items()):
            sys.stdout.write(f"  {count:>7}  {name}\n")
        for name in missing:
            sys.stdout.write(f"never happened in any of these worlds: {name}\n")
        sys.stdout.write(
            f"{figures['seeds']} seeds, {figures['runs']} runs, {figures['commits']} commits, "
            f"{len(reached)} kinds of things happened, {figures['ms_per_seed']} ms a seed, "
            f"{figures['violations']} violations\n"
        )
    return 1 if bad or missing else 0


def _one(seed: int, shards: int | None) -> int:
    shards = shards or shards_of(seed)
    report = play(seed, shards)
    again = play(seed, shards)
    for line in report.story:
        sys.stdout.write(line + "\n")
    for violation in report.violations:
        sys.stdout.write(f"violation: {violation}\n")
    if again.digest != report.digest:
        sys.stdout.write("violation: the same seed played twice told two stories\n")
        return 1
    sys.stdout.write(f"seed {seed}, story {report.digest}, {len(report.violations)} violations\n")
    return 1 if report.violations else 0


def _all(seeds: range, shards: int | None, jobs: int) -> list[Report]:
    lots = [seeds[first : first + _LOT] for first in range(0, len(seeds), _LOT)]
    reports: list[Report] = []
    with ProcessPoolExecutor(max(jobs, 1)) as pool:
        for lot in pool.map(partial(_play, shards), lots):
            reports += lot
            if len(reports) % 100 < _LOT and sys.stderr.isatty():
                sys.stderr.write(f"\r  {len(reports)} of {len(seeds)} seeds")
    return reports


def _play(shards: int | None, lot: range) -> list[Report]:
    return [play(seed, shards or shards_of(seed)) for seed in lot]


def _described(plan: Plan) -> str:
    lines = [f"  {action}" for action in plan.actions] + [f"  {plan.faults}"]
    lines += [f"  {spec}" for spec in plan.functions if spec.program]
    return "\n".join(lines) + "\n"


def _tell(report: Report) -> None:
    for line in report.story[-_SHOWN:]:
        sys.stdout.write(f"  {line}\n")
    for violation in report.violations:
        sys.stdout.write(f"violation in seed {report.seed}: {violation}\n")


if __name__ == "__main__":
    raise SystemExit(main())
