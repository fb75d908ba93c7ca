"""``concurrency=`` and parallel branches: each branch counts (semantics §7.3, design D22; F63, F43)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stepwell import Event, Stepwell
from stepwell.testing import Harness, harness
from tests.spec.looking import Meter, holders, totals

SLOT = "fn/shop-work"


def go(*keys: int) -> list[Event]:
    return [Event("go", {"key": key}) for key in keys]


def nothing_is_left(t: Harness) -> None:
    """I13."""
    assert (totals(t).live_runs, totals(t).items, totals(t).leased) == (0, 0, 0)
    assert holders(t, SLOT) == []


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 10])
def test_the_branches_of_a_run_count_each(app, limit: int) -> None:
    meter = Meter()

    @app.create_function(id="work", trigger="go", concurrency=limit)
    async def function(ctx):
        await asyncio.gather(*(ctx.step.run(f"branch {n}", meter.work) for n in range(5)))

    with harness(app) as t:
        t.send(go(1))
        t.advance("10m")

        t.assert_completed(t.run(function))
        assert meter.most_in_all == min(limit, 5)
        nothing_is_left(t)


@pytest.mark.parametrize(("before", "after", "most"), [(3, 1, 1), (1, 3, 3), (2, 0, 5)])
def test_branches_of_a_call_that_is_under_way_count_by_the_limit_that_there_is_now(
    app, before: int, after: int, most: int
) -> None:
    meter = Meter()

    def work(app: Stepwell, limit: int) -> Any:
        @app.create_function(id="work", trigger="go", concurrency=limit or None)
        async def function(ctx):
            await ctx.step.run("first", asyncio.sleep, 60)
            await asyncio.gather(*(ctx.step.run(f"branch {n}", meter.work) for n in range(5)))

        return function

    function, later = work(app, before), Stepwell(app.app_id)
    work(later, after)
    with harness(app) as t:
        t.send(go(1))
        t.advance("30s")
        t._do(lambda: t.engine.register(app.app_id, later.configs()))
        t.advance("10m")

        t.assert_completed(t.run(function))
        assert meter.most_in_all == most
        nothing_is_left(t)


def test_a_branch_begins_when_it_gets_its_slot(app) -> None:
    @app.create_function(id="bill", trigger="ordered", concurrency=1)
    async def bill(ctx):
        await asyncio.gather(*(ctx.step.run(f"b{number}", asyncio.sleep, 3) for number in range(3)))

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("10s")

        steps = [step.record for step in t.run(bill).steps.values()]
        assert [(step.ended_at or 0) - step.started_at for step in steps] == [3_000] * 3


def test_branches_of_several_runs_share_the_limit_and_all_end(app) -> None:
    meter = Meter()

    @app.create_function(id="work", trigger="go", concurrency=4)
    async def function(ctx):
        await asyncio.gather(*(ctx.step.run(f"branch {n}", meter.work, ctx.run_id, 1 + n) for n in range(3)))
        await ctx.step.sleep("rest", "1s")
        await asyncio.gather(*(ctx.step.run(f"late {n}", meter.work, ctx.run_id, 3 - n) for n in range(3)))

    with harness(app) as t:
        t.send(go(*range(6)))
        t.advance("10m")

        assert [run.status for run in t.runs(function)] == ["COMPLETED"] * 6
        assert meter.most_in_all == 4
        nothing_is_left(t)


def test_branches_of_a_run_that_is_cancelled_give_their_slots_back(app) -> None:
    meter = Meter()

    @app.create_function(id="work", trigger="go", concurrency=3)
    async def function(ctx):
        await asyncio.gather(*(ctx.step.run(f"branch {n}", meter.work, "x", 600) for n in range(3)))

    with harness(app) as t:
        t.send(go(1))
        t.advance("1s")
        t.send(go(2))
        assert len(holders(t, SLOT)) == 3
        t.cancel(t.runs(function)[0])
        t.run_until_idle()

        assert [run.status for run in t.runs(function)] == ["CANCELLED", "COMPLETED"]
        nothing_is_left(t)


def test_the_branches_of_a_process_that_died_give_their_slots_back(app) -> None:
    meter = Meter()

    @app.create_function(id="work", trigger="go", concurrency=3)
    async def function(ctx):
        await asyncio.gather(*(ctx.step.run(f"branch {n}", meter.work) for n in range(3)))

    with harness(app) as t:
        t.send(go(1, 2))
        t.advance("30s")
        t.crash()
        t.advance("10m")

        assert [run.status for run in t.runs(function)] == ["COMPLETED"] * 2
        nothing_is_left(t)
