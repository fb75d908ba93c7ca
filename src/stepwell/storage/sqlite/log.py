"""Keeps the write-ahead log short and warm.

Commits append to the log. Once all of it has been copied into the database file (a checkpoint), the next commit starts
at its beginning again. Writing where the file has been written before is much cheaper than growing it, because then
``fdatasync`` has no new blocks to record (hot-path.md §5.3), so the log is written to its full size once, when it is
new, and never cut while we serve. That is a comfort: where there is little room, the log grows only as it must.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from shutil import disk_usage
from typing import Final

import apsw

from stepwell.storage.sqlite import statements as sql
from stepwell.storage.sqlite.driver import executor
from stepwell.storage.sqlite.files import MEMORY, Files

_BYTES: Final = 8 << 20
_IDLE_BYTES: Final = 1 << 20
_SPARE_BYTES: Final = 2 << 20  # one transaction may still be written after the log has reached its size
_ROOM_FACTOR: Final = 2  # so much of what the log would take must be free, or the data would soon lack what it took
# A follower leaves the checkpoint to the leader, unless there seems to be none.
_FOLLOWER_FACTOR: Final = 8


class Log:
    """The log of one database as its writing connection sees it."""

    def __init__(self, connection: apsw.Connection, files: Files) -> None:
        self._connection = connection
        self._files = files
        self._execute = executor(connection)
        self._page_bytes: int = self._execute("PRAGMA page_size").fetchall()[0][0]
        self._pages = 0
        self._copied = 0
        connection.set_wal_hook(self._note_size)

    def warm(self) -> None:
        """Write the log to its full size, unless it is that long already or there is little room. Costs about 20 ms.

        If it raises, ``shrink`` gives back what was taken.
        """
        path, wanted = self._files.path, _BYTES + _SPARE_BYTES
        if path == MEMORY or _size(Path(f"{path}-wal")) >= wanted:
            return
        if disk_usage(Path(path).parent).free < _ROOM_FACTOR * wanted:
            return
        self.copy()  # what the database file itself needs comes first
        # Nothing is at stake in these commits, so none of them needs to be durable by itself.
        self._execute("PRAGMA synchronous = OFF")
        try:
            for _ in range(wanted // self._page_bytes):
                self._execute(sql.WARM)
        finally:
            self._files.set_durability(self._execute)
        self.copy()

    def shrink(self) -> None:
        """Copy the log and cut it to nothing, unless somebody else uses it now."""
        self._connection.set_busy_handler(None)  # they may go on for long
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self._pages = self._copied = 0
        finally:
            self._files.set_patience(self._connection)

    def due(self, *, leader: bool, idle: bool) -> bool:
        """Whether it is time to copy; earlier when there is nothing else to do."""
        size = _IDLE_BYTES if idle else _BYTES
        # While a reader keeps the log from starting over it grows, and each try waits until it has grown as much again.
        return (self._pages - self._copied) * self._page_bytes >= (size if leader else size * _FOLLOWER_FACTOR)

    def copy(self) -> None:
        """Copy what no reader needs into the database file. Others may read and write meanwhile."""
        _, self._copied = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _note_size(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        if pages < self._pages:
            self._copied = 0  # the log started over
        self._pages = pages
        return 0


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0
