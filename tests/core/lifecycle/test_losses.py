"""How long to leave a run alone whose process has died under it (ADR 0010)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.lifecycle.losses import pause_ms

SECOND = 1_000


@pytest.mark.parametrize(
    ("losses", "full"),
    [(1, 0), (2, 0), (3, 1), (4, 2), (5, 4), (6, 8), (7, 16), (8, 32), (9, 60), (10, 60), (19, 60), (1_000, 60)],
)
@given(run_id=st.text())
def test_the_pause_is_between_half_and_all_of_one_that_doubles_up_to_a_minute(losses: int, full: int, run_id: str):
    pause = pause_ms(losses, run_id)

    assert full * SECOND / 2 <= pause <= full * SECOND


def test_runs_that_went_down_together_come_back_apart():
    pauses = sorted(pause_ms(6, f"run{number}") for number in range(100))

    assert len(set(pauses)) > 90
    assert pauses[-1] - pauses[0] > 3 * SECOND


def test_a_run_is_not_always_the_first_to_come_back():
    firsts = {min(("a", "b", "c"), key=lambda run: pause_ms(losses, run)) for losses in range(3, 20)}

    assert firsts == {"a", "b", "c"}
