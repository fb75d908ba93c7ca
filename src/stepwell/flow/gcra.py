"""The generic cell rate algorithm (ITU-T I.371): a rate with one moment per key, no counters and no windows.

That moment is the theoretical arrival time: when the next start would come if all came evenly. A start conforms if it
is not earlier than that by more than ``burst`` intervals. So ``burst + 1`` may come at once, and over any length of
time no more than the rate and the burst allow.
"""

from __future__ import annotations

_NS_PER_MS = 1_000_000


def interval_ns(limit: int, period_ms: int) -> int:
    """The pause between two starts, in nanoseconds, rounded up so that the rate is never exceeded."""
    return -(-period_ms * _NS_PER_MS // limit)


def within(tat_ns: int, last_ms: int, interval: int, burst: int) -> int:
    """The theoretical arrival time, no later than this rate could have made it with the last start: an older, slower
    rate is forgotten."""
    return min(tat_ns, last_ms * _NS_PER_MS + (burst + 1) * interval)


def at_least(tat_ns: int, last_ms: int, interval: int) -> int:
    """The theoretical arrival time, no earlier than this rate makes it with the last start: an older, faster rate is
    forgotten."""
    return max(tat_ns, last_ms * _NS_PER_MS + interval)


def next_ns(tat_ns: int, now_ms: int, interval: int, burst: int) -> int | None:
    """The theoretical arrival time after a start now; ``None`` if that start comes too early."""
    now = now_ms * _NS_PER_MS
    if now < tat_ns - burst * interval:
        return None
    return max(now, tat_ns) + interval


def free_at_ms(tat_ns: int, interval: int, burst: int, starts: int = 1) -> int:
    """The first millisecond at which so many more starts conform, if nobody else starts."""
    return -(-(tat_ns - (burst + 1 - starts) * interval) // _NS_PER_MS)


def free_now(tat_ns: int, now_ms: int, interval: int, burst: int) -> int:
    """How many starts conform at this moment."""
    room = now_ms * _NS_PER_MS - tat_ns + burst * interval
    return 0 if room < 0 else min(burst, room // interval) + 1


def turns(tat_ns: int, now_ms: int, interval: int, burst: int) -> tuple[int, int]:
    """How many starts conform at this moment, and when the one after them does."""
    count = free_now(tat_ns, now_ms, interval, burst)
    start = max(tat_ns, now_ms * _NS_PER_MS) if count else tat_ns
    return count, free_at_ms(start + count * interval, interval, burst)


def expiry_ms(tat_ns: int) -> int:
    """When it is forgotten without a difference: from then on the key is as if it had never been used."""
    return -(-tat_ns // _NS_PER_MS)
