"""What each statement costs: how it finds its rows, and how many there are of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pkgutil import iter_modules

import apsw
import pytest

from stepwell.engine.intake import accept
from stepwell.flow import Concurrency
from stepwell.model import questions as q
from stepwell.model.changes import (
    Block,
    Change,
    Decision,
    Drop,
    Enqueue,
    Extend,
    FinishRun,
    Grant,
    LapseLeases,
    Park,
    Plan,
    SaveStep,
)
from stepwell.model.function import Control
from stepwell.model.item import Lease
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import DueItems, GetSteps, ask
from stepwell.storage.sqlite import statements
from stepwell.storage.sqlite.answers import Reader
from stepwell.storage.sqlite.committer import Committer, Work
from stepwell.storage.sqlite.files import Files
from stepwell.storage.sqlite.statements import changes, columns, decisions
from tests.core.engine.plans import draft, function
from tests.core.engine.plans import event as accepted
from tests.storage.nouns import item, run, step

MODULES = [
    statements,
    *(import_module(f"{statements.__name__}.{found.name}") for found in iter_modules(statements.__path__)),
]
NO_TEXTS = {"BEGIN", "BEGIN_READ", "COMMIT", "ROLLBACK", *vars(columns)}
TEXTS = {
    name: text
    for module in MODULES
    for name, text in vars(module).items()
    if name.isupper() and not name.startswith("_") and name not in NO_TEXTS
}

# Looks at everything there is in a table, and may.
SCANS = {
    "COUNT": "what is live, for health and metrics",
    "LIST_FUNCTIONS": "a table for reference",
    "LIST_APPS": "a table for reference",
    "OTHERS_LISTEN": "a row for each process that has subscribers",
    "FORGET_LISTENERS": "a row for each process that has subscribers",
    "LAST_POSTING": "a row for each table that counts",
    "REGISTRY_STAMP": "the last entry of an index",
    "SAVE_FUNCTION": "a table for reference, when an app registers",
    "ARCHIVE_FUNCTION": "a table for reference, when an app registers",
    "PAUSE_FUNCTION": "a table for reference, when a person acts",
    "MOVE_STAMP": "a table for reference, when a person acts",
    "LIST_STANDING_ORDERS": "a table for reference",
    "LIST_USERS": "as many as are asked for, by their key",
    "LIST_SESSIONS": "as many as are asked for, newest first; those that have expired are forgotten at each login",
}
# What a subquery looks at has a line of its own. A search by nothing but the shard is one in disguise, because a file
# has one shard.
SCAN = re.compile(
    r"^SCAN (?!found|json_each|CONSTANT ROW|\(subquery)"
    r"|^SEARCH \w+ USING (PRIMARY KEY|(COVERING )?INDEX \w+)( \(shard=\?\))?$"
)
# Sorts what it found, and may, because it found few: what belongs to one run.
SORTS = {"ATTEMPTS": "the failed attempts of one run"}


_TABLES = r"SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'"


@pytest.fixture
def committer() -> Iterator[Committer]:
    made = Committer(Files(":memory:", "full"), leader=True)
    yield made
    made.close()


@pytest.mark.parametrize("name", TEXTS)
def test_every_statement_finds_its_rows_by_an_index_that_orders_them(committer: Committer, name: str):
    plan = _plan(committer.connection, TEXTS[name])

    scans = [line for line in plan if SCAN.search(line)]
    sorts = [line for line in plan if "TEMP B-TREE" in line]

    assert bool(scans) == (name in SCANS), plan
    assert bool(sorts) == (name in SORTS), plan


def test_every_key_and_unique_index_begins_with_the_shard(committer: Committer):
    execute = committer.connection.execute
    tables = [str(row[0]) for row in execute(_TABLES).fetchall()]
    reference = {
        "meta",
        "moves",
        "functions",
        "function_versions",
        "standing_orders",
        "apps",
        "users",
        "sessions",
        "listeners",
        "postings",
    }  # and what is no part of any run

    for table in set(tables) - reference:
        for index, in_all in execute("SELECT name, 1 FROM pragma_index_list(?)", (table,)).fetchall():
            first = execute("SELECT name FROM pragma_index_info(?) WHERE seqno = 0", (index,)).fetchall()
            assert first == [("shard",)], (table, index, in_all)
    strict = execute("SELECT name FROM pragma_table_list WHERE schema = 'main' AND strict").fetchall()
    assert {row[0] for row in strict} == set(tables)


def test_no_statement_asks_for_the_time():
    assert [name for name, text in TEXTS.items() if re.search(r"(?i)\bnow\b|current_|unixepoch|julianday", text)] == []


def test_distinct_paths_cost_one_look_each_however_many_waits_share_them(committer: Committer):
    few, many = _work_of_wait_paths(committer, waits=20), _work_of_wait_paths(committer, waits=2_000)

    assert many < few * 1.5


def test_a_backlog_costs_no_more_than_it_is_counted_to_however_deep_it_is(committer: Committer):
    few, many = _work_of_depths(committer, items=20), _work_of_depths(committer, items=20_000)

    assert many < few * 1.1


def test_keys_cost_one_look_each_and_no_more_than_are_asked_for(committer: Committer):
    few, many = _work_of_depths(committer, items=20, keys=20), _work_of_depths(committer, items=2_000, keys=2_000)

    assert many < few * 1.1


HOT: dict[str, tuple[Change, ...]] = {
    "save a step": (SaveStep(step("new")),),
    "park": (Park(Lease("r1", 7), 900, 5),),
    "drop": (Drop("r1"),),
    "extend": (Extend(Lease("r1", 7), 900),),
}


@pytest.mark.parametrize("name", HOT)
def test_a_hot_decision_is_one_statement_of_one_row(committer: Committer, name: str):
    _lease(committer)

    texts, rows = _trace(committer, [Decision(HOT[name], Lease("r1", 7))])

    assert (texts[0], texts[-1]) == (statements.BEGIN, statements.COMMIT)
    assert (len(texts), rows) == (2 + 1, 1), texts


def test_among_others_a_fenced_step_is_one_statement_of_one_row(committer: Committer):
    _lease(committer)

    texts, rows = _trace(committer, [Decision((SaveStep(step(f"s{n}")),), Lease("r1", 7)) for n in range(10)])

    assert (len(texts), rows) == (2 + 10, 10), texts


def test_a_step_and_the_end_of_its_run_are_as_many_statements_as_changes(committer: Committer):
    _lease(committer)
    changes = (Drop("r1"), SaveStep(step("last")), FinishRun("r1", "COMPLETED", 30))

    texts, rows = _trace(committer, [Decision(changes, Lease("r1", 7))])

    assert (len(texts), rows) == (2 + 3, 2), texts


def test_a_claim_is_one_look_and_one_update_for_each_item(committer: Committer):
    committer.run([Decision(tuple(Enqueue(item(f"r{n}")) for n in range(5)))])

    def claim() -> Plan:
        due = yield from ask(DueItems(100, 10, EVERYWHERE))
        for found in due:
            yield from ask(GetSteps(found.id))
        return Decision(tuple(Grant(found.id, 5, 900) for found in due))

    texts, rows = _trace(committer, [claim])

    assert (len(texts), rows) == (2 + 1 + 5 + 5, 5), texts


@pytest.mark.parametrize("controls", [(), (Concurrency(2, key="event.data.user"),)], ids=["no rule", "a keyed limit"])
def test_a_run_begins_with_a_row_for_event_run_and_item_and_one_look_for_waits(
    committer: Committer, controls: tuple[Control, ...]
):
    ruled = function(trigger="shop/ordered", controls=controls)
    known = accepted(data=b'{"user": "u1"}')

    texts, rows = _trace(committer, [lambda: accept(draft(ruled, one_shard=True), [known])])

    assert texts[1:-1] == [decisions.FIRST_WAIT_PATH, changes.SAVE_EVENT, changes.CREATE_RUN, changes.ENQUEUE]
    assert rows == 3


def test_no_statement_is_prepared_twice(committer: Committer):
    _lease(committer)
    works: list[Work] = [Decision((SaveStep(step(f"s{n}")),), Lease("r1", 7)) for n in range(100)]
    committer.run(works[:10])
    before = committer.connection.cache_stats()

    committer.run(works[10:])

    after = committer.connection.cache_stats()
    assert after["misses"] == before["misses"]
    assert after["evictions"] == before["evictions"] == 0


@pytest.mark.parametrize("name", TEXTS)
def test_a_statement_is_not_planned_anew_for_other_values(committer: Committer, name: str):
    """With STAT4 compiled in, SQLite does so for most of ours unless it is told not to."""
    connection, asked = committer.connection, 0

    def authorize(*_: object) -> int:
        nonlocal asked
        asked += 1
        return apsw.SQLITE_OK

    connection.set_authorizer(authorize)  # who is asked whenever a statement is prepared
    for value in range(3):
        with suppress(apsw.ConstraintError):
            connection.execute(TEXTS[name], (value,) * _values(TEXTS[name])).fetchall()
        if value == 0:
            assert asked > 0
            asked = 0

    assert asked == 0


def test_a_new_leader_does_not_look_at_what_sleeps_or_is_blocked(committer: Committer):
    def work(*, count: int) -> int:
        committer.connection.execute("DELETE FROM items")
        sleeping = (Enqueue(item(f"s{n}", at=10_000_000)) for n in range(count))
        blocked = (change for n in range(count) for change in (Enqueue(item(f"b{n}")), Block(f"b{n}", "full")))
        committer.run([Decision((*sleeping, *blocked))])
        _lease(committer)
        return _steps_of(committer.connection, lambda: committer.run([Decision((LapseLeases(100, 500),))]))

    assert work(count=1_000) == work(count=10)


def _lease(committer: Committer) -> None:
    outcome = committer.run([Decision((Enqueue(item()), Grant("r1", 7, 1_000)))])[0]
    assert outcome.error is None
    assert run().id == "r1"


def _trace(committer: Committer, works: list[Work]) -> tuple[list[str], int]:
    """The statements that SQLite ran, and the rows that they changed."""
    texts: list[str] = []
    connection = committer.connection
    before = connection.total_changes()
    connection.trace_v2(apsw.SQLITE_TRACE_STMT, lambda event: texts.append(event["sql"]))
    outcomes = committer.run(works)
    connection.trace_v2(0, None)
    assert [outcome.error for outcome in outcomes] == [None] * len(works)
    return texts, connection.total_changes() - before


def _work_of_wait_paths(committer: Committer, waits: int) -> int:
    """The virtual machine's steps for 3 distinct paths among so many waits."""
    connection = committer.connection
    connection.execute("DELETE FROM waits")
    for number in range(waits):
        row = (0, "r", f"w{number}", "event", "paid", 0, 9, None, f"path{number % 3}", str(number))
        connection.execute(changes.OPEN_WAIT, row)
    return _steps_of(connection, lambda: Reader(connection).answer(q.WaitPaths("paid", EVERYWHERE)))


