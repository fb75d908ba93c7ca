"""Nobody waits for all that another has to do (semantics §7.11; F75)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from stepwell import Event, Priority, Stepwell
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import Backlogs
from stepwell.testing import Harness, harness
from tests.spec.looking import totals

START = datetime(2026, 1, 1, tzinfo=UTC)


def work(app: Stepwell, id: str, **more: Any) -> Any:
    """A function that is busy for a minute."""

    @app.create_function(id=id, trigger=id, **more)
    async def work(ctx):
        await ctx.step.run("busy", asyncio.sleep, 60)

    return work


def minutes(t: Harness, function: Any) -> list[float]:
    return [(run.started_at - START).total_seconds() / 60 for run in t.runs(function) if run.started_at]


def test_one_run_does_not_wait_for_the_backlog_of_another_function(app) -> None:
    many, one = work(app, "many"), work(app, "one")

    with harness(app, concurrency=2) as t:
        t.send([Event("many")] * 100)
        t.advance("30s")
        t.send("one")
        t.advance("2h")

        assert minutes(t, one) == [1]
        assert max(minutes(t, many)) == 50


def test_functions_take_turns(app) -> None:
    first, second, third = (work(app, id) for id in ("first", "second", "third"))

    with harness(app, concurrency=3) as t:
        t.send([Event("first")] * 30 + [Event("second")] * 30 + [Event("third")] * 6)
        t.advance("2h")

        # While all three have something to do each gets its third, and then the others share what is free.
        assert max(minutes(t, third)) <= 12
        assert abs(max(minutes(t, first)) - max(minutes(t, second))) <= 5


def test_runs_of_a_function_go_in_their_order(app) -> None:
    order: list[int] = []

    @app.create_function(id="many", trigger="many", priority=Priority("event.data.n == 7 ? 60 : 0"))
    async def many(ctx):
        order.append(ctx.event.data["n"])
        await ctx.step.run("busy", asyncio.sleep, 60)

    with harness(app, concurrency=1) as t:
        t.send([Event("many", {"n": n}) for n in range(10)])
        t.advance("1h")

        assert order == [0, 7, 1, 2, 3, 4, 5, 6, 8, 9]


def test_what_slept_goes_on_although_others_wait_for_room(app) -> None:
    many = work(app, "many")

    @app.create_function(id="sleeper", trigger="sleeper")
    async def sleeper(ctx):
        await ctx.step.sleep("rest", "90s")
        await ctx.step.run("busy", asyncio.sleep, 60)

    with harness(app, concurrency=2) as t:
        t.send("sleeper")
        t.send([Event("many")] * 60)
        t.advance("5m")

        assert t.run(sleeper).status == "COMPLETED"
        assert len(minutes(t, many)) < 60


def test_what_waited_for_room_is_there_after_a_crash(app) -> None:
    many = work(app, "many")

    with harness(app, concurrency=2) as t:
        t.send([Event("many")] * 10)
        t.crash()
        t.advance("1h")

        assert {run.status for run in t.runs(many)} == {"COMPLETED"}
        assert t.ask(Backlogs("ready/", 10, EVERYWHERE)) == []
        assert totals(t).items == 0
