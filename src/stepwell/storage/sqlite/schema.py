"""Applies migrations: each in one transaction, together with its number.

A process that dies between any two statements leaves the database as it was before the file.
"""

from __future__ import annotations

from typing import Final

import apsw

from stepwell.errors import StorageError
from stepwell.storage.migrations import Migration, migrations, too_new
from stepwell.storage.sqlite import statements as sql
from stepwell.storage.sqlite.driver import Execute

_HAS_META: Final = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'meta'"
_VERSION: Final = "SELECT value FROM meta WHERE key = 'schema'"
_SET_VERSION: Final = "UPDATE meta SET value = ?1 WHERE key = 'schema'"


def migrate(execute: Execute, path: str) -> None:
    """Apply what is missing. Raises ``SchemaTooNew`` if the database knows more than this version.

    If it raises, the transaction stays open: the connection is of no use and must be closed.
    """
    known = migrations("sqlite")
    latest = known[-1].number
    if _version(execute) == latest:
        return  # the usual case takes no lock
    for migration in known:
        execute(sql.BEGIN)
        found = _version(execute)  # asked again under the lock: another process may have been faster
        if found > latest:
            raise too_new(path, found, latest)
        if found < migration.number:
            _apply(execute, migration, path)
            execute(_SET_VERSION, (migration.number,))
        execute(sql.COMMIT)


def _apply(execute: Execute, migration: Migration, path: str) -> None:
    try:
        execute(migration.text)
    except apsw.SQLError as error:
        if migration.number > 1:
            raise
        # Tables of others may live in the same file, for a transaction that spans both, but not under our names.
        raise StorageError(
            what=f"the database {path} belongs to another program",
            why=str(error),
            fix="name another path; Stepwell creates the file",
        ) from error


def _version(execute: Execute) -> int:
    if not execute(_HAS_META).fetchall():
        return 0
    return int(execute(_VERSION).fetchall()[0][0])
