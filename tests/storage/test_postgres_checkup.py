"""What a doctor sees of a real PostgreSQL: how it is set, what its user may do, and whether rows fit together."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from click.testing import CliRunner, Result

from stepwell.cli import cli
from stepwell.clock import SystemClock
from stepwell.storage.checkup import LOOKS, Check, State
from stepwell.storage.postgres import checkup
from stepwell.storage.postgres.checkup import checks, inconsistencies
from stepwell.storage.postgres.citus import DISTRIBUTED
from stepwell.storage.postgres.schema import migrate
from tests import postgres
from tests.postgres import administrate, ask, asyncpg

pytestmark = pytest.mark.slow

RUN = "01HF7YAT000000000000000005"  # at place 5
LOST = f"""
INSERT INTO stepwell.events (shard, id, name, ts, received_at, data, source, depth, copied)
  VALUES (5, '{RUN}', 'go', 1, 1, '{{}}', 'api', 0, 0);
INSERT INTO stepwell.runs (shard, id, function_id, event_id, queued_at, scheduled_at, function_version, status,
    started_at, depth, guarded, execution_version)
  VALUES (5, '{RUN}', 'shop-bill', '{RUN}', 1, 1, 1, 'RUNNING', 1, 0, 0, 2)"""


@pytest.fixture
def url() -> Iterator[str]:
    with postgres.database() as made:

        async def prepare() -> None:
            connection = await asyncpg.connect(made)
            await migrate(connection, "here")
            await connection.close()

        asyncio.run(prepare())
        yield made


def seen(url: str, clock: SystemClock | None = None) -> dict[str, Check]:
    async def look() -> list[Check]:
        connection = await asyncpg.connect(url, statement_cache_size=0)
        try:
            return await checks(connection, "here", clock or SystemClock())
        finally:
            await connection.close()

    return {check.name: check for check in asyncio.run(look())}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["doctor", *arguments])


def test_a_database_that_is_well_is_said_to_be(url: str):
    said = run("--store", url)

    assert said.exit_code == 0, said.output
    assert "ok       schema: schema 1, 16 shards" in said.output
    assert "ok       pooler: none" in said.output
    assert said.output.endswith("All is well.\n")


def test_every_look_is_a_question_that_postgresql_understands(url: str):
    async def look() -> int:
        connection = await asyncpg.connect(url)
        found, now = await inconsistencies(connection)
        await connection.close()
        assert found == []
        return now

    assert abs(asyncio.run(look()) - SystemClock().now_ms()) < 60_000
    assert len(LOOKS) > 10


def test_what_is_found_is_repaired_in_its_shard(url: str):
    administrate(LOST, url)

    named, mended, after = run("--store", url), run("--store", url, "--repair", "--json"), run("--store", url)

    assert named.exit_code == 1
    assert f"run-without-waker: nothing will ever wake run {RUN} of shop-bill" in named.output
    (case,) = msgspec.json.decode(mended.stdout)["findings"]
    assert (case["shard"], case["repaired"]) == (5, True)
    assert (mended.exit_code, after.exit_code) == (0, 0), after.output
    assert ask(url, "SELECT shard, id, kind FROM stepwell.items") == [(5, RUN, "run")]


@pytest.mark.parametrize(
    ("setting", "name", "state"),
    [("synchronous_commit = off", "synchronous_commit", State.WRONG), ("synchronous_commit = local", None, State.OK)],
)
def test_a_setting_of_the_user_or_database_counts(url: str, setting: str, name: str | None, state: State):
    database = url.partition("?")[0].rpartition("/")[2]
    administrate(f"ALTER DATABASE {database} SET {setting}")

    found = seen(url)

    assert found["synchronous_commit"].state == state
    assert [check.name for check in found.values() if check.state == State.WRONG] == ([name] if name else [])


def test_a_clock_that_is_wrong_is_a_warning(url: str):
    class Behind(SystemClock):
        def now_ms(self) -> int:
            return super().now_ms() - 90_000

    check = seen(url, Behind())["clock"]

    assert check.state == State.WARNING
    assert "ahead of this machine's" in check.says


def test_a_user_who_may_not_write_is_told(url: str):
    role = f"stepwell_reader_{os.getpid()}"
    administrate(f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN")
    try:
        administrate(
            f"GRANT USAGE ON SCHEMA stepwell TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA stepwell TO {role}", url
        )
        theirs = postgres.at(url.partition("?")[0].rpartition("/")[2], role)

        check = seen(theirs)["rights"]

        assert check.state == State.WRONG
        assert all(table in check.says for table in DISTRIBUTED)
    finally:
        administrate(f"DROP OWNED BY {role}", url)
        administrate(f"DROP ROLE {role}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("DELETE FROM stepwell.shards WHERE shard = 3", "the table of shards has 15 of 16"),
        ("UPDATE stepwell.meta SET value = 4 WHERE key = 'shards'", "the table of shards has 16 of 4"),
        ("UPDATE stepwell.runs SET shard = 40", "there are rows in shard 40"),
        ("UPDATE stepwell.meta SET value = 99 WHERE key = 'schema'", "has schema 99"),
        ("DROP SCHEMA stepwell CASCADE", "there are no tables yet"),
    ],
)
def test_tables_that_nobody_could_work_with_are_wrong_and_left_alone(url: str, text: str, words: str):
    administrate(f"{LOST}; {text}", url)

    said = run("--store", url, "--repair")

    assert said.exit_code == 1
    assert words in said.output
    assert "run-without-waker" not in said.output


class PerStatement:
    """A connection to a pooler that gives each statement another session."""

    sessions = 0

    @asynccontextmanager
    async def transaction(self, **options: bool) -> AsyncIterator[None]:
        yield

    async def fetch(self, text: str) -> list[tuple[int]]:
        self.sessions += 1
        return [(self.sessions,)]


async def test_a_pooler_that_tears_transactions_apart_is_wrong():
    (check,) = [check async for check in checkup._pooler(PerStatement())]

    assert check.state == State.WRONG
    assert "no transaction is one" in check.says


def test_a_pooler_is_noticed(url: str, monkeypatch: pytest.MonkeyPatch):
    """It tells a number of its own for a session: so does this connection."""
    monkeypatch.setattr(asyncpg.Connection, "get_server_pid", lambda self: 1)

    assert seen(url)["pooler"].says == "there is one between, and it keeps transactions together"
