"""Reading a file: nothing is written, whatever the file is, whoever owns it and whoever else writes it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from stepwell.errors import SchemaTooNew, StorageError
from stepwell.model.changes import Decision, PutCell
from stepwell.model.questions import GetCell
from stepwell.storage.leader import LeaderLock
from stepwell.storage.migrations import Migration, migrations
from stepwell.storage.sqlite import SqliteStore, looking, schema
from tests.storage.nouns import PLACE, cell, write

Contents = dict[str, tuple[bytes, int]]


def contents(folder: Path) -> Contents:
    """All files, with what is in them and when it was written. The index of a log changes with each lock on it."""
    return {
        file.name: (b"", 0) if file.name.endswith("-shm") else (file.read_bytes(), file.stat().st_mtime_ns)
        for file in folder.iterdir()
    }


async def make(path: Path, *keys: str) -> None:
    """A file as a server leaves it, with these cells."""
    store = SqliteStore.open(path, leader=False)
    await write(store, *(PutCell(cell(key), PLACE) for key in keys))
    await store.close()
    path.with_name(f"{path.name}-gate").unlink()


def foreign(path: Path, *statements: str) -> None:
    other = apsw.Connection(str(path))
    for statement in statements:
        other.execute(statement)
    other.close()


async def found(path: Path, key: str) -> bool:
    return await SqliteStore.reading(path).read(GetCell(key, 0, PLACE)) is not None


async def test_reading_changes_nothing(tmp_path: Path):
    await make(tmp_path / "s.db", "there")
    before = contents(tmp_path)

    store = SqliteStore.reading(tmp_path / "s.db")
    answers = [await store.read(GetCell(key, 0, PLACE)) for key in ("there", "elsewhere")]
    await store.close()

    assert answers == [cell("there"), None]
    assert contents(tmp_path) == before


async def test_a_name_may_have_characters_that_mean_something_in_an_address(tmp_path: Path):
    path = tmp_path / "a b?mode=rw&c#d%20é.db"
    await make(path, "there")

    assert await found(path, "there")


async def test_what_is_written_meanwhile_is_read(tmp_path: Path):
    # Given a file that nobody has open
    await make(tmp_path / "s.db", "before")
    reading = SqliteStore.reading(tmp_path / "s.db")
    seen = [await reading.read(GetCell("before", 0, PLACE))]

    # When a server comes, writes and goes
    store = SqliteStore.open(tmp_path / "s.db", leader=False)
    await write(store, PutCell(cell("during"), PLACE))
    seen.append(await reading.read(GetCell("during", 0, PLACE)))
    await write(store, PutCell(cell("at the end"), PLACE))
    await store.close()
    seen.append(await reading.read(GetCell("at the end", 0, PLACE)))

    # Then each answer is of its moment
    assert seen == [cell("before"), cell("during"), cell("at the end")]


async def test_a_file_that_changed_under_an_answer_is_asked_again(tmp_path: Path):
    await make(tmp_path / "s.db")
    asked = 0

    def ask(connection: apsw.Connection) -> list[Any]:
        nonlocal asked
        asked += 1
        keys = connection.execute("SELECT key FROM cells").fetchall()
        if asked == 1:
            foreign(tmp_path / "s.db", "INSERT INTO cells VALUES (0, 'c', 'v', 1)")
        return keys

    assert looking.look(str(tmp_path / "s.db"), ask) == [("c",)]
    assert asked == 2


async def test_what_a_server_that_was_killed_left_in_its_log_is_read(tmp_path: Path):
    # Given a copy of the files of a server in full flight, without what only its own memory explains
    live = SqliteStore.open(tmp_path / "s.db", leader=False)
    await write(live, PutCell(cell("last"), PLACE))
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("s.db", "s.db-wal"):
        (copy / name).write_bytes((tmp_path / name).read_bytes())
    await live.close()
    before = contents(copy)

    # When it is read, then all is there and stays there
    assert await found(copy / "s.db", "last")
    assert contents(copy) == {**before, "s.db-shm": (b"", 0)}


async def test_a_backup_that_is_no_longer_in_log_mode_is_read(tmp_path: Path):
    await make(tmp_path / "s.db", "there")
    foreign(tmp_path / "s.db", f"VACUUM INTO '{tmp_path / 'backup.db'}'")

    assert await found(tmp_path / "backup.db", "there")


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
@pytest.mark.parametrize("log", [False, True], ids=["alone", "with a log"])
@pytest.mark.parametrize("folder_mode", [0o755, 0o555])
def test_a_read_only_file_in_a_read_only_directory_is_read(log: bool, folder_mode: int):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.db"

        _leave(path, *(("-wal", "-shm") if log else ()))

        assert _as_nobody(folder, folder_mode, path) == "c1\n"


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_a_log_that_can_only_be_read_elsewhere_is_said():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.db"

        _leave(path, "-wal")

        assert "cannot be read where it is" in _as_nobody(folder, 0o555, path)


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
def test_a_file_that_this_user_may_not_read_is_said():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.db"
        asyncio.run(make(path))

        assert "cannot be read\n" in _as_nobody(folder, 0o755, path, file_mode=0o000)


def _leave(path: Path, *suffixes: str) -> None:
    """A database with one cell, and of what was beside it while it was open the files with these names."""
    store = SqliteStore.open(path, leader=False)
    asyncio.run(_put(store))
    kept = {Path(f"{path}{suffix}"): Path(f"{path}{suffix}").read_bytes() for suffix in suffixes}
    asyncio.run(store.close())
    for file, data in kept.items():
        file.write_bytes(data)
    Path(f"{path}-gate").unlink()


async def _put(store: SqliteStore) -> None:
    await write(store, PutCell(cell(), PLACE))


def _as_nobody(folder: str, folder_mode: int, path: Path, file_mode: int = 0o444) -> str:
    """What somebody reads who may write nothing there; root may write everything."""
    script = (
        "import asyncio, concurrent.futures.thread, os, sys\n"  # those of a home directory cannot be found later
        "from stepwell.errors import StorageError\n"
        "from stepwell.model.questions import GetCell\n"
        "from stepwell.storage.sqlite import SqliteStore\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try:\n"
        "    print(asyncio.run(SqliteStore.reading(sys.argv[1]).read(GetCell('c1', 0, 3))).key)\n"
        "except StorageError as error:\n"
        "    print(error)\n"
    )
    for file in Path(folder).iterdir():
        file.chmod(file_mode)
    before = sorted(Path(folder).iterdir())
    Path(folder).chmod(folder_mode)
    try:
        done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    finally:
        Path(folder).chmod(0o700)
    assert sorted(Path(folder).iterdir()) == before
    return done.stdout


FOREIGN = {
    "tables": ("CREATE TABLE customers (id)",),
    "tables of our names": ("CREATE TABLE events (what)",),
    "a table named meta": ("CREATE TABLE meta (name, text)",),
    "a table named meta with our columns": ("CREATE TABLE meta (key, value)", "INSERT INTO meta VALUES ('schema', 1)"),
    "other kinds of values": (
        "CREATE TABLE meta (key, value)",
        "INSERT INTO meta VALUES ('schema', 'one'), ('epoch', 'two')",
    ),
    "a view": ("CREATE VIEW meta AS SELECT 'schema' AS key, 1 AS value",),
    "a log of its own": ("PRAGMA journal_mode = WAL", "CREATE TABLE customers (id)"),
}


@pytest.mark.parametrize("opening", [SqliteStore.reading, SqliteStore.open], ids=["reading", "serving"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_the_database_of_another_program_is_refused_and_nothing_is_changed(
    tmp_path: Path, kind: str, opening: Callable[[Path], object]
):
    foreign(tmp_path / "s.db", *FOREIGN[kind])
    before = contents(tmp_path)

    _refused(opening, tmp_path / "s.db", "belongs to another program")

    assert contents(tmp_path) == before


@pytest.mark.parametrize("opening", [SqliteStore.reading, SqliteStore.open], ids=["reading", "serving"])
@pytest.mark.parametrize("copied", [False, True], ids=["live", "copied"])
def test_so_is_one_that_the_other_program_has_open(tmp_path: Path, copied: bool, opening: Callable[[Path], object]):
    # Given another program's file with some of it in the log, or a copy of both
    other = apsw.Connection(str(tmp_path / "s.db"))
    for statement in ("PRAGMA journal_mode = WAL", "CREATE TABLE customers (id)", "PRAGMA wal_checkpoint"):
        other.execute(statement).fetchall()
    other.execute("INSERT INTO customers VALUES (1)")
    folder = tmp_path
    if copied:
        folder = tmp_path / "copy"
        folder.mkdir()
        for name in ("s.db", "s.db-wal"):
            (folder / name).write_bytes((tmp_path / name).read_bytes())
    before = contents(folder)

    _refused(opening, folder / "s.db", "belongs to another program")

    assert contents(folder) == before
    other.close()


def test_an_empty_file_is_refused_and_stays_empty(tmp_path: Path):
    (tmp_path / "s.db").touch()

    _refused(SqliteStore.reading, tmp_path / "s.db", "is empty")

    assert list(contents(tmp_path)) == ["s.db"]
    assert (tmp_path / "s.db").stat().st_size == 0


def test_a_file_that_is_not_there_is_refused_and_not_made(tmp_path: Path):
    _refused(SqliteStore.reading, tmp_path / "s.db", "there is no database")

    assert contents(tmp_path) == {}


def test_a_directory_is_refused(tmp_path: Path):
    _refused(SqliteStore.reading, tmp_path, "is a directory")


def test_a_text_is_refused(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("dear diary " * 1_000)

    _refused(SqliteStore.reading, tmp_path / "notes.txt", "not a usable SQLite database")


@pytest.mark.parametrize(("number", "kind", "fix"), [(0, StorageError, "server"), (999, SchemaTooNew, "upgrade")])
async def test_a_schema_of_another_version_is_refused_and_left_as_it_is(
    tmp_path: Path, number: int, kind: type[StorageError], fix: str, monkeypatch: pytest.MonkeyPatch
):
    await make(tmp_path / "s.db")
    foreign(tmp_path / "s.db", f"UPDATE meta SET value = {number or 1} WHERE key = 'schema'")
    if not number:
        _a_newer_version(monkeypatch)
    before = contents(tmp_path)

    error = _refused(SqliteStore.reading, tmp_path / "s.db", "has schema")

    assert type(error) is kind
    assert fix in error.fix
    assert contents(tmp_path) == before


def _a_newer_version(monkeypatch: pytest.MonkeyPatch) -> None:
    known = migrations("sqlite")
    more = [*known, Migration(known[-1].number + 1, "more", "CREATE TABLE more (x)")]
    monkeypatch.setattr(schema, "migrations", lambda backend: more)


async def test_writing_is_refused(tmp_path: Path):
    await make(tmp_path / "s.db")
    store = SqliteStore.reading(tmp_path / "s.db")

    with pytest.raises(StorageError, match="for reading only"):
        await store.commit(Decision((PutCell(cell(), PLACE),)))
    with pytest.raises(StorageError, match="for reading only"):
        await store.new_epoch()
    with pytest.raises(StorageError, match="for reading only"):
        await store.sweep(0, 1)
    assert not (await store.changed()).others


def test_whether_somebody_leads_is_seen_without_a_trace(tmp_path: Path):
    lock, look = LeaderLock(tmp_path / "s.db"), LeaderLock(tmp_path / "s.db")

    assert not look.held()
    assert list(tmp_path.iterdir()) == []
    assert lock.acquire()
    assert look.held()
    lock.release()
    assert not look.held()


def _refused(opening: Callable[[Path], object], path: Path, what: str) -> StorageError:
    with pytest.raises(StorageError) as raised:
        opening(path)
    error = raised.value
    assert what in error.what
    assert error.why
    assert error.fix
    return error
