"""Processes that die under the harness, once or at each of their commits."""

from __future__ import annotations

import pytest

from stepwell.sdk.app import Stepwell
from stepwell.sdk.context import Context
from stepwell.sdk.events import Event
from stepwell.testing import Harness, crash_sweep, harness
from tests.spec.test_harness_time import take


def test_a_crash_loses_memory_and_keeps_what_was_written(app):
    bodies: list[str] = []

    @app.create_function(id="bill", trigger="go")
    async def bill(ctx: Context) -> None:
        async def work(name: str, seconds: float) -> None:
            bodies.append(name)
            await take(seconds)

        await ctx.step.run("charge", work, "charge", 0)
        await ctx.step.sleep("pause", "1h")
        await ctx.step.run("mail", work, "mail", 10)

    with harness(app) as t:
        t.send("go")
        t.crash()
        t.advance("1h")
        assert bodies == ["charge", "mail"]

        t.crash()
        t.run_until_idle()

        assert bodies == ["charge", "mail", "mail"], "what was under way is done again, what was saved is not"
        t.assert_completed(t.run(bill))


def test_a_sweep_crashes_a_scenario_at_each_of_its_commits(app):
    bodies: list[str] = []

    @app.create_function(id="bill", trigger="go")
    async def bill(ctx: Context) -> str:
        async def work(name: str) -> str:
            bodies.append(name)
            return name

        receipt = await ctx.step.run("charge", work, "charge")
        await ctx.step.sleep("pause", "1h")
        await ctx.step.run("mail", work, "mail")
        return receipt

    def scenario(t: Harness) -> None:
        bodies.clear()
        t.send("go")
        t.advance("2h")
        t.assert_completed(t.run(bill), "charge")
        assert 2 <= len(bodies) <= 3, "a body that was under way may run again, and no other"

    report = crash_sweep(app, scenario)

    assert report.points > 6
    assert str(report) == f"{report.points} crash points, 0 failures"


def test_a_sweep_names_the_crashes_that_a_scenario_does_not_survive(app):
    charged: list[str] = []

    @app.create_function(id="bill", trigger="go")
    async def bill(ctx: Context) -> None:
        async def charge() -> None:
            charged.append(ctx.run_id)

        await ctx.step.run("charge", charge)

    def scenario(t: Harness) -> None:
        charged.clear()
        t.send("go")
        t.assert_completed(t.run(bill))
        assert len(charged) == 1, "charged twice"

    with pytest.raises(AssertionError, match=r"1 failures\n  crash before commit \d+ \(SaveStep\): charged twice"):
        crash_sweep(app, scenario)


def test_events_of_one_moment_count_apart_where_processes_may_die() -> None:
    """They are sent with a seed, from which the ids of the events of a request count up."""
    app = Stepwell("shop")

    @app.create_function(id="work", trigger="go")
    async def work(ctx: Context) -> None: ...

    with harness(app) as t:
        t.die_when(lambda before, decision: False)
        t.send([Event("go")] * 3)
        t.send(Event("go"))

        assert len(t.runs(work)) == 4


def test_a_process_dies_from_the_moment_on_that_it_is_to() -> None:
    app = Stepwell("shop")

    @app.create_function(id="work", trigger="go")
    async def work(ctx: Context) -> None: ...

    with harness(app) as t:
        asked: list[bool] = []
        t.die_when(lambda before, decision: asked.append(before) or len(asked) == 1)  # type: ignore[func-returns-value]
        t.send("go")

        assert asked[0] is True
        assert len(asked) > 3
        assert [run.status for run in t.runs(work)] == ["COMPLETED"]
