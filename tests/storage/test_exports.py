"""What an export looks like, what is refused as one, and what is never written over."""

from __future__ import annotations

import gzip
import json
import os
import stat
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.errors import InvalidExport, StorageError
from stepwell.model.changes import PutCell, SaveEvent
from stepwell.server.moving import backup_file, export, import_file
from stepwell.storage.exports import ExportSource
from stepwell.storage.exports.format import read, written
from stepwell.storage.leader import LeaderLock
from stepwell.storage.moving import Copied
from stepwell.storage.sqlite import SqliteStore
from stepwell.storage.sqlite.moving import SqliteTarget
from stepwell.storage.tables import BY_NAME, NOT_COPIED, TABLES
from tests.storage.nouns import cell, event, write


def silent(done: int, rows: int) -> None:
    """Nobody looks."""


async def filled(path: Path) -> None:
    store = SqliteStore.open(path, leader=False)
    await store.new_epoch()
    await write(
        store, PutCell(cell("c\x00'"), 0), SaveEvent(event("E1", data=b'{"a":"\xc3\xbc"}')), SaveEvent(event("E2"))
    )
    await store.close()


def names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


async def exported(folder: Path, name: str = "all.jsonl") -> Path:
    await filled(folder / "a.db")
    await export(str(folder / "a.db"), str(folder / name), silent, version="1.2.3")
    return folder / name


def test_every_table_is_copied_with_all_its_columns_or_left_out_on_purpose():
    store = SqliteStore.inline()
    ask = store._committer.connection.execute
    names = {row[0] for row in ask("SELECT name FROM sqlite_schema WHERE type = 'table'") if row[0][:7] != "sqlite_"}

    assert names == {*BY_NAME, *NOT_COPIED}
    for table in TABLES:
        columns = ask("SELECT name, type, pk FROM pragma_table_info(?)", (table.name,)).fetchall()
        assert {name for name, _, _ in columns} == {*table.columns} | ({"shard"} if table.sharded else set()) | {
            *table.zero
        }
        assert {name for name, kind, _ in columns if kind == "BLOB"} == table.blobs
        key = [name for _, name in sorted((pk, name) for name, _, pk in columns if pk and name != "shard")]
        if table.order:
            assert list(table.order) == key
        assert bool(table.order) or table.name in ("steps", "notes"), "whose order of writing means something"


@given(st.tuples(st.text(), st.text(), st.integers(0, 2**63 - 1), st.just(None) | st.text(), st.none() | st.binary()))
def test_a_row_comes_back_as_it_was(values: tuple[str, str, int, str | None, bytes | None]):
    id, name, ts, key, user = values
    row = (id, name, ts, 0, b'{"a":\n1}', key, None, user, b"null", "api", 0, None)

    line = written(BY_NAME["events"], row)

    assert b"\n" not in line
    assert read(BY_NAME["events"], line) == row


async def test_an_export_is_lines_of_json_with_names(tmp_path: Path):
    path = await exported(tmp_path)

    head, *rows, end = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert head["format"] == "stepwell-export"
    assert head["manifest"]["counts"]["events"] == 2
    assert head["manifest"]["epoch"] == 1
    assert [next(iter(row)) for row in rows] == ["events", "events", "cells"]
    assert rows[0]["events"]["data"] == '{"a":"ü"}'
    assert "user" not in rows[0]["events"]
    assert end["end"] == {"rows": 3, "sha256": sha256(b"".join(path.read_bytes().splitlines(True)[:-1])).hexdigest()}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 or os.name != "posix"


async def test_what_was_imported_is_known_and_not_imported_twice(tmp_path: Path):
    path = await exported(tmp_path, "all.jsonl.gz")

    first = await import_file(str(path), str(tmp_path / "b.db"), silent)
    again = await import_file(str(path), str(tmp_path / "b.db"), silent)

    assert (first, again) == (Copied(3, 3), Copied(0, 3))
    assert gzip.decompress(path.read_bytes()).startswith(b'{"format":')
    store = SqliteStore.open(tmp_path / "b.db", leader=False)
    assert await store.new_epoch() == 2, "tokens of leases must not be given again"
    await store.close()


def cut(content: bytes) -> bytes:
    return content[: len(content) - 30]


def cut_at_a_line(content: bytes) -> bytes:
    return b"".join(content.splitlines(True)[:-1])


def without_a_row(content: bytes) -> bytes:
    lines = content.splitlines(True)
    return b"".join([*lines[:2], *lines[3:]])


def changed(content: bytes) -> bytes:
    return content.replace(b'"c1"', b'"c2"').replace(b"E2", b"E3")


def more(content: bytes) -> bytes:
    return content + b"{}\n"


def newer(content: bytes) -> bytes:
    return content.replace(b'"version":1', b'"version":2', 1)


def of_a_newer_schema(content: bytes) -> bytes:
    return content.replace(b'"schema":1', b'"schema":99', 1)


def of_another_program(content: bytes) -> bytes:
    return b"id,name\n1,2\n"


