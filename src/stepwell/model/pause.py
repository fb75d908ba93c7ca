"""A pause: an operator holds a function for a while."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from stepwell.model.run import Run


class PausedEvents(StrEnum):
    """What becomes of events that match the function, and of its ticks."""

    SKIP = "skip"  # they start no run, and say why
    HOLD = "hold"  # their runs are created, and wait


class PausedRuns(StrEnum):
    """What becomes of the runs that there are."""

    FINISH = "finish"  # they go on
    HOLD = "hold"  # they wait, from their next rest on
    CANCEL = "cancel"


class Pause(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a person decided when they paused a function, and why: ``since`` this moment, in milliseconds.

    ``cancellation`` is the order by which its runs are cancelled, if they are.
    """

    since: int
    events: str = PausedEvents.SKIP
    runs: str = PausedRuns.FINISH
    reason: str = ""
    cancellation: str | None = None

    @property
    def holds_all(self) -> bool:
        """Whether it holds every run of its function."""
        return self.runs != PausedRuns.FINISH

    def holds(self, run: Run) -> bool:
        """Whether nothing of this run begins until the function is resumed."""
        if self.holds_all:
            return True
        return self.events == PausedEvents.HOLD and run.started_at is None and run.queued_at >= self.since
