"""Disks that cannot be written: from the start, and all of a sudden under a process that works."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stepwell.storage.sqlite import SqliteStore
from tests.edge.conftest import Dev, Done, command, eventually, ran

pytestmark = [
    pytest.mark.slow,
    pytest.mark.sqlite("is about a file: where it is, what is in it, or what its disk does"),
    pytest.mark.skipif(sys.platform != "linux", reason="only on Linux root can give up its rights, and be limited"),
]

Start = Callable[..., Dev]

UNPRIVILEGED = [sys.executable, str(Path(__file__).with_name("unprivileged.py"))]

APP = """
import asyncio
from pathlib import Path

from stepwell import Context, Stepwell

app = Stepwell("shop")
HERE = Path(__file__).parent


@app.create_function(id="export", trigger="shop/exported")
async def export(ctx: Context[dict]) -> str:
    async def work() -> str:
        print("the body begins", flush=True)
        while not (HERE / "gate").exists():
            await asyncio.sleep(0.01)
        print("the body ends", flush=True)
        return "exported"

    done = await ctx.step.run("work", work)
    await ctx.step.sleep("rest", "1ms")
    return done


@app.create_function(id="nap", trigger="shop/tired")
async def nap(ctx: Context[dict]) -> str:
    await ctx.step.sleep("nap", "1s")
    return "rested"
"""

EMBEDDED = """
import asyncio
import sys

from app import app


async def main() -> None:
    async with app.embedded(sys.argv[1]):
        print("it works")


asyncio.run(main())
"""


# From the start -------------------------------------------------------------------------------------------------------


def a_file(folder: Path) -> None:
    _used_before(folder)
    (folder / "s.db").chmod(0o444)


def a_folder(folder: Path) -> None:
    _used_before(folder)
    folder.chmod(0o555)


def a_folder_copied_into(folder: Path) -> None:
    _used_before(folder)
    (folder / "s.db-gate").unlink()
    folder.chmod(0o555)


def an_empty_folder(folder: Path) -> None:
    folder.chmod(0o555)


READ_ONLY = [a_file, a_folder, a_folder_copied_into, an_empty_folder]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "embedded.py").write_text(EMBEDDED)
    found = tmp_path / "data"
    found.mkdir()
    yield found
    for each in (tmp_path, found):
        each.chmod(0o700)


@pytest.mark.parametrize("make_read_only", READ_ONLY, ids=lambda make: make.__name__)
def test_dev_says_what_it_cannot_write_and_ends(folder: Path, make_read_only: Callable[[Path], None]) -> None:
    make_read_only(folder)
    before = _contents(folder)

    done = command("dev", "app.py", "--port", "0", "--db", "data/s.db", cwd=folder.parent, launcher=UNPRIVILEGED)

    _assert_explained(done, folder)
    assert done.err.startswith("error: ")
    assert _contents(folder) == before


@pytest.mark.parametrize("make_read_only", READ_ONLY, ids=lambda make: make.__name__)
def test_an_embedded_engine_says_what_it_cannot_write(folder: Path, make_read_only: Callable[[Path], None]) -> None:
    make_read_only(folder)
    before = _contents(folder)

    done = ran(*UNPRIVILEGED, sys.executable, "embedded.py", "data/s.db", cwd=folder.parent)

    _assert_explained(done, folder)
    assert "StorageError: " in done.err or "StorageUnavailable: " in done.err
    assert _contents(folder) == before


def test_dev_without_options_says_that_its_folder_is_read_only(folder: Path) -> None:
    folder.parent.chmod(0o555)

    done = command("dev", "app.py", "--port", "0", cwd=folder.parent, launcher=UNPRIVILEGED)

    assert done.code == 1
    assert done.err.startswith(f"error: the database {folder.parent}/.stepwell/dev.db cannot be created: Permission")
    assert "\n  fix: make the directory writable for this user, or name another path" in done.err


def test_a_lock_that_cannot_be_opened_is_named(folder: Path) -> None:
    (folder / "s.db-leader").touch(0o444)

    done = command("dev", "app.py", "--port", "0", "--db", "data/s.db", cwd=folder.parent, launcher=UNPRIVILEGED)

    _assert_explained(done, folder)
    assert f"the lock {folder}/s.db-leader cannot be opened" in done.err


def _assert_explained(done: Done, folder: Path) -> None:
    assert done.code == 1
    assert done.out == ""
    assert f"{folder}/s.db" in done.err
    assert any(word in done.err for word in ("is read-only\n", "Permission denied\n"))
    assert "\n  why: " in done.err
    assert "writable for this user" in done.err.rpartition("\n  fix: ")[2]


def _used_before(folder: Path) -> None:
    asyncio.run(SqliteStore.open(folder / "s.db").close())


def _contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.endswith(("-wal", "-shm"))}


# All of a sudden ------------------------------------------------------------------------------------------------------


class Disk:
    """What the database of a server is on."""

    launcher: list[str] = UNPRIVILEGED

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fail(self, dev: Dev) -> None:
        """From now on nothing can be written."""
        raise NotImplementedError

    def recover(self, dev: Dev) -> None:
        raise NotImplementedError


class Limited(Disk):
    """No file can be written. It takes no rights to limit a process of one's own so."""

    said = "fails"

    def fail(self, dev: Dev) -> None:
        _limit(dev, 0)

    def recover(self, dev: Dev) -> None:
        _limit(dev, resource.RLIM_INFINITY)


