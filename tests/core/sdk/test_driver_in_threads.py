"""One call of a plain function, as the engine sees it: the same ops and answers as of an async one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from stepwell import Context, Stepwell, Sync
from stepwell.protocol.messages import Completed, Failed, Ops, Superseded
from stepwell.sdk.pool import Pool
from tests.core.sdk.engine import Run

Plain = Context[dict[str, Any], Sync]


@pytest.fixture
def app() -> Stepwell:
    return Stepwell("shop")


def function(app: Stepwell) -> Callable[[Any], Any]:
    return app.create_function(id="bill", trigger="test/started")


async def test_a_rest_in_a_row_is_answered_and_not_saved(app) -> None:
    @function(app)
    def bill(ctx: Plain) -> str:
        number = ctx.step.run("a", lambda: 1)
        ctx.step.sleep("rest", "1h")
        return f"done {number}"

    run = Run(app, "shop-bill")
    answer = await run.call()

    assert isinstance(answer, Ops)
    assert run.said() == ["StepRun a", "Sleep rest"]
    assert await run.to_end() == "done 1"


async def test_an_id_that_is_used_in_two_branches_fails_for_good(app) -> None:
    loop, release, begun = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    async def work() -> None:
        begun.set()
        await release.wait()

    @function(app)
    def bill(ctx: Plain) -> None:
        def second() -> None:
            assert begun.wait(5)
            try:
                ctx.step.run("same", lambda: 2)
            finally:
                loop.call_soon_threadsafe(release.set)

        ctx.group.parallel([lambda: ctx.step.run("same", work), second])

    run = Run(app, "shop-bill")
    answer = await run.call()

    assert isinstance(answer, Failed)
    assert answer.no_retry
    assert "a second step 'same' begins while the first is under way" in answer.error.message
    assert run.said() == ["StepRun same"]


async def test_branches_that_only_rest_are_saved_and_end_the_call(app) -> None:
    @function(app)
    def bill(ctx: Plain) -> list[Any]:
        return list(
            ctx.group.parallel(
                (
                    lambda: ctx.step.sleep("rest", "1h"),
                    lambda: ctx.step.wait_for_event("wait", "x/y", timeout="2h"),
                    lambda: ctx.step.run("work", lambda: 1),
                )
            )
        )

    run = Run(app, "shop-bill")
    answer = await run.call()

    assert answer == Ops(())
    assert sorted(run.said()) == ["Sleep rest", "StepRun work", "WaitForEvent wait"]
    assert await run.to_end() == [None, None, 1]


@pytest.mark.parametrize("swallows", [False, True])
async def test_a_call_that_is_superseded_ends_whatever_the_code_catches(app, swallows: bool) -> None:
    bodies: list[str] = []

    def lose(name: str) -> None:
        bodies.append(name)
        run.lost = True

    @function(app)
    def bill(ctx: Plain) -> str:
        for name in ("a", "b"):
            try:
                ctx.step.run(name, lose, name)
            except BaseException:
                if not swallows:
                    raise
        return "went on"

    run = Run(app, "shop-bill")

    with pytest.raises(Superseded):
        await run.call()
    assert bodies == ["a"]
    assert run.ops == []


async def test_a_call_that_is_cancelled_from_outside_unwinds_the_thread(app) -> None:
    begun = asyncio.Event()
    unwound = threading.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    @function(app)
    def bill(ctx: Plain) -> None:
        try:
            ctx.step.run("work", work)
        finally:
            unwound.set()

    run = Run(app, "shop-bill")
    call = asyncio.create_task(run.call())
    await begun.wait()
    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    assert unwound.is_set()
    assert run.ops == []


async def test_results_are_read_by_their_annotation_at_first_and_in_every_replay(app) -> None:
    seen: list[object] = []

    def numbers() -> set[int]:
        return {1, 2}

    @function(app)
    def bill(ctx: Plain) -> int:
        seen.append(ctx.step.run("numbers", numbers))
        return len(seen)

    run = Run(app, "shop-bill")
    first, second = await run.call(), await run.call()

    assert seen == [{1, 2}, {1, 2}]
    assert (first, second) == (Completed(b"1"), Completed(b"2"))


class _Full(Pool):
    """The one thread is busy until ``free()``; ``asked`` is set when somebody waits for it."""

    def __init__(self) -> None:
        super().__init__(1)
        self.asked = asyncio.Event()
        self._gate = threading.Event()
        super().submit(lambda: self._gate.wait(20))

    def submit(self, job: Callable[[], None]) -> None:
        super().submit(job)
        self.asked.set()

    def free(self) -> None:
        self._gate.set()


@pytest.mark.parametrize("unnoticed", [False, True])
@pytest.mark.parametrize("what", ["a step", "a plain function"])
async def test_what_waited_for_a_thread_does_not_begin_once_the_run_is_lost(app, what: str, unnoticed: bool) -> None:
    """I18: a cancel that was acknowledged meanwhile holds."""
    begun: list[str] = []

    @app.create_function(id="async", trigger="test/started")
    async def of_async(ctx: Context[Any]) -> None:
        await ctx.step.run("charge", lambda: begun.append("step"))

    @function(app)
    def bill(ctx: Plain) -> None:
        begun.append("function")

    run = Run(app, "shop-async" if what == "a step" else "shop-bill")
    pool = run.transport.pool = _Full()
    call = asyncio.create_task(run.call())
    await pool.asked.wait()

    run.lost, run.lost_unnoticed, run.unsure = not unnoticed, True, unnoticed
    pool.free()

    with pytest.raises(Superseded):
        await call
    assert begun == []


@pytest.mark.parametrize("what", ["a step", "a plain function"])
async def test_what_waited_for_a_thread_begins_if_a_look_finds_nothing_wrong(app, what: str) -> None:
    @app.create_function(id="async", trigger="test/started")
    async def of_async(ctx: Context[Any]) -> str:
        return await ctx.step.run("charge", lambda: "charged")

    @function(app)
    def bill(ctx: Plain) -> str:
        return "charged"

    run = Run(app, "shop-async" if what == "a step" else "shop-bill")
    pool = run.transport.pool = _Full()
    call = asyncio.create_task(run.call())
    await pool.asked.wait()

    run.unsure = True
    pool.free()

    assert await call == Completed(b'"charged"')
    assert not run.unsure


async def test_a_body_that_waited_for_a_thread_beyond_its_timeout_does_not_begin_later(app) -> None:
    begun: list[str] = []

    @app.create_function(id="async", trigger="test/started", retries=0)
    async def of_async(ctx: Context[Any]) -> str:
        await ctx.step.options("charge", timeout="1ms").run(lambda: begun.append("charge"))
        return "charged"

    run = Run(app, "shop-async")
    pool = run.transport.pool = _Full()

    await run.call()
    pool.free()
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    pool.submit(lambda: loop.call_soon_threadsafe(done.set) and None)
    await done.wait()
    assert begun == []
