"""An answer that many ask for at once."""

from __future__ import annotations

import asyncio

import pytest

from stepwell.dashboard.sharing import Shared, SharedBy


class Slow:
    """Makes numbers, each once it is let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.started = asyncio.Event()
        self._gate = asyncio.Event()

    async def make(self) -> int:
        self.begun += 1
        self.started.set()
        number = self.begun
        await self._gate.wait()
        return number

    def open(self) -> None:
        self._gate.set()


async def test_who_asks_while_an_answer_is_made_shares_the_next_one():
    slow, shared = Slow(), Shared[int]()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(shared.get(slow.make))
        await slow.started.wait()
        others = [group.create_task(shared.get(slow.make)) for _ in range(50)]
        await asyncio.sleep(0)
        slow.open()

    assert first.result() == 1
    assert {each.result() for each in others} == {2}
    assert slow.begun == 2


async def test_an_answer_is_never_older_than_the_question():
    slow, shared = Slow(), Shared[int]()
    slow.open()

    assert [await shared.get(slow.make) for _ in range(3)] == [1, 2, 3]


async def test_who_asked_hears_what_went_wrong_and_others_get_an_answer():
    shared = Shared[int]()

    async def fail() -> int:
        raise ValueError("away")

    async def make() -> int:
        return 7

    with pytest.raises(ValueError, match="away"):
        await shared.get(fail)
    assert await shared.get(make) == 7


async def test_who_asks_for_something_else_waits_for_nobody():
    slow, other, shared = Slow(), Slow(), SharedBy[int]()
    other.open()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(shared.get("a", slow.make))
        await slow.started.wait()
        others = [group.create_task(shared.get("a", slow.make)) for _ in range(50)]

        assert await shared.get("b", other.make) == 1

        slow.open()
    assert (first.result(), {each.result() for each in others}, slow.begun) == (1, {2}, 2)


async def test_nothing_is_kept_of_what_nobody_asks_for_any_more():
    slow, shared = Slow(), SharedBy[int]()

    async def fail() -> int:
        raise ValueError("away")

    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(shared.get("a", slow.make)) for _ in range(3)]
        await slow.started.wait()
        gone = group.create_task(shared.get("b", slow.make))
        await asyncio.sleep(0)
        assert len(shared) == 2
        gone.cancel()
        slow.open()
    with pytest.raises(ValueError, match="away"):
        await shared.get("c", fail)

    assert len(shared) == 0
    first, *others = (each.result() for each in asking)
    assert first == 1 and len(set(others)) == 1
