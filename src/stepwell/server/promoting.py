"""Makes of a SQLite file a PostgreSQL deployment, so that its runs go on there and nowhere else (ADR 0038).

First the file is closed to all who could write to it, then what is in it is copied, then the target may be served. Each
of these is durable before the next begins, so the same command goes on wherever it was stopped.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AsyncExitStack, closing, contextmanager

import msgspec

from stepwell.clock import SystemClock
from stepwell.errors import ConfigurationError, StorageError
from stepwell.ids import RandomIds
from stepwell.server.moving import target_of
from stepwell.storage.address import is_postgres, shown
from stepwell.storage.leader import LeaderLock
from stepwell.storage.moving import Copied, Progress, State, copy
from stepwell.storage.sqlite.leaving import DepartingFile, Move
from stepwell.storage.sqlite.moving import SqliteSource, led, states


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """What a promotion would copy: rows by table, and how many runs and items are in which state.

    ``led`` says whether a process runs on the file, which has to be stopped first.
    """

    rows: int
    tables: dict[str, int]
    runs: dict[str, int]
    items: dict[str, int]
    led: bool


async def inventory(path: str) -> Inventory:
    """Look at what would be copied, and change nothing. Raises ``StorageError``."""
    source = SqliteSource(path, id="", stepwell="", made_at=0)
    try:
        counts = source.manifest.counts
        runs, items = states(source)
    finally:
        await source.close()
    return Inventory(rows=sum(counts.values()), tables=counts, runs=runs, items=items, led=LeaderLock(path).held())


async def promote(path: str, url: str, progress: Progress, *, version: str, shards: int | None = None) -> Copied:
    """Copy a file to a PostgreSQL database, and leave it for good. Raises ``StorageError``.

    ``version`` is the one of Stepwell that does it; ``shards`` is for a database that has no tables yet.
    """
    where = shown(url)
    async with AsyncExitStack() as stack:
        file = stack.enter_context(_taken(path))
        move = file.move()
        if move is not None and move.place != where:
            raise _elsewhere(path, move)
        target = await target_of(url, path, shards=shards)
        stack.push_async_callback(target.close)
        if move is None:
            now = SystemClock().now_ms()
            move = Move(RandomIds().ulid(now), State.LEAVING, where)
            await target.check(move.id)  # before anything is closed
            file.leave(move)
        source = SqliteSource(path, id=move.id, stepwell=version, made_at=SystemClock().now_ms())
        stack.push_async_callback(source.close)
        copied = await copy(source, target, progress)
        file.left(move.id)
        return copied


async def undo(path: str, url: str) -> None:
    """Take a promotion back, whole or not, before a server has run on the target, which is emptied.

    Raises ``StorageError``.
    """
    async with AsyncExitStack() as stack:
        file = stack.enter_context(_taken(path))
        move = file.move()
        if move is None:
            raise StorageError(
                what=f"the database {path} was not promoted",
                why="nothing in it says so",
                fix="use it as it is; or check the path",
            )
        if move.place != shown(url):
            raise _elsewhere(path, move)
        target = await target_of(url, path)
        stack.push_async_callback(target.close)
        await target.give_back(move.id)
        file.stay()


def refuse_other_target(url: str) -> None:
    """Raises ``ConfigurationError`` unless a PostgreSQL database is named."""
    if not is_postgres(url):
        raise ConfigurationError(
            what=f"{url.partition(':')[0]!r} is no PostgreSQL database",
            why="a file is promoted to one that many servers share",
            fix="name it as postgresql://user@host/name; to copy into another file there is 'stepwell backup'",
        )


@contextmanager
def _taken(path: str) -> Generator[DepartingFile, None, None]:
    """A file that nobody leads meanwhile."""
    lock = LeaderLock(path)
    if not lock.acquire():
        raise led(path)
    try:
        with closing(DepartingFile(path)) as file:
            yield file
    finally:
        lock.release()


def _elsewhere(path: str, move: Move) -> StorageError:
    return StorageError(
        what=f"the database {path} was promoted to {move.place}",
        why="runs that went on in two places would do everything twice",
        fix="name that database in --to; or take it back with --undo first, before a server runs there",
    )
