"""Migrates a new database again and again, each time killed one statement later; says how often, and what was wrong.

``python -m tests.storage.dying_migration FOLDER``
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import apsw

from stepwell.storage.sqlite.driver import executor
from stepwell.storage.sqlite.files import Files
from stepwell.storage.sqlite.schema import migrate


def main(folder: Path) -> None:
    deaths = 0
    while _dies(folder / f"{deaths}.db", deaths):
        deaths += 1
        _check(folder / f"{deaths - 1}.db")
    print(f"{deaths} deaths")


def _dies(path: Path, statements: int) -> bool:
    """Migrate in a child that is killed when it begins the statement of this number."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.WIFSIGNALED(status)
    left = statements

    def count(_: object) -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    connection = Files(str(path), "full").connect("writer")
    connection.trace_v2(apsw.SQLITE_TRACE_STMT, count)
    migrate(executor(connection), str(path))
    os._exit(0)


def _check(path: Path) -> None:
    """Whatever was left is nothing or everything, and migrating again makes it complete."""
    files = Files(str(path), "full")
    connection = files.connect("writer")
    names = "SELECT count(*) FROM sqlite_schema"
    before = connection.execute(names).fetchall()
    migrate(executor(connection), str(path))
    after = connection.execute(names).fetchall()
    if before not in ([(0,)], after):
        print(f"half a migration in {path}: {before} of {after}")
    connection.close()
    files.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
