"""``stepwell doctor``: what it says of a database, to people and to programs."""

from __future__ import annotations

import os
from pathlib import Path

import apsw
import msgspec
import pytest
from click.testing import CliRunner, Result

from stepwell.cli import cli
from stepwell.storage.sqlite import checkup
from stepwell.storage.sqlite.driver import executor
from stepwell.storage.sqlite.schema import migrate

pytestmark = pytest.mark.slow

RUN = "01HF7YAT00000000000000000A"
LOST = f"""
INSERT INTO events (shard, id, name, ts, received_at, data, source, depth, copied)
  VALUES (0, '{RUN}', 'go', 1, 1, CAST('{{}}' AS BLOB), 'api', 0, 0);
INSERT INTO runs (shard, id, function_id, event_id, queued_at, scheduled_at, function_version, status, started_at,
    depth, guarded, execution_version)
  VALUES (0, '{RUN}', 'shop-bill', '{RUN}', 1, 1, 1, 'RUNNING', 1, 0, 0, 2)"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "s.db"
    with_tables(found)
    return found


def with_tables(path: Path, text: str = "") -> None:
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode = WAL")
    migrate(executor(connection), str(path))
    connection.execute(text)
    connection.close()
    path.chmod(0o600)


def run(*arguments: object, **env: str) -> Result:
    return CliRunner().invoke(cli, ["doctor", *map(str, arguments)], env=env)


def test_a_file_that_is_well_is_said_to_be(path: Path):
    said = run("--store", path)

    assert said.exit_code == 0, said.output
    assert "ok       file: whole" in said.output
    assert "ok       rows: they fit together" in said.output
    assert said.output.endswith("All is well.\n")


def test_a_run_that_nothing_wakes_is_named_then_repaired_then_well(path: Path):
    with_tables(path, LOST)

    named, mended, after = run("--store", path), run("--store", path, "--repair"), run("--store", path)

    assert named.exit_code == 1
    assert f"wrong    run-without-waker: nothing will ever wake run {RUN} of shop-bill" in named.output
    assert "--repair: the run is called again" in named.output
    assert named.output.endswith("1 thing wrong.\n")
    assert mended.exit_code == after.exit_code == 0, mended.output
    connection = apsw.Connection(str(path))
    assert connection.execute("SELECT id, kind, at > 0 FROM items").fetchall() == [(RUN, "run", 1)]
    connection.close()


def test_nothing_is_changed_without_the_option(path: Path):
    with_tables(path, LOST)
    before = path.read_bytes()

    run("--store", path)

    assert path.read_bytes() == before
    assert sorted(each.name for each in path.parent.iterdir()) == ["s.db"]


def test_what_cannot_be_repaired_stays_wrong(path: Path):
    with_tables(path, LOST + f"; DELETE FROM events WHERE id = '{RUN}'")

    said = run("--store", path, "--repair")

    assert said.exit_code == 1
    assert f"run {RUN} is to go on, and its event {RUN} is not there" in said.output


def test_programs_get_all_of_it(path: Path):
    with_tables(path, LOST)

    first = msgspec.json.decode(run("--json", STEPWELL_STORE=str(path)).stdout)
    second = msgspec.json.decode(run("--json", "--repair", STEPWELL_STORE=str(path)).stdout)

    assert (first["well"], second["well"]) == (False, True)
    assert {check["name"] for check in first["checks"]} >= {"sqlite", "room", "schema", "file"}
    (case,) = first["findings"]
    assert (case["kind"], case["who"], case["shard"]) == ("run-without-waker", [RUN, "shop-bill"], 0)
    assert [each["repaired"] for each in (case, *second["findings"])] == [False, True]


def test_a_damaged_file_is_found(path: Path):
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * 20_000)

    said = run("--store", path)

    assert said.exit_code == 1
    assert "wrong    file: the file is damaged" in said.output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("UPDATE meta SET value = 99 WHERE key = 'schema'", "has schema 99"),
        ("DROP TABLE meta", "belongs to another program"),
    ],
)
def test_a_file_of_another_version_or_program_is_left_alone(path: Path, text: str, words: str):
    with_tables(path, text)

    said = run("--store", path, "--repair")

    assert said.exit_code == 1
    assert words in said.output


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path):
    said = run("--store", tmp_path / "no.db")

    assert said.exit_code == 1
    assert "there is no database" in said.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="rights as POSIX has them")
def test_a_file_that_everybody_may_read_is_a_warning(path: Path):
    path.chmod(0o644)

    said = run("--store", path)

    assert said.exit_code == 0
    assert "warning  rights: others on this machine may read the file (-rw-r--r--)" in said.output


@pytest.mark.parametrize(
    ("mounts", "words"),
    [
        ("/dev/sda / ext4 rw 0 0\nhost:/x {folder} nfs4 rw 0 0", "wrong    file-system: the file is on a network"),
        ("/dev/sda / ext4 rw 0 0\ntmpfs {folder} tmpfs rw 0 0", "warning  file-system: the file is on tmpfs, memory"),
        ("overlay / overlay rw 0 0\nx {folder}-other nfs rw 0 0", "on overlay, the layer of a container"),
        ("host:/x / nfs4 rw 0 0\n/dev/sda {folder} ext4 rw 0 0", "ok       file-system: ext4"),
    ],
)
def test_where_the_file_lies_is_looked_at(path: Path, monkeypatch: pytest.MonkeyPatch, mounts: str, words: str):
    file = path.parent.parent / f"{path.parent.name}-mounts"
    file.write_text(mounts.format(folder=path.parent))
    monkeypatch.setattr(checkup, "_MOUNTS", file)

    assert words in run("--store", path).output


def test_a_library_that_can_lose_commits_is_wrong(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.50.4")

    said = run("--store", path)

    assert said.exit_code == 1
    assert "wrong    sqlite: SQLite 3.50.4: SQLite 3.7.0 to 3.51.2 can lose commits" in said.output
