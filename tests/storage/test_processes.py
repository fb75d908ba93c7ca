"""Several processes on one file: everyone gets a turn, nobody hears of locks, and one of them leads."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from stepwell.errors import StorageUnavailable
from stepwell.model.changes import Decision, PutCell
from stepwell.model.questions import GetCell
from stepwell.storage.leader import LeaderLock
from stepwell.storage.sqlite import SqliteStore
from stepwell.storage.sqlite import gate as gates
from stepwell.storage.sqlite.gate import Gate
from tests.meta.sources import ROOT
from tests.storage.nouns import PLACE, cell, write


@pytest.mark.slow
async def test_followers_write_beside_a_leader_that_commits_without_pause(tmp_path: Path):
    # Given a leader under load
    store = SqliteStore.open(tmp_path / "s.db")
    done = asyncio.Event()
    written = 0

    async def submit(name: int) -> None:
        nonlocal written
        while not done.is_set():
            await write(store, PutCell(cell(f"leader-{name}"), PLACE))
            written += 1

    load = asyncio.gather(*(submit(name) for name in range(100)))
    await write(store)
    await store.changed()

    # When two followers write as well
    followers = [await _attached(tmp_path / "s.db", f"f{number}", 100) for number in range(2)]
    said = [(await follower.communicate())[1].decode() for follower in followers]
    done.set()
    await load

    # Then nobody failed, all is there, and the leader was told
    assert said == ["", ""]
    assert written > 0
    for name in (f"f{number}-{n}" for number in range(2) for n in range(100)):
        assert await store.read(GetCell(name, 0, PLACE)) is not None
    assert (await store.changed()).others
    assert not (await store.changed()).others
    await store.close()


@pytest.mark.slow
async def test_many_processes_may_open_a_new_file_at_once(tmp_path: Path):
    processes = [await _attached(tmp_path / "s.db", f"p{number}", 1) for number in range(4)]

    assert [(await process.communicate())[1].decode() for process in processes] == [""] * 4

    store = SqliteStore.open(tmp_path / "s.db", leader=False)
    found = [await store.read(GetCell(f"p{number}-0", 0, PLACE)) for number in range(4)]
    assert None not in found
    await store.close()


async def test_what_another_process_wrote_is_a_change_and_told_once(tmp_path: Path):
    store = SqliteStore.open(tmp_path / "s.db", leader=False)
    assert not (await store.changed()).others

    other = SqliteStore.open(tmp_path / "s.db", leader=False)
    await write(other, PutCell(cell(), PLACE))

    assert (await store.changed()).others
    assert not (await store.changed()).others
    await other.close()
    await store.close()


async def test_a_lock_that_another_program_never_gives_back_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gates, "_RETRIES_MAX", 3)
    store = SqliteStore.open(tmp_path / "s.db", leader=False)
    browser = apsw.Connection(str(tmp_path / "s.db"))
    browser.execute("BEGIN IMMEDIATE")

    with pytest.raises(StorageUnavailable, match="for a long time") as raised:
        await store.commit(Decision((PutCell(cell(), PLACE),)))
    browser.execute("ROLLBACK")
    await store.commit(Decision((PutCell(cell("later"), PLACE),)))

    assert "another program" in raised.value.why
    assert await store.read(GetCell("c1", 0, PLACE)) is None
    browser.close()
    await store.close()


def test_who_waits_is_seen_once_by_who_has_just_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mine, theirs = Gate(str(tmp_path / "s.db")), Gate(str(tmp_path / "s.db"))
    pauses: list[float] = []
    monkeypatch.setattr(mine, "_sleep", pauses.append)

    mine.step_aside()
    assert theirs.wait(0)
    mine.step_aside()
    mine.step_aside()

    assert len(pauses) == 1
    mine.close()
    theirs.close()


def test_only_one_leads(tmp_path: Path):
    first, second = LeaderLock(tmp_path / "s.db"), LeaderLock(tmp_path / "s.db")

    assert first.acquire()
    assert first.acquire()
    assert not second.acquire()
    first.release()
    first.release()
    assert second.acquire()
    second.release()


def test_the_lead_is_free_as_soon_as_its_holder_is_dead(tmp_path: Path):
    script = """
import sys
from stepwell.storage.leader import LeaderLock
lock = LeaderLock(sys.argv[1])
print(lock.acquire(), flush=True)
sys.stdin.read()
"""
    lock = LeaderLock(tmp_path / "s.db")
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "s.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"True"
        assert not lock.acquire()
        holder.kill()

    assert lock.acquire()
    lock.release()


@pytest.mark.skipif(os.name != "posix", reason="needs fork")
def test_a_forked_child_that_lives_on_does_not_keep_the_lead(tmp_path: Path):
    # In a process of its own, because forking a test run with threads in it is no good.
    script = """
import os, sys
from stepwell.storage.leader import LeaderLock
lock = LeaderLock(sys.argv[1])
assert lock.acquire()
if os.fork() == 0:
    print("child", flush=True)
    sys.stdin.read()
os._exit(0)
"""
    lock = LeaderLock(tmp_path / "s.db")
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "s.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().strip() == b"child"
        parent.wait()

        assert lock.acquire()

    lock.release()


async def _attached(path: Path, name: str, count: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.storage.attached",
        str(path),
        name,
        str(count),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_what_was_written_while_the_writer_lost_its_connection_is_a_change_too(tmp_path: Path):
    """The numbers by which a connection knows are its own: those of a new one say nothing of what it missed."""
    store = SqliteStore.open(tmp_path / "s.db", leader=False)
    await store.changed()
    other = SqliteStore.open(tmp_path / "s.db", leader=False)
    await write(other, PutCell(cell(), PLACE))

    store._writer._committer._undo(apsw.IOError("the disk failed"))
    await write(store, PutCell(cell("c2"), PLACE))

    assert (await store.changed()).others
    await other.close()
    await store.close()
