"""The time of a database as it is known to a process that asks it now and then."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.clock import MeasuredClock

NOW = 1_767_225_600_000


class Seconds:
    def __init__(self) -> None:
        self.now = 5.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


def test_it_shows_what_the_other_showed_and_goes_on_from_there(seconds: Seconds) -> None:
    clock = MeasuredClock(seconds)

    clock.measure(NOW, 5.0, 5.0)
    seconds.now = 6.5

    assert clock.now_ms() == NOW + 1_500


def test_of_several_answers_the_fastest_counts(seconds: Seconds) -> None:
    clock = MeasuredClock(seconds)

    clock.measure(NOW + 2, 5.0, 5.004)  # it showed this two milliseconds after it was asked
    clock.measure(NOW + 1_000, 6.0, 6.001)
    clock.measure(NOW + 2_500, 7.0, 8.0)
    seconds.now = 8.0

    assert clock.now_ms() == NOW + 2_999


def test_it_follows_when_the_other_is_set_forward(seconds: Seconds) -> None:
    clock = MeasuredClock(seconds)
    clock.measure(NOW, 5.0, 5.0)

    clock.measure(NOW + 3_600_000, 5.0, 5.0)

    assert clock.now_ms() == NOW + 3_600_000


def test_when_the_other_is_set_back_it_stands_still_until_that_has_caught_up(seconds: Seconds) -> None:
    clock = MeasuredClock(seconds)
    clock.measure(NOW, 5.0, 5.0)
    assert clock.now_ms() == NOW

    clock.measure(NOW - 2_000, 5.0, 5.0)

    for later, shown in ((1.0, NOW), (2.0, NOW), (3.0, NOW + 1_000)):
        seconds.now = 5.0 + later
        assert clock.now_ms() == shown


@given(
    skew=st.integers(-10_000_000, 10_000_000),
    asked=st.lists(st.tuples(st.floats(0, 5), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20),
)
def test_it_is_never_ahead_nor_further_behind_than_the_fastest_of_the_last_answers(
    skew: int, asked: list[tuple[float, float, float]]
) -> None:
    """A wait, then the ways to the other and back, in seconds."""
    seconds = Seconds()
    clock = MeasuredClock(seconds)
    took: list[float] = []
    for wait, there, back in asked:
        seconds.now += wait
        began = seconds.now
        told = int((began + there) * 1000) + NOW + skew
        seconds.now += there + back
        clock.measure(told, began, seconds.now)
        took.append(back)

        true = seconds.now * 1000 + NOW + skew
        assert true - min(took[-8:]) * 1000 - 2.1 <= clock.now_ms() <= true + 0.01
