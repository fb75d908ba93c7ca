"""What the last runs of a function tell: how many there are in a time, how many fail, how long they take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from stepwell.model.run import Run, RunStatus

_HOUR_MS = 3_600_000
_UNITS = (("second", 1_000), ("minute", 60_000), ("hour", _HOUR_MS), ("day", 24 * _HOUR_MS))


class Lately(NamedTuple):
    """Of the last runs: how many they are and since when, how many of them failed or completed, and how long those
    took. ``all`` is whether there are no earlier ones."""

    runs: int
    ended: int
    failed: int
    p50: int | None
    p95: int | None
    since: int | None
    volume: str
    all: bool

    @property
    def rate(self) -> str:
        """The part of them that failed."""
        return f"{100 * self.failed / self.ended:.3g} %" if self.ended else "—"


def lately(last: Sequence[Run], now: int, asked: int) -> Lately:
    """``last`` are the newest runs of one function, the newest first: ``asked``, or all there are."""
    ended = [run for run in last if run.status in (RunStatus.COMPLETED, RunStatus.FAILED)]
    took = sorted(run.ended_at - run.started_at for run in ended if run.ended_at is not None and run.started_at)
    since = last[-1].queued_at if last else None
    return Lately(
        runs=len(last),
        ended=len(ended),
        failed=sum(run.status == RunStatus.FAILED for run in ended),
        p50=took[len(took) // 2] if took else None,
        p95=took[min(len(took) - 1, len(took) * 95 // 100)] if took else None,
        since=since,
        volume=volume(len(last), now - since) if since is not None else "—",
        all=len(last) < asked,
    )


def volume(runs: int, ms: int) -> str:
    """So many in the shortest unit of time in which that is one at least: ``12 an hour``."""
    for unit, length in _UNITS:
        amount = runs * length / max(ms, length)
        if amount >= 1 or unit == "day":
            article = "an" if unit == "hour" else "a"
            return f"{amount:.2g} {article} {unit}" if amount < 100 else f"{amount:,.0f} {article} {unit}"
    raise AssertionError("a day is always long enough")
