"""Keeps everybody from writing to a file whose content has gone elsewhere, and lets them again.

A server that opens such a file is refused at once (``moved.py``). One that had it open before, as a process that only
follows may, or one of an older version, is kept from writing by triggers: they need nobody's cooperation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

import apsw

from stepwell.storage.moving import State
from stepwell.storage.sqlite.driver import executor
from stepwell.storage.sqlite.faults import FENCED, explained
from stepwell.storage.sqlite.files import Files
from stepwell.storage.sqlite.moved import refuse_incoming
from stepwell.storage.sqlite.reading import refuse_missing
from stepwell.storage.sqlite.schema import migrate
from stepwell.storage.tables import TABLES

_LEAVE: Final = "INSERT INTO moves (id, state, place, rows, epoch) VALUES (?1, ?2, ?3, 0, 0)"
_LEFT: Final = "UPDATE moves SET state = 'left' WHERE id = ?1"
_STAY: Final = "DELETE FROM moves WHERE state IN ('leaving', 'left')"
_LEAVING: Final = "SELECT id, state, place FROM moves WHERE state IN ('leaving', 'left')"
_ACTS: Final = ("INSERT", "UPDATE", "DELETE")


class Move(NamedTuple):
    """By which copy a file is left, how far that is, and where it goes."""

    id: str
    state: State
    place: str


class DepartingFile:
    """A file that is left, or taken back. Whoever opens it holds the lock of who leads it."""

    def __init__(self, path: str) -> None:
        """Raises ``StorageError``."""
        refuse_missing(Path(path))
        self._path = path
        self._files = Files(path, "full")
        self._connection: apsw.Connection | None = None
        try:
            self._connection = self._files.connect("writer")
            self._execute = executor(self._connection)
            migrate(self._execute, path)
            refuse_incoming(self._execute, path)
        except BaseException as error:
            self.close()
            raise explained(error, path) from error

    def move(self) -> Move | None:
        """The copy by which the file is left, or was."""
        found = self._execute(_LEAVING).fetchall()
        return Move(found[0][0], State(found[0][1]), found[0][2]) if found else None

    def leave(self, move: Move) -> None:
        """From this on nobody writes to the file, whoever has it open."""
        text = f"{FENCED}{move.place}".replace("'", "''")
        fences = [
            f"CREATE TRIGGER moved_{name} BEFORE {act} ON {table} BEGIN SELECT RAISE(ABORT, '{text}'); END"
            for name, table, act in _FENCES
        ]
        self._write([(_LEAVE, (move.id, move.state, move.place)), *((fence, ()) for fence in fences)])

    def left(self, id: str) -> None:
        """All of it is there now."""
        self._write([(_LEFT, (id,))])

    def stay(self) -> None:
        """It is a file like any other again."""
        self._write([(_STAY, ()), *((f"DROP TRIGGER IF EXISTS moved_{name}", ()) for name, _, _ in _FENCES)])

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close(True)
        self._files.close()

    def _write(self, statements: list[tuple[str, tuple[object, ...]]]) -> None:
        assert self._connection is not None
        try:
            with self._connection:
                for text, row in statements:
                    self._execute(text, row)
        except apsw.Error as error:
            raise explained(error, self._path) from error


_FENCES: Final = tuple((f"{table.name}_{act.lower()}", table.name, act) for table in TABLES for act in _ACTS)
