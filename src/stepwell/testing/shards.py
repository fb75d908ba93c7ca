"""Whether a store with several shards keeps each row where its id says, and what each decision touches.

``ShardGuard`` watches the tables of a store in line. ``CheckingStore`` stands before any store and writes down in which
shards each work asked and wrote, and in which order: a store that locks shards as it goes has to begin anew with a
work that comes to one that is lower than those it holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from stepwell.model.changes import Change, Decision, Plan
from stepwell.model.place import EVERYWHERE, place_of, place_of_holder
from stepwell.model.questions import Lock, Question
from stepwell.storage.gathering import parts
from stepwell.storage.interface import Changed, Store, Swept, Verdict
from stepwell.storage.places import NOWHERE, shard_of_change
from stepwell.testing.invariants import Violation
from stepwell.testing.tables import Tables

A = TypeVar("A")

Work = Decision | Callable[[], Plan]

# By what a row of a table says where it belongs. An item of no run, a cell and a backlog are where they were put.
_OWNERS: Final = {
    "runs": "place_of(new.id)",
    "steps": "place_of(new.run_id)",
    "attempts": "place_of(new.run_id)",
    "notes": "place_of(new.run_id)",
    "metadata": "place_of(new.run_id)",
    "logs": "place_of(new.run_id)",
    "waits": "place_of(new.run_id)",
    "requests": "place_of(new.run_id)",
    "run_events": "place_of(new.run_id)",
    "outcomes": "place_of(new.event_id)",
    "orders": "place_of(new.id)",
    "slots": "place_of_holder(new.holder)",
    "items": "CASE WHEN new.run_id IS NULL THEN new.shard ELSE place_of(new.run_id) END",
    "events": "CASE WHEN new.copied THEN new.shard ELSE place_of(new.id) END",
}

_MISPLACED: Final = """
CREATE TEMP TRIGGER misplaced_{table} AFTER INSERT ON {table} WHEN new.shard <> ({owner}) & {mask}
BEGIN INSERT INTO misplaced VALUES ('a row of {table} is in shard ' || new.shard || ', and belongs to '
  || (({owner}) & {mask})); END;
"""

# What belongs together and must be found in one shard: ?1 is now.
_RELATIONS: Final = """
SELECT what FROM temp.misplaced
UNION ALL
SELECT 'run ' || r.id || ' of shard ' || r.shard || ' has no event there'
FROM runs AS r LEFT JOIN events AS e ON e.shard = r.shard AND e.id = r.event_id
WHERE r.shard IN {shards} AND r.status IN ('QUEUED', 'RUNNING') AND r.status <> 'COMPLETED' AND e.id IS NULL
UNION ALL
SELECT 'run ' || h.run_id || ' of shard ' || h.shard || ' has not all of its events there'
FROM run_events AS h LEFT JOIN events AS e ON e.shard = h.shard AND e.id = h.event_id
WHERE h.shard IN {shards} AND e.id IS NULL
UNION ALL
SELECT 'what holds ' || key || ' is in ' || count(DISTINCT shard) || ' shards'
FROM slots WHERE shard IN {shards} GROUP BY key HAVING count(DISTINCT shard) > 1
UNION ALL
SELECT 'the cell ' || key || ' is in ' || count(*) || ' shards'
FROM cells WHERE shard IN {shards} AND expires_at > ?1 AND key NOT LIKE 'release/%' AND key NOT LIKE 'review/%'
  AND key NOT LIKE 'pressure/function/%'
GROUP BY key HAVING count(*) > 1
"""


class ShardGuard:
    """Watches one store that has several shards."""

    def __init__(self, tables: Tables, shards: int, now: Callable[[], int]) -> None:
        self._ask, self._now = tables.ask, now
        self._relations = _RELATIONS.format(shards=tables.shards)
        tables.teach("place_of", place_of)
        tables.teach("place_of_holder", place_of_holder)
        tables.ask("CREATE TEMP TABLE misplaced (what TEXT)")
        for table, owner in _OWNERS.items():
            tables.ask(_MISPLACED.format(table=table, owner=owner, mask=shards - 1))

    def check(self) -> list[Violation]:
        """What is not where it belongs."""
        return [Violation("D4", what) for (what,) in self._ask(self._relations, self._now())]


class Touched(msgspec.Struct):
    """What one work did. ``asked`` and ``written`` are shards in the order in which it came to them, ``everywhere`` are
    the kinds of questions that went to all of them."""

    asked: list[int] = msgspec.field(default_factory=list[int])
    everywhere: list[str] = msgspec.field(default_factory=list[str])
    written: list[int] = msgspec.field(default_factory=list[int])

    @property
    def shards(self) -> list[int]:
        """All that it came to, each once, in that order."""
        return list(dict.fromkeys([*self.asked, *self.written]))

    @property
    def begins_anew(self) -> bool:
        """Whether it asks in a shard that is lower than one that it has asked in: what it decides to write is locked in
        any order before it is written."""
        return self.asked != sorted(self.asked)


class CheckingStore:
    """A store in front of another one. ``seen`` has what each work touched, in the order in which they were given."""

    def __init__(self, store: Store) -> None:
        self.seen: list[Touched] = []
        self._store = store

    @property
    def shards(self) -> int:
        return self._store.shards

    def commit(self, work: Work) -> asyncio.Future[Verdict]:
        touched = Touched()
        self.seen.append(touched)
        if isinstance(work, Decision):
            self._write(touched, work)
            return self._store.commit(work)
        return self._store.commit(lambda: self._watched(touched, work))

    async def read(self, question: Question[A]) -> A:
        return await self._store.read(question)

    async def sweep(self, before: int, limit: int, *, now: int = 0) -> Swept:
        return await self._store.sweep(before, limit, now=now)

    async def new_epoch(self) -> int:
        return await self._store.new_epoch()

    async def changed(self) -> Changed:
        return await self._store.changed()

    async def now_ms(self) -> int:
        return await self._store.now_ms()

    async def close(self) -> None:
        await self._store.close()

    def _watched(self, touched: Touched, work: Callable[[], Plan]) -> Plan:
        touched.asked, touched.everywhere, touched.written = [], [], []  # it may be made again
        plan = work()
        answer: Any = None
        while True:
            try:
                question = plan.send(answer)
            except StopIteration as done:
                decision: Decision = done.value
                self._write(touched, decision)
                return decision
            self._ask(touched, question)
            answer = yield question

    def _ask(self, touched: Touched, question: Question[Any]) -> None:
        if isinstance(question, Lock):
            places = range(self.shards) if EVERYWHERE in question.places else question.places
            _note(touched.asked, sorted({place & (self.shards - 1) for place in places}))
            return
        asked = parts(question, self.shards)
        if len(asked) > 1:
            touched.everywhere.append(type(question).__name__)
        else:
            _note(touched.asked, [shard for shard, _ in asked])

    def _write(self, touched: Touched, decision: Decision) -> None:
        changes: tuple[Change, ...] = decision.changes
        for change in changes:
            shard = shard_of_change(change, self.shards)
            if shard == EVERYWHERE:
                _note(touched.written, range(self.shards))
            elif shard != NOWHERE:
                _note(touched.written, [shard])


def _note(known: list[int], shards: Any) -> None:
    known.extend(shard for shard in shards if shard not in known)
