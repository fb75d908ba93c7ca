"""Transactions on the loop of the application, and beside it when that does not turn (ADR 0055)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import Future
from contextlib import asynccontextmanager

import pytest

from stepwell.model.changes import Decision, PutCell
from stepwell.model.history import Cell
from stepwell.model.questions import GetCell
from stepwell.storage.postgres.store import PostgresStore
from stepwell.storage.postgres.thread import LoopHere
from tests.postgres import asyncpg, emptied

POOL = 4
APART = "stepwell-postgres"
LONG_S = 20.0
FOREVER = 1 << 50


class Here:
    """A store on this loop, and the time by which it is judged whether that turns."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.time = 0.0
        self.store: PostgresStore

    async def put(self, value: str) -> None:
        assert (
            await self.store.commit(Decision((PutCell(Cell(key="told", value=value, expires_at=FOREVER), 0),)))
        ).held

    async def told(self) -> str | None:
        cell = await self.store.read(GetCell("told", 0, 0))
        return None if cell is None else cell.value

    async def commits_until(self, apart: bool) -> None:
        async with asyncio.timeout(LONG_S):
            while is_apart() is not apart:
                await self.put("again")

    async def held_up(self) -> None:
        """The loop was held up: a beat comes a second late."""
        await self.put("first")
        self.time += 1
        await self.commits_until(apart=True)

    async def connections(self) -> int:
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        finally:
            await connection.close()


def is_apart() -> bool:
    return any(thread.name == APART for thread in threading.enumerate())


@asynccontextmanager
async def opened() -> AsyncGenerator[Here]:
    here = Here(await asyncio.to_thread(emptied, 2))
    here.store = await PostgresStore.open(here.url, here=True, shards=2, pool=POOL, monotonic=lambda: here.time)
    try:
        yield here
    finally:
        await here.store.close()
    assert not is_apart()


async def test_while_the_loop_turns_there_is_no_other_thread():
    async with opened() as here:
        for number in range(20):
            await here.put(str(number))

        assert (await here.told(), is_apart()) == ("19", False)


async def test_after_it_was_held_up_a_transaction_ends_although_the_loop_stands_still():
    """Another replica gets its lock: nobody waits for the code that keeps the loop."""
    async with opened() as here:
        await here.held_up()
        lock = await asyncpg.connect(here.url)
        await lock.execute("BEGIN")
        await lock.execute("UPDATE stepwell.shards SET version = version WHERE shard = 0")
        writing = asyncio.create_task(here.put("beside"))
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        async with asyncio.timeout(LONG_S):
            while not await lock.fetchval(waiting):
                pass
        await lock.execute("COMMIT")
        await lock.close()
        seen: Future[str] = Future()

        def look() -> None:
            seen.set_result(asyncio.run(_told_beside(here.url)))

        threading.Thread(target=look).start()
        assert seen.result(LONG_S) == "beside"  # and until then this loop does not turn

        await writing


async def _told_beside(url: str) -> str:
    other = await asyncpg.connect(url)
    told = ""
    try:
        async with asyncio.timeout(LONG_S / 2):
            while told != "beside":
                # It waits for whoever has the lock, if anybody has it still.
                async with other.transaction():
                    await other.execute("UPDATE stepwell.shards SET version = version WHERE shard = 0")
                    told = await other.fetchval("SELECT value FROM stepwell.cells WHERE key = 'told'")
    except TimeoutError:
        return told
    finally:
        other.terminate()
    return told


async def test_a_minute_later_the_loop_is_relied_upon_again():
    async with opened() as here:
        await here.held_up()

        here.time += 59
        await here.put("still beside")
        assert is_apart()

        here.time += 2
        await here.commits_until(apart=False)


async def test_the_pool_is_as_large_as_it_is_wherever_transactions_run():
    async with opened() as here:

        async def many() -> int:
            await asyncio.gather(*(here.put(str(number)) for number in range(20)))
            return await here.connections()

        assert await many() <= POOL
        await here.held_up()
        assert await many() <= POOL
        here.time += 61
        await here.commits_until(apart=False)
        assert await many() <= POOL


async def test_another_loop_may_use_it_as_well():
    async with opened() as here:
        await here.put("here")

        async def elsewhere() -> str | None:
            told = await here.told()
            await here.put("elsewhere")
            return told

        assert await asyncio.to_thread(asyncio.run, elsewhere()) == "here"
        assert await here.told() == "elsewhere"


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_what_nobody_waits_for_any_more_is_cancelled_when_it_is_stopped(elsewhere: bool):
    home, began, ended = LoopHere(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiter = asyncio.create_task(home.run(work()))
    await began.wait()
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    assert not ended.is_set()

    await (asyncio.to_thread(asyncio.run, home.stop()) if elsewhere else home.stop())

    assert ended.is_set()
