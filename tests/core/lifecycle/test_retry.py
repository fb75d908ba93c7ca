"""When to try again, and when to give up (semantics §6.1, §6.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.lifecycle.retry import GiveUp, RetryAt, delay_ms, next_attempt, retry_at
from stepwell.model.function import Backoff

SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000
NOW = 1_700_000_000_000


@pytest.mark.parametrize(
    ("retry", "ms"),
    [
        (1, 15 * SECOND),
        (2, 30 * SECOND),
        (3, 1 * MINUTE),
        (4, 2 * MINUTE),
        (5, 5 * MINUTE),
        (6, 10 * MINUTE),
        (7, 20 * MINUTE),
        (8, 40 * MINUTE),
        (9, 1 * HOUR),
        (10, 2 * HOUR),
        (11, 2 * HOUR),
        (20, 2 * HOUR),
    ],
)
def test_pauses_grow_from_15_seconds_to_2_hours(retry: int, ms: int) -> None:
    assert delay_ms(retry, policy=None, chance=0.0, fixed_ms=None) == ms


@given(st.integers(1, 20), st.floats(0, 1, exclude_max=True))
def test_up_to_30_seconds_of_chance_spread_the_retries(retry: int, chance: float) -> None:
    least = delay_ms(retry, policy=None, chance=0.0, fixed_ms=None)

    assert 0 <= delay_ms(retry, policy=None, chance=chance, fixed_ms=None) - least < 30 * SECOND


@pytest.mark.parametrize(("retry", "ms"), [(1, 100), (2, 500), (3, 500), (9, 500)])
def test_the_last_pause_of_a_functions_own_table_repeats(retry: int, ms: int) -> None:
    assert delay_ms(retry, policy=Backoff((100, 500)), chance=0.9, fixed_ms=None) == ms


def test_a_functions_own_jitter_replaces_the_default_one() -> None:
    assert delay_ms(1, policy=Backoff((100,), jitter_ms=10), chance=0.5, fixed_ms=None) == 105


def test_a_fixed_pause_of_the_server_wins_over_everything() -> None:
    assert delay_ms(7, policy=Backoff((100,)), chance=0.5, fixed_ms=1 * SECOND) == 1 * SECOND


@pytest.mark.parametrize(
    ("requested", "granted"),
    [
        (NOW + 5 * SECOND, NOW + 5 * SECOND),
        (NOW, NOW + 1 * SECOND),
        (NOW - HOUR, NOW + 1 * SECOND),
        (NOW + 48 * HOUR, NOW + 24 * HOUR),
    ],
)
def test_a_requested_moment_is_kept_within_1_second_and_24_hours(requested: int, granted: int) -> None:
    assert retry_at(NOW, requested) == granted


def test_a_failed_attempt_is_followed_by_the_next_after_its_pause() -> None:
    assert next_attempt(0, 5, now=NOW, policy=None, chance=0.0) == RetryAt(1, NOW + 15 * SECOND)


def test_a_requested_moment_overrides_the_pause_but_uses_up_an_attempt() -> None:
    assert next_attempt(2, 5, now=NOW, policy=None, chance=0.0, requested_at=NOW + MINUTE) == RetryAt(3, NOW + MINUTE)
    assert next_attempt(4, 5, now=NOW, policy=None, chance=0.0, requested_at=NOW + MINUTE) == GiveUp()


def test_a_final_error_is_never_tried_again() -> None:
    assert next_attempt(0, 5, now=NOW, policy=None, chance=0.0, final=True) == GiveUp()


@given(retries=st.integers(0, 20))
def test_attempts_count_up_from_0_without_a_gap_until_the_retries_are_used(retries: int) -> None:
    attempts = [0]
    while isinstance(verdict := next_attempt(attempts[-1], retries + 1, now=NOW, policy=None, chance=0.5), RetryAt):
        attempts.append(verdict.attempt)

    assert attempts == list(range(retries + 1))