class Protected(Disk):
    """Files that are open stay writable whatever their permissions, so a first write fails for want of room; then they
    are opened anew, and are read-only by then."""

    said = "is read-only"

    def fail(self, dev: Dev) -> None:
        _limit(dev, 0)
        for file in self.folder.iterdir():
            file.chmod(0o444)
        self.folder.chmod(0o555)
        dev.http("POST", "/e/k", {"name": "shop/unheard"})
        _limit(dev, resource.RLIM_INFINITY)

    def recover(self, dev: Dev) -> None:
        self.folder.chmod(0o700)
        for file in self.folder.iterdir():
            file.chmod(0o600)


class Small(Disk):
    """A file system of four megabytes that only the server sees."""

    said = "the disk is full"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        namespaces = ["--mount"] if os.getuid() == 0 else ["--mount", "--map-root-user"]
        mount = f'mount -t tmpfs -o size=4m tmpfs "{folder}" && exec "$@"'
        self.launcher = ["unshare", *namespaces, "sh", "-c", mount, "sh"]

    def fail(self, dev: Dev) -> None:
        with self._ballast(dev).open("wb", buffering=0) as file:
            for size in (65_536, 4_096):
                _until_full(lambda size=size: file.write(b"x" * size))  # type: ignore[misc]

    def recover(self, dev: Dev) -> None:
        self._ballast(dev).unlink()

    def _ballast(self, dev: Dev) -> Path:
        return Path(f"/proc/{dev.process.pid}/root{self.folder}/ballast")


@pytest.fixture(params=[Limited, Protected, Small], ids=lambda kind: kind.__name__.lower())
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "data"
    folder.mkdir(0o700)
    disk: Disk = request.param(folder)
    if isinstance(disk, Small) and subprocess.run([*disk.launcher, "true"], check=False).returncode:
        pytest.skip("this machine lets nobody mount a file system; the other disks are tried")
    yield disk
    folder.chmod(0o700)


def test_a_server_whose_disk_cannot_be_written_says_so_and_loses_nothing(start_dev: Start, disk: Disk) -> None:
    # Given a call that is under way, and a rest that soon is over
    dev = start_dev("--no-reload", "--db", "data/s.db", app=APP, launcher=disk.launcher)
    exporting, resting = dev.start("shop/exported"), dev.start("shop/tired")
    dev.said("the body begins")

    # When nothing can be written any more, and both want to go on
    disk.fail(dev)
    dev.open_gate("gate")
    dev.said("the body ends")
    ill = eventually(lambda: _health_if(dev, 503))

    # Then this is said, nothing is promised, and what is there can be read
    assert disk.said in ill
    for _ in range(20):
        refused = dev.http("POST", "/e/k", {"name": "shop/tired", "data": {"text": "x" * 20_000}})
        assert (refused.status, refused.json["ids"], refused.headers["retry-after"]) == (503, [], "1")
        assert disk.said in refused.json["error"]
    assert {dev.get(f"/v2/runs/{run}")["status"] for run in (exporting, resting)} == {"RUNNING"}
    assert _health_if(dev, 503)

    # And when it can be written again, all goes on by itself, and no body runs twice
    disk.recover(dev)
    assert dev.ended(exporting)["output"] == "exported"
    assert dev.ended(resting)["output"] == "rested"
    assert dev.output.count("the body begins") == 1
    assert dev.ended(dev.start("shop/tired"))["output"] == "rested"
    eventually(lambda: dev.http("GET", "/health").status == 200)
    assert len(dev.get("/v2/runs")) == 3


def _health_if(dev: Dev, status: int) -> str:
    reply = dev.http("GET", "/health")
    return str(reply.json["message"]) if reply.status == status else ""


def _limit(dev: Dev, size: int) -> None:
    resource.prlimit(dev.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _until_full(write_more: Callable[[], object]) -> None:
    try:
        while True:
            write_more()
    except OSError:
        return
