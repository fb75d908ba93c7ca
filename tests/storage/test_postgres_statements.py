"""Every statement that is sent to PostgreSQL would run on one whose tables are spread by shard.

A real server plans each of them, for all values. Whatever finds rows of such a table has to find them by the shard, and
in one statement by the same. What looks everywhere on purpose is a list, and writes nothing.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import stepwell.storage.postgres as package
from stepwell.storage.postgres.citus import DISTRIBUTED, REFERENCE
from stepwell.storage.postgres.everywhere import IN_ALL
from stepwell.storage.postgres.schema import migrate
from tests import postgres
from tests.postgres import asyncpg
from tests.storage.plans import Statement, plan_of

pytestmark = pytest.mark.slow

# Runs in the hands of an administrator, on a connection of its own, and names no rows of runs; or asks of sessions.
ADMINISTRATION = {"citus", "schema", "checkup", "moving", "sessions"}

# Looks at all shards, and may: it reads outside of locks, in each shard by that shard's indexes.
EVERYWHERE = {
    "SWEPT": "one row for each shard, to see where another process is at it: asked again under the lock of each",
    "VERSIONS": "one row for each shard, to see which of them others have written in",
    "NEXT_DUES": "which shards have something due: asked again under the lock of each",
    "NEXT_TIMERS": "which shards have a timer that is due: asked again under the lock of each",
    "SHARDS_WITH_CELL": "which shards have a cell: asked again under the lock of each",
    "FIRST_WAIT_PATHS": "which shards have waits for an event: asked again under the lock of each",
    "FIRST_OCCUPIED": "which shards have a backlog: asked again under the lock of each",
    "FIND_WAITS_EVERYWHERE": "the waits for an event: asked again when the shards of those found are locked",
    "STANDINGS_OF_SHARDS": "who holds some leases: only read, and what is written is refused by the token",
    "EVENT_NAMES_OF_SHARDS": "what people are shown",
    "EVENTS_OF_SHARDS": "what people are shown",
    "RUNS_OF_SHARDS": "what people are shown",
    "RUNS_OF_EVENTS": "what people are shown",
    "OUTCOMES_OF_SHARDS": "what people are shown",
    "FIRST_BACKLOGS": "what people are shown",
    "DEPTHS_OF_SHARDS": "what people are shown",
    "FIRST_SLOTS": "what people are shown",
    "SLOTS_OF_SHARDS": "what people are shown",
    "COUNT_RUNS_EVERYWHERE": "what people are shown",
    "RUNS_OF_EVENT_EVERYWHERE": "what people are shown, or asked again when all shards are locked",
}

SQL = re.compile(r"^\s*(SELECT|INSERT|UPDATE|DELETE|WITH|TRUNCATE|MERGE|LOCK|COPY)\b")
CONTROL = re.compile(r"\s*(BEGIN [A-Z ]+|COMMIT|ROLLBACK|SET LOCAL [a-z_]+ = \w+)\s*")
# What belongs to a session, which a pooler gives to somebody else, and what gives other values on each node.
SESSION = re.compile(
    r"\b(LISTEN|NOTIFY|UNLISTEN|TEMP|TEMPORARY|PREPARE|DECLARE|RESET|SET SESSION|LOCK TABLE|CURRENT_TIMESTAMP|nextval"
    r"|currval|lastval|pg_(?:try_)?advisory\w*|now\(|random\(|gen_random_uuid|clock_timestamp)"
)
TELLS_TIME = {"NOW"}
"""What asks a server for its time, and nothing else: all others are told it."""


def _texts() -> dict[str, str]:
    """All SQL of the package by its name: parts, which begin with an underscore, are in the whole."""
    found: dict[str, str] = {}
    for module in pkgutil.iter_modules(package.__path__):
        if module.name not in ADMINISTRATION:
            for name, value in vars(importlib.import_module(f"{package.__name__}.{module.name}")).items():
                whole = name.isupper() and not name.startswith("_")
                if whole and isinstance(value, str) and (SQL.match(value) or CONTROL.match(value)):
                    found[name] = value
    in_all = {f"{name}_IN_ALL": IN_ALL[text].text for name, text in found.items() if text in IN_ALL}
    assert len(in_all) == len(IN_ALL)
    return found | in_all


ALL = _texts()
TEXTS = {name: text for name, text in ALL.items() if SQL.match(text)}
EVERYWHERE |= dict.fromkeys((name for name in TEXTS if name.endswith("_IN_ALL")), "as questions about one shard are")


@pytest.fixture(scope="module")
def plans() -> Iterator[dict[str, Statement | Exception]]:
    async def ask(url: str) -> dict[str, Statement | Exception]:
        connection = await asyncpg.connect(url)
        await migrate(connection, "here")
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        asked: dict[str, Statement | Exception] = {}
        for name, text in TEXTS.items():
            try:
                asked[name] = await plan_of(connection, text)
            except asyncpg.PostgresError as error:
                asked[name] = error
        await connection.close()
        return asked

    with postgres.database() as url:
        yield asyncio.run(ask(url))


@pytest.mark.parametrize("name", TEXTS)
def test_every_statement_stays_within_one_shard(plans: dict[str, Any], name: str):
    plan = plans[name]
    assert isinstance(plan, Statement), f"{plan}: {TEXTS[name]}"

    assert judge(plan, everywhere=name in EVERYWHERE) == []


@pytest.mark.parametrize("name", sorted(EVERYWHERE.keys() & TEXTS.keys()))
def test_what_may_look_everywhere_does(plans: dict[str, Any], name: str):
    assert judge(plans[name], everywhere=False) != []


def test_no_statement_relies_on_a_session_a_sequence_or_the_time_of_a_node():
    found = {name: found[0] for name, text in ALL.items() if (found := SESSION.search(text))}

    assert found.keys() <= TELLS_TIME, found


def test_what_is_set_is_set_for_a_transaction():
    parts = [part for name, text in ALL.items() if name not in TEXTS for part in text.split(";")]

    assert [part for part in parts if not CONTROL.fullmatch(part)] == []
    assert len(parts) > 3


def test_no_statement_is_written_where_it_is_sent():
    """So that those above are all that can be sent."""
    found: list[tuple[str, int, str]] = []
    for path in sorted(Path(package.__path__[0]).glob("*.py")):
        if path.stem in ADMINISTRATION:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for body in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            found += [
                (path.name, node.lineno, node.value)
                for node in ast.walk(body)
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value)
            ]
    assert found == []


BAD = {
    "SELECT id FROM stepwell.runs WHERE id = $1": "not found by one shard",
    "SELECT id FROM stepwell.runs WHERE shard = 0 AND id = $1": "not found by one shard",
    "SELECT id FROM stepwell.runs WHERE shard = $1 OR id = $2": "not found by one shard",
    "SELECT id FROM stepwell.runs WHERE id = $1 FOR UPDATE": "not found by one shard",
    "SELECT id FROM stepwell.runs WHERE shard = ANY ($1::bigint[])": "not found by one shard",
    "UPDATE stepwell.items SET at = $1 WHERE id = $2": "not found by one shard",
    "DELETE FROM stepwell.items WHERE lease = $1": "not found by one shard",
    "INSERT INTO stepwell.slots (shard, key, holder) VALUES (0, $1, $2)": "have no shard",
    "INSERT INTO stepwell.slots (shard, key, holder) SELECT shard, $1, id FROM stepwell.runs WHERE shard = $2": (
        "have no shard"
    ),
    "INSERT INTO stepwell.slots (shard, key, holder) SELECT $1, $2, id FROM stepwell.runs WHERE shard = $3": (
        "several shards"
    ),
    "SELECT r.id FROM stepwell.runs AS r JOIN stepwell.items AS i ON i.id = r.id WHERE r.shard = $1": "rows of items",
    "SELECT r.id FROM stepwell.runs AS r JOIN stepwell.items AS i ON i.id = r.id WHERE r.shard = $1 AND i.shard = $2": (
        "several shards"
    ),
    "SELECT r.id FROM stepwell.runs AS r JOIN stepwell.items AS i ON i.shard = r.shard AND i.id = r.id": (
        "not found by one shard"
    ),
    "UPDATE stepwell.functions SET stamp = (SELECT count(*) FROM stepwell.runs WHERE shard = $1)": "every node has",
    "SELECT tgname FROM pg_trigger": "neither spread nor everywhere",
}


@pytest.mark.parametrize("text", BAD)
def test_what_would_be_refused_is_found(text: str):
    async def ask(url: str) -> Statement:
        connection = await asyncpg.connect(url)
        await migrate(connection, "here")
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        try:
            return await plan_of(connection, text)
        finally:
            await connection.close()

    with postgres.database() as url:
        wrong = judge(asyncio.run(ask(url)), everywhere=False)
    assert BAD[text] in " and ".join(wrong), wrong


def judge(plan: Statement, *, everywhere: bool) -> list[str]:
    """Why a database whose tables are spread by shard would refuse a statement, or do what was not meant."""
    wrong: list[str] = []
    spread, same = set(DISTRIBUTED), set(REFERENCE)
    written = {write.table for write in plan.writes}
    touched = written | {look.table for look in plan.looks}
    found = {look.by for look in plan.looks if look.table in spread}
    named = {by for by in found | {write.shard for write in plan.writes} if by is not None and by.startswith("$")}
    if len(named) > 1:
        wrong.append(f"it names several shards: {sorted(named)}")
    if everywhere:
        if plan.writes or plan.locks:
            wrong.append("it writes or locks in all shards")
        wrong += [
            f"rows of {look.table} are not found shard by shard"
            for look in plan.looks
            if look.table in spread and look.table != "shards" and look.by is None
        ]
    else:
        # To be found by the shard of another table is as good, if that is found by a parameter.
        wrong += [
            f"rows of {look.table} are not found by one shard"
            for look in plan.looks
            if look.table in spread and (look.by is None or not named)
        ]
    wrong += [
        f"new rows of {write.table} have no shard"
        for write in plan.writes
        if write.new and write.table in spread and write.shard is None
    ]
    if written & same and touched & spread:
        wrong.append(f"it writes {sorted(written & same)}, which every node has, and touches what one node has")
    wrong += [f"{table} is neither spread nor everywhere" for table in sorted(touched - spread - same)]
    return wrong
