"""Opening a database: what is created, what is refused and how, and what a failing disk does."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from stepwell.errors import SchemaTooNew, StorageError, StorageUnavailable
from stepwell.model.changes import Decision, PutCell, SaveEvent
from stepwell.model.questions import GetCell, GetEvent
from stepwell.storage.sqlite import SqliteStore, log
from stepwell.storage.sqlite.files import Files
from tests.storage.nouns import PLACE, cell, event, write


async def test_what_was_committed_is_there_when_the_file_is_opened_again(tmp_path: Path):
    store = SqliteStore.open(tmp_path / "s.db")
    await write(store, PutCell(cell(), PLACE))
    first = await store.new_epoch()
    await store.close()

    store = SqliteStore.open(tmp_path / "s.db")

    assert await store.read(GetCell("c1", 0, PLACE)) == cell()
    assert await store.new_epoch() == first + 1
    await store.close()


async def test_after_closing_one_file_holds_everything(tmp_path: Path):
    store = SqliteStore.open(tmp_path / "s.db")
    await write(store, PutCell(cell(), PLACE))
    await store.close()

    assert not (tmp_path / "s.db-wal").exists()
    assert apsw.Connection(str(tmp_path / "s.db")).execute("SELECT key FROM cells").fetchall() == [("c1",)]


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
async def test_only_the_owner_may_read_new_files_and_a_new_directory(tmp_path: Path):
    path = tmp_path / "data" / "s.db"

    store = SqliteStore.open(path)
    await write(store, PutCell(cell(), PLACE))

    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(("s.db", "s.db-wal", "s.db-shm", "s.db-gate"), 0o600)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    await store.close()


def test_a_file_that_is_there_keeps_its_permissions(tmp_path: Path):
    path = tmp_path / "s.db"
    asyncio.run(SqliteStore.open(path, leader=False).close())
    path.chmod(0o640)

    asyncio.run(SqliteStore.open(path, leader=False).close())

    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_directory_is_no_database(tmp_path: Path):
    _refused(tmp_path, StorageError, "is a directory")


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has files that are devices")
def test_what_is_no_file_is_no_database_and_nothing_is_left_beside_it():
    _refused(Path(os.devnull), StorageError, "is no file")

    assert not Path(f"{os.devnull}-gate").exists()


def test_a_path_through_a_missing_directory_is_refused(tmp_path: Path):
    _refused(tmp_path / "a" / "b" / "s.db", StorageError, "does not exist")
    assert list(tmp_path.iterdir()) == []


def test_a_path_through_a_file_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")

    _refused(tmp_path / "file" / "s.db", StorageError, "cannot be created")


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path):
    path = tmp_path / "notes.txt"
    path.write_text("dear diary " * 1_000)

    _refused(path, StorageError, "not a usable SQLite database")

    assert path.read_text() == "dear diary " * 1_000


def test_a_damaged_database_is_refused(tmp_path: Path):
    path = tmp_path / "s.db"
    asyncio.run(SqliteStore.open(path, leader=False).close())
    damaged = bytearray(path.read_bytes())
    damaged[100:4096] = b"\xff" * 3996
    path.write_bytes(damaged)

    _refused(path, StorageError, "not a usable SQLite database")


def test_the_database_of_a_newer_stepwell_is_refused(tmp_path: Path):
    path = tmp_path / "s.db"
    asyncio.run(SqliteStore.open(path, leader=False).close())
    newer = apsw.Connection(str(path))
    newer.execute("UPDATE meta SET value = 999 WHERE key = 'schema'")
    newer.close()

    refused = _refused(path, SchemaTooNew, "schema 999")

    assert "upgrade" in refused.fix


@pytest.mark.parametrize("version", ["3.40.1", "3.51.2", "3.7.0"])
def test_a_sqlite_that_can_lose_commits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str):
    """K62."""
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: version)

    _refused(tmp_path / "s.db", StorageError, version)


@pytest.mark.parametrize("version", ["3.51.3", "3.54.1", "4.0.0"])
def test_a_sqlite_that_does_not_is_accepted(monkeypatch: pytest.MonkeyPatch, version: str):
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: version)

    Files(":memory:", "full").close()


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("normal", 1)])
def test_durability_is_a_choice(tmp_path: Path, durability: str, level: int):
    files = Files(str(tmp_path / "s.db"), durability)  # type: ignore[arg-type]
    connection = files.connect("writer")

    assert connection.execute("PRAGMA synchronous").fetchall() == [(level,)]
    assert connection.execute("PRAGMA journal_mode").fetchall() == [("wal",)]

    connection.close()
    files.close()


@pytest.mark.slow
def test_the_log_is_written_to_its_full_size_once_and_stays_that_long(tmp_path: Path):
    store = SqliteStore.open(tmp_path / "s.db")
    file = tmp_path / "s.db-wal"
    size = file.stat().st_size

    async def much() -> None:
        for number in range(40):
            await write(store, *(PutCell(cell(f"{number}-{n}", value="x" * 3_000), PLACE) for n in range(100)))

    asyncio.run(much())

    assert size > 8 << 20
    assert size <= file.stat().st_size < size + (2 << 20)
    asyncio.run(store.close())


async def test_a_full_disk_is_said_and_survived(full_disk: Path):
    store = SqliteStore.open(full_disk / "s.db", leader=False)
    await write(store, SaveEvent(event("before")))
    ballast = full_disk / "ballast"
    _fill(ballast)

    failed = [store.commit(Decision((SaveEvent(event(f"big{n}", data=b"x" * 50_000)),))) for n in range(5)]
    for future in failed:
        with pytest.raises(StorageUnavailable, match="disk is full"):
            await future
    assert await store.read(GetEvent("before")) is not None
    ballast.unlink()
    await write(store, SaveEvent(event("after", data=b"x" * 50_000)))

    assert await store.read(GetEvent("big0")) is None
    assert await store.read(GetEvent("after")) is not None
    await store.close()


async def test_a_small_decision_is_written_beside_one_that_does_not_fit(tmp_path: Path):
    store = SqliteStore.inline(tmp_path / "s.db")
    connection = store._committer.connection
    pages = connection.execute("PRAGMA page_count").fetchall()[0][0]
    connection.execute(f"PRAGMA max_page_count = {int(str(pages)) + 4}")

    outcomes = store._committer.run(
        [
            Decision((PutCell(cell("a"), PLACE),)),
            Decision((SaveEvent(event(data=b"x" * 500_000)),)),
            Decision((PutCell(cell("b"), PLACE),)),
        ]
    )

    assert [type(outcome.error) for outcome in outcomes] == [type(None), StorageUnavailable, type(None)]
    assert await store.read(GetCell("b", 0, PLACE)) is not None
    await store.close()


async def test_a_connection_that_is_read_only_is_said_and_replaced(tmp_path: Path):
    """One that was made while its files were read-only stays so; tests/edge/test_disks.py has the real thing."""
    store = SqliteStore.inline(tmp_path / "s.db")
    store._committer.connection.execute("PRAGMA query_only = 1")

    with pytest.raises(StorageUnavailable, match="read-only"):
        await write(store, PutCell(cell("a"), PLACE))
    await write(store, PutCell(cell("b"), PLACE))

    assert await store.read(GetCell("a", 0, PLACE)) is None
    await store.close()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
@pytest.mark.parametrize(("file_mode", "folder_mode"), [(0o444, 0o777), (0o666, 0o555)])
def test_a_read_only_file_or_directory_is_refused(file_mode: int, folder_mode: int):
    script = (
        "import os, sys\n"
        "from stepwell.errors import StorageError\n"
        "from stepwell.storage.sqlite import SqliteStore\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"  # root may write everything
        "try:\n"
        "    SqliteStore.open(sys.argv[1])\n"
        "except StorageError as error:\n"
        "    print(f'{type(error).__name__}: {error}')\n"
    )
    # Not pytest's folder, which only its owner may enter.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.db"
        asyncio.run(SqliteStore.open(path, leader=False).close())
        Path(f"{path}-gate").unlink()
        path.chmod(file_mode)
        path.parent.chmod(folder_mode)

        opened = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)

        path.parent.chmod(0o700)
    assert opened.stdout.startswith("StorageUnavailable: ")  # to a process that is up it may pass
    assert "is read-only" in opened.stdout
    assert "fix: " in opened.stdout


REAL = apsw.vfs_names()[0]


class FailingDisk(apsw.VFS):
    """A file system whose log cannot be synced while ``failing``."""

    def __init__(self) -> None:
        self.failing = False
        self.opened = 0
        super().__init__("failing", REAL, makedefault=True)

    def xOpen(self, name: object, flags: list[int]) -> FailingFile:
        self.opened += bool(flags[0] & apsw.SQLITE_OPEN_MAIN_DB)
        return FailingFile(self, name, flags)


class FailingFile(apsw.VFSFile):
    def __init__(self, disk: FailingDisk, name: object, flags: list[int]) -> None:
        self._disk = disk
        super().__init__(REAL, name, flags)  # type: ignore[arg-type]

    def xSync(self, flags: int) -> None:
        if self._disk.failing:
            raise apsw.IOError("the disk does not sync")
        super().xSync(flags)


@pytest.fixture
def failing_disk() -> Iterator[FailingDisk]:
    disk = FailingDisk()
    yield disk
    disk.unregister()


class SmallDisk(apsw.VFS):
    """A file system with room for so many bytes in a folder, where writing more than that fails."""

    def __init__(self, folder: Path, room: int, fault: type[apsw.Error]) -> None:
        self._folder, self._room, self._fault = folder, room, fault
        self.refused = 0
        super().__init__("small", REAL, makedefault=True)

    def xOpen(self, name: object, flags: list[int]) -> SmallFile:
        return SmallFile(self, name, flags)

    def take(self, size: int) -> None:
        used = sum(file.stat().st_size for file in self._folder.iterdir() if not file.name.endswith("-shm"))
        if used + size > self._room:
            self.refused += 1
            raise self._fault("there is no room")


class SmallFile(apsw.VFSFile):
    def __init__(self, disk: SmallDisk, name: object, flags: list[int]) -> None:
        self._disk = disk
        super().__init__(REAL, name, flags)  # type: ignore[arg-type]

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.take(max(0, offset + len(data) - self.xFileSize()))
        super().xWrite(data, offset)


@pytest.fixture(params=[apsw.FullError, apsw.IOError])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path, 4 << 20, request.param)
    yield disk
    disk.unregister()


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "beside another"])
def test_a_disk_with_no_room_for_a_long_log_serves_with_a_short_one(
    tmp_path: Path, small_disk: SmallDisk, shared: bool
):
    # Given a disk of four megabytes, and perhaps another process's connection that keeps the log from being removed
    path = tmp_path / "s.db"
    other = SqliteStore.open(path, leader=False) if shared else None

    # When a server starts on it
    store = SqliteStore.open(path)
    taken = _size_of(path.with_name("s.db-wal"))

    # Then it has tried, has given everything back, and writes as long as there is room for the data
    asyncio.run(_write_much(store, 1 << 20))
    asyncio.run(store.close())
    if other is not None:
        asyncio.run(other.close())
    assert small_disk.refused == 1
    assert taken < 1 << 20


def test_where_there_is_little_room_the_log_does_not_take_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=12 << 20)
    monkeypatch.setattr(log, "disk_usage", lambda path: usage)

    store = SqliteStore.open(tmp_path / "s.db")

    assert _size_of(tmp_path / "s.db-wal") < 1 << 20
    asyncio.run(store.close())


async def _write_much(store: SqliteStore, size: int) -> None:
    for number in range(size >> 16):
        await write(store, SaveEvent(event(f"e{number}", data=b"x" * 60_000)))


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


async def test_after_a_failed_sync_nothing_is_acknowledged_and_the_connection_is_made_anew(
    tmp_path: Path, failing_disk: FailingDisk
):
    # Given a store on a disk that works
    store = SqliteStore.open(tmp_path / "s.db", leader=False)
    await write(store, PutCell(cell("before"), PLACE))
    await store.read(GetCell("before", 0, PLACE))
    opened = failing_disk.opened

    # When it fails for a while
    failing_disk.failing = True
    failed = [store.commit(Decision((PutCell(cell(f"lost{n}"), PLACE),))) for n in range(3)]
    for future in failed:
        with pytest.raises(StorageUnavailable, match="fails"):
            await future
    failing_disk.failing = False

    # Then a new connection goes on, and what was not acknowledged is not there
    await write(store, PutCell(cell("after"), PLACE))
    assert failing_disk.opened > opened
    found = [await store.read(GetCell(key, 0, PLACE)) for key in ("before", "lost0", "lost1", "lost2", "after")]
    assert [each is not None for each in found] == [True, False, False, False, True]
    await store.close()


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    if sys.platform != "linux" or os.getuid() != 0:
        pytest.skip("only root on Linux can mount a small file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small file system here: {mounted.stderr}")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (65_536, 4_096):
            _until_full(lambda size=size: file.write(b"x" * size))  # type: ignore[misc]


def _until_full(write_more: Callable[[], object]) -> None:
    try:
        while True:
            write_more()
    except OSError:
        return


def _refused(path: Path, kind: type[StorageError], what: str) -> StorageError:
    with pytest.raises(kind) as raised:
        SqliteStore.open(path)
    error = raised.value
    assert what in error.what
    assert error.why
    assert error.fix
    return error
