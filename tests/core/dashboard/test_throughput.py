"""The last hour in minutes: what is counted, what is estimated, and how little is looked at (ADR 0049)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stepwell.limits import ENDINGS_LOOKED_MAX, ENDINGS_OF_A_MINUTE_MAX
from stepwell.model.questions import RunEndings
from stepwell.views.throughput import MINUTE, MINUTES, Minute, Throughput

NOW = 1_000 * MINUTE + 30_000
FIRST = (1_000 - MINUTES + 1) * MINUTE


class Store:
    """Answers from a list; counts the questions, and the rows that it gives away."""

    def __init__(self, endings: Iterable[tuple[int, str]]) -> None:
        self.endings = [(at, f"r{number:06}", status) for number, (at, status) in enumerate(endings)]
        self.questions = 0
        self.rows = 0

    async def read(self, question: Any) -> Any:
        assert isinstance(question, RunEndings)
        found = [each for each in self.endings if question.after < each[0] <= question.before]
        found = sorted(found, reverse=True)[: question.limit]
        self.questions += 1
        self.rows += len(found)
        return found


def steady(count: int, status: str = "COMPLETED") -> list[tuple[int, str]]:
    """So many, spread evenly over the hour."""
    length = NOW - FIRST
    return [(FIRST + length * number // count, status) for number in range(count)]


async def test_each_minute_says_how_its_runs_ended():
    kinds = [(NOW, "FAILED"), (NOW - MINUTE, "COMPLETED"), (NOW - MINUTE, "CANCELLED"), (NOW - MINUTE, "SKIPPED")]
    store = Store([*kinds, (FIRST, "COMPLETED"), (FIRST - 1, "COMPLETED"), (NOW + 1, "COMPLETED")])

    found = await Throughput().last_hour(store, NOW)

    assert [minute.start for minute in found] == [FIRST + MINUTE * number for number in range(MINUTES)]
    assert found[-1] == Minute(NOW - 30_000, failed=1)
    assert found[-2] == Minute(NOW - 90_000, completed=1, cancelled=2)
    assert found[0] == Minute(FIRST, completed=1)
    assert sum(minute.ended for minute in found) == 5
    assert store.questions == 1


async def test_minutes_that_are_over_are_not_looked_at_again():
    store, throughput = Store(steady(500)), Throughput()
    await throughput.last_hour(store, NOW)
    before = store.rows
    store.endings += [(NOW + 1, "r9", "FAILED"), (NOW - 10 * MINUTE, "late", "FAILED")]

    found = await throughput.last_hour(store, NOW + 1)

    assert found[-1].failed == 1
    assert found[-11].failed == 0
    assert store.rows - before < 20
    assert len(await throughput.last_hour(store, NOW + 7 * MINUTE)) == MINUTES


async def test_the_end_of_a_minute_is_waited_for_until_it_is_written():
    store, throughput = Store([]), Throughput()
    await throughput.last_hour(store, NOW)
    over = NOW + 30_000
    await throughput.last_hour(store, over + 4_000)
    store.endings = [(over - 1, "r1", "COMPLETED")]
    assert (await throughput.last_hour(store, over + 4_500))[-2].completed == 1
    await throughput.last_hour(store, over + 5_000)
    store.endings = []

    assert (await throughput.last_hour(store, over + 5_500))[-2].completed == 1


async def test_more_than_are_looked_at_together_are_looked_at_minute_by_minute():
    count = ENDINGS_LOOKED_MAX + 1_500
    store = Store(steady(count))

    found = await Throughput().last_hour(store, NOW)

    assert sum(minute.ended for minute in found) == count
    assert all(minute.exact for minute in found)
    assert 1 < store.questions < MINUTES


async def test_a_minute_with_very_many_is_an_estimate():
    count = 60_000
    store = Store([*steady(count), *steady(count // 4, "FAILED")])

    found = await Throughput().last_hour(store, NOW)

    assert sum(not minute.exact for minute in found) >= MINUTES - 2
    assert abs(sum(minute.completed for minute in found) - count) < count / 20
    assert abs(sum(minute.failed for minute in found) - count / 4) < count / 80
    assert store.rows <= ENDINGS_LOOKED_MAX + MINUTES * ENDINGS_OF_A_MINUTE_MAX
