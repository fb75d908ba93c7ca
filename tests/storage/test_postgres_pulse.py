"""When a loop counts as held up (ADR 0055)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from stepwell.storage.postgres.apart import Beat


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """In which nothing passes by itself. A beat comes with the next turn of the loop."""
    monkeypatch.setattr("stepwell.storage.postgres.apart._BEAT_S", 0.0)
    return Time()


async def _turns(times: int = 5) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def test_a_loop_that_turns_while_something_is_under_way_is_not_held_up(time: Time):
    beat = Beat(time)
    beat.begin()
    for _ in range(100):
        await _turns()
        time.now += 0.2
        assert not beat.held_up()


@pytest.mark.parametrize("asked_at_once", [True, False])
async def test_a_beat_that_comes_late_tells_for_a_minute(time: Time, asked_at_once: bool):
    beat = Beat(time)
    beat.begin()
    await _turns()
    time.now += 0.3
    if asked_at_once:
        assert beat.held_up()  # before the timer has had its turn
    await _turns()
    beat.end()
    assert beat.held_up()

    time.now += 59
    await _turns()
    held = [beat.held_up()]
    time.now += 61
    held.append(beat.held_up())

    assert held == [True, False]


async def test_a_transaction_is_watched_for_as_long_as_it_takes(time: Time):
    beat = Beat(time)
    beat.begin()
    await _turns(50)
    time.now += 2

    assert beat.held_up()


async def test_nothing_is_watched_while_nothing_is_under_way(time: Time):
    timers = _timers()
    beat = Beat(time)
    beat.begin()
    beat.begin()
    beat.end()
    await _turns()
    beat.end()
    await _turns()
    time.now += 5
    await _turns()

    assert not beat.held_up()
    assert _timers() == timers


def _timers() -> int:
    scheduled: Sequence[Any] = getattr(asyncio.get_running_loop(), "_scheduled", ())
    return sum(not timer.cancelled() for timer in scheduled)
