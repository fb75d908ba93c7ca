"""Any sequence of decisions leaves every backend in the state in which it leaves a model made of dictionaries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from stepwell.model import changes as c
from stepwell.model.history import Cell
from stepwell.model.item import Item, Lease
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import (
    AnyLease,
    BacklogPosition,
    Count,
    CountSlots,
    DueItems,
    FindWaits,
    GetCell,
    GetItem,
    GetRequest,
    GetSteps,
    GetWaits,
    ListRuns,
    NextDue,
    RunItems,
    SlotHolders,
    WaitPaths,
)
from stepwell.storage.interface import Store, Verdict
from stepwell.storage.postgres.shards import shards_locked
from tests.storage.conftest import BACKENDS, scratch
from tests.storage.model import Model
from tests.storage.nouns import PLACE, near, request, run, step, wait

RUNS = (near("R1"), near("R2"))
ITEMS = (*RUNS, f"{near('R1')}/t", f"{near('R1')}-x")
STEPS = ("s1", "s2")
BACKLOGS = ("full", "env/busy")
KEYS = ("k1", "k2")

runs, items, backlogs = (st.sampled_from(each) for each in (RUNS, ITEMS, BACKLOGS))
steps, keys = st.sampled_from(STEPS), st.sampled_from(KEYS)
moments, tokens, counts = st.integers(0, 30), st.integers(1, 4), st.integers(0, 3)
leases = st.builds(Lease, items, tokens)


def _item(id: str, at: int, queued_at: int, kind: str) -> Item:
    return Item(
        id=id, kind=kind, function_id=f"f{ITEMS.index(id) % 2}", at=at, queued_at=queued_at, run_id=id.partition("/")[0]
    )


owed = st.builds(_item, items, moments, moments, st.sampled_from(("run", "cron")))
changes: SearchStrategy[c.Change] = st.one_of(
    st.builds(c.CreateRun, st.builds(run, runs, at=moments)),
    st.builds(c.StartRun, runs, moments),
    st.builds(c.SetExecutionVersion, runs, st.sampled_from((1, 2))),
    st.builds(c.FinishRun, runs, st.sampled_from(("COMPLETED", "FAILED")), moments, st.none() | st.just(b"1")),
    st.builds(
        c.SaveStep,
        st.builds(step, steps, runs, st.sampled_from(("COMPLETED", "WAITING", "ERRORED")), position=counts),
    ),
    st.builds(
        c.SettleStep,
        runs,
        steps,
        st.just("TIMED_OUT"),
        moments,
        st.none() | st.just(b"2"),
        position=st.none() | st.integers(1, 9),
    ),
    st.builds(c.Enqueue, owed),
    st.builds(c.Schedule, owed),
    st.builds(c.Park, leases, st.none() | moments, moments, counts),
    st.builds(c.Block, items, backlogs),
    st.builds(c.Grant, items, tokens, moments, counts, counts),
    st.builds(c.Postpone, items, moments, counts, counts),
    st.builds(c.Extend, leases, moments),
    st.builds(c.Retry, leases, counts),
    st.builds(c.Wake, items, moments),
    st.builds(c.Drop, items),
    st.builds(c.DropRunItems, runs),
    st.builds(c.OpenWait, st.builds(wait, steps, runs, expires_at=moments, path=keys, value=keys)),
    st.builds(c.CloseWait, runs, steps),
    st.builds(c.CloseWaits, runs),
    st.builds(c.SaveRequest, st.builds(request, steps, runs, st.sampled_from((b"{}", b"[]")))),
    st.builds(c.DropRequest, runs, steps),
    st.builds(c.DropRequests, runs),
    st.builds(
        c.PutCell,
        st.builds(lambda key, value, at: Cell(key=key, value=value, expires_at=at), keys, keys, moments),
        st.just(PLACE),
    ),
    st.builds(c.TakeSlots, st.lists(keys, max_size=2).map(tuple), items),
    st.builds(c.FreeSlots, items),
    st.builds(c.Release, backlogs, moments, st.integers(0, 2), st.just(PLACE)),
    st.builds(
        c.ReleaseShared,
        st.just("env/busy"),
        moments,
        st.integers(0, 2),
        st.just(PLACE),
        st.sampled_from((None, "f0", "f1")),
    ),
    st.builds(c.ReleaseItem, items, moments),
    st.builds(c.LapseLeases, tokens, moments),
)
decisions = st.builds(
    c.Decision,
    st.lists(changes, min_size=1, max_size=4).map(tuple),
    st.one_of(st.none(), st.none(), leases),  # most random leases are not held
)
# Everything is there from the start, so that few changes are about nothing.
START = c.Decision(
    (
        *(c.CreateRun(run(id)) for id in RUNS),
        *(c.Enqueue(_item(id, 10, number, "run")) for number, id in enumerate(ITEMS)),
        *(c.Grant(id, 2, 20) for id in ITEMS[:2]),
    )
)


histories = st.lists(decisions, min_size=5, max_size=30)


@pytest.mark.slow
@given(histories, moments)
def test_the_statements_do_what_the_model_does(history: list[c.Decision], now: int):
    asyncio.run(_compare(BACKENDS["sqlite-inline"], Path(), [START, *history], now))


@pytest.mark.slow
@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "sqlite-inline"])
@settings(max_examples=settings().max_examples // 5)
@given(histories, moments)
def test_a_store_does_what_the_model_does_also_in_shared_transactions(
    backend: str, history: list[c.Decision], now: int
):
    with scratch() as folder:
        asyncio.run(_compare(BACKENDS[backend], Path(folder), [START, *history], now))


async def _compare(open_store: Callable[[Path], Store], folder: Path, history: list[c.Decision], now: int) -> None:
    store, model = open_store(folder), Model()
    try:
        # All at once, so that the threaded ones share transactions, then what is left is looked at from every side.
        verdicts = [verdict for group in _ordered(history, store.shards) for verdict in await _commit(store, group)]
        assert [verdict.held for verdict in verdicts] == [model.apply(decision) for decision in history]
        await _look(store, model, now)
    finally:
        await store.close()


async def _commit(store: Store, decisions: Sequence[c.Decision]) -> list[Verdict]:
    return await asyncio.gather(*(store.commit(decision) for decision in decisions))


def _ordered(history: Sequence[c.Decision], shards: int) -> Iterator[list[c.Decision]]:
    """Parts of a history, one to be over before the next: only those of one shard are applied in the order of calls."""
    part: list[c.Decision] = []
    for decision in history:
        if len(shards_locked(decision, shards)) > 1:
            yield from (part, [decision])
            part = []
        else:
            part.append(decision)
    yield part


async def _look(store: Store, model: Model, now: int) -> None:
    read: Any = store.read
    due = [item for item in sorted(model.items.values(), key=_due_order) if item.at is not None and item.at <= now]
    later = [item.at for item in model.items.values() if item.at is not None and item.at > now]
    assert [await read(GetItem(id)) for id in ITEMS] == [model.items.get(id) for id in ITEMS]
    assert await read(DueItems(now, 3, EVERYWHERE)) == due[:3]
    assert (
        await read(DueItems(now, 3, EVERYWHERE, timers_only=True)) == [item for item in due if item.kind != "run"][:3]
    )
    assert await read(NextDue(EVERYWHERE, now)) == min(later, default=None)
    assert await read(AnyLease(now)) == any(
        item.lease != 0 and now < item.at <= now + 60_000 for item in model.items.values() if item.at is not None
    )
    assert await read(RunItems(RUNS[0])) == [model.items[id] for id in (ITEMS[0], ITEMS[2]) if id in model.items]
    for item in model.items.values():
        blocked = sorted((other.queued_at, other.id) for other in model.blocked(item.backlog or "no"))
        expected = (blocked.index((item.queued_at, item.id)), len(blocked)) if item.backlog else None
        assert await read(BacklogPosition(item.id)) == expected
    for key in KEYS:
        holders = sorted(holder for taken, holder in model.slots if taken == key)
        assert await read(SlotHolders(key, 10, EVERYWHERE)) == holders
        assert await read(CountSlots(key, EVERYWHERE)) == len(holders)
        cell = model.cells.get(key)
        assert await read(GetCell(key, now, PLACE)) == (cell if cell is not None and cell.expires_at > now else None)
    for run_id in RUNS:
        assert await read(GetSteps(run_id)) == [each for each in model.steps.values() if each.run_id == run_id]
        mine = [each for _, each in sorted(model.waits.items()) if each.run_id == run_id]
        assert await read(GetWaits(run_id)) == mine
        for step_id in STEPS:
            assert await read(GetRequest(run_id, step_id)) == model.requests.get((run_id, step_id))
    probes = (("k1", "k1"), ("k1", "k2"))
    found = [each for each in model.waits.values() if each.path == "k1" and each.expires_at > now]
    assert sorted(await read(FindWaits("paid", probes, now, EVERYWHERE)), key=_wait_order) == sorted(
        found, key=_wait_order
    )
    assert await read(WaitPaths("paid", EVERYWHERE)) == sorted({each.path for each in model.waits.values()})
    newest = sorted(model.runs.values(), key=lambda each: each.id, reverse=True)
    assert await read(ListRuns(10, output=True)) == newest
    totals = await read(Count(now))
    assert totals.live_runs == sum(not each.ended for each in newest)
    assert (totals.items, totals.waits) == (len(model.items), len(model.waits))
    assert totals.blocked == sum(item.backlog is not None for item in model.items.values())
    assert totals.leased == sum(item.lease > 0 for item in model.items.values())
    assert totals.oldest_due == (due[0].at if due else None)


def _due_order(item: Item) -> tuple[int, str]:
    return (item.at or 0, item.id)


def _wait_order(each: Any) -> tuple[str, str]:
    return (each.run_id, each.id)
