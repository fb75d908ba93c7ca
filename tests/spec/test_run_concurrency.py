"""``run_concurrency=``: so many runs under way, from the first call to the end (semantics §7.3; F64)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from stepwell import Cancel, Concurrency, Event, RunConcurrency, Stepwell, Throttle
from stepwell.testing import Harness, harness
from tests.spec.looking import holders, totals

START = datetime(2026, 1, 1, tzinfo=UTC)


def work(app: Stepwell, places: Any, **more: Any) -> Any:
    @app.create_function(id="work", trigger="go", run_concurrency=places, **more)
    async def work(ctx):
        await ctx.step.sleep("a while", "1h")
        if ctx.event.data.get("fails"):
            raise RuntimeError("as asked")

    return work


def hours(t: Harness, function: Any) -> list[float | None]:
    """When the runs began, in hours."""
    return [(run.started_at - START).total_seconds() / 3600 if run.started_at else None for run in t.runs(function)]


def test_a_run_that_sleeps_keeps_its_place(app) -> None:
    function = work(app, 2)

    with harness(app) as t:
        t.send([Event("go")] * 5)
        t.advance("1d")

        assert hours(t, function) == [0, 0, 1, 1, 2]
        assert (totals(t).items, holders(t, "run/fn/shop-work")) == (0, [])


def test_each_key_has_its_own_places(app) -> None:
    function = work(app, [RunConcurrency(3), RunConcurrency(1, key="event.data.who")])

    with harness(app) as t:
        t.send([Event("go", {"who": who}) for who in "aabbcc"])
        t.advance("1d")

        assert hours(t, function) == [0, 1, 0, 1, 0, 1]


def test_functions_may_share_them(app) -> None:
    shared = RunConcurrency(1, key="'printer'", scope="env")
    first = work(app, shared)

    @app.create_function(id="second", trigger="go", run_concurrency=shared)
    async def second(ctx):
        await ctx.step.sleep("a while", "1h")

    with harness(app) as t:
        t.send("go")
        t.advance("1d")

        assert sorted([*hours(t, first), *hours(t, second)]) == [0, 1]


@pytest.mark.parametrize("ending", ["failed", "cancelled", "cancelled by an event"])
def test_the_place_is_free_however_the_run_ended(app, ending: str) -> None:
    """I13."""
    function = work(app, 1, retries=0, cancel=Cancel("stop"))

    with harness(app) as t:
        t.send("go", {"fails": True})
        t.advance("30m")
        if ending == "cancelled":
            t.cancel(t.run(function))
        elif ending != "failed":
            t.send("stop")
        t.send("go")
        t.advance("1h")

        assert t.runs(function)[1].started_at is not None


def test_a_run_that_is_cancelled_before_it_began_had_no_place(app) -> None:
    function = work(app, 1)

    with harness(app) as t:
        t.send([Event("go")] * 3)
        t.cancel(t.runs(function)[1])
        t.advance("30m")
        assert hours(t, function) == [0, None, None]
        t.advance("1h")

        assert hours(t, function) == [0, None, 1]


def test_it_holds_after_a_crash_and_beside_other_rules(app) -> None:
    function = work(app, 1, concurrency=Concurrency(1), throttle=Throttle(1, "1m", burst=0))

    with harness(app) as t:
        t.send([Event("go")] * 3)
        t.crash()
        t.advance("1d")

        assert hours(t, function) == [0, 1, 2]
        assert totals(t).items == 0


def test_a_higher_limit_holds_at_once(app) -> None:
    work(app, 1)
    wider = Stepwell("shop")
    function = work(wider, 3)

    with harness(app) as t:
        t.send([Event("go")] * 3)
        t.advance("6m")
        t.crash(app=wider)
        t.advance("1m")

        assert hours(t, function) == [0, 0.1, 0.1]
