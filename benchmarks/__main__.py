"""``scripts/bench [--quick] [--json] [--history] [--only NAME]``: figures, bars, and exit 1 when one falls short.

All of it takes ten minutes or so: the figures, then once more with 1,000,000 finished runs stored, and with 100,000
blocked items queued. ``--quick`` and ``--only`` leave those two out, unless ``--history`` asks for them.

What is on PostgreSQL is measured by ``--only postgres`` alone: it takes half an hour more, and fetches the peers that
it is compared with.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence

from benchmarks import compare, floors
from benchmarks.figures import FIGURES, GROUPS, Found, Group, Setting, bar


def measure(groups: Sequence[Group], setting: Setting) -> Found:
    found: Found = {}
    for group in groups:
        found |= group.measure(setting)
    return {name: found[name] for name in FIGURES if name in found}


def judge(found: Found) -> list[str]:
    """Show all figures next to their bars. Returns which fall short, in words."""
    short: list[str] = []
    for name, value in found.items():
        figure, limit = FIGURES[name], bar(name, found)
        missed = limit is not None and (value < limit if figure.more else value > limit)
        sign = "" if limit is None else figure.sign(limit)
        print(f"  {name:<32}{value:>14,.3f} {figure.unit:<5}{sign:<20}{'MISSED' if missed else 'ok' if sign else ''}")
        if missed:
            short.append(f"{name} is {value:,.3f} {figure.unit}, the bar is {sign}")
    return short


def main() -> int:
    about, _, more = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(prog="scripts/bench", description=about, epilog=more)
    parser.add_argument(
        "--quick", action="store_true", help="fewer rounds, shallower backlogs, nothing with a past: some two minutes"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--history", action="store_true", help="with a past too, whatever else is asked for")
    parser.add_argument("--only", metavar="NAME", help="measure what has this in its name")
    options = parser.parse_args()
    groups = [
        group
        for group in GROUPS
        if (any(options.only in name for name in group.names) if options.only else not group.named)
    ]
    if not groups:
        parser.error(f"no figure has {options.only!r} in its name; there are {', '.join(FIGURES)}")
    started = time.perf_counter()
    print(floors.scratch_text())
    found = measure(groups, Setting(options.quick))
    short = judge(found)
    held = sum(1 for name in found if bar(name, found) is not None)
    if options.history or not (options.quick or options.only):
        ratios, worse, count = compare.with_pasts(found, groups, quick=options.quick)
        found |= ratios
        short += worse
        held += count
    for line in short:
        print(f"short: {line}", file=sys.stderr)
    if options.json:
        print(json.dumps({name: round(value, 4) for name, value in found.items()}))
    else:
        print(f"{held - len(short)} of {held} bars held, {time.perf_counter() - started:.0f} s")
    return 1 if short else 0


if __name__ == "__main__":
    raise SystemExit(main())