def _work_of_depths(committer: Committer, items: int, keys: int = 1) -> int:
    """The virtual machine's steps for up to 10 backlogs, each counted to 20, of so many items under so many keys."""
    connection = committer.connection
    connection.execute("DELETE FROM items")
    connection.execute(
        """WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 - 1)
        INSERT INTO items (shard, id, kind, function_id, lease, attempt, backlog, queued_at, poked, losses, mark)
        SELECT 0, 'r' || i, 'run', 'f', 0, 0, printf('fn/f/%05d', i % ?2), i, 0, 0, 0 FROM n""",
        (items, keys),
    )
    return _steps_of(connection, lambda: Reader(connection).answer(q.BacklogDepths("fn/", "fn0", 10, 20)))


def _steps_of(connection: apsw.Connection, act: Callable[[], object]) -> int:
    count = 0

    def step_taken() -> bool:
        nonlocal count
        count += 1
        return False

    connection.set_progress_handler(step_taken, 1)
    act()
    connection.set_progress_handler(None)
    return count


def _plan(connection: apsw.Connection, text: str) -> list[str]:
    if text.startswith("PRAGMA"):
        return []
    values = (None,) * _values(text)
    return [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", values).fetchall()]


def _values(text: str) -> int:
    return max((int(number) for number in re.findall(r"\?(\d+)", text)), default=0)
