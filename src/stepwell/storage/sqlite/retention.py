"""Forgets what ended long ago, a bounded number of rows at a time."""

from __future__ import annotations

from stepwell.storage.interface import Swept
from stepwell.storage.sqlite import statements as sql
from stepwell.storage.sqlite.driver import Execute

_OF_RUN = (
    sql.FORGET_STEPS,
    sql.FORGET_ATTEMPTS,
    sql.FORGET_NOTES,
    sql.FORGET_METADATA,
    sql.CLOSE_WAITS,
    sql.DROP_REQUESTS,
    sql.DROP_RUN_ITEMS,
    sql.FREE_SLOTS,
    sql.DROP_HELD_EVENTS,
    sql.FORGET_RUN,
)


def sweep(execute: Execute, before: int, now: int, limit: int, shards: int) -> Swept:
    """One round of retention, inside the transaction that is open: up to ``limit`` rows of a kind in each shard."""
    rounds = [_sweep_shard(execute, shard, before, now, limit) for shard in range(shards)]
    execute(sql.FORGET_POSTINGS, (now,))
    execute(sql.FORGET_LISTENERS, (now,))
    return Swept(
        runs=sum(each.runs for each in rounds),
        events=sum(each.events for each in rounds),
        more=any(each.more for each in rounds),
    )


def _sweep_shard(execute: Execute, shard: int, before: int, now: int, limit: int) -> Swept:
    runs = execute(sql.OLD_RUNS, (shard, before, limit)).fetchall()
    for run in runs:
        for text in _OF_RUN:
            execute(text, run)
    events = execute(sql.OLD_EVENTS, (shard, before, limit)).fetchall()
    for event in events:
        execute(sql.FORGET_OUTCOMES, event)
        execute(sql.FORGET_EVENT, event)
    orders = execute(sql.OLD_ORDERS, (shard, before, limit)).fetchall()
    for order in orders:
        execute(sql.DROP_ORDER, order)
    cells = execute(sql.OLD_CELLS, (shard, max(before, now), limit)).fetchall()
    for cell in cells:
        execute(sql.FORGET_CELL, cell)
    full = limit in map(len, (runs, events, orders, cells))
    return Swept(runs=len(runs), events=len(events), more=full)
