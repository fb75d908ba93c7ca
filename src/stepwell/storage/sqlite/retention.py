"""Forgets what ended long ago, a bounded number of rows at a time."""

from __future__ import annotations

from stepwell.storage.interface import Swept
from stepwell.storage.sqlite.driver import Execute
from stepwell.storage.sqlite.statements import changes, realtime, upkeep

_OF_RUN = (
    upkeep.FORGET_STEPS,
    upkeep.FORGET_ATTEMPTS,
    upkeep.FORGET_NOTES,
    upkeep.FORGET_METADATA,
    changes.CLOSE_WAITS,
    changes.DROP_REQUESTS,
    changes.DROP_RUN_ITEMS,
    changes.FREE_SLOTS,
    changes.DROP_HELD_EVENTS,
    upkeep.FORGET_RUN,
)


def sweep(execute: Execute, before: int, now: int, limit: int, shards: int) -> Swept:
    """One round of retention, inside the transaction that is open: of one shard after the other, until one has more
    than a round may forget."""
    swept = Swept(runs=0, events=0, more=False)
    for shard in range(shards):
        if not swept.more:
            found = _sweep_shard(execute, shard, before, now, limit)
            swept = Swept(runs=swept.runs + found.runs, events=swept.events + found.events, more=found.more)
    execute(realtime.FORGET_POSTINGS, (now,))
    execute(realtime.FORGET_LISTENERS, (now,))
    return swept


def _sweep_shard(execute: Execute, shard: int, before: int, now: int, limit: int) -> Swept:
    runs = execute(upkeep.OLD_RUNS, (shard, before, limit)).fetchall()
    for run in runs:
        for text in _OF_RUN:
            execute(text, run)
    events = execute(upkeep.OLD_EVENTS, (shard, before, limit)).fetchall()
    for event in events:
        execute(upkeep.FORGET_OUTCOMES, event)
        execute(upkeep.FORGET_EVENT, event)
    orders = execute(upkeep.OLD_ORDERS, (shard, before, limit)).fetchall()
    for order in orders:
        execute(changes.DROP_ORDER, order)
    cells = execute(upkeep.OLD_CELLS, (shard, max(before, now), limit)).fetchall()
    for cell in cells:
        execute(upkeep.FORGET_CELL, cell)
    full = limit in map(len, (runs, events, orders, cells))
    return Swept(runs=len(runs), events=len(events), more=full)
