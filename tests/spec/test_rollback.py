"""Undo what was done when a later step fails for good (semantics §6.3; F60)."""

from __future__ import annotations

from contextlib import AsyncExitStack

from stepwell import StepError
from stepwell.testing import harness


def _never() -> None:
    raise ValueError("no stock")


def test_compensating_steps_run_once_and_the_run_fails_with_the_first_error(app) -> None:
    story: list[str] = []

    @app.create_function(id="bill", trigger="ordered", retries=1)
    async def bill(ctx):
        await ctx.step.run("charge", lambda: story.append("charge"))
        try:
            await ctx.step.run("reserve", _never)
        except StepError:
            await ctx.step.run("refund", lambda: story.append("refund"))
            raise

    with harness(app, retry_interval="1s") as t:
        t.send("ordered", {})
        t.advance("1m")

        t.assert_failed(t.run(bill), "ValueError: no stock")
        t.assert_steps(t.run(bill), "charge", "reserve", "refund")
        assert story == ["charge", "refund"]


def test_a_compensation_that_fails_is_tried_again_like_any_step(app) -> None:
    story: list[int] = []

    @app.create_function(id="bill", trigger="ordered", retries=3)
    async def bill(ctx):
        def refund() -> None:
            story.append(ctx.attempt)
            if ctx.attempt < 2:
                raise ValueError("bank is closed")

        try:
            await ctx.step.options("reserve", retries=0).run(_never)
        except StepError:
            await ctx.step.run("refund", refund)
            raise

    with harness(app, retry_interval="1s") as t:
        t.send("ordered", {})
        t.advance("1m")

        t.assert_failed(t.run(bill), "no stock")
        assert story == [0, 1, 2]


def test_a_compensation_may_rest_and_survives_a_restart(app) -> None:
    story: list[str] = []

    @app.create_function(id="bill", trigger="ordered", retries=0)
    async def bill(ctx):
        await ctx.step.run("charge", lambda: story.append("charge"))
        try:
            await ctx.step.run("reserve", _never)
        except StepError:
            await ctx.step.sleep("cool off", "1h")
            await ctx.step.run("refund", lambda: story.append("refund"))
            raise

    with harness(app) as t:
        t.send("ordered", {})
        t.crash()
        t.advance("1h")

        t.assert_failed(t.run(bill), "no stock")
        assert story == ["charge", "refund"]


def test_several_are_undone_in_reverse_order(app) -> None:
    story: list[str] = []

    @app.create_function(id="trip", trigger="booked", retries=0)
    async def trip(ctx):
        undo: list[str] = []
        try:
            for what in ("hotel", "flight", "car"):
                await ctx.step.run(f"book {what}", _never if what == "car" else lambda what=what: story.append(what))
                undo.append(what)
        except StepError:
            for what in reversed(undo):
                await ctx.step.run(f"cancel {what}", lambda what=what: story.append(f"no {what}"))
            return "undone"

    with harness(app) as t:
        t.send("booked", {})

        t.assert_completed(t.run(trip), "undone")
        assert story == ["hotel", "flight", "no flight", "no hotel"]


def test_an_exit_stack_of_compensations_works_if_nothing_rests_inside(app) -> None:
    story: list[str] = []

    @app.create_function(id="trip", trigger="booked", retries=0)
    async def trip(ctx):
        async with AsyncExitStack() as stack:
            await ctx.step.run("book", lambda: story.append("book"))
            stack.push_async_callback(ctx.step.run, "cancel", lambda: story.append("cancel"))
            await ctx.step.run("pay", _never)

    with harness(app) as t:
        t.send("booked", {})

        t.assert_failed(t.run(trip), "no stock")
        assert story == ["book", "cancel"]


def test_a_finally_that_uses_a_step_does_not_run_it_while_the_run_only_rests(app) -> None:
    """What suspends passes through a ``finally``: a step there must wait until the block is really left."""
    story: list[str] = []

    @app.create_function(id="trip", trigger="booked")
    async def trip(ctx):
        await ctx.step.run("open", lambda: story.append("open"))
        try:
            await ctx.step.sleep("rest", "1h")
            await ctx.step.run("work", lambda: story.append("work"))
        finally:
            await ctx.step.run("close", lambda: story.append("close"))

    with harness(app) as t:
        t.send("booked", {})
        assert story == ["open"]
        t.advance("1h")

        t.assert_completed(t.run(trip))
        assert story == ["open", "work", "close"]
