"""What is remembered of steps and attempts, for people to look at (semantics §4.2, §4.3; F26, F27)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from stepwell import Event, StepError
from stepwell.clock import to_datetime
from stepwell.testing import harness

START = datetime(2026, 1, 1, tzinfo=UTC)  # when a harness begins


def test_every_kind_of_step_is_shown_with_its_kind_in_the_order_of_the_code(app) -> None:
    @app.create_function(id="child")
    async def child(ctx):
        return "child"

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.run("charge", lambda: 1)
        await ctx.step.sleep("rest", "1m")
        await ctx.step.sleep_until("until", ctx.now())
        await ctx.step.wait_for_event("wait", "never", timeout="1m")
        await ctx.step.send_event("tell", Event("told", {}))
        await ctx.step.invoke("ask", child)

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        assert [(step.name, step.kind, step.status) for step in t.run(bill).steps.values()] == [
            ("charge", "run", "COMPLETED"),
            ("rest", "sleep", "COMPLETED"),
            ("until", "sleep", "COMPLETED"),
            ("wait", "waitForEvent", "TIMED_OUT"),
            ("tell", "sendEvent", "COMPLETED"),
            ("ask", "invoke", "COMPLETED"),
        ]


def test_a_step_has_the_moments_of_its_beginning_and_end(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.run("slow", lambda: asyncio.sleep(90))
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("2h")

        slow, rest = (step.record for step in t.run(bill).steps.values())
        assert (to_datetime(slow.started_at), to_datetime(slow.ended_at or 0)) == (START, START + timedelta(seconds=90))
        assert to_datetime(rest.started_at) == START + timedelta(seconds=90)
        assert to_datetime(rest.ended_at or 0) == START + timedelta(hours=1, seconds=90)


def test_every_attempt_is_shown_with_number_moments_error_and_when_the_next_one_comes(app) -> None:
    @app.create_function(id="bill", trigger="ordered", retries=2)
    async def bill(ctx):
        async def charge() -> None:
            await asyncio.sleep(5)
            raise ValueError(f"failure {ctx.attempt}")

        await ctx.step.run("charge", charge)

    with harness(app, retry_interval="1m") as t:
        t.send("ordered", {})
        t.advance("1h")

        assert "attempt 0: ValueError: failure 0, again at 2026-01-01T00:01:05" in t.run(bill).trace()
        assert "attempt 1: ValueError: failure 1, again at 2026-01-01T00:02:10" in t.run(bill).trace()
        assert "attempt 2: ValueError: failure 2\n" in t.run(bill).trace()
        assert t.run(bill).steps["charge"].attempts == 3


def test_a_step_that_succeeds_after_failures_keeps_them(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        def charge() -> str:
            if ctx.attempt < 2:
                raise ValueError(f"failure {ctx.attempt}")
            return "charged"

        return await ctx.step.run("charge", charge)

    with harness(app, retry_interval="1m") as t:
        t.send("ordered", {})
        t.advance("1h")

        step = t.run(bill).steps["charge"]
        assert (step.status, step.attempts, step.output) == ("COMPLETED", 3, "charged")
        assert [error.message for error in step.errors] == ["failure 0", "failure 1"]


def test_the_errors_of_the_code_before_and_after_a_rest_are_all_kept(app) -> None:
    """I24: history has no gaps, although each stretch of code counts its attempts from 0."""
    calls: list[int] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("before")
        await ctx.step.sleep("rest", "1h")
        if len(calls) == 3:
            raise ValueError("after")

    with harness(app, retry_interval="1m") as t:
        t.send("ordered", {})
        t.advance("2h")

        t.assert_completed(t.run(bill))
        assert [error.message for error in t.run(bill).errors] == ["before", "after"]


def test_a_step_that_failed_for_good_is_shown_so_even_if_the_error_was_caught(app) -> None:
    @app.create_function(id="bill", trigger="ordered", retries=0)
    async def bill(ctx):
        def charge() -> None:
            raise ValueError("no card")

        try:
            await ctx.step.run("charge", charge)
        except StepError:
            return "sorry"

    with harness(app) as t:
        t.send("ordered", {})

        step = t.run(bill).steps["charge"]
        assert (step.status, step.output) == ("FAILED", None)
        assert step.error is not None
        assert step.error.message == "no card"
        t.assert_completed(t.run(bill), "sorry")


def test_a_wait_that_timed_out_is_shown_so_and_is_no_error(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.wait_for_event("wait", "never", timeout="1m")

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1m")

        step = t.run(bill).steps["wait"]
        assert (step.status, step.error, step.attempts) == ("TIMED_OUT", None, 0)


def test_steps_in_parallel_are_shown_in_the_order_of_their_results(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.group.parallel(
            [
                ctx.step.run("slow", lambda: asyncio.sleep(30)),
                ctx.step.run("fast", lambda: asyncio.sleep(10)),
                ctx.step.run("middle", lambda: asyncio.sleep(20)),
            ]
        )

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1m")

        steps = sorted(t.run(bill).steps.values(), key=lambda step: step.record.position)
        assert [step.name for step in steps] == ["fast", "middle", "slow"]


def test_a_lost_lease_is_noted(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.run("slow", lambda: asyncio.sleep(60))

    with harness(app) as t:
        t.send("ordered", {})
        t.crash()
        t.advance("2m")

        t.assert_completed(t.run(bill))
        assert "note: the process that ran it died or lost its lease (1 in a row)" in t.run(bill).trace()


def test_what_a_run_waits_for_is_said_in_words(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.sleep("rest", "1h")
        await ctx.step.wait_for_event("wait", "approved", timeout="1h")

    with harness(app) as t:
        t.send("ordered", {})
        assert t.run(bill).waiting_for == "step rest: sleeping until 2026-01-01T01:00:00.000Z"
        t.advance("1h")
        assert t.run(bill).waiting_for == "step wait: waiting for approved until 2026-01-01T02:00:00.000Z"
        t.advance("1h")
        assert t.run(bill).waiting_for is None
