"""Commands that copy a database, killed at any moment and given again: each row is there once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest

from stepwell.errors import StorageError
from stepwell.model.changes import PutCell, SaveEvent
from stepwell.storage.sqlite import SqliteStore
from stepwell.storage.tables import TABLES
from tests.edge.conftest import STEPWELL, eventually
from tests.meta.sources import ROOT
from tests.storage.nouns import cell, event, write

pytestmark = pytest.mark.slow

MANY = 20_000


def filled(path: Path) -> None:
    async def fill() -> None:
        store = SqliteStore.open(path, leader=False)
        await store.new_epoch()
        await write(store, *(PutCell(cell(f"c{n:06}", value=f"v{n}"), 0) for n in range(MANY)))
        await write(store, *(SaveEvent(event(f"E{n:06}", data=b'{"n":1}')) for n in range(MANY)))
        await store.close()

    asyncio.run(fill())


def content(path: Path) -> dict[str, list[Any]]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    found = {table.name: connection.execute(f"SELECT * FROM {table.name}").fetchall() for table in TABLES}
    connection.close()
    return found


def begun(*arguments: str, folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}"}
    return subprocess.Popen(
        [*STEPWELL, *arguments], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def code(*arguments: str, folder: Path) -> int:
    with begun(*arguments, folder=folder) as process:
        process.communicate()
    return process.returncode


def rows_there(path: Path) -> int:
    """How many rows an import says that it has written."""
    if not path.exists():
        return 0
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(5_000)
    try:
        return sum(row[0] for row in connection.execute("SELECT rows FROM moves").fetchall())
    except apsw.SQLError:
        return 0  # there is no table yet
    finally:
        connection.close()


def killed(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_an_import_that_is_killed_again_and_again_ends_with_every_row_once(tmp_path: Path) -> None:
    filled(tmp_path / "a.db")
    assert code("export", "--store", "a.db", "all.jsonl.gz", folder=tmp_path) == 0
    chance, stopped_at = Random(7), list[int]()
    marks = [0, *sorted(chance.randrange(1, 2 * MANY) for _ in range(5))]

    for mark in marks:
        process = begun("import", "all.jsonl.gz", "--store", "b.db", folder=tmp_path)
        eventually(lambda at=mark, one=process: rows_there(tmp_path / "b.db") >= at or one.poll() is not None)
        killed(process)
        stopped_at.append(rows_there(tmp_path / "b.db"))
        if 0 < stopped_at[-1] < 2 * MANY:
            with pytest.raises(StorageError, match="not whole"):
                SqliteStore.open(tmp_path / "b.db")
    last = begun("import", "all.jsonl.gz", "--store", "b.db", "--json", folder=tmp_path)
    out, err = last.communicate()

    assert last.returncode == 0, err
    assert out.startswith(b'{"rows":40000,"written":')
    assert stopped_at == sorted(stopped_at)
    assert any(0 < rows < 2 * MANY for rows in stopped_at), "no kill came in between"
    assert content(tmp_path / "b.db") == content(tmp_path / "a.db")
    asyncio.run(SqliteStore.open(tmp_path / "b.db").close())


def test_an_export_that_is_killed_leaves_no_file_of_its_name(tmp_path: Path) -> None:
    filled(tmp_path / "a.db")
    part = tmp_path / "all.jsonl.part"

    process = begun("export", "--store", "a.db", "all.jsonl", folder=tmp_path)
    eventually(lambda: (part.exists() and part.stat().st_size) or process.poll() is not None)
    process.send_signal(signal.SIGSTOP)
    there_was_a_part = part.exists()
    killed(process)

    assert there_was_a_part
    assert not (tmp_path / "all.jsonl").exists()
    assert code("export", "--store", "a.db", "all.jsonl", folder=tmp_path) == 0
    assert not part.exists()
    assert code("import", "all.jsonl", "--store", "b.db", folder=tmp_path) == 0
    assert content(tmp_path / "b.db") == content(tmp_path / "a.db")


def test_a_backup_that_is_killed_leaves_no_file_of_its_name(tmp_path: Path) -> None:
    filled(tmp_path / "a.db")
    part = tmp_path / "b.db.part"

    process = begun("backup", "--store", "a.db", "b.db", folder=tmp_path)
    eventually(lambda: part.exists() or process.poll() is not None)
    killed(process)

    if not (tmp_path / "b.db").exists():  # it may have been faster
        assert code("backup", "--store", "a.db", "b.db", folder=tmp_path) == 0
    assert content(tmp_path / "b.db") == content(tmp_path / "a.db")


def test_an_export_through_a_pipe_is_the_same(tmp_path: Path) -> None:
    filled(tmp_path / "a.db")

    with begun("export", "--store", "a.db", "-", folder=tmp_path) as out:
        assert out.stdout is not None
        done = subprocess.run(
            [*STEPWELL, "import", "-", "--store", "b.db"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}"},
            stdin=out.stdout,
            capture_output=True,
            check=False,
        )

    assert (done.returncode, done.stdout) == (0, b"40,000 rows are in b.db.\n")
    assert content(tmp_path / "b.db") == content(tmp_path / "a.db")
