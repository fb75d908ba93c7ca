"""A wait that nothing answers gives ``None`` (semantics §5.3; F36)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepwell.testing import harness

START = datetime(2026, 1, 1, tzinfo=UTC)  # when a harness begins


@pytest.mark.parametrize(
    "timeout",
    ["1h", timedelta(hours=1), 3_600_000, START + timedelta(hours=1)],
    ids=["text", "timedelta", "ms", "moment"],
)
def test_after_its_timeout_a_wait_gives_none_and_not_before(app, timeout: Any) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return [await ctx.step.wait_for_event("approval", "approved", timeout=timeout)]

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("59m59s999ms")
        t.assert_waiting(t.run(bill), "approval")
        t.advance(1)

        t.assert_completed(t.run(bill), [None])
        assert t.run(bill).steps["approval"].status == "TIMED_OUT"


def test_a_timeout_is_no_error_and_the_run_goes_on(app) -> None:
    @app.create_function(id="bill", trigger="ordered", retries=0)
    async def bill(ctx):
        if await ctx.step.wait_for_event("approval", "approved", timeout="1h") is None:
            return await ctx.step.run("give up", lambda: "nobody approved")
        return "approved"

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill), "nobody approved")
        assert t.run(bill).steps["approval"].attempts == 0


@pytest.mark.parametrize("timeout", [0, "0s", START - timedelta(hours=1)], ids=repr)
def test_a_wait_of_no_length_gives_none_at_once(app, timeout: Any) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return [await ctx.step.wait_for_event("approval", "approved", timeout=timeout)]

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_completed(t.run(bill), [None])
        assert t.run(bill).ended_at == START


def test_a_wait_of_no_length_that_looks_back_is_a_question(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.sleep("rest", "1h")
        found = await ctx.step.wait_for_event("approval", "approved", timeout=0, lookback="run")
        return found and found.data

    with harness(app) as t:
        t.send("ordered", {})
        t.send("approved", {"n": 1})
        t.advance("1h")

        t.assert_completed(t.run(bill), {"n": 1})


def test_an_event_in_the_last_moment_counts_and_one_in_the_moment_of_the_timeout_does_not(app) -> None:
    """I16, race of event and timeout."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return await ctx.step.wait_for_event("approval", "approved", timeout="1h") is not None

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("59m59s999ms")
        t.send("approved", {})
        t.send("ordered", {})
        t.advance("1h")
        t.send("approved", {})
        t.run_until_idle()

        assert [run.output for run in t.runs(bill)] == [True, False]
        assert [run.steps["approval"].status for run in t.runs(bill)] == ["COMPLETED", "TIMED_OUT"]


def test_a_timeout_that_passed_while_nothing_ran_comes_at_the_restart(app) -> None:
    """I15; K02: a wait never loses its timeout."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return [await ctx.step.wait_for_event("approval", "approved", timeout="1h")]

    with harness(app) as t:
        t.send("ordered", {})
        t.crash(down="59m")
        t.assert_waiting(t.run(bill), "approval")
        t.crash(down="1h")
        t.run_until_idle()

        t.assert_completed(t.run(bill), [None])


def test_an_event_after_the_timeout_changes_nothing_even_if_the_run_has_not_gone_on_yet(app) -> None:
    """I16: late result against timeout; the run is held back by its limit when the event comes."""

    @app.create_function(id="bill", trigger="ordered", concurrency=1)
    async def bill(ctx):
        if ctx.event.data.get("block"):
            await ctx.step.run("block", lambda: asyncio.sleep(7_000))
            return "blocked"
        return await ctx.step.wait_for_event("approval", "approved", timeout="1h") is not None

    with harness(app) as t:
        t.send("ordered", {})
        t.send("ordered", {"block": True})
        t.advance("1h30m")
        t.send("approved", {})
        t.advance("1h")

        assert [run.output for run in t.runs(bill)] == [False, "blocked"]


def test_an_event_before_the_timeout_counts_even_if_the_run_goes_on_after_it(app) -> None:
    @app.create_function(id="bill", trigger="ordered", concurrency=1)
    async def bill(ctx):
        if ctx.event.data.get("block"):
            await ctx.step.run("block", lambda: asyncio.sleep(7_000))
            return "blocked"
        return await ctx.step.wait_for_event("approval", "approved", timeout="1h") is not None

    with harness(app) as t:
        t.send("ordered", {})
        t.send("ordered", {"block": True})
        t.advance("30m")
        t.send("approved", {})
        t.advance("2h")

        assert [run.output for run in t.runs(bill)] == [True, "blocked"]


def test_a_cancel_in_the_moment_of_the_timeout_is_decided_once(app) -> None:
    """I16, race of timeout and cancel."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.wait_for_event("approval", "approved", timeout="1h")

    with harness(app) as t:
        t.send("ordered", {})
        t.send("ordered", {})
        first, second = t.runs(bill)
        t.advance("59m59s999ms")
        assert t.cancel(first)
        t.advance(1)

        assert not t.cancel(second)
        t.assert_cancelled(first)
        t.assert_completed(second)


def test_a_wait_may_last_366_days(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return [await ctx.step.wait_for_event("approval", "approved", timeout="366d")]

    with harness(app) as t:
        t.send("ordered", {})
        t.advance(timedelta(days=366))

        t.assert_completed(t.run(bill), [None])
