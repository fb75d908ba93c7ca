"""Migrations of PostgreSQL: each is applied once, whole or not at all, whoever else tries; others' tables stay."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stepwell.errors import ConfigurationError, SchemaTooNew, StorageError
from stepwell.limits import SHARDS_DEFAULT
from stepwell.storage import migrations as files_of
from stepwell.storage.migrations import Migration, migrations
from stepwell.storage.postgres import schema
from stepwell.storage.postgres.schema import Layout, Migrated, layout, migrate, pending
from tests import postgres
from tests.meta.sources import ROOT
from tests.postgres import administrate, ask, asyncpg

pytestmark = pytest.mark.slow

LATEST = migrations("postgres")[-1].number
NAMES = tuple(each.name for each in migrations("postgres"))


@pytest.fixture
def url() -> Iterator[str]:
    with postgres.database() as made:
        yield made


async def _migrate(url: str, **options: Any) -> Migrated:
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        return await migrate(connection, "here", **options)
    finally:
        await connection.close()


async def _layout(url: str) -> Layout:
    connection = await asyncpg.connect(url)
    try:
        return await layout(connection, "here")
    finally:
        await connection.close()


def test_migrations_are_numbered_from_one_without_gaps_and_are_all_that_is_there():
    folder = Path(files_of.__file__).parent / "migrations" / "postgres"

    assert [each.number for each in migrations("postgres")] == list(range(1, LATEST + 1))
    assert sorted(path.name for path in folder.iterdir()) == list(NAMES)


async def test_a_new_database_gets_all_of_them_and_its_shards(url: str):
    assert await _layout(url) == Layout(0, 0)

    assert await _migrate(url) == Migrated(SHARDS_DEFAULT, NAMES, ())

    assert await _layout(url) == Layout(LATEST, SHARDS_DEFAULT)


def test_nothing_is_made_outside_of_its_own_schema(url: str):
    text = "SELECT n.nspname::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    before = sorted(ask(url, text))

    asyncio.run(_migrate(url))

    after = [name for name in sorted(ask(url, text)) if name != ("stepwell",)]
    assert [name for name in after if name != ("pg_toast",)] == [name for name in before if name != ("pg_toast",)]


async def test_migrating_again_takes_no_lock_and_changes_nothing(url: str):
    await _migrate(url)
    holder = await asyncpg.connect(url)
    await holder.execute(f"BEGIN; {schema._LOCK}")

    assert await asyncio.wait_for(_migrate(url), 30) == Migrated(SHARDS_DEFAULT, (), NAMES)
    await holder.close()


async def test_the_number_of_shards_is_fixed_when_the_tables_are_made(url: str):
    await _migrate(url, shards=4)

    assert (await _migrate(url)).shards == 4
    assert (await _migrate(url, shards=4)).shards == 4
    with pytest.raises(ConfigurationError, match="has 4 shards, and 16 were asked for"):
        await _migrate(url, shards=16)


@pytest.mark.parametrize("shards", [0, -1, 3, 12, 2048])
async def test_a_number_of_shards_that_cannot_be_is_refused_before_anything_is_made(url: str, shards: int):
    with pytest.raises(ConfigurationError, match=f"cannot have {shards} shards"):
        await _migrate(url, shards=shards)

    assert await _layout(url) == Layout(0, 0)


async def test_processes_that_start_at_once_on_an_empty_database_make_the_tables_once(url: str):
    done = await asyncio.gather(*(_migrate(url, shards=8) for _ in range(6)))

    assert sorted(each.applied for each in done) == [()] * 5 + [NAMES]
    assert {each.shards for each in done} == {8}


def test_commands_that_start_at_once_on_an_empty_database_make_the_tables_once(url: str):
    command = [sys.executable, "-m", "stepwell.cli", "migrate", "--store", url, "--json"]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(3)]

    said = [json.loads(process.communicate(timeout=60)[0]) for process in started]

    assert [process.returncode for process in started] == [0, 0, 0]
    assert sorted(len(each["applied"]) for each in said) == [0, 0, len(NAMES)]


async def test_of_two_who_want_other_numbers_of_shards_one_is_refused(url: str):
    done = await asyncio.gather(_migrate(url, shards=8), _migrate(url, shards=2), return_exceptions=True)

    assert sorted(type(each).__name__ for each in done) == ["ConfigurationError", "Migrated"]


async def test_only_what_is_missing_is_applied(url: str, monkeypatch: pytest.MonkeyPatch):
    await _migrate(url)
    more = [
        *migrations("postgres"),
        Migration(LATEST + 1, "a", "CREATE TABLE a (b int)"),
        Migration(LATEST + 2, "b", "INSERT INTO a VALUES (1); INSERT INTO a VALUES (2)"),
    ]
    monkeypatch.setattr(schema, "migrations", lambda backend: more)

    assert (await _migrate(url)).applied == ("a", "b")

    connection = await asyncpg.connect(url)
    assert [b for (b,) in await connection.fetch("SELECT b FROM stepwell.a")] == [1, 2]
    await connection.close()


async def test_a_migration_that_fails_leaves_nothing_of_itself(url: str, monkeypatch: pytest.MonkeyPatch):
    bad = Migration(LATEST + 1, "bad", "CREATE TABLE a (b int); INSERT INTO nowhere VALUES (1)")
    monkeypatch.setattr(schema, "migrations", lambda backend: [*migrations("postgres"), bad])

    with pytest.raises(asyncpg.UndefinedTableError):
        await _migrate(url)

    monkeypatch.undo()
    assert await _layout(url) == Layout(LATEST, SHARDS_DEFAULT)
    connection = await asyncpg.connect(url)
    assert await connection.fetch("SELECT to_regclass('stepwell.a') AS a") == [(None,)]
    await connection.close()


async def test_a_newer_schema_is_refused_by_an_older_server(url: str):
    await _migrate(url)
    connection = await asyncpg.connect(url)
    await connection.execute("UPDATE stepwell.meta SET value = value + 1 WHERE key = 'schema'")
    await connection.close()

    with pytest.raises(SchemaTooNew, match=f"has schema {LATEST + 1}; this Stepwell knows schemas up to {LATEST}"):
        await _migrate(url)


@pytest.mark.parametrize(
    "theirs",
    [
        "CREATE TABLE stepwell.customers (id int)",
        "CREATE TABLE stepwell.meta (name text)",
        "CREATE TABLE stepwell.meta (key text, value bigint)",
        "CREATE VIEW stepwell.meta AS SELECT 1 AS key",
        "CREATE SEQUENCE stepwell.ids",
    ],
)
async def test_a_schema_of_another_program_is_refused_and_left_alone(url: str, theirs: str):
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE SCHEMA stepwell; {theirs}")

    with pytest.raises(StorageError, match="belongs to another program"):
        await _migrate(url)

    ((names,),) = await connection.fetch("SELECT count(*) FROM pg_class WHERE relnamespace = 'stepwell'::regnamespace")
    assert names == 1
    await connection.close()


async def test_an_empty_schema_that_an_administrator_made_is_filled(url: str):
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE SCHEMA stepwell")
    await connection.close()

    assert (await _migrate(url)).applied == NAMES


def test_a_user_without_the_right_to_make_the_schema_is_told_what_to_ask_for(url: str):
    role = f"stepwell_nobody_{os.getpid()}"
    administrate(f"DROP ROLE IF EXISTS {role}")
    administrate(f"CREATE ROLE {role} LOGIN")
    theirs = postgres.at(_name(url), role)
    try:
        with pytest.raises(StorageError, match="CREATE SCHEMA stepwell AUTHORIZATION"):
            asyncio.run(_migrate(theirs))
        asyncio.run(_migrate(url))
        with pytest.raises(StorageError, match="may not use the schema"):
            asyncio.run(_migrate(theirs))
        administrate(f"DROP SCHEMA stepwell CASCADE; CREATE SCHEMA stepwell AUTHORIZATION {role}", url)
        assert asyncio.run(_migrate(theirs)).applied == NAMES
    finally:
        administrate(f"DROP OWNED BY {role} CASCADE", url)
        administrate(f"DROP ROLE {role}")


def test_a_database_that_cannot_hold_every_name_is_refused():
    with (
        postgres.database("ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0") as url,
        pytest.raises(StorageError, match="has the encoding SQL_ASCII"),
    ):
        asyncio.run(_migrate(url))


def test_what_a_dry_run_prints_does_the_same(url: str):
    with postgres.database() as other:
        asyncio.run(_migrate(other, shards=2))
        for text in pending(Layout(0, 0), 2):
            administrate(text, url)

        assert asyncio.run(_layout(url)) == Layout(LATEST, 2)
        assert _columns(url) == _columns(other)
        assert pending(Layout(LATEST, 2)) == []


@pytest.mark.skipif(os.name != "posix", reason="needs fork and SIGKILL")
def test_a_process_killed_before_any_statement_of_a_migration_leaves_nothing_of_it(url: str):
    said = subprocess.run(
        [sys.executable, "-m", "tests.storage.dying_postgres_migration", url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    statements = sum(each.text.count(";\n") for each in migrations("postgres"))
    deaths, word = said.split()
    assert word == "deaths", said
    assert int(deaths) > statements


@pytest.mark.parametrize("commands", [1, 7, 40])
async def test_a_session_that_the_server_ends_during_a_migration_leaves_nothing_of_it(url: str, commands: int):
    connection = await asyncpg.connect(url)
    await connection.execute(f"""
        CREATE SEQUENCE commands;
        CREATE FUNCTION ending() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
          IF nextval('public.commands') = {commands} THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
        END $$;
        CREATE EVENT TRIGGER ending ON ddl_command_end EXECUTE FUNCTION ending()""")

    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await _migrate(url)

    assert await _layout(url) == Layout(0, 0)
    assert (await _migrate(url)).applied == NAMES
    await connection.close()


def _columns(url: str) -> list[Any]:
    return ask(
        url,
        "SELECT table_name, column_name, data_type, is_nullable, collation_name FROM information_schema.columns"
        " WHERE table_schema = 'stepwell' ORDER BY 1, ordinal_position",
    )


def _name(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]
