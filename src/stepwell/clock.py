"""The only reader of real time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

_MEASUREMENTS = 8  # of which the best counts: answers that took long say little


class Clock(Protocol):
    """Where the time comes from. Moments are integer milliseconds since 1970-01-01 UTC."""

    def now_ms(self) -> int:
        """The present moment; never earlier than a moment this clock told before."""
        ...


class SystemClock:
    """The machine's clock, made monotonic: when the machine steps back, ours stands still."""

    def __init__(self) -> None:
        self._latest_ms = 0

    def now_ms(self) -> int:
        now = time.time_ns() // 1_000_000
        if now > self._latest_ms:
            self._latest_ms = now
        return self._latest_ms


class MeasuredClock:
    """A clock that somebody else has, such as a database's: seconds that never jump, and how far it is from them.

    That is measured again and again (``measure``). An answer tells a moment between the question and its arrival, so
    what is taken for the present is never later than the other's: no timer fires early, and nobody's lease is taken for
    over before it is. It is earlier by the time that the fastest of the last answers took.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.monotonic = monotonic
        self._offsets: deque[float] = deque(maxlen=_MEASUREMENTS)
        self._offset = 0.0
        self._latest_ms = 0

    def measure(self, told_ms: int, asked_s: float, heard_s: float) -> None:
        """It showed ``told_ms`` at some moment between these two of ``monotonic``."""
        least, most = told_ms - heard_s * 1000, told_ms + 1 - asked_s * 1000
        if any(offset > most for offset in self._offsets):
            self._offsets.clear()  # it was set back: what it showed before says nothing any more
        self._offsets.append(least)
        self._offset = max(self._offsets)

    def now_ms(self) -> int:
        assert self._offsets, "nobody knows the time before it was measured"
        self._latest_ms = max(self._latest_ms, int(self.monotonic() * 1000 + self._offset))
        return self._latest_ms


def monotonic_s() -> float:
    """Seconds from some moment on, to measure how long something takes: it never jumps."""
    return time.monotonic()


def worked_s() -> float:
    """Seconds for which this thread has worked, to measure what something costs: none while it waits, or while others
    have the processor."""
    return time.thread_time()


def to_datetime(ms: int) -> datetime:
    """The aware UTC ``datetime`` of a moment."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def to_ms(moment: datetime) -> int:
    """The moment of a ``datetime``; a naive one is taken as UTC (semantics §5.2)."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)
