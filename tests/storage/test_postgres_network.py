"""A store whose way to PostgreSQL misbehaves: through a proxy that cuts, falls silent, and strikes in a COMMIT."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from stepwell.clock import SystemClock
from stepwell.model.changes import Decision, Plan, PutCell
from stepwell.model.history import Cell
from stepwell.model.questions import GetCell, ask
from stepwell.runtime.loop import Loop, LoopTimers
from stepwell.storage.postgres.store import PostgresStore
from tests.pooler import Pooler
from tests.postgres import emptied, server
from tests.proxy import Proxies, Proxy

SHARDS = 4
WORKERS = 6
PATIENCE_S = 30


@pytest.fixture
def proxies() -> Iterator[Proxies]:
    made = Proxies()
    yield made
    made.close()


@asynccontextmanager
async def reached(proxies: Proxies) -> AsyncIterator[tuple[PostgresStore, Proxy]]:
    """A store, and the proxy on its way. The server of the tests has a socket that is a file; pgbouncer gives it a
    port."""
    url = await asyncio.to_thread(emptied, SHARDS)
    pooler = await asyncio.to_thread(Pooler, server())
    proxy = proxies.add([("127.0.0.1", pooler.port)], random.Random(1))
    store = await PostgresStore.open(
        f"postgresql://postgres@127.0.0.1:{proxy.port}{urlsplit(url).path}", here=True, shards=SHARDS, pool=4
    )
    try:
        yield store, proxy
    finally:
        await store.close()
        await asyncio.to_thread(pooler.close)


def looking_after(store: PostgresStore) -> Loop:
    """As each server does: what was lost in the midst of a statement no other ends (ADR 0044)."""
    clock = SystemClock()

    async def look(now: int) -> int:
        await store.end_stalled()
        return now + 500

    loop = Loop("upkeep", look, clock, LoopTimers(clock))
    loop.start()
    return loop


def count_up(place: int) -> Callable[[], Plan]:
    def plan() -> Plan:
        known = yield from ask(GetCell("n", 0, place))
        value = (0 if known is None else int(known.value)) + 1
        return Decision((PutCell(Cell(key="n", value=str(value), expires_at=9), place),), result=value)

    return plan


class Load:
    """Counts up as fast as it can. Every count is there once: none is lost, and none done twice."""

    def __init__(self, store: PostgresStore) -> None:
        self.done = 0
        self._store = store
        self._over = False
        self._news = asyncio.Event()
        self._workers = [asyncio.create_task(self._work(number % SHARDS)) for number in range(WORKERS)]

    async def goes_on(self, counts: int = 20) -> None:
        """Until so many more have been counted."""
        before = self.done
        async with asyncio.timeout(PATIENCE_S):
            while self.done < before + counts:
                self._news.clear()
                await self._news.wait()

    async def assert_exact(self) -> None:
        self._over = True
        await asyncio.gather(*self._workers)
        found = [await self._store.read(GetCell("n", 0, place)) for place in range(SHARDS)]
        assert sum(int(each.value) for each in found if each is not None) == self.done

    async def _work(self, place: int) -> None:
        while not self._over:
            await self._store.commit(count_up(place))
            self.done += 1
            self._news.set()


@pytest.mark.slow
async def test_connections_that_are_reset_at_commit_lose_nothing_and_repeat_nothing(proxies: Proxies):
    async with reached(proxies) as (store, proxy):
        load = Load(store)
        await load.goes_on()

        for _ in range(10):
            proxies.tell(proxy.strike, 3)
            await load.goes_on()

        await load.assert_exact()
        assert proxy.struck > 10


@pytest.mark.slow
async def test_connections_that_are_cut_and_refused_for_a_while_lose_nothing_and_repeat_nothing(proxies: Proxies):
    async with reached(proxies) as (store, proxy):
        load = Load(store)
        await load.goes_on()

        for _ in range(5):
            before = proxy.connected
            proxies.tell(proxy.refuse)
            while proxy.connected < before + 5:  # it tries again and again
                await asyncio.to_thread(proxies.tell, lambda: None)
            proxies.tell(proxy.heal)
            await load.goes_on()

        await load.assert_exact()


@pytest.mark.slow
@pytest.mark.parametrize("ways", [("up",), ("down",), ("up", "down")], ids=" and ".join)
async def test_what_was_held_back_on_the_way_arrives_and_counts_once(proxies: Proxies, ways: tuple[str, ...]):
    async with reached(proxies) as (store, proxy):
        load = Load(store)
        await load.goes_on()

        proxies.tell(proxy.silence, *ways)
        waiting = asyncio.create_task(store.read(GetCell("n", 0, 0)))
        assert (await asyncio.wait([waiting], timeout=0.2))[1] == {waiting}, "it is silent"
        proxies.tell(proxy.heal)
        await load.goes_on()

        await load.assert_exact()


@pytest.mark.slow
async def test_connections_that_are_forgotten_on_the_way_are_given_up(
    proxies: Proxies, monkeypatch: pytest.MonkeyPatch
):
    # Longer than the server keeps the locks of a transaction that says nothing more (5 s), as the real one is.
    monkeypatch.setattr("stepwell.storage.postgres.session._COMMAND_S", 7.0)
    async with reached(proxies) as (store, proxy):
        load = Load(store)
        await load.goes_on()

        proxies.tell(proxy.lose)
        upkeep = looking_after(store)
        await load.goes_on()

        await load.assert_exact()
        await upkeep.stop()
