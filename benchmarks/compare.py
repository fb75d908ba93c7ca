"""Does a figure get worse on a database with a past? Only a comparison within one run can tell."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import floors, history
from benchmarks.figures import FIGURES, TOLERANCE, TOLERANCE_P99, Found, Group, Setting, compared


class Past(NamedTuple):
    """``tag`` ends the names of the ratios in the JSON."""

    tag: str
    title: str
    grow: Callable[[Path], None]


PASTS: tuple[Past, ...] = (
    Past("1m_finished", "1,000,000 finished runs stored", lambda path: history.finish(path, 1_000_000)),
    Past(
        "100k_blocked",
        "100,000 items blocked by one limit, and 10,000 by 100 keys of another",
        lambda path: history.block(path, one=100_000, keys=100, each=100),
    ),
)
_PAIRS = 3
LEGEND = (
    f"each next to the plain figure of this run: WORSE if it is more than {TOLERANCE} times as dear,"
    f" p99s {TOLERANCE_P99:g} times;\n"
    f"before that is said both are measured {_PAIRS} times more, in turn, and the median of those ratios counts;\n"
    + ", ".join(f"{name} below {one.grain:g} {one.unit}" for name, one in FIGURES.items() if one.grain)
    + ": counts as that"
)


class Compared(NamedTuple):
    plain: float
    grown: float
    ratio: float
    pairs: int = 1


def compare(group: Group, plain: Found, setting: Setting) -> dict[str, Compared]:
    """The figures of a group on the database of the setting, next to ``plain``, without it.

    ``plain`` may be minutes old, and the pace of a shared machine drifts: what looks worse is looked at again.
    """
    names = compared(group)
    found = _ratios(names, plain, group.measure(setting))
    if any(worse(name, one.ratio) for name, one in found.items()):
        without = setting._replace(path=None)
        pairs = [_ratios(names, group.measure(without), group.measure(setting)) for _ in range(_PAIRS)]
        for name, one in found.items():
            if worse(name, one.ratio):
                ordered = sorted((pair[name] for pair in pairs), key=lambda each: each.ratio)
                found[name] = ordered[_PAIRS // 2]._replace(pairs=_PAIRS)
    return found


def worse(name: str, ratio: float) -> bool:
    return ratio > FIGURES[name].tolerance


def with_pasts(plain: Found, groups: Sequence[Group], *, quick: bool) -> tuple[Found, list[str], int]:
    """All groups on all pasts: the ratios by the name they have in the JSON, which got worse, how many there are."""
    ratios: Found = {}
    short: list[str] = []
    print(f"\n{LEGEND}")
    for past in PASTS:
        with tempfile.TemporaryDirectory(dir=floors.scratch()) as folder:
            path = Path(folder) / "past.db"
            started = time.perf_counter()
            past.grow(path)
            took, size = time.perf_counter() - started, path.stat().st_size >> 20
            print(f"\nwith {past.title} (made in {took:.0f} s, {size:,} MiB)")
            for group in groups:
                if not compared(group):
                    continue
                for name, one in compare(group, plain, Setting(quick, str(path))).items():
                    ratios[f"{name}_ratio_{past.tag}"] = one.ratio
                    _show(name, one)
                    if worse(name, one.ratio):
                        short.append(f"{name} is {one.ratio:.2f} times as dear with {past.title}")
    return ratios, short, len(ratios)


def _ratios(names: Sequence[str], plain: Found, grown: Found) -> dict[str, Compared]:
    return {name: Compared(plain[name], grown[name], FIGURES[name].ratio(plain[name], grown[name])) for name in names}


def _show(name: str, one: Compared) -> None:
    verdict = "WORSE" if worse(name, one.ratio) else "ok"
    again = f", median of {one.pairs} pairs" if one.pairs > 1 else ""
    sign = f"<= {FIGURES[name].tolerance:g}"
    plain = f"{FIGURES[name].unit:<5}plain {one.plain:>12,.3f}"
    print(f"  {name:<32}{one.grown:>14,.3f} {plain}  {one.ratio:>6.2f} x as dear {sign:<8}{verdict}{again}", flush=True)