def empty(content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (cut, "cut off"),
        (cut_at_a_line, "ends after 3 of 3 rows"),
        (without_a_row, "damaged"),
        (changed, "checksum"),
        (more, "damaged"),
        (newer, "newer Stepwell"),
        (of_a_newer_schema, "newer Stepwell"),
        (of_another_program, "was not made by"),
        (empty, "was not made by"),
    ],
)
async def test_a_file_that_is_not_whole_is_refused_before_anything_is_written(
    tmp_path: Path, spoil: Callable[[bytes], bytes], word: str
):
    path = await exported(tmp_path)
    path.write_bytes(spoil(path.read_bytes()))

    with pytest.raises(InvalidExport, match=word) as raised:
        await import_file(str(path), str(tmp_path / "b.db"), silent)

    assert raised.value.why and raised.value.fix
    assert not (tmp_path / "b.db").exists()


@pytest.mark.parametrize("length", [5, 20, 100])
async def test_a_compressed_file_that_is_cut_off_is_refused(tmp_path: Path, length: int):
    path = await exported(tmp_path, "all.gz")
    path.write_bytes(path.read_bytes()[:-length])

    with pytest.raises(InvalidExport, match="cut off"):
        await import_file(str(path), str(tmp_path / "b.db"), silent)


async def test_nothing_is_imported_where_anything_is(tmp_path: Path):
    path = await exported(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    second = await exported(other)

    with pytest.raises(StorageError, match="it is in use"):
        await import_file(str(path), str(tmp_path / "a.db"), silent)
    await import_file(str(path), str(tmp_path / "b.db"), silent)
    with pytest.raises(StorageError, match="a copy of something else"):
        await import_file(str(second), str(tmp_path / "b.db"), silent)


async def test_nothing_is_imported_into_a_file_that_a_process_leads(tmp_path: Path):
    path = await exported(tmp_path)
    lock = LeaderLock(tmp_path / "b.db")
    lock.acquire()

    with pytest.raises(StorageError, match="a process runs on"):
        await import_file(str(path), str(tmp_path / "b.db"), silent)

    lock.release()
    await import_file(str(path), str(tmp_path / "b.db"), silent)


async def test_a_store_that_is_not_whole_is_not_opened(tmp_path: Path):
    path = await exported(tmp_path)
    target = SqliteTarget(tmp_path / "b.db", "elsewhere")
    source = ExportSource(str(path))
    assert await target.begin(source.manifest) == 0
    await target.close()
    await source.close()

    with pytest.raises(StorageError, match="not whole"):
        SqliteStore.open(tmp_path / "b.db")
    with pytest.raises(StorageError, match="not whole"):
        await export(str(tmp_path / "b.db"), str(tmp_path / "half.jsonl"), silent, version="1")
    await import_file(str(path), str(tmp_path / "b.db"), silent)
    await SqliteStore.open(tmp_path / "b.db").close()


async def test_nothing_that_exists_is_written_over(tmp_path: Path):
    path = await exported(tmp_path)
    before = path.read_bytes()

    with pytest.raises(StorageError, match="exists"):
        await export(str(tmp_path / "a.db"), str(path), silent, version="1.2.3")
    with pytest.raises(StorageError, match="exists"):
        backup_file(str(tmp_path / "a.db"), str(path), silent)

    assert path.read_bytes() == before


async def test_a_failed_export_leaves_nothing(tmp_path: Path):
    await filled(tmp_path / "a.db")
    connection = apsw.Connection(str(tmp_path / "a.db"))
    connection.execute("UPDATE meta SET value = 99 WHERE key = 'schema'")
    connection.close()

    with pytest.raises(StorageError):
        await export(str(tmp_path / "a.db"), str(tmp_path / "all.jsonl"), silent, version="1.2.3")
    with pytest.raises(StorageError):
        backup_file(str(tmp_path / "a.db"), str(tmp_path / "b.db"), silent)

    assert not {"all.jsonl", "all.jsonl.part", "b.db", "b.db.part"} & set(names(tmp_path))


@pytest.mark.parametrize("name", ["all.zst", "all.jsonl.xz"])
async def test_other_compressions_are_done_by_a_pipe(tmp_path: Path, name: str):
    await filled(tmp_path / "a.db")

    with pytest.raises(StorageError, match=r"only \.gz") as raised:
        await export(str(tmp_path / "a.db"), name, silent, version="1.2.3")

    assert "stepwell export - |" in raised.value.fix


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
async def test_a_full_disk_is_said(tmp_path: Path):
    await filled(tmp_path / "a.db")
    (tmp_path / "all.jsonl.part").symlink_to("/dev/full")

    with pytest.raises(StorageError, match="cannot be written") as raised:
        await export(str(tmp_path / "a.db"), str(tmp_path / "all.jsonl"), silent, version="1.2.3")

    assert raised.value.why == "the disk is full"


async def test_a_backup_of_postgresql_is_somebody_elses(tmp_path: Path):
    with pytest.raises(StorageError, match="not backed up by Stepwell") as raised:
        backup_file("postgresql://localhost/shop", str(tmp_path / "b"), silent)

    assert "pg_dump" in raised.value.fix
