"""Works in the lanes of their shards: one transaction takes what waits in one lane, several lanes move side by side."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple, Protocol, cast

from stepwell.storage.delivery import Outcome, deliver
from stepwell.storage.postgres.transaction import Work

_BATCH_MAX: Final = 256
_LATE: Final = 0  # the lane of works whose shard nobody knows


class Job(NamedTuple):
    work: Work
    future: asyncio.Future[Any]


class _Later(NamedTuple):
    """What is to be done when each of these lanes has come so far."""

    counts: dict[int, int]
    then: Callable[[], None]


class Transactions(Protocol):
    """What runs transactions (``committer.Committer``)."""

    async def run(self, works: Sequence[Work], wanted: set[int]) -> list[Outcome]:
        """Run works in order: those at the beginning that one transaction can take, one at least. Never raises."""
        ...


class Lanes:
    """``width`` is how many transactions may be under way at the same time."""

    def __init__(self, transactions: Transactions, width: int) -> None:
        self._transactions, self._width = transactions, width
        self._waiting: dict[int, deque[Job]] = {}
        self._ready: deque[int] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._added: dict[int, int] = defaultdict(int)
        self._done: dict[int, int] = defaultdict(int)
        self._later: deque[_Later] = deque()

    def add(self, job: Job, shard: int) -> None:
        """Run it after what was added before for this shard."""
        self._added[shard] += 1
        waiting = self._waiting.get(shard)
        if waiting is not None:
            waiting.append(job)
            return
        self._waiting[shard] = deque((job,))
        self._ready.append(shard)
        self._begin()

    def add_last(self, job: Job) -> None:
        """Run it after all that was added before, because nobody knows of which shards it is."""
        self.after_all(lambda: self.add(job, _LATE))

    def after_all(self, then: Callable[[], None]) -> None:
        """To be called when everything that was added before is durable."""
        self._later.append(_Later({shard: self._added[shard] for shard in self._waiting}, then))
        self._look_at_later()

    async def finish(self) -> None:
        """Wait until all is written that was added."""
        while self._workers:
            await asyncio.wait(self._workers)

    def _begin(self) -> None:
        if len(self._workers) < self._width:
            # Whatever makes the application's tasks, this one begins when all that is there has been added.
            worker = asyncio.Task(self._work(), loop=asyncio.get_running_loop())
            self._workers.add(worker)
            worker.add_done_callback(self._ended)

    def _ended(self, worker: asyncio.Task[None]) -> None:
        """Another goes on for one that was cancelled."""
        self._workers.discard(worker)
        if self._ready:
            self._begin()

    async def _work(self) -> None:
        me = cast("asyncio.Task[None]", asyncio.current_task())
        while self._ready and not me.cancelling():
            shard = self._ready.popleft()
            await self._move(shard, self._waiting[shard])
        # At once, not when the task is over: a work that comes in between would wait for a worker that has gone.
        self._workers.discard(me)

    async def _move(self, shard: int, waiting: deque[Job]) -> None:
        """One transaction's worth of a lane. A lane that is not empty then queues up behind the others."""
        jobs = list(islice(waiting, _BATCH_MAX))
        try:
            outcomes = await self._transactions.run([job.work for job in jobs], set())
        except Exception as error:  # a bug of ours, which those who asked hear of, and which must not stop the lane
            outcomes = [Outcome(None, error) for _ in jobs]
        for _ in outcomes:
            waiting.popleft()
        self._done[shard] += len(outcomes)
        deliver([(job.future, outcome) for job, outcome in zip(jobs, outcomes, strict=False)])
        if waiting:
            self._ready.append(shard)
        else:
            del self._waiting[shard]
        self._look_at_later()

    def _look_at_later(self) -> None:
        # In their order: what is first waits for no more than those behind it.
        while self._later and all(self._done[shard] >= count for shard, count in self._later[0].counts.items()):
            self._later.popleft().then()
