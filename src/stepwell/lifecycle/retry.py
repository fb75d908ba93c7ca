"""When to try again, and when to give up (semantics §6.1, §6.2). All moments and lengths are milliseconds."""

from __future__ import annotations

from typing import Final

import msgspec

from stepwell.limits import RETRY_DELAY_MAX, RETRY_DELAY_MIN
from stepwell.model.duration import to_ms
from stepwell.model.function import Backoff

_SECOND: Final = 1_000
_MINUTE: Final = 60 * _SECOND
_HOUR: Final = 60 * _MINUTE

DEFAULT: Final = Backoff(
    delays_ms=(
        15 * _SECOND,
        30 * _SECOND,
        1 * _MINUTE,
        2 * _MINUTE,
        5 * _MINUTE,
        10 * _MINUTE,
        20 * _MINUTE,
        40 * _MINUTE,
        1 * _HOUR,
        2 * _HOUR,
    ),
    jitter_ms=30 * _SECOND,
)
"""The table of semantics §6.2, for functions that declare no back-off of their own."""

_SHORTEST: Final = to_ms(RETRY_DELAY_MIN)
_LONGEST: Final = to_ms(RETRY_DELAY_MAX)


class RetryAt(msgspec.Struct, frozen=True):
    """Try again, as this attempt, not before ``at``."""

    attempt: int
    at: int


class GiveUp(msgspec.Struct, frozen=True):
    """No attempt is left, or none would help."""


def delay_ms(retry_number: int, *, policy: Backoff | None, chance: float, fixed_ms: int | None) -> int:
    """The pause before retry number ``retry_number``, counted from 1. ``chance`` in [0, 1) places it within the jitter.

    ``fixed_ms`` is the server's own setting for quick tests, and wins (semantics §6.2).
    """
    assert retry_number >= 1, "attempt 0 is not a retry"
    if fixed_ms is not None:
        return fixed_ms
    policy = policy or DEFAULT
    return policy.delays_ms[min(retry_number, len(policy.delays_ms)) - 1] + int(chance * policy.jitter_ms)


def retry_at(now: int, requested_at: int) -> int:
    """The moment a function asked for itself, kept within 1 s and 24 h from now."""
    return min(max(requested_at, now + _SHORTEST), now + _LONGEST)


def next_attempt(
    attempt: int,
    max_attempts: int,
    *,
    now: int,
    policy: Backoff | None,
    chance: float,
    fixed_ms: int | None = None,
    requested_at: int | None = None,
    final: bool = False,
) -> RetryAt | GiveUp:
    """What follows after attempt ``attempt`` (from 0) of ``max_attempts`` failed.

    A moment the function asked for overrides the back-off but still uses up an attempt; after a ``final`` error nothing
    is tried again (semantics §6.3).
    """
    if final or attempt + 1 >= max_attempts:
        return GiveUp()
    if requested_at is not None:
        return RetryAt(attempt + 1, retry_at(now, requested_at))
    return RetryAt(attempt + 1, now + delay_ms(attempt + 1, policy=policy, chance=chance, fixed_ms=fixed_ms))
