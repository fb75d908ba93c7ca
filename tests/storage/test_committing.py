"""Conformance: what a commit promises, whoever holds a lease and whatever else is in the same transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from stepwell.errors import NotRunning
from stepwell.model.changes import (
    Change,
    CreateRun,
    Decision,
    Drop,
    DropRunItems,
    Enqueue,
    Extend,
    FinishRun,
    Grant,
    Park,
    Plan,
    PutCell,
    Retry,
    SaveNote,
    SaveStep,
    SettleStep,
    Wake,
)
from stepwell.model.history import Cell
from stepwell.model.item import Lease
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import DueItems, GetCell, GetItem, GetRun, GetSteps, Notes, Question, ask
from stepwell.storage.interface import Store
from tests.storage.nouns import LEASE, PLACE, TOKEN, cell, count, item, item_of, leased, note, run, step, write

STALE = Lease("r1", TOKEN - 1)

# Each as the first change of a decision, because the first one may carry the fence in its own statement.
FENCED: dict[str, Callable[[Lease], Change]] = {
    "save a step": lambda lease: SaveStep(step()),
    "save a step of another run": lambda lease: SaveStep(step(run_id="r2")),
    "park": lambda lease: Park(lease, 400, 100),
    "drop": lambda lease: Drop(lease.item_id),
    "drop another item": lambda lease: Drop("r2"),
    "extend": lambda lease: Extend(lease, 9_000),
    "retry": lambda lease: Retry(lease, 4),
    "settle": lambda lease: SettleStep("r1", "open", "COMPLETED", 30),
    "finish": lambda lease: FinishRun("r1", "COMPLETED", 30),
    "drop all": lambda lease: DropRunItems("r1"),
    "wake": lambda lease: Wake("r2", 1),
    "note": lambda lease: SaveNote(note()),
}


@pytest.mark.parametrize("first", FENCED)
@pytest.mark.parametrize("alone", [True, False])
async def test_a_decision_whose_lease_is_lost_writes_nothing(store: Store, first: str, alone: bool):
    await _world(store)
    before = await _look(store)
    changes = (FENCED[first](STALE), *(() if alone else (SaveNote(note("second")),)))

    verdict = await store.commit(Decision(changes, STALE, result="mine"))

    assert not verdict.held
    assert await _look(store) == before


@pytest.mark.parametrize("first", FENCED)
@pytest.mark.parametrize("alone", [True, False])
async def test_a_decision_whose_lease_is_ours_writes_all(store: Store, first: str, alone: bool):
    await _world(store)
    before = await _look(store)
    changes = (FENCED[first](LEASE), *(() if alone else (SaveNote(note("second")),)))

    verdict = await store.commit(Decision(changes, LEASE, result="mine"))

    assert (verdict.held, verdict.result) == (True, "mine")
    assert await _look(store) != before
    assert ("second" in [found.text for found in await store.read(Notes("r1"))]) == (not alone)


@pytest.mark.parametrize("first", ["park", "extend", "retry"])
async def test_a_first_change_that_names_a_lease_is_a_fence_of_its_own(store: Store, first: str):
    await _world(store)
    before = await _look(store)

    verdict = await write(store, FENCED[first](STALE), SaveNote(note("second")))

    assert not verdict.held
    assert await _look(store) == before


async def test_a_step_saved_twice_counts_as_held_and_the_rest_is_written(store: Store):
    lease = await leased(store)
    await write(store, SaveStep(step(output=b"1")), holds=lease)

    again = await write(store, SaveStep(step(output=b"2")), holds=lease)
    more = await write(store, SaveStep(step(output=b"3")), SaveNote(note()), holds=lease)

    assert (again.held, more.held) == (True, True)
    assert [found.output for found in await store.read(GetSteps("r1"))] == [b"1"]
    assert await count(store, Notes("r1")) == 1


async def test_a_repeated_step_of_a_lost_lease_does_not_count(store: Store):
    lease = await leased(store)
    await write(store, SaveStep(step()), holds=lease)
    await write(store, Grant("r1", 99, 2_000))

    verdict = await write(store, SaveStep(step()), SaveNote(note()), holds=lease)

    assert not verdict.held
    assert await store.read(Notes("r1")) == []


async def test_a_decision_without_changes_tells_whether_the_lease_is_ours(store: Store):
    lease = await leased(store)

    assert (await store.commit(Decision(holds=lease))).held
    assert not (await store.commit(Decision(holds=STALE))).held
    assert (await store.commit(Decision(result=3))).result == 3


async def test_after_a_drop_the_lease_is_lost(store: Store):
    lease = await leased(store)

    first = await write(store, Drop("r1"), SaveNote(note("first")), holds=lease)
    second = await write(store, Drop("r1"), SaveNote(note("second")), holds=lease)

    assert (first.held, second.held) == (True, False)
    assert [found.text for found in await store.read(Notes("r1"))] == ["first"]


async def test_a_plan_gets_answers_and_its_decision_is_written(store: Store):
    await write(store, Enqueue(item()), Enqueue(item("r2", at=5)))

    def claim() -> Plan:
        due = yield from ask(DueItems(100, 10, EVERYWHERE))
        return Decision(tuple(Grant(found.id, 50, 900) for found in due), result=[found.id for found in due])

    assert (await store.commit(claim)).result == ["r2", "r1"]
    assert (await item_of(store)).lease == 50


async def test_a_plan_sees_what_was_committed_before_it_and_nothing_else(store: Store):
    def count_up() -> Plan:
        known = yield from ask(GetCell("n", 0, PLACE))
        number = 1 if known is None else int(known.value) + 1
        return Decision((PutCell(Cell(key="n", value=str(number), expires_at=9), PLACE),), result=number)

    verdicts = await asyncio.gather(*(store.commit(count_up) for _ in range(600)))

    assert [verdict.result for verdict in verdicts] == list(range(1, 601))


async def test_what_a_plan_raises_reaches_its_caller_and_nobody_else(store: Store):
    class Mistake(Exception):
        pass

    def plan() -> Plan:
        yield from ask(GetItem("r1"))
        raise Mistake("no")

    works: list[asyncio.Future[Any]] = [store.commit(Decision((PutCell(cell("a"), PLACE),)))]
    works += [store.commit(plan), store.commit(Decision((PutCell(cell("b"), PLACE),)))]
    results = await asyncio.gather(*works, return_exceptions=True)

    assert [type(result).__name__ for result in results] == ["Verdict", "Mistake", "Verdict"]
    assert await store.read(GetCell("b", 0, PLACE)) is not None


async def test_a_plan_that_cannot_even_be_made_fails_alone(store: Store):
    def unmade() -> Plan:
        raise LookupError("no")

    works: list[asyncio.Future[Any]] = [store.commit(unmade), store.commit(Decision((PutCell(cell(), PLACE),)))]
    results = await asyncio.gather(*works, return_exceptions=True)

    assert [type(result).__name__ for result in results] == ["LookupError", "Verdict"]


async def test_a_decision_that_cannot_be_written_is_undone_whole_and_harms_nobody(store: Store):
    # Given a decision whose last change is refused by the database, in the midst of others
    bad = Decision((SaveNote(note("half")), PutCell(cell("bad", value=None), PLACE)))  # type: ignore[arg-type]
    goods = [Decision((PutCell(cell(f"good-{n}"), PLACE),), result=n) for n in range(10)]
    calls: list[int] = []

    def plan() -> Plan:
        calls.append(1)
        known = yield from ask(GetCell("good-9", 0, PLACE))
        return Decision((PutCell(cell("planned"), PLACE),), result=known is not None)

    # When all are committed at once
    works: list[asyncio.Future[Any]] = [store.commit(good) for good in goods[:5]]
    failing = store.commit(bad)
    works += [store.commit(good) for good in goods[5:]]
    planned = store.commit(plan)

    # Then only it fails, and the plan saw what went before it
    with pytest.raises(Exception, match=r"(?i)not.null"):
        await failing
    assert [(await work).result for work in works] == list(range(10))
    assert (await planned).result is True
    assert await store.read(Notes("r1")) == []
    assert await store.read(GetCell("bad", 0, PLACE)) is None


async def test_works_of_one_caller_are_applied_in_the_order_of_the_calls(store: Store):
    for number in range(1_000):
        store.commit(Decision((PutCell(cell(value=str(number)), PLACE),)))

    await store.commit(Decision())

    assert await store.read(GetCell("c1", 0, PLACE)) == cell(value="999")


async def test_an_answer_never_comes_inside_the_call(store: Store):
    future = store.commit(Decision((CreateRun(run()),)))

    assert not future.done()
    await future


async def test_a_commit_whose_caller_went_away_is_written_all_the_same(store: Store):
    store.commit(Decision((CreateRun(run()),))).cancel()

    await store.commit(Decision())

    assert await store.read(GetRun("r1")) is not None


async def test_an_unknown_question_is_refused(store: Store):
    class Nonsense(Question[int], frozen=True):
        pass

    with pytest.raises(TypeError, match="Nonsense"):
        await store.read(Nonsense())

    assert await store.read(GetRun("r1")) is None


async def test_epochs_count_up(store: Store):
    first = await store.new_epoch()

    assert await store.new_epoch() == first + 1


async def test_our_own_commits_are_no_change_by_others(store: Store):
    await write(store, CreateRun(run()))

    assert not (await store.changed()).others


async def test_a_closed_store_refuses_work(store: Store):
    await store.close()
    await store.close()

    with pytest.raises(NotRunning):
        await store.read(GetRun("r1"))
    with pytest.raises(NotRunning):
        await store.commit(Decision())


async def test_closing_writes_what_was_committed_before(store: Store):
    works = [store.commit(Decision((PutCell(cell(str(number)), PLACE),), result=number)) for number in range(1_000)]

    await store.close()

    assert [(await work).result for work in works] == list(range(1_000))


async def _world(store: Store) -> None:
    await leased(store)
    await write(
        store,
        CreateRun(run()),
        SaveStep(step("open", status="WAITING")),
        Enqueue(item("r2", at=800)),
    )


async def _look(store: Store) -> list[Any]:
    questions: list[Question[Any]] = [GetItem("r1"), GetItem("r2"), GetRun("r1"), Notes("r1")]
    questions += [GetSteps("r1"), GetSteps("r2")]
    return [await store.read(question) for question in questions]
