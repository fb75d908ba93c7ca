"""``--db`` names a file that may be anybody's: reading it leaves it, and what is beside it, as it was."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import apsw
import pytest

from stepwell.errors import StorageError
from stepwell.server.wiring import open_for_reading
from stepwell.storage.leader import LeaderLock
from stepwell.storage.sqlite import SqliteStore
from tests.edge.conftest import APP, command

pytestmark = pytest.mark.sqlite("is about a file: where it is, what is in it, or what its disk does")


def customers(path: Path) -> None:
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE customers (id)")
    other.close()


def meta(path: Path) -> None:
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE meta (name, value)")
    other.close()


def empty(path: Path) -> None:
    path.touch()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "word"), [(customers, "another program"), (meta, "another program"), (empty, "is empty")]
)
def test_a_file_that_is_not_ours_is_refused_and_left_alone(tmp_path: Path, make, word: str) -> None:
    make(tmp_path / "foreign.db")
    before = (tmp_path / "foreign.db").read_bytes()

    done = command("runs", "--db", "foreign.db", cwd=tmp_path)

    assert done.code == 1
    assert word in done.err and "why:" in done.err and "fix:" in done.err
    assert [file.name for file in tmp_path.iterdir()] == ["foreign.db"]
    assert (tmp_path / "foreign.db").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("make", [customers, meta])
def test_a_server_refuses_a_file_that_is_not_ours_and_leaves_it_alone(tmp_path: Path, make) -> None:
    data = tmp_path / "data"
    data.mkdir()
    make(data / "foreign.db")
    before = (data / "foreign.db").read_bytes()
    (tmp_path / "app.py").write_text(APP)

    done = command("dev", "app.py", "--port", "0", "--no-reload", "--db", "data/foreign.db", cwd=tmp_path)

    assert done.code == 1
    assert "another program" in done.out + done.err
    assert "Traceback" not in done.out + done.err
    assert [file.name for file in data.iterdir()] == ["foreign.db"]
    assert (data / "foreign.db").read_bytes() == before


def test_who_reads_learns_whether_somebody_leads_and_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    asyncio.run(SqliteStore.open(path, leader=False).close())
    Path(f"{path}-gate").unlink()

    _, nobody = asyncio.run(open_for_reading(str(path)))
    names = [file.name for file in tmp_path.iterdir()]
    lock = LeaderLock(path)
    lock.acquire()
    _, somebody = asyncio.run(open_for_reading(str(path)))
    lock.release()

    assert (nobody, somebody) == (False, True)
    assert names == ["s.db"]


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no database"):
        asyncio.run(open_for_reading(str(tmp_path / "s.db")))

    assert list(tmp_path.iterdir()) == []


def test_a_pipe_is_no_database(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    done = command("runs", "--db", "pipe", cwd=tmp_path)

    assert done.code == 1
    assert "pipe is no file" in done.err
