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

from stepwell.testing.world import Report, play

_LOT = 10  # seeds a worker takes at a time
_SHOWN = 60  # lines of a story that a failing seed prints


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description="Seeded worlds with faults, and their judge.")
    parser.add_argument("--seeds", type=int, default=300, help="how many worlds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="play this one alone, and tell its story")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        return _one(options.seed)
    seeds = range(options.first, options.first + options.seeds)
    reports = _all(seeds, options.jobs)
    bad = [report for report in reports if report.violations]
    for report in bad[:5]:
        _tell(report)
    reached: Counter[str] = Counter()
    for report in reports:
        reached.update(report.reached)
    figures = {
        "seeds": len(reports),
        "violations": sum(len(report.violations) for report in bad),
        "failing_seeds": [report.seed for report in bad],
        "runs": sum(report.runs for report in reports),
        "commits": sum(report.commits for report in reports),
        "reached": dict(sorted(reached.items())),
    }
    if options.json:
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        for name, count in sorted(reached.items()):
            sys.stdout.write(f"  {count:>7}  {name}\n")
        sys.stdout.write(
            f"{figures['seeds']} seeds, {figures['runs']} runs, {figures['commits']} commits, "
            f"{len(reached)} kinds of things happened, {figures['violations']} violations\n"
        )
    return 1 if bad else 0


def _one(seed: int) -> int:
    report = play(seed)
    again = play(seed)
    for line in report.story:
        sys.stdout.write(line + "\n")
    for violation in report.violations:
        sys.stdout.write(f"violation: {violation}\n")
    if again.digest != report.digest:
        sys.stdout.write("violation: the same seed played twice told two stories\n")
        return 1
    sys.stdout.write(f"seed {seed}, story {report.digest}, {len(report.violations)} violations\n")
    return 1 if report.violations else 0


def _all(seeds: range, jobs: int) -> list[Report]:
    lots = [seeds[first : first + _LOT] for first in range(0, len(seeds), _LOT)]
    reports: list[Report] = []
    with ProcessPoolExecutor(max(jobs, 1)) as pool:
        for lot in pool.map(_play, lots):
            reports += lot
            if len(reports) % 100 < _LOT and sys.stderr.isatty():
                sys.stderr.write(f"\r  {len(reports)} of {len(seeds)} seeds")
    return reports


def _play(lot: range) -> list[Report]:
    return [play(seed) for seed in lot]


def _tell(report: Report) -> None:
    for line in report.story[-_SHOWN:]:
        sys.stdout.write(f"  {line}\n")
    for violation in report.violations:
        sys.stdout.write(f"violation in seed {report.seed}: {violation}\n")


if __name__ == "__main__":
    raise SystemExit(main())
