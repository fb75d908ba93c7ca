"""Decisions that overlap, as they do where each shard has a lock of its own (ADR 0033).

A file has one writer, so there plans are made one after the other, whatever they hold. Here they are made side by side:
each waits for the shards that it asks, writes or locks, in ascending order, and begins anew where it comes to a lower
one; what it asks everywhere it sees as it is at that moment. What a plan does not hold may change under its hands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, TypeVar

from stepwell.model.changes import Change, Decision, Plan
from stepwell.model.place import EVERYWHERE, place_of
from stepwell.model.questions import Lock, Question
from stepwell.storage.interface import Changed, Store, Swept, Verdict
from stepwell.storage.places import NOWHERE, shard_of_change, shard_of_question
from stepwell.testing.faults import pause

A = TypeVar("A")

Work = Decision | Callable[[], Plan]

_PAUSE_MS_MAX = 4


class _Behind(Exception):
    """A shard is needed that comes before one that is held."""

    def __init__(self, shards: set[int]) -> None:
        super().__init__(shards)
        self.shards = shards


class OverlappingStore:
    """A store in front of another one that applies each decision at once. ``begun_anew`` counts plans that came to
    their shards in the wrong order, ``beside`` questions that were answered while another plan was under way.
    ``caller`` tells who it is that gives a work: without it, each is from another one."""

    def __init__(self, store: Store, chance: Random, caller: Callable[[], object] = object) -> None:
        self.begun_anew = self.beside = 0
        self._store, self._chance, self._caller = store, chance, caller
        self._locks = [asyncio.Lock() for _ in range(store.shards)]
        self._tasks: list[tuple[object, int | None, asyncio.Task[Verdict]]] = []
        self._driven = 0

    @property
    def shards(self) -> int:
        return self._store.shards

    @property
    def under_way(self) -> int:
        """How many works have been given to it and are not done."""
        return len(self._tasks)

    def commit(self, work: Work) -> asyncio.Future[Verdict]:
        """Works of one shard are applied in the order of a caller's calls; those of which nobody knows it, after all
        that it gave before."""
        loop = asyncio.get_running_loop()
        caller, home = self._caller(), self._home(work)
        before = [task for who, shard, task in self._tasks if who is caller and (home is None or shard in (home, None))]
        task = loop.create_task(self._run(work, home, before))
        self._tasks.append((caller, home, task))
        answer: asyncio.Future[Verdict] = loop.create_future()
        task.add_done_callback(lambda done: self._answer(done, answer))
        return answer

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

    def _answer(self, task: asyncio.Task[Verdict], answer: asyncio.Future[Verdict]) -> None:
        self._tasks = [one for one in self._tasks if one[2] is not task]
        if answer.done() or task.cancelled():
            return  # nobody waits any more, or the process is gone
        error = task.exception()
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(task.result())

    async def _run(self, work: Work, home: int | None, before: Iterable[asyncio.Task[Verdict]]) -> Verdict:
        for task in before:
            await asyncio.wait((task,))
        wanted = {home if home is not None else self._chance.randrange(self.shards)}  # a plan always holds something
        while True:
            held: set[int] = set()
            try:
                await self._lock(held, wanted)
                decision = work if isinstance(work, Decision) else await self._drive(work(), held)
                await self._pause()
                await self._lock(held, _written(decision, self.shards))
                return await self._store.commit(decision)
            except _Behind as behind:
                self.begun_anew += 1
                wanted = behind.shards
            finally:
                for shard in held:
                    self._locks[shard].release()

    async def _drive(self, plan: Plan, held: set[int]) -> Decision:
        self._driven += 1
        try:
            answer: Any = None
            while True:
                try:
                    question = plan.send(answer)
                except StopIteration as done:
                    decision: Decision = done.value
                    return decision
                await self._lock(held, _asked(question, self.shards))
                await self._pause()
                if isinstance(question, Lock):
                    answer = len(held) == self.shards
                else:
                    answer = await self._store.read(question)
                self.beside += self._driven > 1
        finally:
            self._driven -= 1

    async def _pause(self) -> None:
        if self._chance.random() < 0.5:
            await pause(self._chance.random() * _PAUSE_MS_MAX)

    async def _lock(self, held: set[int], shards: set[int]) -> None:
        missing = sorted(shards - held)
        if missing and held and missing[0] < max(held):
            raise _Behind(shards | held)
        for shard in missing:
            await self._locks[shard].acquire()
            held.add(shard)

    def _home(self, work: Work) -> int | None:
        if isinstance(work, Decision):
            found = _written(work, self.shards)
        else:
            plan = work()
            try:
                found = _asked(plan.send(None), self.shards)
            except Exception:
                return None  # whoever asked for it is told when it is run
            finally:
                plan.close()
        return min(found) if len(found) == 1 else None


def _asked(question: Question[Any], shards: int) -> set[int]:
    """What is held before it is asked."""
    if isinstance(question, Lock):
        places = range(shards) if EVERYWHERE in question.places else question.places
        return {place & (shards - 1) for place in places}
    shard = shard_of_question(question, shards)
    return {shard} if shard >= 0 else set()


def _written(decision: Decision, shards: int) -> set[int]:
    """What is held before it is written."""
    changes: tuple[Change, ...] = decision.changes
    found = {place_of(decision.holds.item_id) & (shards - 1)} if decision.holds is not None else set[int]()
    for change in changes:
        shard = shard_of_change(change, shards)
        if shard < 0:
            assert shard in (EVERYWHERE, NOWHERE), "it is in a shard, in all or in none"
            return set(range(shards))  # the registry is what every decision relies upon
        found.add(shard)
    return found
