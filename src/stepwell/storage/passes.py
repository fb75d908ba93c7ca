"""How retention goes through what is old: in rounds of a bounded size, none of which looks at the same row again.

A row that was looked at and has to stay (an event whose run sleeps for a year) would be looked at by each round, and of
rows that are gone an index keeps an entry until it is cleaned. So a round begins where the one before it ended, and
only a new pass begins anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from stepwell.limits import AUDIT_KEPT

Place = tuple[int, str]
ROWS_PER_RUN: Final = 5
"""A round forgets as many rows of runs as it may forget runs, times this; or one run, which may have more."""
_START: Final[Place] = (-1, "")
_AUDIT_KEPT_MS: Final = AUDIT_KEPT // type(AUDIT_KEPT)(milliseconds=1)


class Old(NamedTuple):
    """Something that may be forgotten: since when, its name, and how many rows go with it."""

    since: int
    name: str
    rows: int


class Pass:
    """A pass through the old rows of one kind in one shard. ``place`` is the last one that was looked at."""

    def __init__(self) -> None:
        self.place = _START
        self.more = False

    def take(self, found: Iterable[Old], limit: int) -> list[str]:
        """What a round takes of what is old after ``place``, in its order; ``more`` if a round is to follow.

        Of ``found`` no more is asked for than is looked at.
        """
        taken: list[str] = []
        rows = 0
        self.more = True
        for old in found:
            rows += old.rows
            if taken and rows > limit * ROWS_PER_RUN:
                return taken
            taken.append(old.name)
            self.place = (old.since, old.name)
            if len(taken) == limit:
                return taken
        self.more = False
        self.place = _START
        return taken


class Passes:
    """The passes through one shard."""

    def __init__(self) -> None:
        self.runs, self.events, self.orders, self.cells, self.audit = Pass(), Pass(), Pass(), Pass(), Pass()

    @property
    def more(self) -> bool:
        return any(each.more for each in (self.runs, self.events, self.orders, self.cells, self.audit))


def audit_before(before: int, now: int) -> int:
    """What was done before this moment may be forgotten: who did what is kept for a year, and for as long as runs."""
    return min(before, now - _AUDIT_KEPT_MS)
