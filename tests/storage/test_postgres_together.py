"""Works of one shard go together: few statements, and each plan sees what was decided before it all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from stepwell.model.changes import (
    Change,
    CloseWait,
    CreateRun,
    Decision,
    Enqueue,
    OpenWait,
    Plan,
    PutCell,
    SaveEvent,
    SaveFunction,
    SaveStep,
    TakeSlots,
)
from stepwell.model.place import EVERYWHERE, place_of
from stepwell.model.questions import (
    AnyCell,
    CountSlots,
    DueItems,
    FindWaits,
    GetCell,
    GetEvent,
    GetItem,
    GetRun,
    GetStep,
    GetSteps,
    GetWaits,
    Lock,
    Question,
    RegistryStamp,
    WaitPaths,
    ask,
)
from stepwell.storage.postgres.store import PostgresStore
from tests.postgres import emptied
from tests.storage.nouns import cell, event, function, item, near, run, step, wait
from tests.storage.test_postgres_faults import Faults

SHARDS = 4
ID = near("r1")
PLACE = place_of(ID)


def start(number: int) -> Callable[[], Plan]:
    """As an event that starts a run."""
    name = near(f"n{number}")

    def plan() -> Plan:
        yield from ask(Lock((place_of(name),)))
        yield from ask(WaitPaths("paid", EVERYWHERE))
        changes = (SaveEvent(event(name)), CreateRun(run(name, name)), Enqueue(item(name)))
        yield from ask(RegistryStamp())
        return Decision(changes)

    return plan


async def opened(recorder: Faults) -> PostgresStore:
    store = await PostgresStore.open(recorder.url, here=True, shards=SHARDS, connect=recorder.connect)
    recorder.seen.clear()
    return store


async def test_many_starts_take_as_many_statements_as_one():
    recorder = Faults(await asyncio.to_thread(emptied, SHARDS))
    store = await opened(recorder)
    try:
        await store.commit(start(0))
        alone = len(recorder.seen)
        recorder.seen.clear()

        await asyncio.gather(*(store.commit(start(number)) for number in range(1, 101)))
        together = len(recorder.seen)
    finally:
        await store.close()

    assert alone == 9  # begin, lock, mark the first time, paths, stamp, three tables, commit
    assert together < 100  # in a few transactions, by how soon the first began; one by one it would be 800


SEEN: list[tuple[Change, Question[Any]]] = [
    (SaveFunction(function(), 10), RegistryStamp()),
    (OpenWait(wait(run_id=ID)), WaitPaths("paid", EVERYWHERE)),
    (OpenWait(wait(run_id=ID)), FindWaits("paid", (("", ""),), 1, PLACE)),
    (OpenWait(wait(run_id=ID)), GetWaits(ID)),
    (PutCell(cell("a/b"), PLACE), GetCell("a/b", 1, PLACE)),
    (PutCell(cell("a/b"), PLACE), AnyCell("a/", 1, PLACE)),
    (TakeSlots(("k",), ID), CountSlots("k", PLACE)),
    (SaveEvent(event(ID)), GetEvent(ID)),
    (CreateRun(run(ID, ID)), GetRun(ID)),
    (SaveStep(step(run_id=ID)), GetSteps(ID)),
    (SaveStep(step(run_id=ID)), GetStep(ID, "s1")),
    (Enqueue(item(ID)), GetItem(ID)),
    (Enqueue(item(ID)), DueItems(20, 5, PLACE & (SHARDS - 1))),  # it may read anything
]


@pytest.mark.parametrize(("change", "question"), SEEN, ids=lambda value: type(value).__name__)
async def test_a_plan_sees_what_the_one_before_it_in_the_transaction_decided(change: Change, question: Question[Any]):
    store = await opened(Faults(await asyncio.to_thread(emptied, SHARDS)))

    def asks(then: tuple[Change, ...] = ()) -> Callable[[], Plan]:
        def plan() -> Plan:
            yield from ask(Lock((PLACE,)))
            return Decision(then, result=(yield from ask(question)))

        return plan

    try:
        before, between, after = await asyncio.gather(
            store.commit(asks()), store.commit(asks((change,))), store.commit(asks())
        )
        later = await store.read(question)
    finally:
        await store.close()

    assert before.result == between.result != after.result
    assert after.result == later


async def test_what_is_cached_in_a_transaction_ends_with_what_it_was_true_of():
    """The stamp of the functions and the paths of waits are asked once, until they are written."""
    store = await opened(Faults(await asyncio.to_thread(emptied, SHARDS)))
    found: list[tuple[int, list[str]]] = []

    def asks(*then: Change) -> Callable[[], Plan]:
        def plan() -> Plan:
            yield from ask(Lock((EVERYWHERE,)))
            stamp = yield from ask(RegistryStamp())
            found.append((stamp, (yield from ask(WaitPaths("paid", EVERYWHERE)))))
            return Decision(then)

        return plan

    try:
        await asyncio.gather(
            store.commit(asks(SaveFunction(function("shop-a"), 1), OpenWait(wait(run_id=ID, path="x", value="1")))),
            store.commit(asks(SaveFunction(function("shop-b"), 2), OpenWait(wait("w2", ID, path="y", value="1")))),
            store.commit(asks(CloseWait(ID, "w2"))),
        )
    finally:
        await store.close()

    assert [stamp for stamp, _ in found] == [found[0][0], found[0][0] + 1, found[0][0] + 2]
    assert [paths for _, paths in found] == [[], ["x"], ["x", "y"]]
