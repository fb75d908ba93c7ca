"""Forgets what ended long ago, a bounded number of rows at a time.

What is old is looked for without any lock. Only what was found is then taken away under the lock of its shard, so a
shard is held for a few round trips, and one where nothing is old is not held at all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Final, NamedTuple

from stepwell.storage.interface import Swept
from stepwell.storage.passes import ROWS_PER_RUN, Old, Pass, Passes, audit_before
from stepwell.storage.postgres import statements as sql
from stepwell.storage.postgres.driver import Connection

Work = Callable[[Connection], Awaitable[Any]]

_OF_RUNS: Final = (
    sql.FORGET_STEPS,
    sql.FORGET_ATTEMPTS,
    sql.FORGET_NOTES,
    sql.FORGET_METADATA,
    sql.FORGET_LOGS,
    sql.FORGET_WAITS,
    sql.FORGET_REQUESTS,
    sql.FORGET_HELD,
)
_MARKS_MS: Final = 24 * 3_600_000
"""After a day nobody asks any more what became of a transaction."""
_APART_MS: Final = 40
"""Between two rounds in a shard, whoever makes them: less than a process leaves between two of its own."""


class _Found(NamedTuple):
    """What is old in a shard. ``events`` may be; whether a run needs them is asked under the lock."""

    shard: int
    runs: list[str]
    events: list[str]
    orders: list[str]
    cells: list[str]
    audit: list[str]
    marks: list[str]
    mail: bool


class _Round(NamedTuple):
    before: int
    limit: int
    now: int


class Retention:
    """``read`` does something on a connection in no transaction, ``write`` in one that holds the lock of a shard."""

    def __init__(
        self,
        shards: int,
        read: Callable[[Work], Awaitable[Any]],
        write: Callable[[Work, int], Awaitable[Any]],
    ) -> None:
        self._read, self._write = read, write
        self._passes = [Passes() for _ in range(shards)]
        self._first = 0

    async def sweep(self, before: int, limit: int, now: int) -> Swept:
        """One round: of one shard after the other, until one has more than a round may forget. The next one begins
        behind it, so that a pause is between any two such shards. Where another process has been just now, it goes on.
        """
        asked = _Round(before, limit, now)
        runs = events = 0
        swept: list[tuple[int, int]] = await self._read(_swept)
        for shard, at in (*swept[self._first :], *swept[: self._first]):
            if now - _APART_MS <= at < now:
                continue
            found: _Found = await self._read(partial(self._look, shard, asked))
            if any(found[1:]):
                gone = await self._write(partial(_forget, found, asked), shard)
                runs, events = runs + gone[0], events + gone[1]
            if self._passes[shard].more:
                self._first = (shard + 1) % len(swept)
                return Swept(runs=runs, events=events, more=True)
        return Swept(runs=runs, events=events, more=False)

    async def _look(self, shard: int, asked: _Round, connection: Connection) -> _Found:
        passes = self._passes[shard]
        before, limit, now = asked

        async def old(text: str, which: Pass, until: int, *more: int) -> list[str]:
            return which.take(_olds(await connection.fetch(text, (shard, until, *which.place, limit, *more))), limit)

        runs = await old(sql.OLD_RUNS, passes.runs, before, limit * ROWS_PER_RUN)
        events = await old(sql.OLD_EVENTS, passes.events, before)
        if runs:
            events += await _names(connection, sql.EVENTS_OF_RUNS, (shard, runs))
        return _Found(
            shard,
            runs,
            events,
            await old(sql.OLD_ORDERS, passes.orders, before),
            await old(sql.OLD_CELLS, passes.cells, max(before, now)),
            await old(sql.OLD_AUDIT, passes.audit, audit_before(before, now)),
            await _names(connection, sql.OLD_MARKS, (shard, now - _MARKS_MS, limit)),
            shard == 0 and bool(await connection.fetch(sql.OLD_MAIL, (now,))),
        )


async def _swept(connection: Connection) -> list[tuple[Any, ...]]:
    return await connection.fetch(sql.SWEPT)


async def _forget(found: _Found, asked: _Round, connection: Connection) -> tuple[int, int]:
    """How many runs and events went. None if another process has made this round meanwhile."""
    shard, before, now = found.shard, asked.before, asked.now
    if not await connection.fetch(sql.TAKE_ROUND, (shard, now, _APART_MS)):
        return 0, 0
    runs = events = 0
    if found.runs:
        for text in _OF_RUNS:
            await connection.execute(text, (shard, found.runs))
        for text in (sql.DROP_RUN_ITEMS, sql.FREE_SLOTS):
            await connection.many(text, [(shard, run) for run in found.runs])
        runs = len(await connection.fetch(sql.FORGET_RUNS, (shard, found.runs)))
    if found.events:
        gone = await _names(connection, sql.FORGET_EVENTS, (shard, found.events, before))
        await connection.execute(sql.FORGET_OUTCOMES, (shard, gone))
        events = len(gone)
    if found.orders:
        await connection.execute(sql.FORGET_ORDERS, (shard, found.orders, before))
    if found.cells:
        await connection.execute(sql.FORGET_CELLS, (shard, found.cells, max(before, now)))
    if found.audit:
        await connection.execute(sql.FORGET_AUDIT, (shard, found.audit, audit_before(before, now)))
    if found.marks:
        await connection.execute(sql.FORGET_MARKS, (shard, found.marks, now - _MARKS_MS))
    if found.mail:
        await connection.execute(sql.FORGET_POSTINGS, (now,))
        await connection.execute(sql.FORGET_LISTENERS, (now,))
    return runs, events


def _olds(rows: Iterable[tuple[Any, ...]]) -> Iterable[Old]:
    return (Old(*row) for row in rows)


async def _names(connection: Connection, text: str, row: tuple[Any, ...]) -> list[str]:
    return [name for (name,) in await connection.fetch(text, row)]
