"""What a file says of copies of it, and keeps everybody from writing to one whose content has gone elsewhere.

A server that opens such a file is refused at once. One that had it open before, as a process that only follows may, or
one of an older version, is kept from writing by triggers: they need nobody's cooperation.
"""

from __future__ import annotations

from typing import Final

from stepwell.storage.moving import State, unservable
from stepwell.storage.sqlite.driver import Execute
from stepwell.storage.tables import TABLES

FENCED: Final = "stepwell: promoted to "  # how the message of the fence begins; what follows says where to

_MOVES: Final = "SELECT state, place FROM moves WHERE state <> 'arrived'"
_MARK: Final = "INSERT INTO moves (id, state, place, rows, epoch) VALUES (?1, ?2, ?3, 0, 0)"
_SET_STATE: Final = "UPDATE moves SET state = ?2 WHERE id = ?1"
_UNMARK: Final = "DELETE FROM moves WHERE state IN ('leaving', 'left')"
_LEAVING: Final = "SELECT id, state, place FROM moves WHERE state IN ('leaving', 'left')"
_ACTS: Final = ("INSERT", "UPDATE", "DELETE")


def refuse_moved(execute: Execute, path: str) -> None:
    """Raises ``StorageError`` if what is in the file is not whole, or has gone elsewhere."""
    for state, place in execute(_MOVES).fetchall():
        error = unservable(path, state, place)
        if error is not None:
            raise error


def leaving(execute: Execute) -> tuple[str, State, str] | None:
    """The copy by which the file is left, or was: its id, how far it is, and where it goes."""
    found = execute(_LEAVING).fetchall()
    return (found[0][0], State(found[0][1]), found[0][2]) if found else None


def mark_leaving(execute: Execute, id: str, place: str) -> None:
    """From the commit of this on nobody writes to the file, whoever has it open."""
    execute(_MARK, (id, State.LEAVING, place))
    text = f"{FENCED}{place}".replace("'", "''")
    for table in TABLES:
        for act in _ACTS:
            execute(
                f"CREATE TRIGGER moved_{table.name}_{act.lower()} BEFORE {act} ON {table.name} "
                f"BEGIN SELECT RAISE(ABORT, '{text}'); END"
            )


def mark_left(execute: Execute, id: str) -> None:
    execute(_SET_STATE, (id, State.LEFT))


def unmark(execute: Execute) -> None:
    """It is a file like any other again."""
    execute(_UNMARK)
    for table in TABLES:
        for act in _ACTS:
            execute(f"DROP TRIGGER IF EXISTS moved_{table.name}_{act.lower()}")
