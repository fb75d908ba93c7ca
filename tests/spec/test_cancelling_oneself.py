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
