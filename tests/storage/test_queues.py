"""Conformance: what people ask about backlogs, slots and cells, however many there are."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from stepwell.model.changes import Block, DropHeld, Enqueue, Grant, HoldEvent, PutCell, TakeSlots
from stepwell.model.questions import BacklogDepths, BacklogFunctions, ComingItems, HeldIds, ListCells, SlotKeys
from stepwell.storage.interface import Store
from tests.storage.nouns import PLACE, cell, item, write

EVERYTHING = ("", "\x7f")


async def blocked(store: Store, backlogs: Sequence[str]) -> None:
    for number, backlog in enumerate(backlogs):
        await write(store, Enqueue(item(f"r{number}", queued_at=number)), Block(f"r{number}", backlog))


async def test_backlogs_are_listed_by_name_with_their_depth_and_the_place_of_their_first(store: Store):
    await blocked(store, ["fn/b", "fn/a", "fn/b", "fn/b/x", "ready/b"])

    assert await store.read(BacklogDepths(*EVERYTHING, 10, 10)) == [
        ("fn/a", 1, 1),
        ("fn/b", 2, 0),
        ("fn/b/x", 1, 3),
        ("ready/b", 1, 4),
    ]
    assert await store.read(BacklogDepths("fn/b", "fn/b\x01", 10, 10)) == [("fn/b", 2, 0)]
    assert await store.read(BacklogDepths("fn/b/", "fn/b0", 10, 10)) == [("fn/b/x", 1, 3)]
    assert await store.read(BacklogDepths("fn/c", "ready", 10, 10)) == []


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
async def test_no_more_backlogs_are_looked_at_than_asked_for(store: Store, limit: int):
    await blocked(store, ["a", "b", "c"])

    assert [name for name, *_ in await store.read(BacklogDepths(*EVERYTHING, limit, 10))] == ["a", "b", "c"][:limit]


async def test_a_depth_is_counted_no_further_than_asked_for(store: Store):
    await blocked(store, ["a"] * 5)

    assert [await store.read(BacklogDepths(*EVERYTHING, 1, most)) for most in (4, 5, 6)] == [
        [("a", 4, 0)],
        [("a", 5, 0)],
        [("a", 5, 0)],
    ]


async def test_the_first_of_a_backlog_say_whose_they_are(store: Store):
    await blocked(store, ["a", "a", "b", "a"])

    assert await store.read(BacklogFunctions("a", 2)) == ["shop-bill"] * 2
    assert len(await store.read(BacklogFunctions("a", 9))) == 3
    assert await store.read(BacklogFunctions("none", 9)) == []


async def test_what_comes_is_listed_from_a_moment_to_another(store: Store):
    for number, at in enumerate((10, 20, 30, None)):
        await write(store, Enqueue(item(f"r{number}", at=at)))
    await write(store, Grant("r1", 7, 25))

    assert [(each.id, each.at, each.lease) for each in await store.read(ComingItems(10, 30, 9))] == [
        ("r1", 25, 7),
        ("r2", 30, 0),
    ]
    assert [each.id for each in await store.read(ComingItems(-1, 30, 2))] == ["r0", "r1"]
    assert await store.read(ComingItems(30, 99, 9)) == []


async def test_the_keys_of_slots_are_listed_with_how_many_are_taken(store: Store):
    for holder, *keys in (("r0", "fn/a", "fn/a/x"), ("r1", "fn/a"), ("r2", "fn/a"), ("run:r3", "singleton/a/")):
        await write(store, TakeSlots(tuple(keys), holder))

    assert await store.read(SlotKeys(*EVERYTHING, 10, 10)) == [("fn/a", 3), ("fn/a/x", 1), ("singleton/a/", 1)]
    assert await store.read(SlotKeys("fn/", "fn0", 10, 2)) == [("fn/a", 2), ("fn/a/x", 1)]
    assert await store.read(SlotKeys(*EVERYTHING, 1, 10)) == [("fn/a", 3)]
    assert await store.read(SlotKeys("fn/b", "run/", 10, 10)) == []


async def test_cells_are_listed_by_key_without_those_that_have_expired(store: Store):
    for key, expires_at in (("rate/a/x", 100), ("rate/a/y", 50), ("rate/a/z", 101), ("rate/b/x", 100)):
        await write(store, PutCell(cell(key, expires_at=expires_at), PLACE))

    assert [each.key for each in await store.read(ListCells("rate/a/", "rate/a0", 50, 10))] == ["rate/a/x", "rate/a/z"]
    assert [each.key for each in await store.read(ListCells("rate/a/x\x01", "rate/c", 0, 2))] == [
        "rate/a/y",
        "rate/a/z",
    ]


async def test_the_ids_of_held_events_are_listed_by_their_place(store: Store):
    for run_id, place, event_id in (("r1", 1, "e1"), ("r1", 0, "e9"), ("r2", 0, "e2"), ("r1", 1, "e3")):
        await write(store, HoldEvent(run_id, place, event_id))

    assert await store.read(HeldIds("r1")) == ["e9", "e3"]
    await write(store, DropHeld("r1"))
    assert (await store.read(HeldIds("r1")), await store.read(HeldIds("r2"))) == ([], ["e2"])
