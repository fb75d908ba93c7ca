"""The tables as a shard-distributed PostgreSQL wants them, and what is sent to Citus to distribute them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from stepwell.errors import ConfigurationError
from stepwell.storage.postgres import citus
from stepwell.storage.postgres.schema import migrate
from tests import postgres
from tests.postgres import administrate, ask, asyncpg

pytestmark = pytest.mark.slow

# What Citus documents of these functions, on tables that stay where they are: each unique index has the column, the
# table that another is placed beside is distributed, by a column of the same type, and none is distributed twice.
STAND_IN = """
SET allow_system_table_mods = on;
CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass, kind text, beside text, parts int);
CREATE FUNCTION pg_catalog.create_distributed_table(
  relation regclass, distribution_column text, colocate_with text DEFAULT 'default', shard_count int DEFAULT NULL)
RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  IF EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = relation) THEN
    RAISE EXCEPTION 'table % is already distributed', relation; END IF;
  IF EXISTS (SELECT 1 FROM pg_index AS i WHERE i.indrelid = relation AND i.indisunique AND NOT EXISTS (
      SELECT 1 FROM pg_attribute AS a WHERE a.attrelid = relation AND a.attname = distribution_column
        AND a.attnum = ANY (i.indkey))) THEN
    RAISE EXCEPTION 'cannot create constraint on % without the distribution column', relation; END IF;
  IF colocate_with NOT IN ('default', 'none') AND NOT EXISTS (SELECT 1 FROM pg_dist_partition
      WHERE logicalrelid = colocate_with::regclass AND kind = 'h') THEN
    RAISE EXCEPTION '% is not distributed', colocate_with; END IF;
  IF colocate_with NOT IN ('default', 'none') AND shard_count IS NOT NULL THEN
    RAISE EXCEPTION 'shard_count with colocate_with'; END IF;
  INSERT INTO pg_dist_partition VALUES (relation, 'h', colocate_with, shard_count);
END $$;
CREATE FUNCTION pg_catalog.create_reference_table(table_name regclass) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
  IF EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = table_name) THEN
    RAISE EXCEPTION 'table % is already distributed', table_name; END IF;
  INSERT INTO pg_dist_partition VALUES (table_name, 'n', NULL, NULL);
END $$"""

OURS = "'stepwell'::regnamespace"
SPREAD = "SELECT logicalrelid::text, kind, beside, parts FROM pg_catalog.pg_dist_partition ORDER BY 1"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with postgres.database() as made:
        asyncio.run(_with(made, migrate, "here"))
        yield made


@pytest.fixture
def stand_in() -> Iterator[str]:
    """A database with tables, and functions in it that do as those of Citus say they do."""
    with postgres.database() as made:
        asyncio.run(_with(made, migrate, "here"))
        administrate(STAND_IN, made)
        yield made


async def _with(url: str, act: Any, *values: Any) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await act(connection, *values)
    finally:
        await connection.close()


def test_every_table_is_distributed_by_its_shard_or_the_same_everywhere(url: str):
    tables = {name for (name,) in ask(url, "SELECT tablename::text FROM pg_tables WHERE schemaname = 'stepwell'")}
    sharded = {
        name
        for (name,) in ask(
            url,
            "SELECT table_name::text FROM information_schema.columns"
            " WHERE table_schema = 'stepwell' AND column_name = 'shard' "
            " AND data_type = 'bigint' AND is_nullable = 'NO'",
        )
    }

    assert set(citus.DISTRIBUTED) == sharded
    assert set(citus.REFERENCE) == tables - sharded


def test_every_key_and_index_of_a_distributed_table_begins_with_the_shard(url: str):
    text = """
      SELECT i.indexrelid::regclass::text, t.relname::text,
        (SELECT a.attname::text FROM pg_attribute AS a WHERE a.attrelid = t.oid AND a.attnum = i.indkey[0])
      FROM pg_index AS i JOIN pg_class AS t ON t.oid = i.indrelid
      WHERE t.relnamespace = 'stepwell'::regnamespace AND t.relkind = 'r'"""
    found = ask(url, text)

    assert len(found) > len(citus.DISTRIBUTED)
    assert [row for row in found if row[1] in citus.DISTRIBUTED and row[2] != "shard"] == []


def test_every_table_has_a_primary_key(url: str):
    """Without one there is no logical replication, which moves shards between nodes while they are written."""
    text = """
      SELECT relname::text FROM pg_class AS t WHERE relnamespace = 'stepwell'::regnamespace AND relkind = 'r'
        AND NOT EXISTS (SELECT 1 FROM pg_index WHERE indrelid = t.oid AND indisprimary)"""

    assert ask(url, text) == []


def test_nothing_spans_shards_or_counts_outside_of_transactions(url: str):
    constraints = f"SELECT conname::text, contype::text FROM pg_constraint WHERE connamespace = {OURS}"
    others = f"SELECT relname::text FROM pg_class WHERE relnamespace = {OURS} AND relkind NOT IN ('r', 'i', 't')"
    triggers = (
        f"SELECT tgname::text FROM pg_trigger JOIN pg_class AS c ON c.oid = tgrelid WHERE c.relnamespace = {OURS}"
    )
    defaults = f"""
      SELECT c.relname::text, a.attname::text FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
      WHERE c.relnamespace = {OURS} AND (a.attidentity <> '' OR a.attgenerated <> '' OR a.atthasdef)"""

    assert [row for row in ask(url, constraints) if row[1] not in ("p", "n")] == []  # primary keys and NOT NULL
    assert ask(url, others) == []  # no sequences, views, partitions
    assert ask(url, triggers) == []
    assert ask(url, defaults) == []


def test_texts_are_ordered_by_their_bytes(url: str):
    text = """
      SELECT table_name::text, column_name::text FROM information_schema.columns
      WHERE table_schema = 'stepwell' AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'"""

    assert ask(url, text) == []


