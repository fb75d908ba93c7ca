"""Which of the processes on one database file may lead: whoever holds an operating-system lock on a file beside it.

The lock ends with the process, however it ends. It is on a file of its own, because closing any descriptor of the
database file would drop SQLite's own locks on it (https://sqlite.org/howtocorrupt.html, section 2.2).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from weakref import WeakSet

from stepwell.errors import StorageError

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    _look = _lock
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _look(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # so that two who look do not take each other for one


class LeaderLock:
    """The right to lead the processes that share the database at ``path``."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(f"{os.path.realpath(path)}-leader")  # one lock for all names of a file
        self._descriptor: int | None = None
        _locks.add(self)

    def acquire(self) -> bool:
        """Take the lead if nobody has it. True as well if it is ours already. Raises ``StorageError``."""
        if self._descriptor is not None:
            return True
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StorageError(
                what=f"the lock {self._path} cannot be opened: {error.strerror}",
                why="only the process that holds it runs what is in the database beside it",
                fix="make this file and its directory writable for this user",
            ) from error
        try:
            _lock(descriptor)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def held(self) -> bool:
        """Whether any process leads, this one included. Creates nothing."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        except OSError:
            return True  # somebody made it and keeps us from it; that nobody leads would be the bolder guess
        try:
            _look(descriptor)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def release(self) -> None:
        """Give the lead up. The file stays: removing it would let two processes lock two files of one name."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


_locks: WeakSet[LeaderLock] = WeakSet()


def _forget_in_child() -> None:
    # A lock by flock is shared with forked children: a pool worker that outlives us would keep the lead for nobody.
    for lock in _locks:
        lock.release()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget_in_child)
