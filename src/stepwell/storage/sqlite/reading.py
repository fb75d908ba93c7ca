"""The store on a file that is only read: for commands beside a server, for backups, for files of unknown origin."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import apsw

from stepwell.clock import SystemClock, monotonic_s
from stepwell.errors import StorageError
from stepwell.model.changes import Decision, Plan
from stepwell.model.questions import Question
from stepwell.storage.interface import Changed, Swept, Verdict
from stepwell.storage.sqlite.driver import executor
from stepwell.storage.sqlite.looking import look, refuse_directory
from stepwell.storage.sqlite.schema import refuse_unreadable
from stepwell.storage.sqlite.threads import Snapshots

A = TypeVar("A")


class ReadingStore:
    """Answers questions about a file and never changes it, nor creates anything beside it. Writing is refused."""

    def __init__(self, path: str) -> None:
        """Raises ``StorageError`` if the file is not a Stepwell database of this version."""
        refuse_missing(Path(path))
        self._path = path
        look(path, self._refuse_unreadable)

    @property
    def shards(self) -> int:
        return 1

    def commit(self, work: Decision | Callable[[], Plan]) -> asyncio.Future[Verdict]:
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        future.set_exception(self._only_read())
        return future

    async def read(self, question: Question[A]) -> A:
        def ask(connection: apsw.Connection) -> Any:
            self._refuse_unreadable(connection)  # a server may have started on it since
            # Sorting must not write either, not even to a temporary file.
            executor(connection)("PRAGMA temp_store = MEMORY")
            return Snapshots(connection).answer(question)

        answer: A = await asyncio.to_thread(look, self._path, ask)
        return answer

    async def sweep(self, before: int, limit: int, *, now: int = 0) -> Swept:
        raise self._only_read()

    async def new_epoch(self) -> int:
        raise self._only_read()

    async def changed(self) -> Changed:
        return Changed(False, monotonic_s())

    async def now_ms(self) -> int:
        return SystemClock().now_ms()

    async def close(self) -> None:
        """Nothing stays open between two answers."""

    def _refuse_unreadable(self, connection: apsw.Connection) -> None:
        refuse_unreadable(executor(connection), self._path)

    def _only_read(self) -> StorageError:
        return StorageError(
            what=f"the database {self._path} is open for reading only",
            why="whoever writes must be able to act on it as well",
            fix="start a server on it, and ask that",
        )


def refuse_missing(path: Path) -> None:
    refuse_directory(path)
    if not path.exists():
        raise StorageError(
            what=f"there is no database {path}",
            why="the file does not exist",
            fix="check the path; a server creates the file when it starts",
        )
    if not os.access(path, os.R_OK):
        raise StorageError(
            what=f"the database {path} cannot be read",
            why="its permissions keep this user from it",
            fix="read it as its owner, or make it readable for this user",
        )
