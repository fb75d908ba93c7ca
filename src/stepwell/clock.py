"""The only reader of real time."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


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


def monotonic_s() -> float:
    """Seconds from some moment on, to measure how long something takes: it never jumps."""
    return time.monotonic()


def to_datetime(ms: int) -> datetime:
    """The aware UTC ``datetime`` of a moment."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def to_ms(moment: datetime) -> int:
    """The moment of a ``datetime``; a naive one is taken as UTC (semantics §5.2)."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)
