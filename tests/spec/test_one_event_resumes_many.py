"""One event resumes any number of waits and runs, and starts functions as well (semantics §5.3; F37)."""

from __future__ import annotations

import pytest

from stepwell import Cancel, Event
from stepwell.testing import harness


@pytest.mark.parametrize("runs", [1, 2, 100])
def test_one_event_resumes_every_run_that_waits_for_it(app, runs: int) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return (await ctx.step.wait_for_event("opening", "opened", timeout="1d")).data["by"]

    with harness(app) as t:
        t.send([Event("ordered", {}) for _ in range(runs)])
        t.send("opened", {"by": "Eve"})

        assert [run.output for run in t.runs(bill)] == ["Eve"] * runs


def test_one_event_resumes_several_waits_of_one_run(app) -> None:
    """K07: all wake in the same tick, and the run goes on once."""
    bodies: list[str] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        found = await ctx.group.parallel(
            [ctx.step.wait_for_event(f"wait {n}", "opened", timeout="1d") for n in range(5)]
        )
        await ctx.step.run("after", lambda: bodies.append("after"))
        return [one.data["by"] for one in found]

    with harness(app) as t:
        t.send("ordered", {})
        t.send("opened", {"by": "Eve"})

        t.assert_completed(t.run(bill), ["Eve"] * 5)
        assert bodies == ["after"]


def test_one_event_resumes_runs_of_several_functions_and_starts_others(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return (await ctx.step.wait_for_event("opening", "opened", timeout="1d")).data

    @app.create_function(id="ship", trigger="ordered")
    async def ship(ctx):
        return (await ctx.step.wait_for_event("opening", "opened", timeout="1d")).data

    @app.create_function(id="greet", trigger="opened")
    async def greet(ctx):
        return ctx.event.data

    with harness(app) as t:
        t.send("ordered", {})
        t.send("opened", {"by": "Eve"})

        for function in (bill, ship, greet):
            t.assert_completed(t.run(function), {"by": "Eve"})


def test_one_event_resumes_only_those_whose_condition_it_meets(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        found = await ctx.step.wait_for_event("opening", "opened", match="data.shop", timeout="1d")
        return found and found.data["shop"]

    with harness(app) as t:
        t.send([Event("ordered", {"shop": n % 3}) for n in range(9)])
        t.send("opened", {"shop": 1})

        assert [run.output for run in t.runs(bill) if run.ended] == [1, 1, 1]
        t.advance("1d")
        assert [run.output for run in t.runs(bill)] == [None, 1, None] * 3


def test_an_event_may_resume_a_run_and_cancel_another(app) -> None:
    @app.create_function(id="bill", trigger="ordered", cancel=Cancel("closed"))
    async def bill(ctx):
        await ctx.step.sleep("rest", "1d")

    @app.create_function(id="count", trigger="ordered")
    async def count(ctx):
        return (await ctx.step.wait_for_event("closing", "closed", timeout="1d")).data

    with harness(app) as t:
        t.send("ordered", {})
        t.send("closed", {"n": 1})

        t.assert_cancelled(t.run(bill))
        t.assert_completed(t.run(count), {"n": 1})


def test_an_event_that_resumes_and_cancels_the_same_run_cancels_it(app) -> None:
    """I16, race of event and cancel in one transaction: settled once, and for good."""

    @app.create_function(id="bill", trigger="ordered", cancel=Cancel("closed"))
    async def bill(ctx):
        return (await ctx.step.wait_for_event("closing", "closed", timeout="1d")).data

    with harness(app) as t:
        t.send("ordered", {})
        t.send("closed", {})
        t.run_until_idle()

        assert t.run(bill).ended
        t.assert_cancelled(t.run(bill))
