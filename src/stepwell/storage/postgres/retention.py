"""Forgets what ended long ago, a bounded number of rows at a time: a transaction for each shard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from stepwell.storage.interface import Swept
from stepwell.storage.postgres import statements as sql
from stepwell.storage.postgres.driver import Connection

_OF_RUNS: Final = (
    sql.FORGET_STEPS,
    sql.FORGET_ATTEMPTS,
    sql.FORGET_NOTES,
    sql.FORGET_METADATA,
    sql.FORGET_WAITS,
    sql.FORGET_REQUESTS,
    sql.FORGET_HELD,
)
_MARKS_MS: Final = 24 * 3_600_000
"""After a day nobody asks any more what became of a transaction."""


class Removed(NamedTuple):
    runs: int
    events: int
    orders: int
    cells: int


async def sweep(
    run: Callable[[int, Callable[[Connection], Awaitable[Any]]], Awaitable[Any]],
    shards: int,
    before: int,
    limit: int,
    now: int,
) -> Swept:
    """One round of retention: up to ``limit`` rows of a kind in each shard.

    ``run`` does something in a transaction that holds the lock of a shard.
    """
    rounds: list[Removed] = []
    for shard in range(shards):

        async def forget(connection: Connection, shard: int = shard) -> Removed:
            return await _forget(connection, shard, before, now, limit)

        rounds.append(await run(shard, forget))
    return Swept(
        runs=sum(each.runs for each in rounds),
        events=sum(each.events for each in rounds),
        more=any(limit in each for each in rounds),
    )


async def _forget(connection: Connection, shard: int, before: int, now: int, limit: int) -> Removed:
    runs = await _names(connection, sql.OLD_RUNS, (shard, before, limit))
    if runs:
        for text in _OF_RUNS:
            await connection.execute(text, (shard, runs))
        for text in (sql.DROP_RUN_ITEMS, sql.FREE_SLOTS):
            await connection.many(text, [(shard, run) for run in runs])
        await connection.execute(sql.FORGET_RUNS, (shard, runs))
    events = await _names(connection, sql.OLD_EVENTS, (shard, before, limit))
    if events:
        await connection.execute(sql.FORGET_OUTCOMES, (shard, events))
        await connection.execute(sql.FORGET_EVENTS, (shard, events))
    orders = await _names(connection, sql.OLD_ORDERS, (shard, before, limit))
    if orders:
        await connection.execute(sql.FORGET_ORDERS, (shard, orders))
    cells = await _names(connection, sql.OLD_CELLS, (shard, max(before, now), limit))
    if cells:
        await connection.execute(sql.FORGET_CELLS, (shard, cells))
    if shard == 0:
        await connection.execute(sql.FORGET_POSTINGS, (now,))
        await connection.execute(sql.FORGET_LISTENERS, (now,))
    await connection.execute(sql.FORGET_MARKS, (shard, now - _MARKS_MS))
    return Removed(len(runs), len(events), len(orders), len(cells))


async def _names(connection: Connection, text: str, row: tuple[int, ...]) -> list[str]:
    return [name for (name,) in await connection.fetch(text, row)]
