"""A harness on PostgreSQL: virtual time stands still while the database works.

The database has to be one for tests, because each harness begins with it empty. A harness makes the tables, marks them
as its own, and touches none that others have made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, TypeVar

from stepwell.errors import ConfigurationError
from stepwell.limits import POOL_MIN
from stepwell.model.changes import Decision, Plan
from stepwell.model.questions import Question
from stepwell.storage.address import is_postgres, shown
from stepwell.storage.interface import Changed, Store, Swept, Verdict
from stepwell.storage.postgres.direct import connected
from stepwell.storage.postgres.schema import SCHEMA, layout, migrate
from stepwell.storage.postgres.thread import LoopThread
from stepwell.testing.loop import VirtualLoop

if TYPE_CHECKING:
    from stepwell.storage.postgres.store import PostgresStore

A = TypeVar("A")

_POOL: Final = POOL_MIN + 1  # two transactions side by side, as nowhere else; each connection takes a while to make
# It ends with the connection. Whoever tests through a pooler in transaction mode has nothing to hold on to.
_LOCK: Final = "SELECT pg_try_advisory_lock(8319385945374026861)"  # the number after that of migrations
_MARKED: Final = f"SELECT 1 FROM {SCHEMA}.meta WHERE key = 'harness'"
_MARK: Final = f"INSERT INTO {SCHEMA}.meta VALUES ('harness', 1)"
_TABLES: Final = "SELECT tablename::text FROM pg_catalog.pg_tables WHERE schemaname = $1"
_KEPT: Final = frozenset({"meta", "shards"})
# Not TRUNCATE: that makes new files for each table, which takes longer than to delete what a test has left.
_DELETE: Final = f"DELETE FROM {SCHEMA}.%s"
_RESET: Final = f"""
UPDATE {SCHEMA}.meta SET value = 0 WHERE key IN ('epoch', 'posting');
UPDATE {SCHEMA}.shards SET version = 0, swept_at = 0"""


async def open_database(url: str, shards: int | None, loop: VirtualLoop) -> AwaitedStore:
    """An empty store in this database. ``shards`` is for new tables.

    Raises ``ConfigurationError`` for a database that is in use or not for tests, and ``StorageError``.
    """
    _refuse_file(url)
    held = _Held(url)
    with loop.working(f"the database {shown(url)}"):
        try:
            await held.take(shards)
            return AwaitedStore(await _open(url), loop, held.give_back)
        except BaseException:
            await held.give_back()
            raise


async def _open(url: str) -> PostgresStore:
    from stepwell.storage.postgres.store import PostgresStore

    return await PostgresStore.open(url, pool=_POOL)


class AwaitedStore:
    """A store whose threads have a time of their own: that of the loop does not move until they have answered.

    ``closed`` is what is to be done when it is closed, besides to close the store.
    """

    def __init__(self, store: Store, loop: VirtualLoop, closed: Callable[[], Awaitable[None]]) -> None:
        self._store, self._loop, self._closed = store, loop, closed
        self._under_way: set[asyncio.Future[Verdict]] = set()

    @property
    def shards(self) -> int:
        return self._store.shards

    def commit(self, work: Decision | Callable[[], Plan]) -> asyncio.Future[Verdict]:
        future = self._store.commit(work)
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        self._loop.wait_for(future, "the database")
        return asyncio.shield(future)  # if whoever waits goes away, the database is at it all the same

    async def read(self, question: Question[A]) -> A:
        with self._loop.working("the database"):
            return await self._store.read(question)

    async def sweep(self, before: int, limit: int, *, now: int = 0) -> Swept:
        with self._loop.working("the database"):
            return await self._store.sweep(before, limit, now=now)

    async def new_epoch(self) -> int:
        with self._loop.working("the database"):
            return await self._store.new_epoch()

    async def changed(self) -> Changed:
        with self._loop.working("the database"):
            return await self._store.changed()

    async def now_ms(self) -> int:
        with self._loop.working("the database"):
            return await self._store.now_ms()

    async def settle(self) -> None:
        """Wait for what a process that is gone has left under way: it counts as written before it went."""
        with self._loop.working("the database"):
            while self._under_way:
                await asyncio.wait(self._under_way)

    async def close(self) -> None:
        with self._loop.working("the database"):
            await self._store.close()
            await self._closed()


class _Held:
    """A database that one harness has to itself."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._thread = LoopThread()
        self._stack = AsyncExitStack()

    async def take(self, shards: int | None) -> None:
        await self._thread.run(self._take(shards))

    async def _take(self, shards: int | None) -> None:
        connection, where = await self._stack.enter_async_context(connected(self._url))
        if await connection.fetchval(_LOCK) is not True:
            raise ConfigurationError(
                what=f"another harness is using the database {where}",
                why="each begins with it empty",
                fix="give each process of a test run a database of its own, and use one harness after the other",
            )
        if (await layout(connection, where)).number == 0:
            await migrate(connection, where, shards=shards)
            await connection.execute(_MARK)
            return
        if await connection.fetchval(_MARKED) is None:
            raise ConfigurationError(
                what=f"the Stepwell tables in the database {where} were not made by a harness",
                why="a harness would delete what is in them",
                fix="name a database for tests; the harness makes the tables",
            )
        await migrate(connection, where, shards=shards)
        await _empty(connection)

    async def give_back(self) -> None:
        await self._thread.run(self._stack.aclose())
        await self._thread.stop()


async def _empty(connection: Any) -> None:
    names = [name for (name,) in await connection.fetch(_TABLES, SCHEMA) if name not in _KEPT]
    await connection.execute(";\n".join([*(_DELETE % name for name in names), _RESET]))


def _refuse_file(url: str) -> None:
    if not is_postgres(url):
        raise ConfigurationError(
            what=f"the store of a harness cannot be {url!r:.80}",
            why="it is in memory, or in a PostgreSQL database for tests",
            fix="leave it out, or write postgresql://user:password@host:5432/database",
        )
