"""``StepError``: a step is out of attempts, and the function may go on (semantics §6.3; F59)."""

from __future__ import annotations

import asyncio

import pytest

from stepwell import StepError
from stepwell.testing import harness


def _decline() -> None:
    raise LookupError("no such card")


def test_a_step_out_of_attempts_raises_at_its_place_and_can_be_caught(app) -> None:
    caught: list[StepError] = []

    @app.create_function(id="bill", trigger="ordered", retries=1)
    async def bill(ctx):
        try:
            await ctx.step.run("charge", _decline)
        except StepError as error:
            caught.append(error)
            return await ctx.step.run("mail", lambda: "sorry")

    with harness(app, retry_interval="1s") as t:
        t.send("ordered", {})
        t.advance("1m")

        t.assert_completed(t.run(bill), "sorry")
        (error,) = caught
        assert (error.name, error.message) == ("LookupError", "no such card")
        assert str(error) == "LookupError: no such card"
        assert error.stack is not None
        assert "_decline" in error.stack


def test_it_is_raised_again_by_every_replay_and_the_body_is_not_run_again(app) -> None:
    bodies: list[int] = []
    caught: list[str] = []

    @app.create_function(id="bill", trigger="ordered", retries=0)
    async def bill(ctx):
        try:
            await ctx.step.run("charge", lambda: bodies.append(1) or _decline())
        except StepError as error:
            caught.append(str(error))
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send("ordered", {})
        t.crash()
        t.advance("1h")

        t.assert_completed(t.run(bill))
        assert bodies == [1]
        assert caught == ["LookupError: no such card"] * 2


def test_uncaught_it_fails_the_run_at_once_with_the_error_of_the_step(app) -> None:
    calls: list[int] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        calls.append(ctx.attempt)
        await ctx.step.options("charge", retries=0).run(_decline)

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1d")

        t.assert_failed(t.run(bill), "LookupError: no such card")
        assert calls == [0]


def test_another_error_raised_in_its_place_is_tried_again_like_any_other(app) -> None:
    @app.create_function(id="bill", trigger="ordered", retries=1)
    async def bill(ctx):
        try:
            await ctx.step.options("charge", retries=0).run(_decline)
        except StepError as error:
            raise RuntimeError("wrapped") from error

    with harness(app, retry_interval="1s") as t:
        t.send("ordered", {})
        assert not t.run(bill).ended
        t.advance("1m")

        t.assert_failed(t.run(bill), "RuntimeError: wrapped")


def test_an_except_exception_catches_it_too(app) -> None:
    @app.create_function(id="bill", trigger="ordered", retries=0)
    async def bill(ctx):
        try:
            await ctx.step.run("charge", _decline)
        except Exception as error:
            return type(error).__name__

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_completed(t.run(bill), "StepError")


def test_finally_runs_in_every_call_that_leaves_the_block(app) -> None:
    """Code outside of steps is repeated: so is a ``finally``, also when the run only rests."""
    story: list[str] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        try:
            await ctx.step.sleep("rest", "1h")
        finally:
            story.append("finally")

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill))
        assert story == ["finally", "finally"]


@pytest.mark.parametrize("way", ["parallel", "gather", "TaskGroup"])
def test_of_parallel_branches_one_may_fail_and_be_caught(app, way: str) -> None:
    @app.create_function(id="bill", trigger="ordered", retries=0)
    async def bill(ctx):
        steps = [ctx.step.run("charge", _decline), ctx.step.run("mail", lambda: "sent")]
        try:
            if way == "parallel":
                await ctx.group.parallel(steps)
            elif way == "gather":
                await asyncio.gather(*steps)
            else:
                async with asyncio.TaskGroup() as group:
                    for step in steps:
                        group.create_task(step)
        except (StepError, ExceptionGroup) as error:
            return type(error).__name__

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_completed(t.run(bill), "ExceptionGroup" if way == "TaskGroup" else "StepError")


def test_an_uncaught_group_of_step_errors_fails_the_run_at_once(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.step.options("a", retries=0).run(_decline))
            group.create_task(ctx.step.options("b", retries=0).run(_decline))

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_failed(t.run(bill), "no such card")


def test_a_group_tells_what_its_members_say(app) -> None:
    @app.create_function(id="bill", trigger="ordered", retries=0)
    async def bill(ctx):
        same, another = LookupError("no such card"), LookupError("no such card")
        raise ExceptionGroup("several", [same, another, ValueError("no such shop"), KeyError("a"), KeyError("b")])

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_failed(t.run(bill), "LookupError: no such card; ValueError: no such shop; KeyError: 'a'; …")