async def test_without_the_extension_the_tables_are_not_distributed(url: str):
    with pytest.raises(ConfigurationError, match="there is no extension citus in here"):
        await _with(url, citus.refuse_without, "here")


async def test_an_extension_that_is_installed_but_not_created_is_asked_for(monkeypatch: pytest.MonkeyPatch, url: str):
    monkeypatch.setattr(citus, "_EXTENSION", citus._EXTENSION.replace("'citus'", "'vector'"))

    with pytest.raises(ConfigurationError, match="is not created in here") as refused:
        await _with(url, citus.refuse_without, "here")
    assert "CREATE EXTENSION" in refused.value.fix


def test_what_is_sent_to_distribute_the_tables():
    texts = citus.statements(64)

    assert list(texts) == [*citus.DISTRIBUTED, *citus.REFERENCE]
    assert texts["runs"] == (
        "SELECT create_distributed_table('stepwell.runs', 'shard', shard_count => 128, colocate_with => 'none')"
    )
    assert (
        texts["items"] == "SELECT create_distributed_table('stepwell.items', 'shard', colocate_with => 'stepwell.runs')"
    )
    assert texts["meta"] == "SELECT create_reference_table('stepwell.meta')"
    assert "shard_count => 32," in citus.statements(1)["runs"]


def test_all_tables_are_distributed_beside_the_runs_and_only_once(stand_in: str):
    done = asyncio.run(_with(stand_in, citus.distribute, 16))
    again = asyncio.run(_with(stand_in, citus.distribute, 16))

    assert (list(done), again) == ([*citus.DISTRIBUTED, *citus.REFERENCE], {})
    expected = [(f"stepwell.{name}", "h", "stepwell.runs", None) for name in citus.DISTRIBUTED[1:]]
    expected += [(f"stepwell.{name}", "n", None, None) for name in citus.REFERENCE]
    assert ask(stand_in, SPREAD) == sorted([*expected, ("stepwell.runs", "h", "none", 32)])


def test_what_was_distributed_before_is_left_as_it_is(stand_in: str):
    for text in list(citus.statements(16).values())[:3]:
        ask(stand_in, text)

    assert list(asyncio.run(_with(stand_in, citus.missing, 16))) == [*citus.DISTRIBUTED, *citus.REFERENCE][3:]
