"""One call of an async function, as the engine sees it: what is saved in passing, what is answered, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from stepwell import Backoff, Context, Event, RetryAfterError, Stepwell
from stepwell.protocol.messages import Completed, Failed, Memo, Ops, Superseded
from tests.core.sdk.engine import RETRY_MS, RUN_ID, START_MS, Outbox, Run, started


@pytest.fixture
def app() -> Stepwell:
    return Stepwell("shop")


def function(app: Stepwell, **options: Any) -> Callable[[Any], Any]:
    return app.create_function(id="bill", trigger="test/started", **options)


async def turns_until(work: Any) -> int:
    """How often the event loop goes round before this is done."""
    turns = 0
    loop = asyncio.get_running_loop()

    def turn() -> None:
        nonlocal turns
        turns += 1
        handles[0] = loop.call_soon(turn)

    handles = [loop.call_soon(turn)]
    await work
    handles[0].cancel()
    return turns


# Replay --------------------------------------------------------------------------------------------------------------


async def test_known_steps_are_replayed_without_a_turn_of_the_event_loop(app) -> None:
    @function(app)
    async def bill(ctx: Context) -> list[int]:
        return [await ctx.step.run("n", int, n) for n in range(100)]

    run = Run(app, "shop-bill")
    first = await run.call()

    turns = await turns_until(run.call())

    assert turns == 0
    assert first == run.answer == Completed(msgspec.json.encode(list(range(100))))
    assert len(run.ops) == 100


async def test_repetitions_of_an_id_are_numbered_and_hashed_apart(app) -> None:
    @function(app)
    async def bill(ctx: Context) -> None:
        for _ in range(3):
            await ctx.step.run("a", lambda: None)
        await ctx.step.run("a:1", lambda: None)

    run = Run(app, "shop-bill")
    await run.call()

    assert [(op.name, op.repeat) for op in run.ops] == [("a", 0), ("a", 1), ("a", 2), ("a:1", 1)]
    assert len({op.id for op in run.ops}) == 4


async def test_an_id_that_is_used_in_two_branches_fails_for_good(app) -> None:
    @function(app)
    async def bill(ctx: Context) -> None:
        await ctx.group.parallel(ctx.step.run("same", lambda: 1) for _ in range(2))

    answer = await Run(app, "shop-bill").call()

    assert isinstance(answer, Failed)
    assert answer.no_retry
    assert answer.error.name == "ConfigurationError"
    assert "a second step 'same' begins while the first is under way" in answer.error.message


async def test_a_remembered_error_is_raised_without_running_the_body(app) -> None:
    bodies: list[int] = []

    @function(app)
    async def bill(ctx: Context) -> str:
        try:
            await ctx.step.run("a", bodies.append, 1)
        except Exception as error:
            return f"{type(error).__name__} {error}"
        return "no error"

    run = Run(app, "shop-bill", retries=0)
    await run.call()
    (step_id,) = run.memos
    run.memos[step_id] = Memo("error", b'{"name":"KeyError","message":"gone"}')
    await run.call()

    assert run.result() == "StepError KeyError: gone"
    assert bodies == [1]


# The end of a call ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "op"),
    [
        (lambda step: step.sleep("rest", "1h"), ("Sleep", b'{"duration_ms":3600000}')),
        (
            lambda step: step.wait_for_event("rest", "x/y", match="data.id", timeout="1m", lookback="run"),
            (
                "WaitForEvent",
                b'{"event":"x/y","if":"event.data.id == async.data.id","timeout_ms":60000,"lookback":"run"}',
            ),
        ),
    ],
    ids=["sleep", "wait"],
)
async def test_a_rest_in_a_row_is_answered_and_not_saved(app, step: Any, op: tuple[str, bytes]) -> None:
    @function(app)
    async def bill(ctx: Context) -> None:
        await step(ctx.step)

    run = Run(app, "shop-bill")
    saved: list[Any] = []
    run.save = saved.append  # type: ignore[method-assign, assignment]
    answer = await run.call()

    assert isinstance(answer, Ops)
    assert [(found.op, found.opts) for found in answer.ops] == [op]
    assert saved == []


async def test_a_failed_attempt_is_answered_with_the_back_off_of_its_step(app) -> None:
    @function(app)
    async def bill(ctx: Context) -> None:
        await ctx.step.options("a", retries=1, backoff=Backoff.table("2s", "1m")).run(lambda: 1 / 0)

    run = Run(app, "shop-bill")
    answer = await run.call()

    assert isinstance(answer, Ops)
    (op,) = answer.ops
    assert (op.op, op.opts, op.attempt, op.max_attempts) == ("StepError", b'{"backoff_ms":[2000,60000]}', 0, 2)
    assert op.error is not None
    assert op.error.name == "ZeroDivisionError"
    assert run.due == START_MS + 2_000


async def test_an_error_that_names_its_moment_carries_it(app) -> None:
    def busy() -> None:
        raise RetryAfterError("busy", "90s")

    @function(app)
    async def bill(ctx: Context) -> None:
        await ctx.step.run("a", busy)

    run = Run(app, "shop-bill")
    await run.call()

    assert [op.retry_at for op in run.ops] == [START_MS + 90_000]


async def test_branches_are_saved_in_passing_and_the_call_ends_when_only_rests_are_left(app) -> None:
    @function(app)
    async def bill(ctx: Context) -> list[Any]:
        step = ctx.step
        return list(
            await ctx.group.parallel(
                (
                    step.run("work", lambda: 1),
                    step.sleep("rest", "1h"),
                    step.wait_for_event("wait", "x/y", timeout="2h"),
                )
            )
        )

    run = Run(app, "shop-bill")
    answer = await run.call()

    assert answer == Ops(())
    assert sorted(run.said()) == ["Sleep rest", "StepRun work", "WaitForEvent wait"]
    assert await run.to_end() == [1, None, None]
    assert len(run.ops) == 3


async def test_a_rest_that_ends_wakes_its_branch_while_another_works(app) -> None:
    finish = asyncio.Event()
    woken = asyncio.Event()

    async def work() -> str:
        await finish.wait()
        return "worked"

    @function(app)
    async def bill(ctx: Context) -> list[str]:
        async def nap() -> str:
            await ctx.step.sleep("nap", "1h")
            await ctx.step.run("wake", woken.set)
            return "woke"

        return list(await ctx.group.parallel((nap, ctx.step.run("work", work))))

    run = Run(app, "shop-bill")
    call = asyncio.create_task(run.call())
    await started(60)
    run.advance(3_600_000)
    await asyncio.wait_for(woken.wait(), 5)
    finish.set()

    assert await call == Completed(b'["woke","worked"]')
    assert run.calls == 1


# Interruptions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("branches", [False, True], ids=["in a row", "in branches"])
@pytest.mark.parametrize("when", ["before", "in the body"])
async def test_a_call_that_is_superseded_ends_whatever_the_code_catches(app, branches: bool, when: str) -> None:
    bodies: list[str] = []

    async def lose(name: str) -> None:
        bodies.append(name)
        run.lost = True

    @function(app)
    async def bill(ctx: Context) -> str:
        for name in ("a", "b", "c"):
            try:
                if branches:
                    await ctx.group.parallel((ctx.step.run(name, lose, name), ctx.step.sleep(f"{name} rest", 1)))
                else:
                    await ctx.step.run(name, lose, name)
            except BaseException:
                pass
        return "went on"

    run = Run(app, "shop-bill")
    run.lost = when == "before"

    with pytest.raises(Superseded):
        await run.call()
    assert bodies == ([] if when == "before" else ["a"])
    assert run.ops == []


async def test_a_call_that_is_cancelled_from_outside_is_cancelled_and_answers_nothing(app) -> None:
    begun = asyncio.Event()
    undone: list[str] = []

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            undone.append("body")

    @function(app)
    async def bill(ctx: Context) -> None:
        await ctx.group.parallel((ctx.step.run("work", work), ctx.step.sleep("rest", "1h")))

    run = Run(app, "shop-bill")
    call = asyncio.create_task(run.call())
    await begun.wait()
    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    assert undone == ["body"]
    assert "StepError work" not in run.said()


async def test_an_engine_that_stops_does_not_wait_long_for_code_that_takes_its_time_to_end(
    app, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepwell.sdk.drive.STOP_S", 0)
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await ended.wait()

    @function(app)
    async def bill(ctx: Context) -> None:
        asyncio.create_task(ctx.step.run("work", work))  # noqa: RUF006
        await asyncio.Event().wait()

    run = Run(app, "shop-bill")
    run.stopping = True
    call = asyncio.create_task(run.call())
    await begun.wait()
    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(1):
            await asyncio.shield(call)
    assert call.done()
    ended.set()


async def test_a_step_that_is_due_in_a_task_of_a_task_is_come_to_before_the_call_ends(app) -> None:
    attempts: list[int] = []

    async def flaky() -> None:
        attempts.append(len(attempts))
        if len(attempts) == 1:
            raise ValueError("not yet")

    @function(app)
    async def bill(ctx: Context) -> None:
        async def deep(levels: int) -> None:
            await (asyncio.create_task(deep(levels - 1)) if levels else ctx.step.run("flaky", flaky))

        task = asyncio.create_task(deep(3))
        await ctx.step.run("a", started, 10)
        await ctx.step.sleep("rest", "1h")
        await task

    run = Run(app, "shop-bill")
    await run.until_rest()
    run.advance(RETRY_MS)
    await run.call()

    assert attempts == [0, 1]


async def test_code_that_swallows_its_suspension_cannot_begin_another_step(app) -> None:
    @function(app)
    async def bill(ctx: Context) -> None:
        try:
            await ctx.step.sleep("rest", "1h")
        except BaseException:
            await ctx.step.run("never", lambda: 1)

    run = Run(app, "shop-bill")
    answer = await run.call()

    assert isinstance(answer, Ops)
    assert run.said() == ["Sleep rest"]


# Room ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("room", "spare", "most"), [(1, 0, 1), (2, 0, 2), (1, 3, 4), (1, 100, 10)])
async def test_no_more_bodies_run_at_once_than_there_is_room_for_and_than_is_granted(
    app, room: int, spare: int, most: int
) -> None:
    now = peak = 0

    async def work() -> None:
        nonlocal now, peak
        now += 1
        peak = max(peak, now)
        await started(10)
        now -= 1

    @function(app)
    async def bill(ctx: Context) -> int:
        return len(await ctx.group.parallel(ctx.step.run(f"{n}", work) for n in range(10)))

    run = Run(app, "shop-bill", parallel_max=room)
    run.spare = spare
    await run.call()

    assert run.result() == 10
    assert peak == most


async def test_a_branch_that_is_cancelled_before_its_body_may_begin_leaves_its_slot_to_others(app) -> None:
    class Looking(Run):
        """Reads what others did to the run once for ever."""

        async def look(self) -> None:
            if not looking.is_set():
                looking.set()
                await asyncio.Event().wait()
            await super().look()

    looking = asyncio.Event()

    @function(app)
    async def bill(ctx: Context) -> str:
        first = asyncio.ensure_future(ctx.step.run("first", lambda: "first"))
        await looking.wait()
        first.cancel()
        return await ctx.step.run("second", lambda: "second")

    run = Looking(app, "shop-bill", parallel_max=1)
    run.unsure = True
    async with asyncio.timeout(10):
        await run.call()

    assert run.result() == "second"


async def test_a_body_that_takes_too_long_is_stopped_and_its_attempt_has_failed(app) -> None:
    stopped: list[int] = []

    async def hangs() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(1)

    @function(app)
    async def bill(ctx: Context) -> None:
        await ctx.step.options("a", timeout=1, retries=0).run(hangs)

    run = Run(app, "shop-bill")
    await run.call()

    assert run.said() == ["StepFailed a"]
    error = run.ops[0].error
    assert error is not None
    assert (error.name, error.message) == ("StepTimeout", "the body took longer than 0.001 s")
    assert stopped == [1]


async def test_a_timeout_of_the_body_itself_is_an_error_like_any_other(app) -> None:
    async def own() -> None:
        raise TimeoutError("the bank did not answer")

    @function(app)
    async def bill(ctx: Context) -> None:
        await ctx.step.options("a", timeout="1h", retries=0).run(own)

    run = Run(app, "shop-bill")
    await run.call()

    assert run.ops[0].error is not None
    assert run.ops[0].error.message == "the bank did not answer"


# Sending -------------------------------------------------------------------------------------------------------------


async def test_each_attempt_to_send_has_the_seed_of_its_step(app) -> None:
    @function(app)
    async def bill(ctx: Context) -> None:
        for _ in range(2):
            await ctx.step.send_event("tell", Event("x/y", {"n": 1}))

    seeds: list[list[str | None]] = []
    for _ in range(2):
        outbox = Outbox()
        app.bind(outbox)
        await Run(app, "shop-bill").call()
        seeds.append(outbox.seeds)
        app.bind(None)

    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 2
    assert all(seed is not None and seed.startswith(f"{START_MS},") for seed in seeds[0])


async def test_the_idempotency_key_of_a_body_is_its_run_and_its_step(app) -> None:
    @function(app)
    async def bill(ctx: Context) -> str:
        return await ctx.step.run("a", lambda: ctx.step.idempotency_key)

    run = Run(app, "shop-bill")
    await run.call()

    assert run.result() == f"{RUN_ID}-{run.named('a')}"
