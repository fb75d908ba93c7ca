"""Opens the database: checks, permissions and settings."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import apsw

from stepwell.errors import StorageError, StorageUnavailable
from stepwell.model.place import PLACES
from stepwell.storage.sqlite.driver import Execute, executor
from stepwell.storage.sqlite.faults import explained
from stepwell.storage.sqlite.gate import Gate
from stepwell.storage.sqlite.looking import look, refuse_directory
from stepwell.storage.sqlite.schema import version

Durability = Literal["full", "normal"]

MEMORY: Final = ":memory:"
# Earlier ones can lose commits when two connections write and checkpoint at once (https://sqlite.org/wal.html#walresetbug).
_VERSION_MIN: Final = 3_051_003
_STATEMENTS: Final = 256  # more than there are texts in statements/, so that none is prepared twice
_CACHE: Final = {  # in KiB, which SQLite wants negative; taken only as far as there is something to keep
    "writer": "PRAGMA cache_size = -16384",
    "reader": "PRAGMA cache_size = -8192",
}


class Files:
    """The files of one database, and how to connect to them. One of users has one shard."""

    def __init__(self, path: str, durability: Durability, shards: int = 1) -> None:
        refuse_old_sqlite(apsw.sqlite_lib_version())
        assert 1 <= shards <= PLACES and shards & (shards - 1) == 0, "as many shards as a power of two"
        self.path, self._durability, self.shards = path, durability, shards
        self._gate: Gate | None = None
        if path != MEMORY:
            _prepare(Path(path))
            # Before anything is written, to the file or beside it: it may not be ours.
            look(path, lambda connection: version(executor(connection), path))
            try:
                self._gate = Gate(path)
            except OSError as error:  # the log needs to be created beside the file as well
                raise _unwritable(path) from error

    def connect(self, role: Literal["writer", "reader"]) -> apsw.Connection:
        """A connection with our settings. Raises ``StorageError``."""
        try:
            connection = apsw.Connection(self.path, flags=apsw.SQLITE_OPEN_READWRITE, statementcachesize=_STATEMENTS)
        except apsw.Error as error:
            raise explained(error, self.path) from error
        with self.closing_on_error(connection):
            self._set_up(connection, role)
        return connection

    @contextmanager
    def closing_on_error(self, connection: apsw.Connection) -> Generator[None, None, None]:
        """Close a connection that turns out to be of no use, and say why. Raises ``StorageError``."""
        try:
            yield
        except apsw.Error as error:
            connection.close(True)
            raise explained(error, self.path) from error
        except BaseException:
            connection.close(True)
            raise

    def _set_up(self, connection: apsw.Connection, role: Literal["writer", "reader"]) -> None:
        self.set_patience(connection)
        if connection.readonly("main"):
            raise _unwritable(self.path)
        # One plan for each text whatever is bound to it. Without this promise a build with STAT4, as apsw's is, parses
        # and plans a statement anew at each use, which costs five times what it does (ADR 0011).
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        execute = executor(connection)
        # Only a new file takes it. Steps of 2 kB cost a third less than on pages of 4 kB, which have room for one of
        # them only; smaller ones cost the same (ADR 0002).
        execute("PRAGMA page_size = 8192")
        if execute("PRAGMA journal_mode = WAL").fetchall() not in ([("wal",)], [("memory",)]):
            raise _no_log(self.path)
        self.set_durability(execute)
        execute(_CACHE[role])
        execute("PRAGMA temp_store = MEMORY")
        connection.wal_autocheckpoint(0)

    def set_patience(self, connection: apsw.Connection) -> None:
        """How to wait while others write."""
        if self._gate is not None:
            connection.set_busy_handler(self._gate.wait)

    def set_durability(self, execute: Execute) -> None:
        """How sure a commit is before it is acknowledged."""
        execute("PRAGMA synchronous = FULL" if self._durability == "full" else "PRAGMA synchronous = NORMAL")
        execute("PRAGMA fullfsync = 1")  # on macOS fsync alone leaves the data in the drive's cache

    def step_aside(self) -> None:
        if self._gate is not None:
            self._gate.step_aside()

    def close(self) -> None:
        if self._gate is not None:
            self._gate.close()


def refuse_old_sqlite(version: str) -> None:
    """Raises ``StorageError`` for a library that can lose commits."""
    major, minor, patch = (int(part) for part in version.split("."))
    if major * 1_000_000 + minor * 1_000 + patch < _VERSION_MIN:
        raise StorageError(
            what=f"this apsw was built with SQLite {version}",
            why="SQLite 3.7.0 to 3.51.2 can lose commits when several connections share a file (the WAL-reset bug)",
            fix="install apsw from PyPI, which brings its own SQLite: pip install --upgrade 'apsw>=3.52'",
        )


def _prepare(path: Path) -> None:
    """See to it that a file is there that only its owner can read. Raises ``StorageError``."""
    try:
        refuse_directory(path)
        if not path.exists():
            _create(path)
        elif not path.is_file():
            raise StorageError(
                what=f"{path} is no file", why="the database is one file on a disk", fix="name another path"
            )
        elif not os.access(path, os.W_OK):
            raise _unwritable(str(path))
    except OSError as error:
        raise StorageError(
            what=f"the database {path} cannot be created: {error.strerror}",
            why=str(error),
            fix="make the directory writable for this user, or name another path",
        ) from error


def _create(path: Path) -> None:
    folder = path.parent
    if not folder.exists():
        if not folder.parent.exists():
            raise StorageError(
                what=f"the directory {folder} does not exist",
                why="only the last directory of a path is made, so that a mistyped path does not grow a tree",
                fix=f"create it (mkdir -p {folder}), or name another path",
            )
        folder.mkdir(mode=0o700)
        _sync_folder(folder.parent)
    try:
        # Exclusively: a file that exists may be open here, and closing it would drop SQLite's locks on it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return  # another process was faster
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    """Make a new name durable."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _no_log(path: str) -> StorageError:
    return StorageError(
        what=f"the file system that holds {path} cannot share memory between processes",
        why="SQLite's write-ahead log needs it; network file systems often lack it",
        fix="put the database on a local disk",
    )


def _unwritable(path: str) -> StorageUnavailable:
    return StorageUnavailable(
        what=f"the database {path} is read-only",
        why="Stepwell writes down everything it does",
        fix="make the file and its directory writable for this user",
    )
