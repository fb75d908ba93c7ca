"""Applies migrations: each in one transaction, together with its number.

A process that dies between any two statements leaves the database as it was before the file.
"""

from __future__ import annotations

from typing import Final

import apsw

from stepwell.errors import StorageError
from stepwell.storage.migrations import migrations, too_new
from stepwell.storage.sqlite import statements as sql
from stepwell.storage.sqlite.driver import Execute

_OURS: Final = "SELECT value FROM meta WHERE key IN ('schema', 'epoch') AND typeof(value) = 'integer' ORDER BY key DESC"
# One look at all names: between two, another process may have made the tables.
_NAME: Final = r"""
SELECT type = 'table' AND name = 'meta' AS ours, name FROM sqlite_schema WHERE name NOT LIKE 'sqlite\_%' ESCAPE '\'
ORDER BY ours DESC, name LIMIT 1"""
_SET_VERSION: Final = "UPDATE meta SET value = ?1 WHERE key = 'schema'"


def migrate(execute: Execute, path: str) -> tuple[str, ...]:
    """Apply what is missing, and return the names of these files.

    Raises ``SchemaTooNew`` if the database knows more than this version, and ``StorageError`` if it belongs to another
    program.

    If it raises, the transaction stays open: the connection is of no use and must be closed.
    """
    known = migrations("sqlite")
    latest = known[-1].number
    if version(execute, path) == latest:
        return ()  # the usual case takes no lock
    applied: list[str] = []
    for migration in known:
        execute(sql.BEGIN)
        found = version(execute, path)  # asked again under the lock: another process may have been faster
        if found > latest:
            raise too_new(path, found, latest)
        if found < migration.number:
            execute(migration.text)
            execute(_SET_VERSION, (migration.number,))
            applied.append(migration.name)
        execute(sql.COMMIT)
    return tuple(applied)


def pending(found: int) -> list[str]:
    """The SQL that ``migrate`` would run on a database that is so far, one transaction after the other."""
    return [
        f"{sql.BEGIN};\n-- {each.name}\n{each.text.strip()}\n"
        f"{_SET_VERSION.replace('?1', str(each.number))};\n{sql.COMMIT};\n"
        for each in migrations("sqlite")
        if each.number > found
    ]


def version(execute: Execute, path: str) -> int:
    """The number of the last migration that was applied; 0 if there are no tables yet. Raises ``StorageError``."""
    names = execute(_NAME).fetchall()
    if not names:
        return 0
    ((ours, name),) = names
    if ours:
        try:
            found = execute(_OURS).fetchall()
        except apsw.SQLError:  # it has other columns
            found = []
        if len(found) == 2:
            return int(found[0][0])
    raise StorageError(
        what=f"the database {path} belongs to another program",
        why=f"it has tables of its own, such as {name!r}, and is not one that Stepwell made",
        fix="name another path; a server creates the file if it is not there",
    )


def refuse_unreadable(execute: Execute, path: str) -> None:
    """Refuse a database whose tables are not exactly those this version knows. Raises ``StorageError``."""
    found, latest = version(execute, path), migrations("sqlite")[-1].number
    if found > latest:
        raise too_new(path, found, latest)
    if found == 0:
        raise StorageError(
            what=f"the database {path} is empty",
            why="no server has opened it yet, and reading never changes a file",
            fix="check the path, or start a server on it first",
        )
    if found < latest:
        raise StorageError(
            what=f"the database {path} has schema {found}; this Stepwell reads schema {latest}",
            why="an older Stepwell wrote it, and reading never changes a file",
            fix="open it once with the server of this version, which brings it up to date",
        )
