"""Transactions on the loop of the application, and beside it when that does not turn (ADR 0055)."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from stepwell.errors import NotRunning
from stepwell.model.changes import Decision, Plan, PutCell
from stepwell.model.history import Cell
from stepwell.model.questions import GetCell, ask
from stepwell.storage.interface import Verdict
from stepwell.storage.postgres.store import PostgresStore
from stepwell.storage.postgres.thread import (
    LoopHere,
    _new_event_loop,  # pyright: ignore[reportPrivateUsage]
)
from tests.postgres import asyncpg, emptied

SHARDS, POOL = 2, 4
LONG_S = 20.0
FOREVER = 1 << 50
_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"""
LOCK = "UPDATE stepwell.shards SET version = version WHERE shard = 0"


class Pulse:
    """Says what the test wants."""

    def __init__(self) -> None:
        self.held = False

    def begin(self) -> None:
        pass

    def end(self) -> None:
        pass

    def held_up(self) -> bool:
        return self.held


class Counted:
    """Connections, of which it is known how many are open, and how many there were at most."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.open = self.most = self.connects = 0

    async def connect(self) -> Any:
        self.connects += 1
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            return _Counted(self, await asyncpg.connect(self._url))
        except BaseException:
            self.open -= 1
            raise


class _Counted:
    def __init__(self, all: Counted, raw: Any) -> None:
        self._all, self._raw, self._open = all, raw, True
        self.fetch, self.execute, self.executemany, self.is_closed = (
            raw.fetch,
            raw.execute,
            raw.executemany,
            raw.is_closed,
        )
        self.fetchrow, self.fetchval, self.transaction = raw.fetchrow, raw.fetchval, raw.transaction

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncpg's own
        await self._raw.close(timeout=timeout)
        self._gone()

    def terminate(self) -> None:
        self._raw.terminate()
        self._gone()

    def _gone(self) -> None:
        self._all.open -= self._open
        self._open = False


class Here:
    """A store on the loop that is running."""

    def __init__(self, url: str) -> None:
        self.url, self.pulse, self.counted = url, Pulse(), Counted(url)
        self._before = _threads()
        self.store: PostgresStore

    @property
    def apart(self) -> bool:
        return bool(_threads() - self._before)

    async def put(self, value: str, key: str = "told") -> None:
        cell = Cell(key=key, value=value, expires_at=FOREVER)
        assert (await self.store.commit(Decision((PutCell(cell, 0),)))).held

    async def told(self, key: str = "told") -> str | None:
        cell = await self.store.read(GetCell(key, 0, 0))
        return None if cell is None else cell.value

    def count_up(self, key: str, place: int) -> asyncio.Future[Verdict]:
        def plan() -> Plan:
            cell = yield from ask(GetCell(key, 0, place))
            count = 1 if cell is None else int(cell.value) + 1
            return Decision((PutCell(Cell(key=key, value=str(count), expires_at=FOREVER), place),), result=count)

        return self.store.commit(plan)


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "stepwell-postgres"}


@asynccontextmanager
async def opened() -> AsyncGenerator[Here]:
    here = Here(await asyncio.to_thread(emptied, SHARDS))
    looking = await asyncpg.connect(here.url)
    others = await looking.fetchval(_OTHERS)
    here.store = await PostgresStore.open(
        here.url, here=True, shards=SHARDS, pool=POOL, pulse=here.pulse, connect=here.counted.connect
    )
    try:
        yield here
    except BaseException:
        await looking.close()
        raise
    finally:
        await here.store.close()
    await _until(lambda: not here.apart)
    assert here.counted.open == 0
    async with asyncio.timeout(LONG_S):
        while await looking.fetchval(_OTHERS) > others:
            pass
    await looking.close()


async def _until(holds: Any) -> None:
    async with asyncio.timeout(LONG_S):
        while not holds():
            await _turn()


async def _turn() -> None:
    await asyncio.sleep(0)


# Where transactions run ----------------------------------------------------------------------------------------------


async def test_while_the_loop_turns_there_is_no_other_thread():
    async with opened() as here:
        for number in range(20):
            await here.put(str(number))

        assert (await here.told(), here.apart) == ("19", False)


async def test_after_it_was_held_up_a_transaction_ends_although_the_loop_stands_still():
    """Another replica gets its lock: nobody waits for the code that keeps the loop."""
    async with opened() as here:
        here.pulse.held = True
        lock = await _locking(here.url)
        writing = asyncio.create_task(here.put("beside"))
        await _somebody_waits(here.url)
        unlocking = asyncio.ensure_future(lock.execute("COMMIT"))
        while not unlocking.done():
            await _turn()
        seen: Future[str] = Future()
        threading.Thread(target=lambda: seen.set_result(asyncio.run(_told_beside(here.url)))).start()

        assert seen.result(LONG_S) == "beside"  # and until then this loop does not turn

        await writing
        await lock.close()


async def test_a_transaction_that_is_under_way_leaves_a_loop_that_was_held_up():
    async with opened() as here:
        assert (await here.count_up("n", 0)).result == 1
        lock = await _locking(here.url)
        counting = here.count_up("n", 0)
        await _somebody_waits(here.url)
        assert not here.apart

        here.pulse.held = True
        await lock.execute("COMMIT")

        assert (await counting).result == 2
        assert here.apart
        await lock.close()


async def test_it_comes_back_to_a_loop_that_turns():
    async with opened() as here:
        here.pulse.held = True
        await here.put("beside")
        assert here.apart

        here.pulse.held = False
        await here.put("here")

        await _until(lambda: not here.apart)
        assert await here.told() == "here"


async def test_where_there_is_no_room_for_a_thread_they_run_on_a_loop_that_was_held_up(monkeypatch: pytest.MonkeyPatch):
    loops: list[asyncio.AbstractEventLoop] = []

    class Full(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    def new_event_loop() -> asyncio.AbstractEventLoop:
        loops.append(asyncio.new_event_loop())
        return loops[-1]

    async with opened() as here:
        await here.put("early")
        connected = here.counted.connects
        monkeypatch.setattr("stepwell.storage.postgres.thread.Thread", Full)
        monkeypatch.setattr("stepwell.storage.postgres.thread._new_event_loop", new_event_loop)
        here.pulse.held = True

        for _ in range(5):
            await here.put("late")

        assert (await here.told(), here.counted.connects) == ("late", connected)
        assert (len(loops), all(loop.is_closed() for loop in loops)) == (5, True)


@pytest.mark.parametrize("make", [_new_event_loop, asyncio.new_event_loop], ids=["usual", "plain"])
async def test_the_pool_is_as_large_as_it_is_wherever_transactions_run(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[], asyncio.AbstractEventLoop]
):
    monkeypatch.setattr("stepwell.storage.postgres.thread._new_event_loop", make)  # not everybody has uvloop
    async with opened() as here:
        over = False

        async def work(number: int) -> int:
            rounds = 0
            while not over:
                await here.count_up(f"n{number}", number % SHARDS)
                rounds += 1
            return rounds

        working = [asyncio.create_task(work(number)) for number in range(8)]
        for turn in range(40):
            here.pulse.held = turn % 2 == 1
            for _ in range(3):
                await here.put(str(turn))
        over = True
        rounds = await asyncio.gather(*working)

        assert [await _counted(here, f"n{number}", number % SHARDS) for number in range(8)] == rounds
        assert 2 <= here.counted.most <= POOL


async def _counted(here: Here, key: str, place: int) -> int:
    cell = await here.store.read(GetCell(key, 0, place))
    return 0 if cell is None else int(cell.value)


async def _locking(url: str) -> Any:
    """A connection that holds the lock of the first shard."""
    lock = await asyncpg.connect(url)
    await lock.execute("BEGIN")
    await lock.execute(LOCK)
    return lock


async def _somebody_waits(url: str) -> None:
    looking = await asyncpg.connect(url)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(LONG_S):
        while not await looking.fetchval(waiting):
            pass
    await looking.close()


async def _told_beside(url: str) -> str:
    other = await asyncpg.connect(url)
    told = ""
    try:
        async with asyncio.timeout(LONG_S / 2):
            while told != "beside":
                async with other.transaction():
                    await other.execute(LOCK)  # waits for whoever has it, if anybody has it still
                    told = await other.fetchval("SELECT value FROM stepwell.cells WHERE key = 'told'")
    except TimeoutError:
        return told or ""
    finally:
        other.terminate()
    return told


# On a loop that is not ours ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("apart", [False, True])
async def test_whoever_cancels_all_tasks_of_the_loop_cancels_no_transaction(apart: bool):
    """As ``asyncio.run`` does at its end, while others still close what they use."""
    chance = random.Random(1)
    async with opened() as here:
        here.pulse.held = apart
        mine = asyncio.current_task()
        for number in range(1, 61):
            works = [here.count_up(f"n{place}", place) for place in range(SHARDS)]
            for _ in range(chance.randrange(120)):
                await _turn()
            for task in asyncio.all_tasks() - {mine}:
                task.cancel()
            async with asyncio.timeout(LONG_S):
                assert [(await work).result for work in works] == [number] * SHARDS


async def test_a_question_is_answered_although_all_tasks_of_the_loop_are_cancelled():
    async with opened() as here:
        await here.put("1")
        mine = asyncio.current_task()

        async def asked() -> str | None:
            return await here.told()

        for turns in range(12):
            answer: Future[str | None] = Future()
            elsewhere = threading.Thread(target=lambda found=answer: found.set_result(asyncio.run(asked())))
            elsewhere.start()
            for _ in range(turns * 5):
                await _turn()
            for task in asyncio.all_tasks() - {mine}:
                task.cancel()
            async with asyncio.timeout(LONG_S):
                assert await asyncio.wrap_future(answer) == "1"
            await asyncio.to_thread(elsewhere.join)


async def test_what_it_does_is_in_no_context_of_whoever_asked_first():
    who: ContextVar[str] = ContextVar("who", default="nobody")
    seen: list[str] = []

    def plan() -> Plan:
        seen.append(who.get())
        yield from ask(GetCell("told", 0, 0))
        return Decision()

    async with opened() as here:
        who.set("somebody")
        await here.store.commit(plan)
        here.pulse.held = True
        await here.store.commit(plan)

    assert set(seen) == {"nobody"}


async def test_it_needs_no_task_factory_of_the_application():
    def refuse(loop: asyncio.AbstractEventLoop, work: Any) -> Any:
        raise AssertionError("a task of the store is not the application's")

    async with opened() as here:
        loop = asyncio.get_running_loop()
        await here.put("1")  # asyncpg makes tasks when it connects
        loop.set_task_factory(refuse)
        try:
            await here.put("2")
        finally:
            loop.set_task_factory(None)


async def test_another_loop_may_use_it_as_well():
    async with opened() as here:
        await here.put("here")

        async def elsewhere() -> str | None:
            told = await here.told()
            await here.put("elsewhere")
            return told

        assert await asyncio.to_thread(asyncio.run, elsewhere()) == "here"
        assert await here.told() == "elsewhere"


def test_who_uses_it_while_its_loop_stands_still_hears_of_that():
    url = emptied(SHARDS)
    loop = asyncio.new_event_loop()
    store = loop.run_until_complete(_open_here(url))

    async def elsewhere() -> None:
        with pytest.raises(NotRunning, match="does not run"):
            await store.read(GetCell("told", 0, 0))
        with pytest.raises(NotRunning, match="does not run"):
            store.commit(Decision((PutCell(Cell(key="told", value="1", expires_at=FOREVER), 0),)))
        with pytest.raises(NotRunning, match="does not run"):
            await store.now_ms()

    asyncio.run(elsewhere())
    loop.run_until_complete(store.close())
    loop.close()


async def _open_here(url: str) -> PostgresStore:
    return await PostgresStore.open(url, here=True, shards=SHARDS)


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_what_nobody_waits_for_any_more_is_cancelled_when_it_is_stopped(elsewhere: bool):
    loop, began, ended = LoopHere(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiter = asyncio.create_task(loop.run(work()))
    await began.wait()
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    assert not ended.is_set()

    await (asyncio.to_thread(asyncio.run, loop.stop()) if elsewhere else loop.stop())

    assert ended.is_set()


@pytest.mark.parametrize("open", [PostgresStore.open, PostgresStore.reading])
async def test_who_does_not_wait_for_it_to_open_any_longer_is_not_told_of_a_fault(open: Callable[[str], Any]):
    """The server takes the connection, and says nothing."""
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()  # to the end
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    opening = asyncio.ensure_future(open(f"postgresql://joe@127.0.0.1:{port}/shop?sslmode=disable"))
    await asked.wait()

    opening.cancel()

    with pytest.raises(asyncio.CancelledError):
        await opening
    server.close()


@pytest.mark.parametrize("apart", [False, True])
async def test_it_is_closed_although_all_tasks_of_the_loop_are_cancelled_meanwhile(apart: bool):
    here = Here(await asyncio.to_thread(emptied, SHARDS))
    here.store = await PostgresStore.open(
        here.url, here=True, shards=SHARDS, pool=POOL, pulse=here.pulse, connect=here.counted.connect
    )
    here.pulse.held = apart
    works = [here.count_up(f"n{number}", number % SHARDS) for number in range(8)]
    closing = asyncio.ensure_future(here.store.close())
    for _ in range(3):
        await _turn()

    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()

    await asyncio.wait([closing])
    assert [(await work).result for work in works] == [1] * 8
    await _until(lambda: not here.apart and here.counted.open == 0)


async def test_a_transaction_that_is_cancelled_has_no_patience_with_a_database_that_is_away():
    """Else the end of ``asyncio.run`` would take ten seconds for each of many lanes."""
    async with opened() as here:
        await here.put("here")
        away = True

        async def connect() -> Any:
            if away:
                raise ConnectionRefusedError("nobody is there")
            return await usual()

        usual, here.store._session._connect = here.counted.connect, connect  # pyright: ignore[reportPrivateUsage]
        lock = await _locking(here.url)
        works = [here.count_up("n", 0), *[here.count_up(f"n{number}", 0) for number in range(3)]]
        await _somebody_waits(here.url)

        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        found = await asyncio.gather(*works, return_exceptions=True)

        assert [type(each).__name__ for each in found] == ["StorageUnavailable"] * 4
        await lock.close()
        away = False
        assert (await here.count_up("n", 0)).result == 1  # nothing was written, and others have patience
