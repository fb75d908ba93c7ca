"""Every statement finds its rows by an index that knows more of them than their shard: in a database that is full, and
in one that was empty when the plan was made, because a plan is kept while a burst fills the tables."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from stepwell.model.questions import (
    DueItems,
    GetRun,
    GetSession,
    GetUser,
    LastPosting,
    ListApps,
    ListFunctions,
    ListStandingOrders,
    ListUsers,
    NextDues,
    OthersListen,
    Postings,
    Question,
    RegistryStamp,
    ShardsWithBacklog,
    Standings,
)
from stepwell.storage.postgres import statements as sql
from stepwell.storage.postgres.answers import asked_alone
from stepwell.storage.postgres.citus import DISTRIBUTED
from stepwell.storage.postgres.schema import migrate
from stepwell.storage.postgres.store import PostgresStore
from tests import postgres
from tests.postgres import asyncpg
from tests.storage.test_postgres_statements import TEXTS

pytestmark = pytest.mark.slow

READS_ALL = {
    "COUNT": "counts all that is live in a shard, when a person asks for it",
    "COUNT_IN_ALL": "counts all that is live, when a person asks for it",
    "OLD_MARKS": "a mark is there for each connection, and a pass of retention looks at all",
    "LAPSE_LEASES": "those of a file: peers leave each other's leases alone",
    "OLD_EVENTS": "once for each pass of retention",
}

GROWING = {*DISTRIBUTED} - {"shards"}
RUNS = 10_000
_RUN = "'01R' || lpad(n::text, 23, '0')"
_EVENT = "'01E' || lpad(n::text, 23, '0')"
FILL = f"""
INSERT INTO stepwell.events (shard, id, name, ts, received_at, data, source, depth, copied)
  SELECT n % 16, {_EVENT}, 'ev' || n % 50, n, n, '', 'api', 0, 0 FROM generate_series(1, {RUNS}) AS n;
INSERT INTO stepwell.runs (shard, id, function_id, event_id, queued_at, scheduled_at, function_version, status,
    ended_at, depth, guarded, execution_version, parent, original)
  SELECT n % 16, {_RUN}, 'f' || n % 20, {_EVENT}, n, 0, 1, CASE WHEN n % 2 = 0 THEN 'COMPLETED' ELSE 'RUNNING' END,
    CASE WHEN n % 2 = 0 THEN n END, 0, 0, 2, {_RUN}, {_RUN} FROM generate_series(1, {RUNS}) AS n;
INSERT INTO stepwell.run_events SELECT shard, id, 0, event_id FROM stepwell.runs;
INSERT INTO stepwell.steps (shard, run_id, id, name, kind, status, repeat, position, attempt, started_at, seen)
  SELECT shard, id, 's', 's', 'run', 'COMPLETED', 0, 1, 0, 0, 1 FROM stepwell.runs;
INSERT INTO stepwell.attempts SELECT shard, id, 's', 0, 0, 1, '', NULL, 1 FROM stepwell.runs;
INSERT INTO stepwell.notes SELECT shard, id, 0, 'kind', 'text', 1 FROM stepwell.runs;
INSERT INTO stepwell.metadata SELECT shard, id, 's', 0, 'kind', '', 0 FROM stepwell.runs;
INSERT INTO stepwell.logs SELECT shard, id, 0, 0, 's', 0, 1, '', '[]', 0 FROM stepwell.runs;
INSERT INTO stepwell.requests SELECT shard, id, 's', '' FROM stepwell.runs;
INSERT INTO stepwell.waits SELECT shard, id, 'w', 'event', 'ev' || queued_at % 50, 0, 9, NULL, '', ''
  FROM stepwell.runs;
INSERT INTO stepwell.outcomes SELECT shard, event_id, function_id, 'paused', queued_at, '', NULL FROM stepwell.runs;
INSERT INTO stepwell.items
  SELECT shard, id, 'run', function_id, CASE WHEN queued_at % 2 = 0 THEN queued_at END, id, 0, 0,
    CASE WHEN queued_at % 2 = 1 THEN 'fn/' || function_id || '/k' || queued_at % 3000 END, queued_at, 0, 0, 0
  FROM stepwell.runs;
INSERT INTO stepwell.items
  SELECT n % 16, 'cron/f' || n, 'cron', 'f' || n, n, NULL, 0, 0, NULL, n, 0, 0, 0 FROM generate_series(1, 5000) AS n;
INSERT INTO stepwell.cells SELECT shard, id, '', queued_at FROM stepwell.runs;
INSERT INTO stepwell.slots SELECT shard, 'fn/' || function_id || '/k' || queued_at % 3000, id FROM stepwell.runs;
INSERT INTO stepwell.orders SELECT shard, id, 'kind' || queued_at % 5, 0, '', 0, '', 0, 0, 0, ended_at, 0
  FROM stepwell.runs;
