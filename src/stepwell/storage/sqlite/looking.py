"""Looks into a database file without changing it or anything beside it, whoever else writes it meanwhile.

A connection that only reads still creates the files of a write-ahead log, and cannot where the directory is read-only.
So a file with nothing in its log is read as one that never changes (``immutable``), and read again if it did.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

import apsw

from stepwell.errors import StorageError
from stepwell.storage.sqlite.driver import executor
from stepwell.storage.sqlite.faults import explained
from stepwell.storage.sqlite.schema import version

A = TypeVar("A")

Ask = Callable[[apsw.Connection], A]

_TRIES: Final = 3
_PATIENCE_MS: Final = 5_000  # for another process that recovers the log; readers wait for nothing else


def look(path: str, ask: Ask[A]) -> A:
    """What ``ask`` finds in the file, which must exist. It may be called several times. Raises ``StorageError``."""
    try:
        return _look(os.path.realpath(path), ask)  # SQLite keeps the log beside what a link points to
    except apsw.Error as error:
        raise explained(error, path) from error


@contextmanager
def looking_long(path: str) -> Generator[apsw.Connection, None, None]:
    """A connection that reads the file for as long as it takes, with others writing. Raises ``StorageError``."""
    path = os.path.realpath(path)
    try:
        with _connected(Path(path).as_uri()) as connection:
            yield connection
    except apsw.CantOpenError as error:
        raise _unreadable_log(path) from error
    except apsw.Error as error:
        raise explained(error, path) from error


def refuse_directory(path: Path) -> None:
    """Raises ``StorageError``."""
    if path.is_dir():
        raise StorageError(
            what=f"{path} is a directory",
            why="the database is one file",
            fix=f"name a file in it, such as {path / 'stepwell.db'}",
        )


def _look(path: str, ask: Ask[A]) -> A:
    for _ in range(_TRIES):
        if _has_log(path):
            break
        before = _seen(path)
        try:
            found = _ask_still(path, ask)
        except (apsw.Error, StorageError):
            if not _has_log(path) and _seen(path) == before:
                raise
        else:
            if not _has_log(path) and _seen(path) == before:
                return found
    return _ask_live(path, ask)


def _ask_still(path: str, ask: Ask[A]) -> A:
    """Ask the file alone: no locks, no log."""
    return _ask(f"{Path(path).as_uri()}?immutable=1", ask)


def _ask_live(path: str, ask: Ask[A]) -> A:
    """Ask a file that somebody has open, or had when they died, together with its log."""
    if not Path(f"{path}-shm").exists():
        # SQLite will create it. If all that has been copied from the log is another program's, we may not let it.
        with suppress(apsw.Error):
            _ask_still(path, lambda connection: version(executor(connection), path))
    try:
        return _ask(Path(path).as_uri(), ask)
    except apsw.CantOpenError as error:
        raise _unreadable_log(path) from error


def _unreadable_log(path: str) -> StorageError:
    return StorageError(
        what=f"the database {path} cannot be read where it is",
        why="the log beside it can only be read where files can be created",
        fix=f"copy {path} and {path}-wal to a directory of your own, and read the copy",
    )


def _ask(uri: str, ask: Ask[A]) -> A:
    with _connected(uri) as connection:
        return ask(connection)


@contextmanager
def _connected(uri: str) -> Generator[apsw.Connection, None, None]:
    with closing(apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)) as connection:
        connection.set_busy_timeout(_PATIENCE_MS)
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        yield connection


def _has_log(path: str) -> bool:
    for log in (f"{path}-wal", f"{path}-journal"):
        with suppress(FileNotFoundError):
            if Path(log).stat().st_size:
                return True
    return False


def _seen(path: str) -> tuple[int, int, int]:
    # By name: closing a descriptor of the file would drop SQLite's own locks on it.
    stat = Path(path).stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
