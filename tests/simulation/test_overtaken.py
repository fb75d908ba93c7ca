"""Decisions that are overtaken by changes of the functions, and a store that is slow: each comes to its end, and what
nobody waits for any more is not done again and again."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from stepwell import Context, Stepwell
from stepwell.clock import to_ms
from stepwell.errors import StorageUnavailable
from stepwell.ids import RandomIds
from stepwell.model.questions import ListFunctions, ListRuns, RegistryStamp
from stepwell.model.standing import StandingKind
from stepwell.protocol.events import Incoming
from stepwell.runtime import standing
from stepwell.runtime.engine import Engine
from stepwell.runtime.loop import LoopTimers
from stepwell.runtime.operator import pause, resume
from stepwell.sdk.pool import THREADS_MAX
from stepwell.sdk.transport import InProcess
from stepwell.storage.sqlite import SqliteStore
from stepwell.testing import harness
from stepwell.testing.driver import Driver
from stepwell.testing.loop import VirtualClock, VirtualLoop
from stepwell.testing.node import Door

SHARDS = 4


class Slow(Door):
    """``commits`` is how many works it was given, ``called`` that there was one. ``answer`` is awaited before
    each is answered, and ``while_reading`` before the functions are told."""

    def __init__(self, store: SqliteStore) -> None:
        super().__init__(store)
        self.commits = 0
        self.called = asyncio.Event()
        self.while_reading: Callable[[], Coroutine[Any, Any, None]] | None = None
        self.answer: asyncio.Event | None = None

    def commit(self, work: Any) -> asyncio.Future[Any]:
        self.commits += 1
        self.called.set()
        done = super().commit(work)
        return done if self.answer is None else asyncio.ensure_future(self._late(done, self.answer))

    async def read(self, question: Any) -> Any:
        found = await super().read(question)
        if self.while_reading is not None and isinstance(question, ListFunctions):
            await self.while_reading()
        return found

    async def _late(self, done: asyncio.Future[Any], answer: asyncio.Event) -> Any:
        await answer.wait()
        return await done


class Pair:
    """Two engines on one store, neither of which runs anything: one sends, the other changes the functions."""

    def __init__(self) -> None:
        self.loop = VirtualLoop(inline=True)
        clock = VirtualClock(self.loop, to_ms(datetime(2026, 1, 1, tzinfo=UTC)))
        self.store = SqliteStore.inline(shards=SHARDS)
        self.door = Slow(self.store)
        self.app = Stepwell("app")

        @self.app.create_function(id="work", trigger="go")
        async def work(ctx: Context[Any]) -> None: ...

        def engine(door: Door, seed: int) -> Engine:
            transport, ids = InProcess(self.app, clock, THREADS_MAX), RandomIds(seed)
            return Engine(door, transport, clock, LoopTimers(clock), ids, ids)

        self.engine, self.other = engine(self.door, 1), engine(Door(self.store), 2)

    async def begin(self) -> None:
        await self.other.register("app", self.app.configs())
        await self.engine.load()

    async def send(self) -> list[str]:
        return await self.engine.send([Incoming(name="go", data=b"{}")])

    async def runs(self) -> int:
        return len(await self.store.read(ListRuns(limit=100)))

    async def stamp(self) -> int:
        return await self.store.read(RegistryStamp())


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    try:
        pair.loop.run_until_complete(pair.begin())
        yield pair
    finally:
        pair.loop.run_until_complete(pair.store.close())
        pair.loop.close()


def test_a_decision_ends_however_often_the_functions_change_meanwhile(pair: Pair) -> None:
    """What was read of them is out of date each time, and the last try knows them as they are."""
    changes = itertools.cycle((lambda: pause(pair.other, "app-work"), lambda: resume(pair.other, "app-work")))

    async def change() -> None:
        if pair.door.commits < 30:
            await next(changes)()

    async def story() -> None:
        await change()
        pair.door.while_reading = change
        await pair.send()

    pair.loop.run_until_complete(story())

    assert pair.door.commits == 4  # three that were overtaken, and one with all others out of the way
    assert pair.loop.run_until_complete(pair.runs()) == 1  # it has just been resumed


def test_what_nobody_waits_for_any_more_is_not_made_again(pair: Pair) -> None:
    async def story() -> None:
        await pause(pair.other, "app-work", events="skip")
        pair.door.answer = asyncio.Event()
        sending = asyncio.ensure_future(pair.send())
        await pair.door.called.wait()
        sending.cancel()
        await asyncio.wait((sending,))
        pair.door.answer.set()
        for _ in range(100):
            await asyncio.sleep(0)

    pair.loop.run_until_complete(story())

    assert pair.door.commits == 1


@pytest.mark.parametrize("kind", [StandingKind.ARCHIVE, StandingKind.DRAIN, StandingKind.PAUSE])
def test_who_asks_for_the_same_again_changes_nothing(pair: Pair, kind: StandingKind) -> None:
    async def ask() -> None:
        if kind == StandingKind.PAUSE:
            await standing.pause_all(pair.other, "app/app", events="skip", runs="hold", reason="because")
            await pause(pair.other, "app-work", events="skip", runs="hold", reason="because")
        else:
            await standing.give(pair.other, kind, "function/app-work", reason="because")

    async def story() -> tuple[int, int, int]:
        found = [await pair.stamp()]
        for _ in range(2):
            await ask()
            found.append(await pair.stamp())
        return found[0], found[1], found[2]

    before, once, twice = pair.loop.run_until_complete(story())

    assert before < once == twice


def test_claims_of_a_slow_store_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Driver, "_shards", SHARDS)
    app = Stepwell("app")

    @app.create_function(id="sleeper", trigger="go")
    async def sleeper(ctx: Context[Any]) -> str:
        await ctx.step.sleep("rest", "1m")
        return "awake"

    with harness(app) as t:
        for _ in range(20):
            t.send("go")
        commit, calls, under_way = t.engine.store.commit, itertools.count(), list[asyncio.Event]()

        async def late(work: Any, over: asyncio.Event) -> Any:
            await over.wait()
            under_way.remove(over)
            return await commit(work)

        def slow(work: Any) -> asyncio.Future[Any]:
            if next(calls) % SHARDS:
                under_way.append(asyncio.Event())
                return asyncio.ensure_future(late(work, under_way[-1]))
            failed = asyncio.get_running_loop().create_future()
            failed.set_exception(StorageUnavailable("the database is slow", "so decided the test"))
            return failed

        monkeypatch.setattr(t.engine.store, "commit", slow)
        t.advance("2m")
        most = len(under_way)
        monkeypatch.setattr(t.engine.store, "commit", commit)
        for over in list(under_way):
            over.set()
        t.advance("1m")

        assert 0 < most < SHARDS
        assert [run.output for run in t.runs(sleeper)] == ["awake"] * 20
