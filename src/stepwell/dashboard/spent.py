"""Where the time of a run went: what was stored of its steps, laid over one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from stepwell.model.run import Run

if TYPE_CHECKING:
    from stepwell.dashboard.timeline import Bar

Failed = tuple[int, int, int | None]
"""An attempt that failed: its start, its end, and the moment from which the next one could be made."""

_EXECUTING, _WAITING, _RETRYING = range(3)  # where two are true at one moment, the first one tells more
_RESTS: Final = frozenset({"sleep", "wait for event", "wait for signal", "invoke"})
_NEITHER: Final = frozenset({"deferred", "code"})  # what has no time of its own, and what lies around the steps


class Spent(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Milliseconds. ``queued`` is before the first call; after it a step was ``executing``, or if none was one was
    ``waiting`` or ``retrying``; ``between`` is the rest: the function's own code, the engine, the network, a queue."""

    queued: int
    executing: int = 0
    waiting: int = 0
    retrying: int = 0
    between: int = 0


def spent(run: Run, rows: Sequence[Bar], now: int) -> Spent:
    ended = now if run.ended_at is None else run.ended_at
    started = ended if run.started_at is None else run.started_at
    edges: list[tuple[int, int, int]] = []
    for row in rows:
        for kind, begin, end in _intervals(row, ended):
            begin, end = max(begin, started), min(end, ended)
            if begin < end:
                edges += [(begin, kind, 1), (end, kind, -1)]
    edges.sort()
    lengths, open, at = [0, 0, 0], [0, 0, 0], started
    for moment, kind, change in edges:
        first = next((each for each in (_EXECUTING, _WAITING, _RETRYING) if open[each]), None)
        if first is not None:
            lengths[first] += moment - at
        open[kind] += change
        at = moment
    return Spent(
        queued=max(0, started - run.queued_at),
        executing=lengths[_EXECUTING],
        waiting=lengths[_WAITING],
        retrying=lengths[_RETRYING],
        between=max(0, ended - started - sum(lengths)),
    )


def _intervals(row: Bar, now: int) -> Iterator[tuple[int, int, int]]:
    if row.copied or row.kind in _NEITHER:
        return
    start = row.start
    for began, ended, retry_at in row.failed:
        yield _EXECUTING, began, ended
        start = ended if retry_at is None else retry_at
        yield _RETRYING, ended, start
    start = start if row.last is None else row.last
    end = now if row.end is None else row.end
    if row.kind in _RESTS:
        yield _WAITING, start, end
    elif row.status not in ("ERRORED", "QUEUED") and not (row.failed and row.status in ("FAILED", "CANCELLED")):
        yield _EXECUTING, start, end
