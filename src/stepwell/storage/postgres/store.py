"""The store on PostgreSQL, as the rest of Stepwell sees it (``storage/interface.py``)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar, cast

from stepwell.clock import Clock, SystemClock, monotonic_s
from stepwell.errors import NotRunning, StorageError
from stepwell.ids import RandomIds, secret
from stepwell.limits import POOL_DEFAULT
from stepwell.model.changes import Decision, Plan
from stepwell.model.questions import Question, RegistryStamp
from stepwell.storage.delivery import Outcome, deliver
from stepwell.storage.interface import Changed, Swept, Verdict
from stepwell.storage.postgres import queries, sessions
from stepwell.storage.postgres import statements as sql
from stepwell.storage.postgres.answers import Reader, asked_alone
from stepwell.storage.postgres.apart import Beat, MovingApart, Pulse
from stepwell.storage.postgres.committer import Committer, Pauses
from stepwell.storage.postgres.connections import Connections
from stepwell.storage.postgres.driver import Connect, Connection
from stepwell.storage.postgres.faults import Fault, explained, fault
from stepwell.storage.postgres.homes import Homes
from stepwell.storage.postgres.lanes import Job, Lanes
from stepwell.storage.postgres.moved import refuse_moved
from stepwell.storage.postgres.retention import Retention
from stepwell.storage.postgres.schema import layout, migrate
from stepwell.storage.postgres.session import Session
from stepwell.storage.postgres.thread import LoopHere, LoopThread, WorkLoop
from stepwell.storage.postgres.transaction import Upkeep, Work
from stepwell.storage.postgres.versions import Versions

A = TypeVar("A")

_READERS: Final = 2


class _Ask(NamedTuple):
    question: Question[Any]
    future: asyncio.Future[Any]


class PostgresStore:
    """A Stepwell installation in one PostgreSQL database. Make it with ``open``. Usable from any event loop."""

    def __init__(
        self, loop: WorkLoop, session: Session, shards: int, pool: int, clock: Clock, pulse: Pulse | None = None
    ) -> None:
        self.shards = shards
        self._loop, self._session, self._clock = loop, session, clock
        self._chance = RandomIds().chance
        self._versions = Versions()
        self._homes = Homes(shards)
        self._width = max(pool - _READERS, 1)
        self._readers = Connections(session.connect, min(_READERS, pool), _writer)
        here = self._committer()
        self._transactions = here if pulse is None else MovingApart(here, self._committer, pulse)
        self._lanes = Lanes(self._transactions, self._width)
        self._retention = Retention(shards, self._look_by_itself, self._upkeep)
        self._inbox: deque[tuple[Work, asyncio.Future[Any], int | None] | _Ask] = deque()
        self._called = False
        self._asked: set[asyncio.Task[None]] = set()
        self._closed = False

    def _committer(self) -> Committer:
        """One with connections of its own, which are those of the loop where it is used."""
        writers = Connections(self._session.connect, self._width, _writer)
        return Committer(
            writers,
            self._versions,
            self._clock,
            self._chance,
            shards=self.shards,
            where=self._session.where,
            unprepared=partial(self._prepare_no_more, writers),
            asked=self._asked_in_plan,
        )

    @classmethod
    async def open(
        cls,
        dsn: str,
        *,
        here: bool = False,
        shards: int | None = None,
        pool: int = POOL_DEFAULT,
        statements_cached: bool = True,
        clock: Clock | None = None,
        connect: Connect | None = None,
        pulse: Pulse | None = None,
    ) -> PostgresStore:
        """Connect, and make the tables if there are none.

        A store that is ``here`` works on the loop that is running, which has to run as long as it is used; transactions
        leave it for a while when it is held up. Any other works on a thread of its own, and outlives the loop.

        ``shards`` is for a new database: a power of two, 1 to 1024, by default 16; others have theirs. ``pool`` is how
        many connections this process may open. ``statements_cached`` is to be off behind a pooler that gives each
        transaction to another connection and knows nothing of prepared statements; it is also found out. ``connect``
        and ``pulse`` are for tests. Raises ``StorageError``.
        """
        session = Session(dsn, statements_cached, connect)
        loop = LoopHere() if here else LoopThread()
        store = None
        try:
            found = await loop.run(_prepare(session, shards))
            store = cls(loop, session, found, pool, clock or SystemClock(), (pulse or Beat()) if here else None)
            await loop.run(store._look())
        except BaseException as error:
            await (loop.stop() if store is None else store.close())
            if not isinstance(error, Exception):
                raise
            raise explained(error, session.where) from error.__cause__
        return store

    @classmethod
    async def reading(cls, dsn: str) -> PostgresStore:
        """Open a database whose tables are there, without changing it. Raises ``StorageError``."""
        session = Session(dsn)
        loop = LoopThread()
        try:
            found = await loop.run(_found(session))
        except BaseException as error:
            await loop.stop()
            if not isinstance(error, Exception):
                raise
            raise explained(error, session.where) from error.__cause__
        return cls(loop, session, found, _READERS + 1, SystemClock())

    def commit(self, work: Decision | Callable[[], Plan], shard: int | None = None) -> asyncio.Future[Verdict]:
        """As in ``Store``; ``shard`` is where the work is at home, if that is known: works of one shard are applied in
        the order of the calls."""
        return self._submit(work, shard)

    async def read(self, question: Question[A]) -> A:
        self._refuse_closed()
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._put(_Ask(question, future))
        return await future

    async def sweep(self, before: int, limit: int, *, now: int = 0) -> Swept:
        self._refuse_closed()
        return await self._retention.sweep(before, limit, now)

    async def new_epoch(self) -> int:
        return cast("int", await self._upkeep(_new_epoch, 0))

    async def changed(self) -> Changed:
        if not self._closed:
            await self._loop.run(self._look_quietly())
        return self._versions.changed()

    async def now_ms(self) -> int:
        self._refuse_closed()
        try:
            return await self._loop.run(self._tell_time())
        except Exception as error:
            raise explained(error, self._session.where) from error

    async def end_stalled(self) -> int:
        """End the sessions of this installation whose process stopped in the midst of a statement, for what the server
        itself does not; how many these were. To be asked now and then: they hold locks. Raises ``StorageError``."""
        self._refuse_closed()
        try:
            return await self._loop.run(self._end_stalled())
        except Exception as error:
            raise explained(error, self._session.where) from error

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._loop.run(self._finish())
        await self._loop.stop()

    async def _finish(self) -> None:
        while True:
            try:
                return await self._finish_all()
            except asyncio.CancelledError:  # with all tasks of the loop; but no connection is to stay behind
                continue

    async def _finish_all(self) -> None:
        self._take()
        await self._lanes.finish()
        while self._asked:
            await asyncio.wait(self._asked)
        await self._readers.close()
        await self._transactions.close()

    def _submit(self, work: Work, shard: int | None) -> asyncio.Future[Any]:
        self._refuse_closed()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._put((work, future, shard))
        return future

    def _put(self, entry: tuple[Work, asyncio.Future[Any], int | None] | _Ask) -> None:
        self._loop.refuse_stopped()
        self._inbox.append(entry)
        if not self._called:  # it takes all that is there when it comes, so most need not wake it
            self._called = True
            self._loop.call(self._take)

    def _take(self) -> None:
        self._called = False  # before the first is taken: whoever comes later calls again
        while self._inbox:
            entry = self._inbox.popleft()
            if isinstance(entry, _Ask):
                self._start(entry)
                continue
            work, future, shard = entry
            if shard is None:
                shard = self._homes.find(work)
            if isinstance(work, Decision) and not work.changes and work.holds is None:
                answer = (future, Outcome(Verdict(True, work.result)))
                self._lanes.after_all(partial(deliver, [answer]))
            elif shard is None:
                self._lanes.add_last(Job(work, future))
            else:
                self._lanes.add(Job(work, future), shard)

    def _start(self, ask: _Ask) -> None:
        task = asyncio.Task(self._answer(ask), loop=asyncio.get_running_loop())
        self._asked.add(task)
        task.add_done_callback(partial(self._answered, ask))

    def _answered(self, ask: _Ask, task: asyncio.Task[None]) -> None:
        self._asked.discard(task)
        if task.cancelled():
            self._start(ask)  # by somebody who cancels all tasks that there are on a loop, and means his own

    async def _answer(self, ask: _Ask) -> None:
        try:
            answer = await self._read(ask.question)
            if isinstance(ask.question, RegistryStamp):
                self._homes.stamp = cast("int", answer)
            outcome = Outcome(answer)
        except Exception as error:
            outcome = Outcome(None, explained(error, self._session.where))
        deliver([(ask.future, outcome)])

    async def _read(self, question: Question[A]) -> A:
        return cast("A", await self._look_patiently(lambda connection: _ask(connection, question, self.shards)))

    async def _look_patiently(self, look: Callable[[Connection], Awaitable[Any]]) -> Any:
        pauses = Pauses(self._chance)
        while True:
            try:
                async with self._readers.borrow() as connection:
                    return await look(connection)
            except Exception as error:
                what = fault(error)
                if what is Fault.UNPREPARED:
                    self._prepare_no_more(self._readers)
                if what not in (Fault.AGAIN, Fault.LOST, Fault.UNPREPARED) or not await pauses.another():
                    raise

    async def _look_by_itself(self, look: Callable[[Connection], Awaitable[Any]]) -> Any:
        """For work on the store itself, from any event loop."""
        try:
            return await self._loop.run(self._look_patiently(look))
        except Exception as error:
            raise explained(error, self._session.where) from error

    def _upkeep(self, work: Callable[[Connection], Awaitable[Any]], shard: int) -> asyncio.Future[Any]:
        return self._submit(Upkeep(work, shard), shard)

    def _asked_in_plan(self, question: Question[Any], answer: Any) -> None:
        if isinstance(question, RegistryStamp):
            self._homes.stamp = answer

    async def _tell_time(self) -> int:
        ((now,),) = await self._fetch_at_once(queries.NOW)
        return int(now)

    async def _end_stalled(self) -> int:
        ((count,),) = await self._fetch_at_once(sessions.END_STALLED, (sessions.STALLED_S,))
        return int(count)

    async def _look_quietly(self) -> None:
        try:
            await self._look()
        except Exception as error:
            if fault(error) is Fault.REFUSED:
                raise  # it would be so each time, and nobody would hear of others any more
            return  # the next commit says what is wrong, and until then it is told how long ago others were heard of

    async def _look(self) -> None:
        asked_at = monotonic_s()
        found = await self._fetch_at_once(sql.VERSIONS)
        self._versions.looked(cast("list[tuple[int, int]]", found), asked_at)

    async def _fetch_at_once(self, text: str, row: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Ask without patience, because an answer that comes late is worth little."""
        try:
            async with self._readers.borrow() as connection:
                return await connection.fetch(text, row)
        except Exception as error:
            if fault(error) is not Fault.UNPREPARED:
                raise
        self._prepare_no_more(self._readers)
        async with self._readers.borrow() as connection:
            return await connection.fetch(text, row)

    def _prepare_no_more(self, connections: Connections) -> None:
        self._session.statements_cached = False
        connections.forget()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise NotRunning(what="the store is closed", fix="open it again before using it")


async def _ask(connection: Connection, question: Question[A], shards: int) -> A:
    reader = Reader(connection, shards)
    if asked_alone(question):
        return await reader.answer(question)
    await connection.execute(sql.BEGIN_READ)
    answer = await reader.answer(question)
    await connection.execute(sql.COMMIT)
    return answer


async def _prepare(session: Session, shards: int | None) -> int:
    raw: Any = await session.connect(patient=True, prepared=False)
    try:
        migrated = await migrate(raw, session.where, shards=shards)
        await refuse_moved(raw, session.where)
        return migrated.shards
    finally:
        await raw.close(timeout=2)


async def _found(session: Session) -> int:
    raw: Any = await session.connect(prepared=False)
    try:
        found = await layout(raw, session.where)
    finally:
        await raw.close(timeout=2)
    if found.number == 0:
        raise StorageError(
            what=f"there are no Stepwell tables in {session.where}",
            why="a server makes them when it starts",
            fix="check the name of the database, or make them: stepwell migrate",
        )
    return found.shards


async def _new_epoch(connection: Connection) -> int:
    ((epoch,),) = await connection.fetch(sql.NEW_EPOCH)
    return int(epoch)


def _writer() -> str:
    return secret(64)
