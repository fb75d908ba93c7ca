"""Migrations: each is applied once, whole or not at all, whoever else tries at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from stepwell.storage import migrations as files_of
from stepwell.storage.migrations import Migration, migrations
from stepwell.storage.sqlite import schema
from stepwell.storage.sqlite.driver import executor
from stepwell.storage.sqlite.schema import migrate
from tests.meta.sources import ROOT


@pytest.fixture
def connection() -> Iterator[apsw.Connection]:
    made = apsw.Connection(":memory:")
    yield made
    made.close()


def test_migrations_are_numbered_from_one_without_gaps():
    assert [each.number for each in migrations("sqlite")] == list(range(1, len(migrations("sqlite")) + 1))


def test_a_new_database_gets_all_of_them(connection: apsw.Connection):
    migrate(executor(connection), ":memory:")

    assert _version(connection) == migrations("sqlite")[-1].number


def test_migrating_again_changes_nothing(connection: apsw.Connection):
    migrate(executor(connection), ":memory:")
    before = connection.total_changes()

    migrate(executor(connection), ":memory:")

    assert connection.total_changes() == before


@pytest.mark.parametrize("after", range(3))
def test_another_process_may_make_the_tables_between_any_two_looks(tmp_path: Path, after: int):
    path = str(tmp_path / "s.db")
    mine, other = apsw.Connection(path), apsw.Connection(path)
    executed = 0

    def execute(text: str, *arguments: Any) -> Any:
        nonlocal executed
        if executed == after and not mine.in_transaction:
            migrate(executor(other), path)
        executed += 1
        return executor(mine)(text, *arguments)

    migrate(execute, path)

    assert _version(mine) == migrations("sqlite")[-1].number
    mine.close()
    other.close()


def test_only_what_is_missing_is_applied(connection: apsw.Connection, monkeypatch: pytest.MonkeyPatch):
    migrate(executor(connection), ":memory:")
    last = migrations("sqlite")[-1].number
    more = [
        *migrations("sqlite"),
        Migration(last + 1, "a", "CREATE TABLE a (b)"),
        Migration(last + 2, "b", "INSERT INTO a VALUES (1); INSERT INTO a VALUES (2)"),
    ]
    monkeypatch.setattr(schema, "migrations", lambda backend: more)

    migrate(executor(connection), ":memory:")

    assert connection.execute("SELECT b FROM a").fetchall() == [(1,), (2,)]
    assert _version(connection) == last + 2


def test_a_migration_that_fails_leaves_nothing_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = str(tmp_path / "s.db")
    known = migrations("sqlite")
    bad = Migration(known[-1].number + 1, "bad", "CREATE TABLE a (b); INSERT INTO nowhere VALUES (1)")
    monkeypatch.setattr(schema, "migrations", lambda backend: [*known, bad])
    connection = apsw.Connection(path)

    with pytest.raises(apsw.SQLError):
        migrate(executor(connection), path)
    connection.close()

    again = apsw.Connection(path)
    assert _version(again) == known[-1].number
    assert again.execute("SELECT 1 FROM sqlite_schema WHERE name = 'a'").fetchall() == []
    again.close()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs fork and SIGKILL")
def test_a_process_killed_before_any_statement_of_a_migration_leaves_all_or_nothing(tmp_path: Path):
    said = subprocess.run(
        [sys.executable, "-m", "tests.storage.dying_migration", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    statements = sum(each.text.count(";\n") for each in migrations("sqlite"))
    deaths, word = said.split()
    assert word == "deaths", said
    assert int(deaths) > statements


def test_every_file_of_the_folder_is_a_migration():
    folder = Path(files_of.__file__).parent / "migrations" / "sqlite"

    assert sorted(path.name for path in folder.iterdir()) == [each.name for each in migrations("sqlite")]


def _version(connection: apsw.Connection) -> object:
    return connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchall()[0][0]
