"""What starting an engine sets in the interpreter, and what it leaves to the process."""

import gc
import sys
from collections.abc import Iterator

import pytest

from stepwell.runtime.interpreter import tune


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    yield
    gc.set_threshold(*threshold)
    sys.setswitchinterval(interval)


def test_cycles_are_looked_for_less_often() -> None:
    gc.set_threshold(700, 11, 12)

    tune()

    assert gc.get_threshold() == (100_000, 11, 12)


@pytest.mark.parametrize("young", [0, 100_001, 1_000_000])
def test_what_the_process_has_set_stays(young: int) -> None:
    gc.set_threshold(young, 10, 10)

    tune()

    assert gc.get_threshold() == (young, 10, 10)


def test_threads_take_turns_more_often_and_never_less() -> None:
    sys.setswitchinterval(0.005)
    tune()
    assert sys.getswitchinterval() == pytest.approx(0.0005)

    sys.setswitchinterval(0.0001)
    tune()
    assert sys.getswitchinterval() == pytest.approx(0.0001, abs=2e-6)