INSERT INTO stepwell.audit SELECT shard, id, queued_at, 'w' || queued_at % 50, 'api', 'cancel', id, '', ''
  FROM stepwell.runs;
INSERT INTO stepwell.commits SELECT shard, id, 1, 1 FROM stepwell.runs
"""


@pytest.fixture(scope="module", params=["empty", "full"])
def plans(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    async def ask(url: str) -> dict[str, Any]:
        connection = await asyncpg.connect(url)
        await migrate(connection, "here")
        if request.param == "full":
            await connection.execute(FILL)
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        await connection.execute(sql.BEGIN)
        found = {name: await _plan(connection, text) for name, text in TEXTS.items()}
        await connection.close()
        return found

    with postgres.database() as url:
        yield asyncio.run(ask(url))


async def _plan(connection: Any, text: str) -> Any:
    await connection.execute(f"PREPARE asked AS {text}")
    ((count,),) = await connection.fetch(
        "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'asked'"
    )
    values = f"({', '.join(['NULL'] * count)})" if count else ""
    ((said,),) = await connection.fetch(f"EXPLAIN (FORMAT JSON) EXECUTE asked{values}")
    await connection.execute("DEALLOCATE asked")
    return json.loads(said)[0]["Plan"]


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


_OF_SHARD = re.compile(r"\(?\(?(?:\w+\.)?shard = [\w.$]+\)?\)?")


def judge(plan: Mapping[str, Any]) -> list[str]:
    """Where a plan reads a whole table, or all that an index has of a shard."""
    found: list[str] = []
    for node in _nodes(plan):
        kind, index = node["Node Type"], node.get("Index Name", "")
        if kind == "Seq Scan" and node["Relation Name"] in GROWING:
            found.append(f"reads all of {node['Relation Name']}")
        elif index.startswith(tuple(GROWING)) and _OF_SHARD.fullmatch(node.get("Index Cond", "shard = 0")):
            found.append(f"reads all that {index} has of a shard: {node.get('Filter')}")
    return found


@pytest.mark.parametrize("name", sorted(TEXTS.keys() - READS_ALL.keys()))
def test_every_statement_finds_its_rows_by_an_index(plans: dict[str, Any], name: str):
    assert judge(plans[name]) == []


def test_a_plan_that_reads_all_is_found_out(plans: dict[str, Any]):
    assert judge(plans["COUNT"]) != []


def test_whatever_reads_tables_that_grow_is_asked_where_that_is_set():
    few: set[Question[Any]] = {ListApps(), ListFunctions(), ListStandingOrders(), RegistryStamp(), LastPosting()}
    few |= {OthersListen("", 0), GetUser("ada"), ListUsers(9), GetSession("s")}
    others: set[Question[Any]] = {GetRun("r"), NextDues(), ShardsWithBacklog(()), Standings(()), Postings(0, "", 1)}

    assert {question for question in (few | others) if asked_alone(question)} == few


async def test_a_burst_into_tables_that_were_empty_is_read_by_index():
    """A store that has been idle for long: its tables were vacuumed, and its plans made, while they were empty."""
    with postgres.database() as url:  # without the sessions of other tests
        await _burst(url)


async def _burst(url: str) -> None:
    await (await PostgresStore.open(url, shards=16)).close()
    await asyncio.to_thread(postgres.administrate, "VACUUM ANALYZE", url)
    store = await PostgresStore.open(url, shards=16)
    questions: list[Question[Any]] = [
        GetRun("r"),
        Standings(("i",)),
        DueItems(0, 5, 3),
        NextDues(),
        ShardsWithBacklog(("b/c",)),
    ]
    for _ in range(6):  # by then the server keeps a plan for all values
        for question in questions:
            await store.read(question)

    await asyncio.to_thread(postgres.administrate, FILL, url)
    before = await asyncio.to_thread(_read_by_scans, url)
    for question in questions:
        await store.read(question)
    await store.close()

    assert await asyncio.to_thread(_read_by_scans, url, alone=True) == before


def _read_by_scans(url: str, *, alone: bool = False) -> int:
    """How many rows were read by looking at all of a table; sessions tell it when they end."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    while alone and postgres.ask(url, others) != [(0,)]:
        pass
    ((rows,),) = postgres.ask(
        url, "SELECT sum(seq_tup_read)::bigint FROM pg_stat_user_tables WHERE relname IN ('items', 'runs', 'events')"
    )
    return int(rows)
