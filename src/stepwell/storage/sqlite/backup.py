"""Copies a file as one transaction sees it, with others writing to it, by SQLite's own online backup.

https://sqlite.org/backup.html: a backup that another connection disturbs begins anew. Here it cannot be disturbed: the
connection that is read holds one snapshot for as long as it takes, and a log that others write beside it does no harm
but to grow meanwhile.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw

from stepwell.errors import StorageError
from stepwell.storage.moving import Progress
from stepwell.storage.sqlite import statements as sql
from stepwell.storage.sqlite.driver import executor
from stepwell.storage.sqlite.faults import explained
from stepwell.storage.sqlite.files import sync_folder
from stepwell.storage.sqlite.looking import looking_long
from stepwell.storage.sqlite.reading import refuse_missing
from stepwell.storage.sqlite.schema import refuse_unreadable

_PAGES: Final = 1_024  # between two words on how far it is: 8 MiB


def backup(path: str, target: str, progress: Progress) -> int:
    """Copy a database to a file that does not exist yet. ``progress`` counts pages; returns how many bytes it has.

    Raises ``StorageError``. What was begun and not ended has another name, and the next one writes over it.
    """
    refuse_missing(Path(path))
    _refuse_existing(target)
    part = f"{target}.part"
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.close(descriptor)
        with looking_long(path) as source:
            execute = executor(source)
            execute(sql.BEGIN_READ)
            refuse_unreadable(execute, path)  # this reads, and so takes the snapshot
            size = _copy(source, part, progress)
        _refuse_existing(target)
        Path(part).replace(target)
        sync_folder(Path(target).absolute().parent)
    except OSError as error:
        raise StorageError(
            what=f"{target} cannot be written: {error.strerror or error}",
            why=str(error),
            fix="name a file in a directory that this user may write to",
        ) from error
    finally:
        with suppress(OSError):
            Path(part).unlink()
    return size


def _copy(source: apsw.Connection, part: str, progress: Progress) -> int:
    copy = apsw.Connection(part, flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        executor(copy)("PRAGMA synchronous = FULL")
        with copy.backup("main", source, "main") as steps:
            while not steps.done:
                steps.step(_PAGES)
                progress(steps.page_count - steps.remaining, steps.page_count)
    except apsw.Error as error:
        raise explained(error, part) from error
    finally:
        copy.close(True)
    return Path(part).stat().st_size


def _refuse_existing(target: str) -> None:
    if Path(target).exists():
        raise StorageError(
            what=f"{target} exists",
            why="a backup never replaces anything: it may be the only one",
            fix="name another file, or remove this one first",
        )
