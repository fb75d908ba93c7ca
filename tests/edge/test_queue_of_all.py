"""Who works at what, what is to be left alone, and the queue of all functions together."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stepwell import BackpressureError, Concurrency, Event, Stepwell, Throttle
from stepwell.clock import to_ms
from stepwell.engine.registry import Registry
from stepwell.model.changes import CreateRun, Decision, Enqueue, Grant
from stepwell.model.item import Item
from stepwell.model.run import Run
from stepwell.storage.sqlite import SqliteStore
from stepwell.testing import Harness, harness
from stepwell.views.queues.backlogs import all_queues
from stepwell.views.queues.leases import leases
from stepwell.views.queues.pressures import pressures
from stepwell.views.queues.shapes import AllQueuesView, LeaseView, PressureView
from stepwell.views.why import Situation
from tests.edge.test_why import Asking, at_once

NOW = 1_000_000


@pytest.fixture
def app() -> Stepwell:
    return Stepwell("shop")


@pytest.fixture
def store() -> SqliteStore:
    return SqliteStore.inline()


def under_way(t: Harness, limit: int = 10, function_id: str | None = None) -> tuple[list[LeaseView], bool]:
    found: tuple[list[LeaseView], bool] = at_once(
        leases(Asking(t), Situation(now=to_ms(t.now)), limit, function_id=function_id)
    )
    return found


def test_a_call_that_is_under_way_has_a_lease_and_says_until_when(app: Stepwell) -> None:
    @app.create_function(id="long", trigger="go")
    async def long(ctx: Any) -> None:
        await ctx.step.run("work", asyncio.sleep, 60)

    @app.create_function(id="rest", trigger="go")
    async def rest(ctx: Any) -> None:
        await ctx.step.sleep("rest", "1m")

    with harness(app) as t:
        t.send("go")
        found, more = under_way(t)

        (lease,) = found
        assert (lease.run_id, lease.function_id, lease.lapsed, more) == (
            t.runs("long")[0].id,
            "shop-long",
            False,
            False,
        )
        assert lease.since == "2026-01-01T00:00:00.000Z"
        assert "2026-01-01T00:00:00.000Z" < lease.until < "2026-01-01T00:05:00.000Z"
        assert under_way(t, function_id="shop-rest") == ([], False)


async def test_leases_that_have_lapsed_come_first_and_what_is_left_out_is_said(store: SqliteStore) -> None:
    for number, until in enumerate((NOW + 10, NOW - 5, NOW + 20)):
        run = Run(id=f"run-{number}", function_id="shop-work", event_id="e", queued_at=1, scheduled_at=1)
        item = Item(id=run.id, kind="run", function_id="shop-work", at=1)
        await store.commit(Decision((CreateRun(run), Enqueue(item), Grant(run.id, number + 1, until))))

    found, more = await leases(store, Situation(now=NOW), 2)

    assert [(each.run_id, each.lapsed) for each in found] == [("run-1", True), ("run-0", False)]
    assert more


@pytest.mark.parametrize(
    ("options", "control", "value"),
    [
        ({}, None, None),
        ({"concurrency": Concurrency(2)}, None, None),
        ({"concurrency": Concurrency(2, key="event.data.who")}, "concurrency", "ann"),
        ({"concurrency": Concurrency(2, key="event.data.who", scope="env")}, "concurrency", "ann"),
        ({"throttle": Throttle(9, "1s", key="event.data.who")}, "throttle", "ann"),
    ],
    ids=["function", "limit", "limit by key", "shared limit", "throttle"],
)
def test_what_is_left_alone_says_who_asked_for_it_and_until_when(
    app: Stepwell, options: dict[str, Any], control: str | None, value: str | None
) -> None:
    @app.create_function(id="work", trigger="go", **options)
    async def work(ctx: Any) -> None:
        def call() -> None:
            raise BackpressureError("slow down", "1m")

        await ctx.step.run("call", call)

    def look(t: Harness) -> list[PressureView]:
        return at_once(pressures(Asking(t), t.engine.registry, "shop-work", to_ms(t.now), 5))

    with harness(app) as t:
        assert look(t) == []
        t.send("go", {"who": "ann"})

        (found,) = look(t)
        assert (found.control, found.value, found.run_id) == (control, value, t.runs("work")[0].id)
        assert (found.step, found.until) == ("call", "2026-01-01T00:01:00.000Z")
        assert "slow down" in found.message


def test_the_queue_of_all_has_the_deepest_backlogs_of_all(app: Stepwell) -> None:
    for id, limit in (("wide", 3), ("narrow", 1)):

        @app.create_function(id=id, trigger="go", concurrency=Concurrency(limit))
        async def work(ctx: Any) -> None:
            await ctx.step.run("long", asyncio.sleep, 60)

    with harness(app) as t:
        t.send([Event("go") for _ in range(5)])
        situation = Situation(now=to_ms(t.now))
        found: AllQueuesView = at_once(all_queues(Asking(t), t.engine.registry, situation, 1))

        assert {each.function_id: each.blocked.count for each in found.functions} == {"shop-wide": 2, "shop-narrow": 4}
        (deepest,) = found.backlogs
        assert (deepest.function_id, deepest.waiting.count, found.keys.count) == ("shop-narrow", 4, 2)


async def test_without_anything_there_is_an_empty_queue(store: SqliteStore) -> None:
    found = await all_queues(store, Registry(), Situation(now=NOW), 5)

    assert (list(found.functions), found.keys.count, list(found.backlogs)) == ([], 0, [])
