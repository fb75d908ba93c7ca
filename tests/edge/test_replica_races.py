"""What went wrong elsewhere when two processes met on one database: known failures, played with peers on PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest

from stepwell import Context, Event, Stepwell
from stepwell.embedded import Embedded
from stepwell.model.questions import NextDues, Question
from stepwell.runtime.loop import rest
from tests.edge.test_replicas import LEASE_MS, Replica, ended, look, replicas
from tests.pooler import Pooler
from tests.postgres import emptied, server
from tests.proxy import Proxies

pytestmark = pytest.mark.slow

RUNS = 20
PATIENCE_S = 60
SERVES_WITHIN_S = 5.0
"""I10."""


@pytest.fixture
def url() -> Iterator[str]:
    yield emptied(16)


async def test_K40_of_two_that_have_the_same_stale_list_one_takes_each_run_over(url: str) -> None:
    """Both have read what a third has left before either claims any of it."""
    hold, lapsed, both = asyncio.Event(), asyncio.Event(), asyncio.Event()
    lists: set[int] = set()

    def held(app: Stepwell, replica: Replica) -> None:
        @app.create_function(id="hold", trigger="shop/ordered")
        async def hold_on(ctx: Context[Any]) -> str:
            async def body() -> str:
                replica.began.append(ctx.run_id)
                await hold.wait()
                return "done"

            return await ctx.step.run("body", body)

    def stale(engine: Embedded) -> None:
        read = engine.engine.store.read

        async def late(question: Question[Any]) -> Any:
            if not isinstance(question, NextDues) or both.is_set():
                return await read(question)
            await lapsed.wait()
            found = await read(question)
            lists.add(id(engine))
            if len(lists) == 2:
                both.set()
            await both.wait()
            return found

        engine.engine.store.read = late  # type: ignore[method-assign]

    async with asyncio.timeout(PATIENCE_S), replicas(url, held) as [(first, dead)]:
        dead.engine.lease_ms = LEASE_MS
        ids = await first.app.send([Event("shop/ordered", {"n": n}) for n in range(RUNS)])
        while len(first.began) < RUNS:
            await rest(10, dead.engine.clock, dead.engine.timers)
        async with replicas(url, held, held) as peers:
            for _, engine in peers:
                stale(engine)
            await dead.engine.halt()
            await rest(LEASE_MS + 100, peers[0][1].engine.clock, peers[0][1].engine.timers)
            lapsed.set()
            await both.wait()
            hold.set()

            assert await ended(peers[0][1], ids) == ["done"] * RUNS

        again = Counter(run_id for replica, _ in peers for run_id in replica.began)
        assert again == Counter(first.began), "each once more, by one of the two"


async def test_K43_a_wait_that_an_event_and_its_timeout_meet_in_is_settled_once(url: str) -> None:
    """The event comes to one process, and the timeout to whichever is first."""

    def waiting(app: Stepwell, replica: Replica) -> None:
        @app.create_function(id="wait", trigger="shop/ordered")
        async def wait(ctx: Context[Any]) -> str:
            found = await ctx.step.wait_for_event("paid", "shop/paid", match="data.n", timeout="1s")
            said = "timed out" if found is None else f"paid {found.data['n']}"

            async def body() -> str:
                replica.began.append(ctx.run_id)
                return said

            return await ctx.step.run(said, body)

    chance = random.Random(43)
    async with replicas(url, waiting, waiting) as peers:
        app, clock, timers = peers[1][0].app, peers[1][1].engine.clock, peers[1][1].engine.timers
        ids = await app.send([Event("shop/ordered", {"n": n}) for n in range(3 * RUNS)])

        async def pay(n: int) -> None:
            await rest(chance.randint(800, 1_300), clock, timers)
            await app.send(Event("shop/paid", {"n": n}))

        await asyncio.gather(*(pay(n) for n in range(3 * RUNS)))
        outputs = await ended(peers[0][1], ids)

    assert Counter(said.partition(" ")[0] for said in outputs).keys() == {"paid", "timed"}, "they met"
    assert all(said in ("timed out", f"paid {n}") for n, said in enumerate(outputs))
    began = Counter(run_id for replica, _ in peers for run_id in replica.began)
    assert len(began) == 3 * RUNS
    assert set(began.values()) == {1}
    assert await look(url, "SELECT count(*) FROM stepwell.waits") == [(0,)]
    assert await look(url, "SELECT run_id FROM stepwell.steps GROUP BY run_id HAVING count(*) <> 2") == []


async def test_K56_a_replica_that_was_cut_off_serves_again_soon_after_it_is_not(url: str) -> None:
    """It alone has the function, so nobody else can."""

    def counting(app: Stepwell, replica: Replica) -> None:
        @app.create_function(id="count", trigger="shop/ordered")
        async def count(ctx: Context[Any]) -> int:
            return int(ctx.event.data["n"])

    proxies, chance = Proxies(), random.Random(56)
    pooler = await asyncio.to_thread(Pooler, server())
    proxy = proxies.add([("127.0.0.1", pooler.port)], chance)
    theirs = f"postgresql://postgres@127.0.0.1:{proxy.port}{urlsplit(url).path}"
    try:
        async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE_S):
            cut, other = Replica(counting), Replica(counting)
            await stack.enter_async_context(cut.running(theirs))
            engine = await stack.enter_async_context(other.running(url))
            engine.engine.caller.transport.serves = lambda function_id: False  # type: ignore[method-assign]
            for number, way in enumerate((("up", "down"), ("up",), ("down",), ())):
                if way:
                    proxies.tell(proxy.silence, *way)
                else:
                    proxies.tell(proxy.refuse)
                ids = await other.app.send([Event("shop/ordered", {"n": number})])
                await rest(1_500, engine.engine.clock, engine.engine.timers)
                [run] = await engine.runs(ids[0])
                assert not run.ended, "it is cut off"

                proxies.tell(proxy.heal)

                async with asyncio.timeout(SERVES_WITHIN_S):
                    assert await ended(engine, ids) == [number]
    finally:
        await asyncio.to_thread(pooler.close)
        proxies.close()
