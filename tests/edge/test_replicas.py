"""Processes that lead side by side on one PostgreSQL database: each one's part, and how quiet they are.

Here they are engines in one process, each with its own app, store and connections; ``test_rolling_restart.py`` has real
ones.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from benchmarks.postgres import asked
from stepwell import BackpressureError, Concurrency, Context, Event, Stepwell
from stepwell.embedded import Embedded
from stepwell.model.questions import RunItems
from stepwell.runtime.loop import rest
from tests.postgres import ask, emptied

pytestmark = pytest.mark.slow

PATIENCE_S = 30
LEASE_MS = 3_000
VERSIONS = "SELECT shard, version FROM stepwell.shards ORDER BY shard"
LATE = "SELECT r.ended_at - s.due FROM stepwell.steps s JOIN stepwell.runs r ON r.shard = s.shard AND r.id = s.run_id"
SLEEPING = "SELECT count(*) FROM stepwell.items WHERE kind = 'run' AND lease = 0 AND at IS NOT NULL"


@pytest.fixture
def url() -> Iterator[str]:
    yield emptied(16)


class Replica:
    """One of them. ``began`` are the bodies that began here."""

    def __init__(self, build: Callable[[Stepwell, Replica], None]) -> None:
        self.app = Stepwell("shop")
        self.began: list[str] = []
        build(self.app, self)

    @asynccontextmanager
    async def running(self, url: str) -> AsyncIterator[Embedded]:
        async with self.app.embedded(url, pool=4, grace="1s") as engine:
            yield engine


@asynccontextmanager
async def replicas(
    url: str, *builds: Callable[[Stepwell, Replica], None]
) -> AsyncIterator[list[tuple[Replica, Embedded]]]:
    async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE_S):
        made = [Replica(build) for build in builds]
        yield [(each, await stack.enter_async_context(each.running(url))) for each in made]


async def look(url: str, query: str) -> list[Any]:
    return await asyncio.to_thread(ask, url, query)


async def ended(engine: Embedded, event_ids: list[str]) -> list[Any]:
    """The outputs of all runs of these events, when they have ended."""
    runs = [run for event_id in event_ids for run in await engine.runs(event_id)]
    return [await engine.wait(run.id) for run in runs]


def ordering(app: Stepwell, replica: Replica) -> None:
    @app.create_function(id="order", trigger="shop/ordered")
    async def order(ctx: Context[Any]) -> int:
        async def one() -> int:
            replica.began.append(f"{ctx.run_id} one")
            return 1

        async def two() -> int:
            replica.began.append(f"{ctx.run_id} two")
            return 2

        first = await ctx.step.run("one", one)
        await ctx.step.sleep("nap", "300ms")
        return first + await ctx.step.run("two", two)


async def test_all_lead_and_every_body_begins_once(url: str) -> None:
    async with replicas(url, ordering, ordering, ordering) as peers:
        assert [engine.leads for _, engine in peers] == [True] * 3
        ids: list[str] = []
        for number, (replica, _) in enumerate(peers):
            ids += await replica.app.send([Event("shop/ordered", {"n": n, "of": number}) for n in range(20)])

        assert await ended(peers[0][1], ids) == [3] * 60

    began = Counter(body for replica, _ in peers for body in replica.began)
    assert len(began) == 120
    assert set(began.values()) == {1}


async def test_what_one_has_written_another_acts_on(url: str) -> None:
    """The run waits in the one that began it, and the event comes to another."""

    def waiting(app: Stepwell, replica: Replica) -> None:
        @app.create_function(id="wait", trigger="shop/ordered")
        async def wait(ctx: Context[Any]) -> Any:
            found = await ctx.step.wait_for_event("paid", "shop/paid", timeout="1h")
            return found.data["by"] if found is not None else None

    async with replicas(url, waiting, waiting) as [(first, engine), (second, _)]:
        ids = await first.app.send([Event("shop/ordered", {})])
        [run] = await engine.runs(ids[0])
        while (await look(url, "SELECT count(*) FROM stepwell.waits"))[0][0] == 0:
            pass

        await second.app.send([Event("shop/paid", {"by": "card"})])

        assert await engine.wait(run.id) == "card"


async def test_I18_after_a_cancel_by_another_is_acknowledged_no_body_begins(url: str) -> None:
    began = asyncio.Event()

    def endless(app: Stepwell, replica: Replica) -> None:
        @app.create_function(id="endless", trigger="shop/ordered")
        async def endless(ctx: Context[Any]) -> None:
            for number in range(100_000):

                async def body() -> None:
                    replica.began.append("body")
                    began.set()
                    await asyncio.sleep(0)

                await ctx.step.run(f"step {number}", body)

    for _ in range(3):
        began.clear()
        async with replicas(url, endless, endless) as [(first, engine), (second, other)]:
            ids = await first.app.send([Event("shop/ordered", {})])
            [run] = await engine.runs(ids[0])
            await began.wait()

            asked = other if first.began else engine
            assert await asked.cancel(run.id)

            before = len(first.began) + len(second.began)
            await rest(500, engine.engine.clock, engine.engine.timers)
            assert len(first.began) + len(second.began) == before


async def test_a_function_that_one_alone_has_is_run_by_that_one_whoever_is_told(url: str) -> None:
    """As if its app had connected to one replica only. It is handed over once, and not to and fro."""

    async with replicas(url, ordering, ordering) as [(first, engine), (second, other)]:
        engine.engine.caller.transport.serves = lambda function_id: False  # type: ignore[method-assign]

        ids = await first.app.send([Event("shop/ordered", {"n": n}) for n in range(10)])

        assert await ended(other, ids) == [3] * 10
        assert first.began == []
        assert len(second.began) == 20


async def test_what_nobody_serves_waits_quietly_until_somebody_comes(url: str) -> None:
    async with replicas(url, ordering, ordering) as [(first, engine), (_, other)]:
        for each in (engine, other):
            each.engine.caller.transport.serves = lambda function_id: False  # type: ignore[method-assign]
        ids = await first.app.send([Event("shop/ordered", {})])
        [run] = await engine.runs(ids[0])
        while not [item for item in await engine.engine.store.read(RunItems(run.id)) if item.backlog]:
            pass
        await rest(2_000, engine.engine.clock, engine.engine.timers)  # what they do when they begin is done
        before = await look(url, VERSIONS)
        await rest(2_000, engine.engine.clock, engine.engine.timers)
        assert await look(url, VERSIONS) == before, "nobody writes"

        async with replicas(url, ordering) as [(third, last)]:
            assert await last.wait(run.id) == 3
            assert len(third.began) == 2


async def test_calls_in_flight_hear_that_another_was_told_to_leave_their_queue_alone(url: str) -> None:
    held, refused = asyncio.Event(), asyncio.Event()
    moments: list[int] = []

    def calling(app: Stepwell, replica: Replica) -> None:
        @app.create_function(id="call", trigger="shop/ordered", retries=0)
        async def call(ctx: Context[Any]) -> None:
            async def one() -> None:
                replica.began.append("one")
                await (refused if replica is both[0] else held).wait()
                if replica is both[0]:
                    raise BackpressureError("429", "3s")

            async def two() -> None:
                moments.append(engine.engine.clock.now_ms())

            await ctx.step.run("one", one)
            await ctx.step.run("two", two)

    both: list[Replica] = []
    async with replicas(url, calling, calling) as [(first, engine), (second, other)]:
        both += [first, second]
        while not (first.began and second.began):  # whoever accepts an event mostly begins its run
            await first.app.send([Event("shop/ordered", {})])
            await second.app.send([Event("shop/ordered", {})])
        refused.set()
        clock, timers = other.engine.clock, other.engine.timers
        while not other.engine.pressed.known:
            await rest(1, clock, timers)
        (until,) = other.engine.pressed.known.values()

        held.set()
        while not moments:
            await rest(1, clock, timers)

        assert min(moments) >= until


async def test_I12_a_limit_holds_over_all_of_them(url: str) -> None:
    working: set[str] = set()
    most: list[int] = []

    def limited(app: Stepwell, replica: Replica) -> None:
        @app.create_function(id="charge", trigger="shop/ordered", concurrency=Concurrency(2))
        async def charge(ctx: Context[Any]) -> None:
            async def body() -> None:
                working.add(ctx.run_id)
                most.append(len(working))
                await asyncio.sleep(0.01)
                working.discard(ctx.run_id)

            await ctx.step.run("charge", body)

    async with replicas(url, limited, limited, limited) as peers:
        ids: list[str] = []
        for replica, _ in peers:
            ids += await replica.app.send([Event("shop/ordered", {"n": n}) for n in range(15)])
        await ended(peers[0][1], ids)

    assert max(most) == 2
    assert len(most) == 45


async def test_what_one_that_died_was_doing_goes_on_elsewhere_after_its_lease(url: str) -> None:
    hold = asyncio.Event()
    begun = asyncio.Event()

    def held(app: Stepwell, replica: Replica) -> None:
        @app.create_function(id="hold", trigger="shop/ordered")
        async def hold_on(ctx: Context[Any]) -> str:
            async def body() -> str:
                replica.began.append("body")
                begun.set()
                await hold.wait()
                return "done"

            return await ctx.step.run("body", body)

    async with replicas(url, held, held) as [(first, engine), (second, other)]:
        for each in (engine, other):
            each.engine.lease_ms = LEASE_MS
        ids = await first.app.send([Event("shop/ordered", {})])
        [run] = await engine.runs(ids[0])
        await begun.wait()
        begun.clear()
        dead, alive = (engine, other) if first.began else (other, engine)

        await dead.engine.halt()
        await begun.wait()
        hold.set()

        assert await alive.wait(run.id) == "done"
        assert len(first.began) == len(second.began) == 1


async def test_an_idle_replica_asks_no_more_than_twice_a_second_with_ten_thousand_sleeping_runs(url: str) -> None:
    def sleepy(app: Stepwell, replica: Replica) -> None:
        @app.create_function(id="sleep", trigger="shop/ordered")
        async def sleep(ctx: Context[Any]) -> None:
            await ctx.step.sleep("nap", "1d")

    seconds = 10
    async with AsyncExitStack() as stack, asyncio.timeout(120):
        made = [Replica(sleepy) for _ in range(2)]
        engines = [await stack.enter_async_context(each.running(url)) for each in made]
        clock, timers = engines[0].engine.clock, engines[0].engine.timers
        for _ in range(20):
            await made[0].app.send([Event("shop/ordered", {"n": n}) for n in range(500)])
        while (await look(url, SLEEPING))[0][0] < 10_000:
            await rest(200, clock, timers)
        await rest(3_000, clock, timers)  # until the last is told that nothing is left to do

        with asked() as statements:
            await rest(seconds * 1_000, clock, timers)

    assert statements.total() / seconds / len(engines) <= 2, statements
    assert statements.total() > seconds, "they look"


async def test_I15_what_one_that_died_left_sleeping_wakes_in_another_within_a_second(url: str) -> None:
    def sleepy(app: Stepwell, replica: Replica) -> None:
        @app.create_function(id="sleep", trigger="shop/ordered")
        async def sleep(ctx: Context[Any]) -> None:
            await ctx.step.sleep("nap", "3s")

    async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE_S):
        made = [Replica(sleepy) for _ in range(2)]
        engines = [await stack.enter_async_context(each.running(url)) for each in made]
        ids = await made[0].app.send([Event("shop/ordered", {"n": n}) for n in range(200)])
        while (await look(url, SLEEPING))[0][0] < 200:
            pass

        await engines[0].engine.halt()
        await ended(engines[1], ids)

    late = [ms for (ms,) in await look(url, LATE)]
    assert min(late) >= 0, "none before its time"
    assert sorted(late)[197] <= 1_000


async def test_an_event_is_decided_however_often_the_functions_change_meanwhile(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replicas(url, ordering, ordering) as [(replica, member), (_, other)]:
        engine, load, loads = member.engine, member.engine.load, itertools.count(1)
        for loop in (engine._watcher, engine._dispatcher):
            await loop.stop()
        told = asyncio.Event()

        async def overtaken() -> None:
            await load()
            if next(loads) < 30 and not told.is_set():
                await (other.resume("shop-order") if engine.registry.paused else other.pause("shop-order"))

        await other.pause("shop-order")
        monkeypatch.setattr(engine, "load", overtaken)
        [event_id] = await replica.app.send(Event("shop/ordered", {}))
        told.set()

        assert next(loads) <= 6  # three times for the event, and its run may have begun by now
        assert await ended(other, [event_id])
