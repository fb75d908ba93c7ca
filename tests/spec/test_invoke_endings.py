"""How an invoked run may end, and what its parent then sees (semantics §5.5; F42)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from stepwell import Event, NonRetriableError, StepError, Stepwell
from stepwell.testing import harness

START = datetime(2026, 1, 1, tzinfo=UTC)  # when a harness begins


def test_the_error_of_a_child_is_raised_in_the_parent_and_can_be_caught(app) -> None:
    @app.create_function(id="child")
    async def child(ctx):
        raise NonRetriableError("no card")

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        try:
            await ctx.step.invoke("ask", child)
        except StepError as error:
            return [error.name, error.message]

    with harness(app) as t:
        t.send("go", {})

        t.assert_completed(t.run(parent), ["NonRetriableError", "no card"])


def test_uncaught_it_fails_the_parent_at_once_and_the_child_is_not_run_again(app) -> None:
    calls: list[int] = []

    @app.create_function(id="child", retries=1)
    async def child(ctx):
        calls.append(ctx.attempt)
        raise ValueError("no card")

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        await ctx.step.invoke("ask", child)

    with harness(app, retry_interval="1m") as t:
        t.send("go", {})
        t.advance("1d")

        t.assert_failed(t.run(parent), "ValueError: no card")
        assert calls == [0, 1]
        assert t.run(parent).ended_at == START + timedelta(minutes=1)


def test_K33_a_child_that_is_cancelled_raises_an_error_that_says_so(app) -> None:
    """K33, I18."""

    @app.create_function(id="child")
    async def child(ctx):
        await ctx.step.sleep("rest", "1h")

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        try:
            await ctx.step.invoke("ask", child)
        except StepError as error:
            return [error.name, error.message]

    with harness(app) as t:
        t.send("go", {})
        assert t.cancel(t.run(child))

        t.assert_completed(t.run(parent), ["InvokeCancelled", "the invoked function shop-child was cancelled"])


def test_after_the_timeout_the_parent_goes_on_with_an_error_and_the_child_runs_on(app) -> None:
    @app.create_function(id="child")
    async def child(ctx):
        await ctx.step.sleep("rest", "1h")
        return "done"

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        try:
            await ctx.step.invoke("ask", child, timeout="10m")
        except StepError as error:
            return error.name

    with harness(app) as t:
        t.send("go", {})
        t.advance("9m59s999ms")
        t.assert_waiting(t.run(parent), "ask")
        t.advance(1)

        t.assert_completed(t.run(parent), "InngestInvokeTimeoutError")
        t.advance("1h")
        t.assert_completed(t.run(child), "done")
        t.assert_completed(t.run(parent), "InngestInvokeTimeoutError")


def test_a_child_that_ends_in_the_moment_of_the_timeout_is_settled_once(app) -> None:
    """I16, race of late result and timeout: whoever commits first; the parent ends either way."""

    @app.create_function(id="child")
    async def child(ctx):
        await ctx.step.sleep("rest", "10m")
        return "done"

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        try:
            return await ctx.step.invoke("ask", child, timeout="10m")
        except StepError as error:
            return error.name

    with harness(app) as t:
        t.send("go", {})
        t.advance("10m")
        t.run_until_idle()

        assert t.run(parent).output in ("done", "InngestInvokeTimeoutError")
        t.assert_completed(t.run(child), "done")


def test_a_timeout_that_passed_while_nothing_ran_comes_at_the_restart(app) -> None:
    """K03: the timeout of an invoke is never lost."""

    @app.create_function(id="child")
    async def child(ctx):
        await ctx.step.sleep("rest", "10d")

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        try:
            await ctx.step.invoke("ask", child, timeout="10m")
        except StepError as error:
            return error.name

    with harness(app) as t:
        t.send("go", {})
        t.crash(down="1h")
        t.run_until_idle()

        t.assert_completed(t.run(parent), "InngestInvokeTimeoutError")


def test_cancelling_the_parent_leaves_its_children_alone(app) -> None:
    @app.create_function(id="child")
    async def child(ctx):
        await ctx.step.sleep("rest", "1h")
        return "done"

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        await ctx.step.invoke("ask", child)

    with harness(app) as t:
        t.send("go", {})
        assert t.cancel(t.run(parent))
        t.advance("1h")

        t.assert_cancelled(t.run(parent))
        t.assert_completed(t.run(child), "done")


def test_a_cancel_of_the_parent_and_the_end_of_the_child_in_one_moment_agree(app) -> None:
    """I16, race of cancel and late result, both orders."""

    @app.create_function(id="child")
    async def child(ctx):
        await ctx.step.sleep("rest", "1h")

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        await ctx.step.invoke("ask", child)

    with harness(app) as t:
        t.send([Event("go", {}), Event("go", {})])
        first, second = t.runs(parent)
        t.advance("59m59s999ms")
        assert t.cancel(first)
        t.advance(1)

        assert not t.cancel(second)
        t.assert_cancelled(first)
        t.assert_completed(second)
        assert [run.status for run in t.runs(child)] == ["COMPLETED", "COMPLETED"]


def test_a_child_that_could_not_be_started_raises_at_once(app) -> None:
    """Semantics §5.5: what is skipped answers its caller, instead of letting it wait for the timeout."""

    @app.create_function(id="child", idempotency="event.data.key")
    async def child(ctx):
        return "done"

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        found = [await ctx.step.invoke("first", child, data={"key": "a"})]
        try:
            await ctx.step.invoke("second", child, data={"key": "a"})
        except StepError as error:
            return [*found, error.name, "shop-child" in error.message]

    with harness(app) as t:
        t.send("go", {})

        t.assert_completed(t.run(parent), ["done", "InvokeSkipped", True])
        assert len(t.runs(child)) == 1


def test_a_function_that_no_app_has_raises_at_once_and_names_it(app) -> None:
    elsewhere = Stepwell("elsewhere")

    @elsewhere.create_function(id="child")
    async def child(ctx):
        pass

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        await ctx.step.run("before", lambda: 1)
        try:
            await ctx.step.invoke("ask", child)
        except StepError as error:
            return error.message

    with harness(app) as t:
        t.send("go", {})

        t.assert_completed(t.run(parent), "could not find function with ID: elsewhere-child")


def test_a_child_whose_run_was_lost_by_a_dead_process_is_finished_by_the_next(app) -> None:
    """Race of restart and result, on both sides of the invoke."""

    @app.create_function(id="child")
    async def child(ctx):
        return await ctx.step.run("slow", lambda: asyncio.sleep(60, "done"))

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        return await ctx.step.invoke("ask", child)

    with harness(app) as t:
        t.send("go", {})
        t.advance("30s")
        t.crash()
        t.advance("2m")

        t.assert_completed(t.run(parent), "done")


@pytest.mark.parametrize("timeout", ["367d", timedelta(days=400)], ids=repr)
def test_a_timeout_of_more_than_366_days_fails_the_run_at_once(app, timeout: object) -> None:
    @app.create_function(id="child")
    async def child(ctx):
        pass

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        await ctx.step.invoke("ask", child, timeout=timeout)

    with harness(app) as t:
        t.send("go", {})

        t.assert_failed(t.run(parent), "InngestErrTimeoutTooLong")
        assert t.runs(child) == []
