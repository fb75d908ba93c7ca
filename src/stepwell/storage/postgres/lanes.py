"""Works in the lanes of their shards: one transaction takes what waits in one lane, several lanes move side by side."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import takewhile
from typing import Any, Final, NamedTuple

from stepwell.storage.delivery import Answer, Outcome, deliver
from stepwell.storage.interface import Verdict
from stepwell.storage.postgres.committer import Committer
from stepwell.storage.postgres.transaction import Work

_BATCH_MAX: Final = 256


class _Barrier:
    """Answered when all lanes have come to it that were not empty when it was set."""

    def __init__(self, answer: Answer, lanes: int) -> None:
        self._answer, self._left = answer, lanes

    def passed(self) -> None:
        self._left -= 1
        if self._left <= 0:
            deliver([self._answer])


class Job(NamedTuple):
    work: Work
    future: asyncio.Future[Any]


class Lanes:
    """``width`` is how many transactions may be under way at the same time."""

    def __init__(self, committer: Committer, width: int) -> None:
        self._committer, self._width = committer, width
        self._waiting: dict[int, deque[Job | _Barrier]] = {}
        self._ready: deque[int] = deque()
        self._workers: set[asyncio.Task[None]] = set()

    def add(self, job: Job, shard: int) -> None:
        self._join(job, shard)

    def add_barrier(self, future: asyncio.Future[Any], result: Any) -> None:
        """To be answered when everything that was added before is durable."""
        barrier = _Barrier((future, Outcome(Verdict(True, result))), len(self._waiting))
        for waiting in self._waiting.values():
            waiting.append(barrier)
        if not self._waiting:
            barrier.passed()

    async def finish(self) -> None:
        """Wait until all is written that was added."""
        while self._workers:
            await asyncio.wait(self._workers)

    def _join(self, job: Job, shard: int) -> None:
        waiting = self._waiting.get(shard)
        if waiting is not None:
            waiting.append(job)
            return
        self._waiting[shard] = deque((job,))
        self._ready.append(shard)
        if len(self._workers) < self._width:
            worker = asyncio.get_running_loop().create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        while self._ready:
            shard = self._ready.popleft()
            await self._move(shard, self._waiting[shard])

    async def _move(self, shard: int, waiting: deque[Job | _Barrier]) -> None:
        """One transaction's worth of a lane. A lane that is not empty then queues up behind the others."""
        jobs = [job for job in takewhile(_is_job, list(waiting)[:_BATCH_MAX]) if isinstance(job, Job)]
        if jobs:
            outcomes = await self._committer.run([job.work for job in jobs], set())
            for _ in outcomes:
                waiting.popleft()
            deliver([(job.future, outcome) for job, outcome in zip(jobs, outcomes, strict=False)])
        while waiting and isinstance(waiting[0], _Barrier):
            waiting.popleft().passed()  # type: ignore[union-attr]
        if waiting:
            self._ready.append(shard)
        else:
            del self._waiting[shard]


def _is_job(entry: Job | _Barrier) -> bool:
    return isinstance(entry, Job)
