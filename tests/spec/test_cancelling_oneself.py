"""Code that cancels the task it runs in has failed; nothing else has."""

from __future__ import annotations

import asyncio

import pytest

from stepwell.testing import harness


@pytest.mark.parametrize("inside_a_step", [False, True])
def test_a_function_that_cancels_its_own_task_has_failed_its_attempts(app, inside_a_step: bool) -> None:
    calls = 0

    async def cancel_oneself() -> None:
        nonlocal calls
        calls += 1
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    @app.create_function(id="bill", trigger="ordered", retries=1)
    async def bill(ctx):
        await (ctx.step.run("cancel", cancel_oneself) if inside_a_step else cancel_oneself())

    with harness(app, retry_interval="1s") as t:
        t.send("ordered", {})
        t.advance("10s")

        t.assert_failed(t.run(bill), "CancelledError: the function's own code cancelled the task it runs in")
        assert "lost its lease" not in t.run(bill).trace()
    assert calls == 2


def test_the_next_attempt_begins_when_nothing_of_the_one_before_goes_on(app) -> None:
    """Not even the body of a step in a branch that takes its time to clean up (I7)."""
    seen: list[str] = []

    async def slow() -> None:
        seen.append("begin")
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(1.5)
            seen.append("end")

    @app.create_function(id="bill", trigger="ordered", retries=1)
    async def bill(ctx):
        branch = asyncio.create_task(ctx.step.run("slow", slow))
        await asyncio.sleep(1)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)
        await branch

    with harness(app, retry_interval="500ms") as t:
        t.send("ordered", {})
        t.advance("1m")

        t.assert_failed(t.run(bill), "CancelledError: the function's own code cancelled the task it runs in")
    assert seen == ["begin", "end"] * 2
