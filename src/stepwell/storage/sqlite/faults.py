"""What a failing database means to people: SQLite's errors as ours, with what, why and how to fix it."""

from __future__ import annotations

from typing import Final

import apsw

from stepwell.errors import StorageError, StorageUnavailable

# The connection may no longer know what is on the disk, so it is opened anew before anything else is written. And one
# that was opened while its files were read-only never writes again.
DISTRUST: Final = (
    apsw.IOError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.CantOpenError,
    apsw.ProtocolError,
    apsw.ReadOnlyError,
)
# Others in the same transaction would fail in the same way: trying each alone only takes longer.
HOPELESS: Final = (*DISTRUST, apsw.BusyError)


FENCED: Final = "stepwell: promoted to "
"""How SQLite's message begins where a file may not be written to any more (``moved.py``); then follows where to."""


def explained(error: BaseException, path: str) -> BaseException:
    """The error as a user should see it; one that does not come from SQLite is returned as it is."""
    if not isinstance(error, apsw.Error):
        return error
    ours = _explain(error, path)
    if ours is None:
        return error
    ours.__cause__ = error
    return ours


def _explain(error: apsw.Error, path: str) -> StorageError | None:
    if isinstance(error, apsw.ConstraintError) and FENCED in str(error):
        return StorageUnavailable(
            what=f"nothing can be written to {path}: it was promoted to {str(error).partition(FENCED)[2]}",
            why="what is written here would be known to nobody",
            fix="stop this process, and start the server on the database it was promoted to",
        )
    if isinstance(error, apsw.FullError):
        return StorageUnavailable(
            what=f"nothing can be written to {path}: the disk is full",
            why=str(error),
            fix="free some space; a server that is up then goes on by itself, one that did not start must be started",
        )
    if isinstance(error, apsw.ReadOnlyError | apsw.PermissionsError):
        return StorageUnavailable(
            what=f"nothing can be written to {path}: it is read-only",
            why=str(error),
            fix="make the file and its directory writable for this user; a server that is up then goes on by itself, "
            "one that did not start must be started",
        )
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return StorageUnavailable(
            what=f"nothing could be written to {path} for a long time",
            why="another program holds a write lock on it",
            fix="close whatever has the file open in a transaction, such as a database browser or a backup",
        )
    if isinstance(error, apsw.IOError | apsw.CantOpenError | apsw.ProtocolError):
        return StorageUnavailable(
            what=f"the disk that holds {path} fails",
            why=str(error),
            fix="check the disk and the system's log; Stepwell goes on by itself once writing works again",
        )
    if isinstance(error, apsw.NotADBError | apsw.CorruptError):
        return StorageError(
            what=f"{path} is not a usable SQLite database",
            why=str(error),
            fix="restore the file from a backup, or name another path to start empty",
        )
    return None
