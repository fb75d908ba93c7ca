"""The store on one SQLite file, as the rest of Stepwell sees it (``storage/interface.py``)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, TypeVar, cast

from stepwell.clock import SystemClock, monotonic_s
from stepwell.errors import NotRunning
from stepwell.model.changes import Decision, Plan
from stepwell.model.questions import Question
from stepwell.storage.interface import Changed, Swept, Verdict
from stepwell.storage.sqlite import statements as sql
from stepwell.storage.sqlite.committer import Ask, Committer, Upkeep, Work
from stepwell.storage.sqlite.driver import Execute
from stepwell.storage.sqlite.files import MEMORY, Durability, Files
from stepwell.storage.sqlite.inline import Hook, Inline
from stepwell.storage.sqlite.reading import ReadingStore
from stepwell.storage.sqlite.retention import Retention
from stepwell.storage.sqlite.threads import ReaderThreads, WriterThread

A = TypeVar("A")


class SqliteStore:
    """A Stepwell installation in one file. Make it with ``open`` or ``inline``."""

    def __init__(self, files: Files, committer: Committer, inline: Inline | None) -> None:
        self._files, self._committer = files, committer
        self._inline = inline
        if inline is None:
            self._writer = WriterThread(files, committer)
            # A database in memory belongs to one connection, so there the writer reads as well.
            self._readers = ReaderThreads(files) if files.path != MEMORY else None
        self._retention = Retention(files.shards)
        self._closed = False
        self._clock = SystemClock()

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], *, durability: Durability = "full", leader: bool = True, shards: int = 1
    ) -> SqliteStore:
        """Open or create the database, with threads that write and read. Blocks for some milliseconds.

        ``durability="normal"`` may lose the last commits when the machine (not the process) stops. ``leader`` is
        whether this process keeps the log short; when leadership changes, set the attribute of that name. More than
        one of the ``shards`` are for tests of what other stores have; nothing in the file says how many there are.
        Raises ``StorageError``.
        """
        files = Files(os.fspath(path), durability, shards)
        return cls(files, _committer(files, leader=leader), None)

    @staticmethod
    def reading(path: str | os.PathLike[str]) -> ReadingStore:
        """Open a database that exists, without changing it or anything beside it. Raises ``StorageError``."""
        return ReadingStore(os.fspath(path))

    @classmethod
    def inline(cls, path: str | os.PathLike[str] = MEMORY, *, hook: Hook | None = None, shards: int = 1) -> SqliteStore:
        """A store without threads, for tests: commits and reads happen inside their call, only answers come later."""
        files = Files(os.fspath(path), "full", shards)
        committer = _committer(files, leader=True)
        return cls(files, committer, Inline(committer, hook))

    @property
    def shards(self) -> int:
        return self._files.shards

    @property
    def leader(self) -> bool:
        """Whether this process keeps the log short for all that share the file."""
        return self._committer.leader

    @leader.setter
    def leader(self, leader: bool) -> None:
        self._committer.leader = leader

    def commit(self, work: Decision | Callable[[], Plan]) -> asyncio.Future[Verdict]:
        return self._submit(work)

    async def read(self, question: Question[A]) -> A:
        if self._inline is not None or self._readers is None:
            return cast("A", await self._submit(Ask(question)))
        self._refuse_closed()
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._readers.submit(question, future)
        return await future

    async def sweep(self, before: int, limit: int, *, now: int = 0) -> Swept:
        def forget(execute: Execute) -> Swept:
            return self._retention.sweep(execute, before, now, limit)

        return cast("Swept", await self._submit(Upkeep(forget)))

    async def new_epoch(self) -> int:
        return cast("int", await self._submit(Upkeep(_new_epoch)))

    async def changed(self) -> Changed:
        return self._writer.changed() if self._inline is None else Changed(False, monotonic_s())

    async def now_ms(self) -> int:
        return self._clock.now_ms()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._inline is None:
            await asyncio.to_thread(self._close_threads)
        else:
            self._committer.close()
            self._files.close()

    def _close_threads(self) -> None:
        # The readers first: the last connection to close is the one that copies the log and removes it.
        if self._readers is not None:
            self._readers.close()
        self._writer.close()
        self._files.close()

    def _submit(self, work: Work) -> asyncio.Future[Any]:
        self._refuse_closed()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        (self._inline or self._writer).submit(work, future)
        return future

    def _refuse_closed(self) -> None:
        if self._closed:
            raise NotRunning(what="the store is closed", fix="open it again before using it")


def _committer(files: Files, *, leader: bool) -> Committer:
    try:
        return Committer(files, leader=leader)
    except BaseException:
        files.close()
        raise


def _new_epoch(execute: Execute) -> int:
    return int(execute(sql.NEW_EPOCH).fetchall()[0][0])
