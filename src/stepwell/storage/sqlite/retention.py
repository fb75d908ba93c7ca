"""Forgets what ended long ago, a bounded number of rows at a time."""

from __future__ import annotations

from stepwell.storage.interface import Swept
from stepwell.storage.passes import Old, Pass, Passes, audit_before
from stepwell.storage.sqlite.driver import Execute
from stepwell.storage.sqlite.statements import access, changes, realtime, upkeep

_OF_RUN = (
    upkeep.FORGET_STEPS,
    upkeep.FORGET_ATTEMPTS,
    upkeep.FORGET_NOTES,
    upkeep.FORGET_METADATA,
    upkeep.FORGET_LOGS,
    changes.CLOSE_WAITS,
    changes.DROP_REQUESTS,
    changes.DROP_RUN_ITEMS,
    changes.FREE_SLOTS,
    changes.DROP_HELD_EVENTS,
    upkeep.FORGET_RUN,
)


class Retention:
    """The passes through each shard of a file."""

    def __init__(self, shards: int) -> None:
        self._passes = [Passes() for _ in range(shards)]

    def sweep(self, execute: Execute, before: int, now: int, limit: int) -> Swept:
        """One round, inside the transaction that is open: of one shard after the other, until one has more than a round
        may forget."""
        runs = events = 0
        more = False
        for shard, passes in enumerate(self._passes):
            if not more:
                found = _sweep_shard(execute, shard, passes, before, now, limit)
                runs, events, more = runs + found[0], events + found[1], passes.more
        execute(realtime.FORGET_POSTINGS, (now,))
        execute(realtime.FORGET_LISTENERS, (now,))
        return Swept(runs=runs, events=events, more=more)


def _sweep_shard(execute: Execute, shard: int, passes: Passes, before: int, now: int, limit: int) -> tuple[int, int]:
    def old(text: str, which: Pass, until: int) -> list[str]:
        # Not fetched whole: counting what belongs to a run costs more than the run. What is run next ends it.
        return which.take((Old(*row) for row in execute(text, (shard, until, *which.place, limit))), limit)

    runs = old(upkeep.OLD_RUNS, passes.runs, before)
    candidates = old(upkeep.OLD_EVENTS, passes.events, before)
    for run in runs:
        candidates += [event for (event,) in execute(upkeep.EVENTS_OF_RUN, (shard, run)).fetchall()]
        for text in _OF_RUN:
            execute(text, (shard, run))
    events = 0
    for event in candidates:
        if execute(upkeep.FORGET_EVENT, (shard, event, before)).fetchall():
            execute(upkeep.FORGET_OUTCOMES, (shard, event))
            events += 1
    for order in old(upkeep.OLD_ORDERS, passes.orders, before):
        execute(changes.DROP_ORDER, (shard, order))
    for cell in old(upkeep.OLD_CELLS, passes.cells, max(before, now)):
        execute(upkeep.FORGET_CELL, (shard, cell))
    for entry in old(access.OLD_AUDIT, passes.audit, audit_before(before, now)):
        execute(access.FORGET_AUDIT, (shard, entry))
    return len(runs), events
