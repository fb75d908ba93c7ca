"""Conformance: items, from being owed to being done with, and the slots they use."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from stepwell.model.changes import (
    Block,
    Drop,
    DropRunItems,
    Enqueue,
    Extend,
    FreeSlots,
    Grant,
    LapseLeases,
    Park,
    Postpone,
    PutCell,
    Release,
    ReleaseItem,
    ReleaseShared,
    Retry,
    Schedule,
    TakeSlots,
    Wake,
)
from stepwell.model.place import EVERYWHERE, shard_of
from stepwell.model.questions import (
    Backlog,
    CountHeld,
    CountSlots,
    DueItems,
    GetItem,
    NextBacklog,
    NextDue,
    NextDues,
    Occupied,
    RunItems,
    ShardsWithBacklog,
    ShardsWithCell,
    SlotHolders,
    Standings,
)
from stepwell.storage.interface import Store
from tests.storage.nouns import LEASE, PLACE, TOKEN, cell, item, item_of, leased, near, write


async def test_an_item_is_remembered_with_all_its_fields(store: Store):
    full = item(kind="cron", run_id=None, place=0, lease=3, attempt=2, queued_at=5, poked=True, losses=1, mark=4)
    blocked = item("r2", at=None, backlog="b")

    await write(store, Enqueue(full), Enqueue(blocked))

    assert await store.read(GetItem("r1", 0)) == full
    assert await store.read(GetItem("r2")) == blocked


async def test_enqueueing_leaves_an_item_that_is_there_as_it_is(store: Store):
    await leased(store)
    before = await item_of(store)

    await write(store, Enqueue(item(at=1)))

    assert await item_of(store) == before


async def test_scheduling_owes_an_item_or_moves_the_one_that_is_there(store: Store):
    await write(store, Schedule(item(at=50)))
    assert (await item_of(store)).at == 50
    await write(store, Grant("r1", TOKEN, 900))

    await write(store, Schedule(item(at=70)))

    assert await item_of(store) == item(at=70)


async def test_parking_gives_a_leased_item_back(store: Store):
    lease = await leased(store, queued_at=5)

    await write(store, Park(lease, 400, 100, attempt=2))

    assert await item_of(store) == item(at=400, attempt=2, queued_at=5)


async def test_a_parked_item_may_be_owed_nothing(store: Store):
    lease = await leased(store)

    await write(store, Park(lease, None, 100))

    assert (await item_of(store)).at is None
    assert await store.read(DueItems(1 << 50, 10, EVERYWHERE)) == []


@pytest.mark.parametrize("at", [None, 400])
async def test_an_item_that_was_poked_while_leased_is_due_at_once_when_parked(store: Store, at: int | None):
    lease = await leased(store)
    await write(store, Wake("r1", 90))

    await write(store, Park(lease, at, 100))

    assert await item_of(store) == item(at=100)


async def test_parking_clears_what_was_counted_about_lost_leases(store: Store):
    await write(store, Enqueue(item()), Grant("r1", TOKEN, 1_000, losses=3, mark=8))

    await write(store, Park(LEASE, 400, 100))

    assert await item_of(store) == item(at=400)


async def test_a_blocked_item_is_out_of_sight(store: Store):
    await write(store, Enqueue(item()), Block("r1", "full"))

    assert await item_of(store) == item(at=None, backlog="full")
    assert await store.read(DueItems(1 << 50, 10, EVERYWHERE)) == []


async def test_blocking_a_lapsed_item_takes_it_from_its_holder(store: Store):
    lease = await leased(store)

    await write(store, Block("r1", "full"))

    assert await item_of(store) == item(at=None, backlog="full")
    assert not (await write(store, Extend(lease, 2_000), holds=lease)).held


async def test_granting_leases_an_item_until_a_moment(store: Store):
    await write(store, Enqueue(item()), Grant("r1", TOKEN, 500, losses=1, mark=2))

    assert await item_of(store) == item(at=500, lease=TOKEN, losses=1, mark=2)


async def test_postponing_takes_a_lapsed_item_from_its_holder_and_keeps_the_count(store: Store):
    lease = await leased(store)
    await write(store, Wake("r1", 90))

    await write(store, Postpone("r1", 700, losses=3, mark=2))

    assert await item_of(store) == item(at=700, losses=3, mark=2)
    assert not (await write(store, Extend(lease, 2_000), holds=lease)).held


async def test_what_happens_to_a_postponed_item_does_not_make_it_due_sooner(store: Store):
    await leased(store)
    await write(store, Postpone("r1", 700, losses=3, mark=2))

    await write(store, Wake("r1", 90))

    assert await item_of(store) == item(at=700, losses=3, mark=2)


async def test_blocking_a_lapsed_item_keeps_the_count_of_its_losses(store: Store):
    await leased(store)

    await write(store, Block("r1", "full", losses=3, mark=2))

    assert await item_of(store) == item(at=None, backlog="full", losses=3, mark=2)


async def test_granting_a_lapsed_item_changes_its_token_and_forgets_its_poke(store: Store):
    old = await leased(store)
    await write(store, Wake("r1", 90))

    await write(store, Grant("r1", 9, 2_000))

    assert await item_of(store) == item(at=2_000, lease=9)
    assert not (await write(store, Extend(old, 3_000), holds=old)).held


async def test_extending_holds_a_lease_longer(store: Store):
    lease = await leased(store)

    assert (await write(store, Extend(lease, 5_000), holds=lease)).held

    assert (await item_of(store)).at == 5_000


async def test_retrying_sets_the_attempt_of_an_item_that_stays_leased(store: Store):
    lease = await leased(store)

    await write(store, Retry(lease, 3), holds=lease)

    assert await item_of(store) == item(at=1_000, lease=TOKEN, attempt=3)


@pytest.mark.parametrize(("given", "then"), [(50, 10), (5, 5)])
async def test_waking_makes_an_item_due_no_later_than_a_moment(store: Store, given: int, then: int):
    await write(store, Enqueue(item(at=10)), Wake("r1", given))

    assert await item_of(store) == item(at=then)


async def test_waking_makes_an_item_due_that_was_owed_nothing(store: Store):
    await write(store, Enqueue(item(at=None)), Wake("r1", 50))

    assert await item_of(store) == item(at=50)


async def test_waking_pokes_a_leased_item(store: Store):
    await leased(store)

    await write(store, Wake("r1", 50))

    assert await item_of(store) == item(at=1_000, lease=TOKEN, poked=True)


async def test_waking_leaves_a_blocked_item_in_its_place(store: Store):
    await write(store, Enqueue(item(at=None, backlog="full")), Wake("r1", 50))

    assert await item_of(store) == item(at=None, backlog="full")


async def test_a_dropped_item_is_gone(store: Store):
    await write(store, Enqueue(item()), Enqueue(item("r10")), Drop("r1"))

    assert await store.read(GetItem("r1")) is None
    assert await store.read(GetItem("r10")) is not None


async def test_all_items_of_a_run_are_dropped_leased_or_not_and_no_others(store: Store):
    run_id = near("R1")
    await leased(store, run_id)
    own, others = [f"{run_id}/a/b", f"{run_id}/start"], [f"{run_id}0", f"{run_id}-2", f"{run_id}.5", near("R0")]
    await write(store, *(Enqueue(item(id)) for id in (*own, *others)))
    assert [found.id for found in await store.read(RunItems(run_id))] == [run_id, *own]

    await write(store, DropRunItems(run_id))

    assert await store.read(RunItems(run_id)) == []
    assert [id for id in (*own, *others) if await store.read(GetItem(id))] == others


async def test_releasing_makes_the_item_due_that_was_blocked_longest(store: Store):
    first = near("A1")
    await _backlog(store, (near("C1"), 30), (near("B1"), 10), (first, 10))

    await write(store, Release("full", 100, 1, PLACE))

    assert await item_of(store, first) == item(first, at=100, queued_at=10)
    assert await _due(store) == [first]


async def test_releasing_several_makes_that_many_due(store: Store):
    a, b, c = map(near, "ABC")
    await _backlog(store, (c, 30), (a, 10), (b, 20))

    await write(store, Release("full", 100, 2, PLACE))

    assert await _due(store) == [a, b]


async def test_of_a_shared_backlog_so_many_of_each_function_are_released(store: Store):
    await _shared_backlog(store)

    await write(store, ReleaseShared("env/printer", 100, 2, PLACE))

    assert await _due(store) == [near("F1"), near("F2"), near("G1")]


async def test_of_a_shared_backlog_those_of_one_function_are_released(store: Store):
    await _shared_backlog(store)

    await write(store, ReleaseShared("env/printer", 100, 1, PLACE, "F"))

    assert await _due(store) == [near("F1")]


async def test_releasing_an_empty_backlog_does_nothing(store: Store):
    assert (await write(store, Release("full", 100, 1, PLACE))).held


async def test_one_item_is_released_if_it_waits(store: Store):
    await _backlog(store, ("a", 10), ("b", 30))
    await write(store, Enqueue(item("sleeps", at=None)), Enqueue(item("due", at=50)))

    await write(store, *(ReleaseItem(name, 100) for name in ("b", "sleeps", "due", "gone")))

    assert await _due(store) == ["due", "b"]
    assert await item_of(store, "sleeps") == item("sleeps", at=None)


async def test_a_backlog_can_be_read_from_behind_a_place(store: Store):
    await _backlog(store, ("c", 30), ("a", 10), ("b", 10), ("d", 40))

    assert await store.read(Backlog("full", 2, EVERYWHERE)) == [(10, "a"), (10, "b")]
    assert await store.read(Backlog("full", 2, EVERYWHERE, (10, "a"))) == [(10, "b"), (30, "c")]
    assert await store.read(Backlog("full", 9, EVERYWHERE, (40, "d"))) == []


async def test_backlogs_are_found_one_after_the_other(store: Store):
    await _backlog(store, ("c", 30), ("a", 10))
    await write(store, Enqueue(item("b", at=None, backlog="other")), Enqueue(item("due", at=50)))

    assert [await store.read(NextBacklog(after, EVERYWHERE)) for after in ("", "full", "other")] == [
        "full",
        "other",
        None,
    ]


async def test_leases_of_processes_that_are_gone_are_due_and_keep_their_token(store: Store):
    await leased(store, "old", token=5)
    await leased(store, "new", token=8)
    await write(store, Enqueue(item("free", at=900)), Enqueue(item("blocked", at=None, backlog="full")))

    await write(store, LapseLeases(token=8, now=100))

    assert await item_of(store, "old") == item("old", at=100, lease=5)
    assert await item_of(store, "new") == item("new", at=1_000, lease=8)
    assert await _due(store) == ["old"]


async def test_due_items_come_the_longest_due_first_and_no_more_than_asked_for(store: Store):
    await write(store, *(Enqueue(item(f"i{at}", at=at)) for at in (30, 10, 101, 100, 20)))

    assert [found.id for found in await store.read(DueItems(100, 10, EVERYWHERE))] == ["i10", "i20", "i30", "i100"]
    assert [found.id for found in await store.read(DueItems(100, 2, EVERYWHERE))] == ["i10", "i20"]


async def test_due_timers_leave_out_runs(store: Store):
    timer = f"{near('R1')}/start"
    await write(store, Enqueue(item(near("R1"))), Enqueue(item(timer, kind="start-timeout")), Enqueue(item("r2")))

    assert [found.id for found in await store.read(DueItems(100, 1, EVERYWHERE, timers_only=True))] == [timer]


async def test_a_lapsed_lease_is_due(store: Store):
    await leased(store)

    assert await store.read(DueItems(999, 10, EVERYWHERE)) == []
    assert [found.lease for found in await store.read(DueItems(1_000, 10, EVERYWHERE))] == [TOKEN]


async def test_the_next_moment_is_the_earliest_of_any_item_after_the_given_one(store: Store):
    assert await store.read(NextDue(EVERYWHERE)) is None
    await write(store, Enqueue(item("a", at=30)), Enqueue(item("b", at=20)), Enqueue(item("c", at=None)))

    assert await store.read(NextDue(EVERYWHERE)) == 20
    assert await store.read(NextDue(EVERYWHERE, 20)) == 30
    assert await store.read(NextDue(EVERYWHERE, 30)) is None


async def test_taking_a_slot_twice_is_taking_it_once(store: Store):
    await write(store, TakeSlots(("k1", "k2"), "r1"), TakeSlots(("k1",), "r1"), TakeSlots(("k1",), "r2"))

    assert await store.read(CountSlots("k1", EVERYWHERE)) == 2
    assert await store.read(CountSlots("k2", EVERYWHERE)) == 1
    assert await store.read(CountSlots("k3", EVERYWHERE)) == 0
    assert await store.read(SlotHolders("k1", 10, EVERYWHERE)) == ["r1", "r2"]
    assert await store.read(SlotHolders("k1", 1, EVERYWHERE)) == ["r1"]


async def test_a_holder_or_the_items_of_a_run_free_their_slots_and_nobody_elses(store: Store):
    holders = ["r1", "r1/s1", "r10", "r1-2", "r0"]
    await write(store, *(TakeSlots(("k1", "k2"), holder) for holder in holders))

    await write(store, FreeSlots("r1"))

    assert await store.read(SlotHolders("k1", 10, EVERYWHERE)) == ["r0", "r1-2", "r10"]
    assert await store.read(CountSlots("k2", EVERYWHERE)) == 3


async def test_what_a_holder_and_its_items_have_of_a_key_is_counted(store: Store):
    await write(store, *(TakeSlots(("k1",), holder) for holder in ("r1", "r1/s1", "r1/s2", "r10", "r1-2")))

    assert await store.read(CountHeld("k1", "r1")) == 3
    assert await store.read(CountHeld("k2", "r1")) == 0


async def _backlog(store: Store, *blocked: tuple[str, int]) -> None:
    await write(store, *(Enqueue(item(id, at=None, backlog="full", queued_at=at)) for id, at in blocked))


async def _shared_backlog(store: Store) -> None:
    waiting = [("F3", 50), ("G1", 40), ("F2", 30), ("F1", 20)]
    items = [
        replace(item(near(name), at=None, backlog="env/printer", queued_at=at), function_id=name[0])
        for name, at in waiting
    ]
    other = item("other", at=None, backlog="env/printer 2", queued_at=10)
    await write(store, *(Enqueue(each) for each in (*items, other)))


async def test_holders_see_whether_their_leases_stand_and_were_poked(store: Store):
    await write(store, *(Enqueue(item(name, at=5)) for name in ("r1", "r2", "r3")))
    await write(store, Grant("r1", 7, 90), Grant("r2", 8, 90))
    await write(store, Wake("r2", 6))

    found = await store.read(Standings(("r1", "r2", "r3", "unknown")))

    assert found == {"r1": (7, False), "r2": (8, True), "r3": (0, False)}


async def _due(store: Store) -> list[Any]:
    return [found.id for found in await store.read(DueItems(500, 10, EVERYWHERE))]


async def test_shards_are_found_in_which_something_has_a_moment(store: Store):
    await write(
        store, Enqueue(item("r1", at=500)), Enqueue(item("timer", kind="cron", run_id=None, at=900, place=PLACE))
    )
    await write(store, Enqueue(item("r2", at=300)), Block("r2", "fn/shop-bill"))

    of_run, of_timer = shard_of("r1", store.shards), PLACE % store.shards
    firsts = {of_timer: 900} | {of_run: 500}
    assert sorted(await store.read(NextDues())) == sorted(firsts.items())
    assert await store.read(NextDues(timers_only=True)) == [(of_timer, 900)]

    await write(store, Drop("r1"), Drop("timer", PLACE))

    assert await store.read(NextDues()) == []


async def test_backlogs_are_found_in_which_somebody_waits(store: Store):
    for name, backlog in (("r1", "ready/a"), ("r2", "ready/a"), ("r3", "unserved/b"), ("r4", "ready/ab")):
        await write(store, Enqueue(item(name)), Block(name, backlog))

    names = ("ready/a", "ready/b", "unserved/a", "unserved/b")

    waiting = {(shard_of(name, store.shards), "ready/a") for name in ("r1", "r2")}
    waiting.add((shard_of("r3", store.shards), "unserved/b"))
    assert sorted(await store.read(ShardsWithBacklog(names))) == sorted({shard for shard, _ in waiting})
    for shard in range(store.shards):
        assert {(shard, name) for name in await store.read(Occupied(names, shard))} == {
            found for found in waiting if found[0] == shard
        }
    assert await store.read(ShardsWithBacklog(())) == []
    assert await store.read(ShardsWithBacklog(("ready/ab",))) == [shard_of("r4", store.shards)]
    assert await store.read(ShardsWithBacklog(("ready/aa", "unserved/a"))) == []


async def test_shards_are_found_in_which_a_cell_has_not_expired(store: Store):
    await write(
        store, PutCell(cell("pressure/a", expires_at=500), PLACE), PutCell(cell("press", expires_at=900), PLACE)
    )

    assert await store.read(ShardsWithCell("pressure/", 499)) == [PLACE % store.shards]
    assert await store.read(ShardsWithCell("pressure/", 500)) == []
