"""Conformance: waits and cells."""

from __future__ import annotations

from stepwell.model.changes import CloseWait, CloseWaits, CreateRun, FinishRun, OpenWait, PutCell
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import Children, FindWaits, GetCell, GetWaits, WaitPaths
from stepwell.storage.interface import Store
from tests.storage.nouns import PLACE, cell, count, run, wait, write


async def test_a_wait_is_remembered_with_all_its_fields(store: Store):
    full = wait(kind="cancel", condition="async.data.a == 1", path="data.a", value="1")

    await write(store, OpenWait(full), OpenWait(wait("w0")), OpenWait(wait(run_id="r2")))

    assert await store.read(GetWaits("r1")) == [wait("w0"), full]


async def test_a_wait_that_is_open_already_stays_as_it_is(store: Store):
    await write(store, OpenWait(wait(since=10)), OpenWait(wait(since=11)))

    assert await store.read(GetWaits("r1")) == [wait(since=10)]


async def test_one_wait_is_closed(store: Store):
    await write(store, OpenWait(wait("w1")), OpenWait(wait("w2")), CloseWait("r1", "w1"), CloseWait("r1", "unknown"))

    assert await store.read(GetWaits("r1")) == [wait("w2")]


async def test_all_waits_of_a_run_are_closed(store: Store):
    await write(store, OpenWait(wait("w1")), OpenWait(wait("w2", kind="cancel")), OpenWait(wait(run_id="r2")))

    await write(store, CloseWaits("r1"))

    assert await store.read(GetWaits("r1")) == []
    assert await store.read(GetWaits("r2")) == [wait(run_id="r2")]


async def test_the_paths_of_an_event_name_are_distinct_and_empty_for_waits_without_one(store: Store):
    waits = [
        wait("w1", path="data.b", value="1"),
        wait("w2", path="data.b", value="2"),
        wait("w3", path="data.a", value="1"),
        wait("w4"),
        wait("w5", event_name="other", path="data.c", value="1"),
    ]
    await write(store, *(OpenWait(each) for each in waits))

    assert await store.read(WaitPaths("paid", EVERYWHERE)) == ["", "data.a", "data.b"]
    assert await store.read(WaitPaths("nobody", EVERYWHERE)) == []


async def test_waits_are_found_by_path_and_value(store: Store):
    a, b, plain = wait("a", path="p", value="1"), wait("b", path="p", value="2"), wait("c")
    await write(store, *(OpenWait(each) for each in (a, b, plain, wait("d", event_name="other", path="p", value="1"))))

    assert await store.read(FindWaits("paid", (("p", "1"), ("", "")), 100, EVERYWHERE)) == [a, plain]
    assert await store.read(FindWaits("paid", (("p", "3"), ("q", "1")), 100, EVERYWHERE)) == []


async def test_a_wait_is_found_once_however_often_it_is_probed_for(store: Store):
    await write(store, OpenWait(wait(path="p", value="1")))

    assert await count(store, FindWaits("paid", (("p", "1"), ("p", "1")), 100, EVERYWHERE)) == 1


async def test_an_expired_wait_is_not_found(store: Store):
    await write(store, OpenWait(wait(expires_at=100)))

    assert await count(store, FindWaits("paid", (("", ""),), 99, EVERYWHERE)) == 1
    assert await store.read(FindWaits("paid", (("", ""),), 100, EVERYWHERE)) == []


async def test_a_cell_is_set_and_set_again(store: Store):
    await write(store, PutCell(cell(value="a"), PLACE), PutCell(cell("c2"), PLACE))

    await write(store, PutCell(cell(value="b", expires_at=2_000), PLACE))

    assert await store.read(GetCell("c1", 100, PLACE)) == cell(value="b", expires_at=2_000)


async def test_a_cell_is_as_if_absent_once_it_has_expired(store: Store):
    await write(store, PutCell(cell(expires_at=100), PLACE))

    assert await store.read(GetCell("c1", 99, PLACE)) == cell(expires_at=100)
    assert await store.read(GetCell("c1", 100, PLACE)) is None
    assert await store.read(GetCell("unknown", 0, PLACE)) is None


async def test_children_are_the_unfinished_runs_that_a_run_invoked(store: Store):
    await write(
        store,
        CreateRun(run("r1")),
        CreateRun(run("r2", parent="r1", parent_step="s1")),
        CreateRun(run("r3", parent="r1", parent_step="s2")),
        CreateRun(run("r4", parent="r2", parent_step="s1")),
        FinishRun("r3", "COMPLETED", 20),
    )

    assert [child.id for child in await store.read(Children("r1"))] == ["r2"]
