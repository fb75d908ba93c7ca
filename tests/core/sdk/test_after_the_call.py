"""When a call is over it is over: nothing of it goes on, and nothing of it is kept."""

from __future__ import annotations

import asyncio
import gc
import threading
from datetime import timedelta
from typing import Any

import pytest

from stepwell import Context, NonRetriableError, StepError, Stepwell, Sync
from tests.core.sdk.engine import Run, started


@pytest.fixture
def app() -> Stepwell:
    return Stepwell("t")


async def one() -> int:
    return 1


async def test_a_branch_that_nobody_awaits_begins_no_step_after_the_end(app) -> None:
    tasks = []

    @app.create_function(id="f", trigger="test/started")
    async def f(ctx: Context) -> str:
        tasks.append(asyncio.create_task(ctx.step.run("late", one)))
        return "done"

    run = Run(app, "t-f")
    assert await run.to_end() == "done"
    await started(10)

    assert run.said() == []
    assert tasks[0].cancelled()


async def test_a_branch_that_nobody_awaits_is_stopped_at_the_end(app) -> None:
    stopped = []

    @app.create_function(id="f", trigger="test/started")
    async def f(ctx: Context) -> str:
        async def body() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                stopped.append("body")

        task = asyncio.create_task(ctx.step.run("endless", body))
        await ctx.step.run("one", one)
        assert not task.done()
        return "done"

    run = Run(app, "t-f")

    assert await run.to_end() == "done"
    assert stopped == ["body"]
    assert run.said() == ["StepRun one"]


async def test_what_a_thread_says_after_its_step_has_timed_out_is_not_kept(app, monkeypatch) -> None:
    monkeypatch.setattr("stepwell.sdk.teller._PAUSE_S", 0.0)
    monkeypatch.setattr("stepwell.sdk.teller._OLD_MS", 0)
    spoken, go_on = threading.Event(), threading.Event()

    @app.create_function(id="f", trigger="test/started")
    async def f(ctx: Context) -> None:
        def body() -> None:
            go_on.wait(10)
            ctx.logger.info("too late")
            spoken.set()

        with pytest.raises(StepError):
            await ctx.step.options("slow", timeout=timedelta(milliseconds=50), retries=0).run(body)
        go_on.set()
        assert await asyncio.to_thread(spoken.wait, 10)
        await started(10)  # it would be told by now

    run = Run(app, "t-f")
    await run.to_end()

    told = [line.text for said in run.kept for line in said.logs.lines]
    reported = [line.text for op in run.ops if op.logs is not None for line in op.logs.lines]
    assert (told, reported) == ([], [])


@pytest.mark.slow
async def test_a_call_that_logs_and_rests_leaves_no_garbage_in_cycles(app) -> None:
    @app.create_function(id="f", trigger="test/started")
    async def f(ctx: Context) -> None:
        ctx.logger.info("begins")
        await ctx.step.run("one", lambda: ctx.logger.info("one"))
        await ctx.step.sleep("night", "8h")

    await Run(app, "t-f").call()  # whatever is made once
    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            await Run(app, "t-f").call()
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.slow
async def test_a_call_that_rests_leaves_no_garbage_in_cycles(app) -> None:
    @app.create_function(id="f", trigger="test/started")
    async def f(ctx: Context) -> None:
        await ctx.step.run("one", one)
        await ctx.step.sleep("night", "8h")

    await Run(app, "t-f").call()  # whatever is made once
    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            await Run(app, "t-f").call()
        assert gc.collect() == 0
    finally:
        gc.enable()


async def test_a_group_that_failed_and_was_caught_does_not_make_a_rest_look_like_a_cancellation(app) -> None:
    # Until Python 3.13 a TaskGroup that cancels its parent while leaving does not take that back.
    @app.create_function(id="f", trigger="test/started")
    async def f(ctx: Context) -> str:
        async def bad() -> None:
            raise NonRetriableError("no")

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(ctx.step.run("bad", bad))
                group.create_task(ctx.step.run("good", one))
        except* StepError:
            pass
        await asyncio.gather(ctx.step.sleep("a", "1h"), ctx.step.sleep("b", "2h"))
        return "done"

    assert await Run(app, "t-f").to_end() == "done"


@pytest.mark.slow
async def test_threads_that_wait_for_one_another_are_not_kept_waiting_by_the_order_of_results(app) -> None:
    @app.create_function(id="f", trigger="test/started")
    def f(ctx: Context[Any, Sync]) -> tuple[int, ...]:
        told = threading.Event()

        def listens() -> int:
            told.wait()
            return ctx.step.run("a", lambda: 1)

        def tells() -> int:
            found = ctx.step.run("b", lambda: 2)
            told.set()
            return found

        both = ctx.group.parallel([listens, tells])
        ctx.step.sleep("night", "8h")
        return both

    assert await Run(app, "t-f").to_end() == [1, 2]
