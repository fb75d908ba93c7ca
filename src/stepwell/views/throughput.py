"""How many runs ended in each minute of the last hour, and how: counted from the runs, never from numbers that are
kept (ADR 0049).

A minute that is over stays as it is, so whoever asks again looks at the present one only. Of a minute in which very
many ended the last are looked at, and tell how many there were of each kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from stepwell.limits import ENDINGS_LOOKED_MAX, ENDINGS_OF_A_MINUTE_MAX
from stepwell.model.questions import RunEndings
from stepwell.model.run import RunStatus
from stepwell.views.nouns import Reader

MINUTE: Final = 60_000
MINUTES: Final = 60
_SETTLED: Final = 5_000  # a run is not seen at the moment at which it ends, but when that is written
_FEW: Final = 3  # minutes that are looked at one by one

Ending = tuple[int, str, str]


class Minute(NamedTuple):
    """The runs that ended in the minute from ``start`` on; if not ``exact``, about so many."""

    start: int
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    exact: bool = True

    @property
    def ended(self) -> int:
        return self.completed + self.failed + self.cancelled


class Throughput:
    """The last hour of a store, as one process remembers it."""

    def __init__(self) -> None:
        self._known: dict[int, Minute] = {}

    async def last_hour(self, reader: Reader, now: int) -> list[Minute]:
        """The minutes of the hour, the present one last, which is not over."""
        present = now - now % MINUTE
        starts = range(present - (MINUTES - 1) * MINUTE, present + 1, MINUTE)
        known = {start: self._known[start] for start in starts if start in self._known}
        unknown = [start for start in starts if start not in known]
        if len(unknown) > _FEW:
            known |= await _together(reader, unknown, now)
        for start in unknown:
            if start not in known:
                known[start] = await _one(reader, start, now)
        self._known = {start: known[start] for start in starts if start + MINUTE + _SETTLED <= now}
        return [known[start] for start in starts]


async def _together(reader: Reader, starts: Sequence[int], now: int) -> dict[int, Minute]:
    """Those of these minutes that can be known from one look."""
    endings: list[Ending] = await reader.read(RunEndings(starts[0] - 1, now, ENDINGS_LOOKED_MAX))
    whole = starts
    if len(endings) == ENDINGS_LOOKED_MAX:
        oldest = endings[-1][0]
        whole = [start for start in starts if start > oldest]
    counts = Counter((at - at % MINUTE, status) for at, _, status in endings)
    return {start: _minute(start, Counter({status: counts[start, status] for status in RunStatus})) for start in whole}


async def _one(reader: Reader, start: int, now: int) -> Minute:
    last = min(start + MINUTE - 1, now)
    endings: list[Ending] = await reader.read(RunEndings(start - 1, last, ENDINGS_OF_A_MINUTE_MAX))
    counts = Counter(status for _, _, status in endings)
    if len(endings) < ENDINGS_OF_A_MINUTE_MAX:
        return _minute(start, counts)
    # So many ended in the last part of the minute: in all of it that many times more.
    times = (last - start + 1) / (last - endings[-1][0] + 1)
    return _minute(start, Counter({status: round(count * times) for status, count in counts.items()}), exact=False)


def _minute(start: int, counts: Counter[str], *, exact: bool = True) -> Minute:
    completed, failed = counts[RunStatus.COMPLETED], counts[RunStatus.FAILED]
    return Minute(start, completed, failed, counts.total() - completed - failed, exact)
