"""How much one run may remember (semantics §4.5, §16; F31)."""

from __future__ import annotations

import asyncio

import pytest

from stepwell import EventTooLarge, StepError
from stepwell.limits import ANSWER_BYTES_MAX, RUN_STATE_BYTES_MAX, STEP_BYTES_MAX, STEPS_PER_RUN_MAX
from stepwell.testing import harness

MIB = 1024 * 1024


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["run", "sleep", "parallel"])
def test_a_run_may_have_a_thousand_steps_and_fails_with_one_more(app, kind: str) -> None:
    bodies: list[int] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        steps = ctx.event.data["steps"]
        if kind == "parallel":
            await asyncio.gather(*(ctx.step.run(f"step {n}", lambda: 0) for n in range(steps)))
        elif kind == "run":
            for n in range(steps):
                await ctx.step.run(f"step {n}", lambda n=n: bodies.append(n))
        else:
            for _ in range(steps // 500):
                await ctx.step.sleep("rest", 0)
            for n in range(steps - steps // 500):
                await ctx.step.run(f"step {n}", lambda: 0)
        return steps

    with harness(app) as t:
        t.send("ordered", {"steps": STEPS_PER_RUN_MAX})
        t.send("ordered", {"steps": STEPS_PER_RUN_MAX + 1})
        t.run_until_idle()

        fine, over = t.runs(bill)
        t.assert_completed(fine, 1000)
        t.assert_failed(over, "InngestErrFunctionOverflowed")
        t.assert_failed(over, "more than 1000 steps")
        assert over.errors == []
        assert len(over.steps) == STEPS_PER_RUN_MAX


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["run", "sleep"])
def test_whoever_runs_the_engine_may_set_another_number_of_steps(app, kind: str) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        steps = range(ctx.event.data["steps"])
        if kind == "run":
            for n in steps:
                await ctx.step.run("step", lambda n=n: n)
        else:
            await asyncio.gather(*(ctx.step.sleep(f"rest {n}", "1h") for n in steps))

    with harness(app, max_steps=STEPS_PER_RUN_MAX + 200) as t:
        t.send("ordered", {"steps": STEPS_PER_RUN_MAX + 200})
        t.send("ordered", {"steps": STEPS_PER_RUN_MAX + 201})
        t.advance("1h")

        fine, over = t.runs(bill)
        t.assert_completed(fine)
        t.assert_failed(over, "more than 1200 steps")

    with harness(app, max_steps=2) as t:
        t.send("ordered", {"steps": 2})
        t.send("ordered", {"steps": 3})
        t.advance("1h")

        fine, over = t.runs(bill)
        t.assert_completed(fine)
        t.assert_failed(over, "more than 2 steps")


def test_whoever_runs_the_engine_may_set_another_size_of_events(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return len(ctx.event.data["text"])

    with harness(app, max_event_bytes=3 * MIB) as t:
        t.send("ordered", {"text": "x" * (2 * MIB)})
        t.assert_completed(t.run(bill), 2 * MIB)
        with pytest.raises(EventTooLarge, match="the limit is 3,145,728 bytes"):
            t.send("ordered", {"text": "x" * (3 * MIB)})

    with harness(app, max_event_bytes=100) as t, pytest.raises(EventTooLarge, match="the limit is 100 bytes"):
        t.send("ordered", {"text": "x" * 100})


def test_the_limit_also_holds_over_several_calls(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        for n in range(STEPS_PER_RUN_MAX + 1):
            await ctx.step.run("step", lambda n=n: n)
            if n == 500:
                await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_failed(t.run(bill), "InngestErrFunctionOverflowed")


def test_a_result_of_more_than_four_mebibytes_fails_the_attempt_and_says_how_large_it_is(app) -> None:
    @app.create_function(id="bill", trigger="ordered", retries=1)
    async def bill(ctx):
        text = await ctx.step.run("fits", lambda: "x" * (STEP_BYTES_MAX - 2))
        try:
            await ctx.step.run("too large", lambda: "x" * (STEP_BYTES_MAX - 1))
        except StepError as error:
            return [len(text), error.name, error.message]

    with harness(app, retry_interval="1m") as t:
        t.send("ordered", {})
        t.advance("1h")

        run = t.run(bill)
        t.assert_completed(run)
        assert run.output[:2] == [STEP_BYTES_MAX - 2, "OutputTooLarge"]
        assert str(STEP_BYTES_MAX + 1) in run.output[2]
        assert run.steps["too large"].attempts == 2


@pytest.mark.slow
@pytest.mark.parametrize("parallel", [False, True])
def test_results_of_more_than_thirty_two_mebibytes_together_fail_the_run(app, parallel: bool) -> None:
    bodies: list[int] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        big = [ctx.step.run(f"big {n}", lambda n=n: bodies.append(n) or "x" * (4 * MIB - 2)) for n in range(9)]
        if parallel:
            await ctx.group.parallel(big)
        for step in [] if parallel else big:
            await step

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_failed(t.run(bill), "InngestErrStateOverflowed")
        assert sorted(bodies) == list(range(9))
        assert sum(len(step.record.output or b"") for step in t.run(bill).steps.values()) <= RUN_STATE_BYTES_MAX


def test_a_run_that_broke_a_limit_leaves_others_alone(app) -> None:
    @app.create_function(id="bill", trigger="ordered", concurrency=1)
    async def bill(ctx):
        for _ in range(ctx.event.data["steps"]):
            await ctx.step.run("step", lambda: 0)
        return "billed"

    with harness(app) as t:
        t.send("ordered", {"steps": 1001})
        t.send("ordered", {"steps": 1})
        t.run_until_idle()

        assert [run.output for run in t.runs(bill)] == [None, "billed"]


def test_what_an_invoke_gives_and_gets_has_the_limits_of_a_step(app) -> None:
    @app.create_function(id="child", trigger=None)
    async def child(ctx):
        return "x" * int(ctx.event.data["size"])

    @app.create_function(id="parent", trigger="ordered")
    async def parent(ctx):
        errors = []
        for name, data in (("gives", {"size": 1, "more": "y" * STEP_BYTES_MAX}), ("gets", {"size": STEP_BYTES_MAX})):
            try:
                await ctx.step.invoke(name, child, data=data)
            except StepError as error:
                errors.append(error.name)
        return errors

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_completed(t.run(parent), ["InputTooLarge", "OutputTooLarge"])
        assert len(t.runs(child)) == 1


def test_a_function_that_returns_more_than_eight_mebibytes_has_failed(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return "x" * ANSWER_BYTES_MAX

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_failed(t.run(bill), "OutputTooLarge: the function returned 8388610 bytes; the limit is 8388608")
