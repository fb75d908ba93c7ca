"""Functions of any shape, interrupted anywhere: the code must see the same as if nothing had happened.

They are strict, so that none of them may be taken for one that has changed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell import Context, Stepwell, Sync
from stepwell.protocol.messages import Op, Settled, Superseded
from tests.core.sdk.engine import Run


class Body(msgspec.Struct, frozen=True):
    """A step that fails so often before it succeeds, after so many turns of the event loop."""

    failures: int
    turns: int


class Sleep(msgspec.Struct, frozen=True):
    ms: int


class Own(msgspec.Struct, frozen=True):
    """Code outside of steps that takes so many turns."""

    turns: int


class Row(msgspec.Struct, frozen=True):
    parts: tuple[Any, ...]


class Branches(msgspec.Struct, frozen=True):
    parts: tuple[Any, ...]
    way: str


class Race(msgspec.Struct, frozen=True):
    parts: tuple[Any, ...]


class Beside(msgspec.Struct, frozen=True):
    """A task is begun, and the code goes on: does anybody await the task in the end?"""

    task: Any
    main: Any
    awaited: bool


BODIES = st.builds(Body, st.sampled_from([0, 0, 0, 1, 2]), st.integers(0, 3))
SLEEPS = st.builds(Sleep, st.sampled_from([0, 1_000, 60_000]))


def groups(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(parts, min_size=1, max_size=4).map(tuple)
    return (
        st.builds(Row, several)
        | st.builds(Branches, several, st.sampled_from(["gather", "parallel", "TaskGroup"]))
        | st.builds(Race, several)
        | st.builds(Beside, parts, parts, st.booleans())
    )


PROGRAMS = st.recursive(BODIES | SLEEPS | st.builds(Own, st.integers(1, 4)), groups, max_leaves=12)


class Interrupted(Run):
    """An engine whose calls are lost after this many saves each, the last without an end."""

    def __init__(self, app: Stepwell, turns: int, losses: Iterator[int]) -> None:
        super().__init__(app, "t-program", turns=turns)
        self._losses = losses
        self._left = next(losses, None)

    async def save(self, op: Op) -> Settled:
        if self._left == 0:
            raise Superseded
        settled = await super().save(op)
        if self._left is not None:
            self._left -= 1
        return settled

    async def call(self) -> Any:
        try:
            return await super().call()
        except Superseded:
            self._left = next(self._losses, None)
            self.due = self.clock.now
            return None


class Observer:
    """Runs a program inside a function, and sees that each race ends in the same way in every call."""

    def __init__(self, program: Any) -> None:
        self.program = program
        self.bodies: Counter[str] = Counter()
        self.winners: dict[str, int] = {}

    async def run(self, ctx: Context[Any]) -> Any:
        return await self._do(ctx, self.program, "p")

    def run_sync(self, ctx: Context[Any, Sync]) -> Any:
        return self._do_sync(ctx, self.program, "p")

    def _act(self, part: Body, id: str) -> str:
        self.bodies[id] += 1
        if self.bodies[id] <= part.failures:
            raise ValueError(id)
        return id

    def _won(self, id: str, number: int, race: Race) -> None:
        before = self.winners.get(id, number)
        self.winners[id] = number
        # Nothing is remembered of what code does outside of steps, nor of who was first there.
        assert before == number or "Own(" in repr(race), f"race {id} ended otherwise than before"

    async def _do(self, ctx: Context[Any], part: Any, id: str) -> Any:
        match part:
            case Body(turns=turns):

                async def act() -> str:
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    return self._act(part, id)

                return await ctx.step.run(id, act)
            case Sleep(ms):
                return await ctx.step.sleep(id, ms)
            case Own(turns):
                for _ in range(turns):
                    await asyncio.sleep(0)
                return None
            case Row(parts):
                return [await self._do(ctx, one, f"{id}.{number}") for number, one in enumerate(parts)]
            case Branches(parts, "TaskGroup"):
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._do(ctx, one, f"{id}.{n}")) for n, one in enumerate(parts)]
                return [task.result() for task in tasks]
            case Branches(parts, way):
                branches = [self._do(ctx, one, f"{id}.{number}") for number, one in enumerate(parts)]
                return list(await (asyncio.gather(*branches) if way == "gather" else ctx.group.parallel(branches)))
            case Race(parts) as race:

                async def branch(number: int, one: Any) -> int:
                    await self._do(ctx, one, f"{id}.{number}")
                    return number

                winner = await ctx.group.race([branch(number, one) for number, one in enumerate(parts)])
                self._won(id, winner, race)
                return winner
            case Beside(beside, main, awaited):
                begun = asyncio.create_task(self._do(ctx, beside, f"{id}.0"))
                found = await self._do(ctx, main, f"{id}.1")
                return [await begun if awaited else None, found]

    def _do_sync(self, ctx: Context[Any, Sync], part: Any, id: str) -> Any:
        match part:
            case Body():
                return ctx.step.run(id, lambda: self._act(part, id))
            case Sleep(ms):
                return ctx.step.sleep(id, ms)
            case Own():
                return None
            case Row(parts):
                return [self._do_sync(ctx, one, f"{id}.{number}") for number, one in enumerate(parts)]
            case Branches(parts):

                def go(number: int, one: Any) -> Any:
                    return lambda: self._do_sync(ctx, one, f"{id}.{number}")

                return list(ctx.group.parallel([go(number, one) for number, one in enumerate(parts)]))
            case Race(parts) as race:

                def branch(number: int, one: Any) -> Any:
                    return lambda: (self._do_sync(ctx, one, f"{id}.{number}"), number)[1]

                winner = ctx.group.race([branch(number, one) for number, one in enumerate(parts)])
                self._won(id, winner, race)
                return winner
            case Beside(beside, main, awaited):
                found = self._do_sync(ctx, Branches((beside, main), "parallel"), id)
                return found if awaited else [None, found[1]]


def result(part: Any, id: str, winners: dict[str, int]) -> Any:
    """What the program gives, if the races ended like this."""
    match part:
        case Body():
            return id
        case Sleep() | Own():
            return None
        case Race():
            return winners[id]
        case Beside(beside, main, awaited):
            return [result(beside, f"{id}.0", winners) if awaited else None, result(main, f"{id}.1", winners)]
        case Row(parts) | Branches(parts):
            return [result(one, f"{id}.{number}", winners) for number, one in enumerate(parts)]


async def play(observer: Observer, handler: Any, turns: int, losses: list[int]) -> None:
    app = Stepwell("t")
    app.create_function(id="program", trigger="test/started", strict=True)(handler)
    run = Interrupted(app, turns, iter(losses))

    found = await run.to_end()

    assert found == result(observer.program, "p", observer.winners)
    succeeded = Counter(op.name for op in run.ops if op.op == "StepRun")
    assert all(count == 1 for count in succeeded.values()), "a result is written once"


@pytest.mark.slow
@settings(max_examples=300)
@given(program=PROGRAMS, turns=st.integers(0, 5), losses=st.lists(st.integers(0, 6), max_size=4))
def test_an_async_function_gives_the_same_wherever_its_calls_are_lost(
    program: Any, turns: int, losses: list[int]
) -> None:
    observer = Observer(program)

    asyncio.run(play(observer, observer.run, turns, losses))


@pytest.mark.slow
@settings(max_examples=60)
@given(program=PROGRAMS, turns=st.integers(0, 5), losses=st.lists(st.integers(0, 6), max_size=4))
def test_so_does_a_plain_function(program: Any, turns: int, losses: list[int]) -> None:
    observer = Observer(program)

    asyncio.run(play(observer, observer.run_sync, turns, losses))
