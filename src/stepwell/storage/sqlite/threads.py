"""The threads that touch the disk, so that the event loop never waits for it: one writes, two read."""

from __future__ import annotations

import asyncio
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, Final, NamedTuple

import apsw

from stepwell.clock import monotonic_s
from stepwell.errors import NotRunning
from stepwell.model.questions import Question
from stepwell.storage.delivery import Outcome, deliver
from stepwell.storage.interface import Changed
from stepwell.storage.sqlite import statements as sql
from stepwell.storage.sqlite.answers import Reader
from stepwell.storage.sqlite.committer import Committer, Work
from stepwell.storage.sqlite.driver import executor
from stepwell.storage.sqlite.faults import explained
from stepwell.storage.sqlite.files import Files

_BATCH_MAX: Final = 256
_LOOK_S: Final = 0.01  # how often the writer itself looks whether others have written
_IDLE_S: Final = 0.05  # a pause after which copying the log disturbs nobody
_READERS: Final = 2  # so that one long list does not hold up everything else that is asked


class _Job(NamedTuple):
    work: Work
    future: asyncio.Future[Any]


class _Ask(NamedTuple):
    question: Question[Any]
    future: asyncio.Future[Any]


class WriterThread:
    """Drains a queue of works into transactions, and answers for a whole transaction in one callback of the loop."""

    def __init__(self, files: Files, committer: Committer) -> None:
        self._files, self._committer = files, committer
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._busy = Lock()
        self._data_version: tuple[int, int] = committer.data_version()
        self._looked_at = monotonic_s()
        self._changed = False
        self._thread = Thread(target=self._run, name="stepwell-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work, future: asyncio.Future[Any]) -> None:
        self._queue.put(_Job(work, future))

    def changed(self) -> Changed:
        """Whether others have written since the last call: until now, or until the transaction that is under way."""
        if self._busy.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._busy.release()
        until = self._looked_at  # before the flag, which may come to know more meanwhile, never less
        changed, self._changed = self._changed, False
        return Changed(changed, until)

    def close(self) -> None:
        """Write what is queued, then stop. Blocks."""
        self._queue.put(None)
        self._thread.join()
        # Another thread's loop may have asked in the moment of closing; it must not wait for ever.
        while not self._queue.empty():
            job = self._queue.get()
            if job is not None:
                deliver([(job.future, Outcome(None, NotRunning(what="the store is closed")))])
        self._committer.close()

    def _run(self) -> None:
        queue, committer = self._queue, self._committer
        while True:
            try:
                job = queue.get(timeout=_IDLE_S) if committer.copy_due(idle=True) else queue.get()
            except Empty:
                with self._busy:
                    committer.copy_log()
                continue
            if job is None:
                return
            batch = [job]
            for _ in range(min(queue.qsize(), _BATCH_MAX - 1)):
                job = queue.get()
                if job is None:
                    queue.put(None)  # close() is waiting: first this batch
                    break
                batch.append(job)
            self._write(batch)

    def _write(self, batch: list[_Job]) -> None:
        with self._busy:
            outcomes = self._committer.run([job.work for job in batch])
            if monotonic_s() - self._looked_at > _LOOK_S:
                self._look()
        deliver([(job.future, outcome) for job, outcome in zip(batch, outcomes, strict=True)])
        if self._committer.copy_due(idle=False):
            with self._busy:
                self._committer.copy_log()
        self._files.step_aside()

    def _look(self) -> None:
        now = monotonic_s()
        seen = self._committer.data_version()
        if seen != self._data_version:
            self._data_version, self._changed = seen, True
        self._looked_at = now


class ReaderThreads:
    """Answers questions outside of decisions, each from a snapshot of its own."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._queue: SimpleQueue[_Ask | None] = SimpleQueue()
        self._threads = [
            Thread(target=self._run, name=f"stepwell-reader-{number}", daemon=True) for number in range(_READERS)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, question: Question[Any], future: asyncio.Future[Any]) -> None:
        self._queue.put(_Ask(question, future))

    def close(self) -> None:
        """Answer what was asked, then stop. Blocks."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        snapshots: Snapshots | None = None
        while (ask := self._queue.get()) is not None:
            try:
                if snapshots is None:
                    snapshots = Snapshots(self._files.connect("reader"), self._files.shards)
                outcome = Outcome(snapshots.answer(ask.question))
            except BaseException as error:
                if snapshots is not None:
                    snapshots.close()
                    snapshots = None
                outcome = Outcome(None, explained(error, self._files.path))
            deliver([(ask.future, outcome)])
        if snapshots is not None:
            snapshots.close()


class Snapshots:
    """A reading connection. Each answer comes from one snapshot, however many statements it takes."""

    def __init__(self, connection: apsw.Connection, shards: int = 1) -> None:
        self._connection = connection
        self._execute = executor(connection)
        self._reader = Reader(connection, shards=shards)

    def answer(self, question: Question[Any]) -> Any:
        self._execute(sql.BEGIN_READ)
        answer = self._reader.answer(question)
        self._execute(sql.COMMIT)
        return answer

    def close(self) -> None:
        self._connection.close(True)
