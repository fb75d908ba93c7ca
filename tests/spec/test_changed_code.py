"""Code that changes while runs are under way (semantics §4.5; F30)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from stepwell import Stepwell
from stepwell.testing import RunView, harness

Code = Callable[[Any], Awaitable[Any]]


def _app(code: Code, *, strict: bool = False, retries: int = 0) -> Stepwell:
    app = Stepwell("shop")
    app.create_function(id="bill", trigger="ordered", retries=retries, strict=strict)(code)
    return app


def _changed(old: Code, new: Code, *, strict: bool = False, retries: int = 0) -> RunView:
    """What becomes of a run that began with the old code, rested, and went on with the new."""
    with harness(_app(old, retries=retries)) as t:
        t.send("ordered", {})
        t.crash(app=_app(new, strict=strict, retries=retries))
        t.advance("1d")
        run = t.run("bill")
        return _Kept(run)  # type: ignore[return-value]


class _Kept:
    """A run as it was in the end, readable when its harness is gone."""

    def __init__(self, run: RunView) -> None:
        self.status, self.output, self.trace, self.steps = run.status, run.output, run.trace(), list(run.steps)


def _body(bodies: list[str], name: str) -> Callable[[], str]:
    return lambda: bodies.append(name) or name


def test_a_step_added_after_the_rest_is_run(app) -> None:
    bodies: list[str] = []

    async def old(ctx):
        await ctx.step.run("a", _body(bodies, "a"))
        await ctx.step.sleep("rest", "1h")

    async def new(ctx):
        await ctx.step.run("a", _body(bodies, "a"))
        await ctx.step.sleep("rest", "1h")
        return await ctx.step.run("b", _body(bodies, "b"))

    run = _changed(old, new)

    assert (run.status, run.output, bodies) == ("COMPLETED", "b", ["a", "b"])


def test_a_step_added_before_the_rest_is_run_when_it_is_found(app) -> None:
    bodies: list[str] = []

    async def old(ctx):
        await ctx.step.run("a", _body(bodies, "a"))
        await ctx.step.sleep("rest", "1h")

    async def new(ctx):
        await ctx.step.run("b", _body(bodies, "b"))
        await ctx.step.run("a", _body(bodies, "a"))
        await ctx.step.sleep("rest", "1h")

    run = _changed(old, new)

    assert (run.status, bodies) == ("COMPLETED", ["a", "b"])


def test_a_step_that_was_removed_is_forgotten_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    bodies: list[str] = []

    async def old(ctx):
        await ctx.step.run("a", _body(bodies, "a"))
        await ctx.step.run("b", _body(bodies, "b"))
        await ctx.step.sleep("rest", "1h")

    async def new(ctx):
        await ctx.step.run("a", _body(bodies, "a"))
        await ctx.step.sleep("rest", "1h")
        return "new"

    with caplog.at_level(logging.WARNING, "stepwell.shop"):
        run = _changed(old, new)

    assert (run.status, run.output, bodies) == ("COMPLETED", "new", ["a", "b"])
    (record,) = [record for record in caplog.records if record.name == "stepwell.shop"]
    assert "1 remembered step" in record.getMessage()
    assert "was the code changed" in record.getMessage()


def test_a_rest_that_was_removed_does_not_hold_the_run_up_longer_than_it_would_have(app) -> None:
    async def old(ctx):
        await ctx.step.sleep("rest", "1h")

    async def new(ctx):
        return "new"

    run = _changed(old, new)

    assert (run.status, run.output) == ("COMPLETED", "new")


def test_a_step_that_was_renamed_runs_again_under_its_new_name(app) -> None:
    bodies: list[str] = []

    async def old(ctx):
        await ctx.step.run("a", _body(bodies, "a"))
        await ctx.step.sleep("rest", "1h")

    async def new(ctx):
        await ctx.step.run("A", _body(bodies, "A"))
        await ctx.step.sleep("rest", "1h")

    run = _changed(old, new)

    assert (run.status, bodies, run.steps) == ("COMPLETED", ["a", "A"], ["a", "rest", "A"])


def test_steps_that_changed_places_keep_their_results(app) -> None:
    bodies: list[str] = []

    async def old(ctx):
        await ctx.step.run("a", _body(bodies, "a"))
        await ctx.step.run("b", _body(bodies, "b"))
        await ctx.step.sleep("rest", "1h")

    async def new(ctx):
        second = await ctx.step.run("b", _body(bodies, "b"))
        first = await ctx.step.run("a", _body(bodies, "a"))
        await ctx.step.sleep("rest", "1h")
        return [first, second]

    run = _changed(old, new)

    assert (run.status, run.output, bodies) == ("COMPLETED", ["a", "b"], ["a", "b"])
    assert "note: steps come in another order than before: was the code changed" in run.trace


async def _one_after_the_other(ctx):
    for name in ("a", "b"):
        await ctx.step.run(name, lambda: None)
    await ctx.step.sleep("rest", "1h")


async def _other_order(ctx):
    for name in ("b", "a"):
        await ctx.step.run(name, lambda: None)
    await ctx.step.sleep("rest", "1h")


async def _one_more_before(ctx):
    for name in ("new", "a", "b"):
        await ctx.step.run(name, lambda: None)
    await ctx.step.sleep("rest", "1h")


async def _one_less(ctx):
    await ctx.step.run("a", lambda: None)
    await ctx.step.sleep("rest", "1h")


async def _one_more_after(ctx):
    await _one_after_the_other(ctx)
    await ctx.step.run("new", lambda: None)


def _plain(code: Code) -> Callable[[Any], Any]:
    """The same as a plain function."""
    names = {"_other_order": "ba", "_one_more_before": "nab", "_one_less": "a"}.get(code.__name__, "ab")

    def plain(ctx):
        for name in names:
            ctx.step.run(name, lambda: None)
        ctx.step.sleep("rest", "1h")
        if code is _one_more_after:
            ctx.step.run("new", lambda: None)

    return plain


@pytest.mark.parametrize("write", [lambda code: code, _plain], ids=["async", "plain"])
@pytest.mark.parametrize(
    ("code", "said"),
    [
        (_one_after_the_other, None),
        (_one_more_after, None),
        (_other_order, "steps come in another order than before"),
        (_one_more_before, "a new step comes before some that are remembered"),
        (_one_less, "1 remembered step(s) were not asked for"),
    ],
)
def test_a_strict_function_fails_where_another_notes_that_it_has_changed(
    write: Callable[[Code], Any], code: Code, said: str | None
) -> None:
    old = write(_one_after_the_other)

    tolerant = _changed(old, write(code))
    strict = _changed(old, write(code), strict=True)

    assert tolerant.status == "COMPLETED"
    assert ("was the code changed" in tolerant.trace) == (said is not None)
    assert (said or "") in tolerant.trace
    assert strict.status == ("FAILED" if said else "COMPLETED")
    assert said is None or f"CodeChanged: {said}" in strict.trace


def test_of_parallel_branches_nothing_is_said(app) -> None:
    async def old(ctx):
        await asyncio.gather(*(ctx.step.run(name, lambda: None) for name in ("a", "b")))
        await ctx.step.sleep("rest", "1h")

    async def new(ctx):
        await asyncio.gather(*(ctx.step.run(name, lambda: None) for name in ("b", "a")))
        await ctx.step.sleep("rest", "1h")

    run = _changed(old, new, strict=True)

    assert run.status == "COMPLETED"
    assert "note" not in run.trace


async def _nothing() -> None:
    pass


async def _turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def _task_group(ctx: Any) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(ctx.step.run("b", _nothing))
        await ctx.step.run("a", _nothing)
        await ctx.step.sleep("rest", "1h")
        await ctx.step.run("c", _nothing)


async def _awaited_task(ctx: Any) -> None:
    task = asyncio.create_task(ctx.step.run("b", _nothing))
    await ctx.step.run("a", _nothing)
    await ctx.step.sleep("rest", "1h")
    await ctx.step.run("c", _nothing)
    await task


async def _task_that_nobody_awaits(ctx: Any) -> None:
    task = asyncio.create_task(ctx.step.run("b", _nothing))
    await ctx.step.run("a", _nothing)
    await ctx.step.sleep("rest", "1h")
    assert not task.cancelled()


async def _task_with_code_before_its_step(ctx: Any) -> None:
    async def branch() -> None:
        await _turns()
        await ctx.step.run("b", _nothing)

    task = asyncio.create_task(branch())
    for name in ("a1", "a2", "a3"):
        await ctx.step.run(name, _turns)
    await ctx.step.sleep("rest", "1h")
    await ctx.step.run("c", _nothing)
    await task


async def _task_that_is_called_off(ctx: Any) -> None:
    task = asyncio.create_task(ctx.step.run("b", _nothing))
    await ctx.step.run("a", _nothing)
    await ctx.step.sleep("rest", "1h")
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize("strict", [False, True], ids=["tolerant", "strict"])
@pytest.mark.parametrize(
    "code",
    [
        _task_group,
        _awaited_task,
        _task_that_nobody_awaits,
        _task_with_code_before_its_step,
        _task_that_is_called_off,
    ],
)
def test_code_that_is_ahead_of_its_own_tasks_at_a_replay_is_not_taken_for_changed(code: Code, strict: bool) -> None:
    run = _changed(code, code, strict=strict)

    assert run.status == "COMPLETED", run.trace
    assert "note" not in run.trace


def test_tasks_that_a_step_began_do_not_hide_a_change(app) -> None:
    """No step can begin in them, so they are no branches."""
    tasks: list[asyncio.Task[Any]] = []

    async def connect() -> None:
        tasks.append(asyncio.create_task(asyncio.Event().wait()))

    async def old(ctx):
        await ctx.step.run("a", _nothing)
        await ctx.step.sleep("rest", "1h")

    async def new(ctx):
        await ctx.step.sleep("rest", "1h")
        await ctx.step.run("connect", connect)

    run = _changed(old, new)

    assert (run.status, len(tasks)) == ("COMPLETED", 1)
    assert "note: a new step comes before some that are remembered" in run.trace


@pytest.mark.parametrize("strict", [False, True], ids=["tolerant", "strict"])
def test_a_step_that_waits_for_its_next_attempt_does_not_hide_one_that_was_removed(strict: bool) -> None:
    attempts: list[int] = []

    def code(*names: str) -> Code:
        async def bill(ctx):
            def flaky() -> None:
                attempts.append(ctx.attempt)
                if len(attempts) == 1:
                    raise ValueError("not yet")

            for name in names:
                await ctx.step.run(name, _nothing)
            await ctx.step.run("flaky", flaky)

        return bill

    run = _changed(code("a", "b"), code("a"), strict=strict, retries=1)

    assert run.status == ("FAILED" if strict else "COMPLETED")
    assert "1 remembered step(s) were not asked for" in run.trace


def test_a_step_that_waits_for_its_next_attempt_and_is_gone_is_missed_as_well(app) -> None:
    def flaky() -> None:
        raise ValueError("not yet")

    async def old(ctx):
        await ctx.step.run("a", _nothing)
        await ctx.step.run("flaky", flaky)

    async def new(ctx):
        await ctx.step.run("a", _nothing)

    run = _changed(old, new, retries=1)

    assert run.status == "COMPLETED"
    assert "1 remembered step(s) were not asked for" in run.trace


def test_a_rest_that_takes_the_place_of_a_step_that_is_due_is_not_asked_for_again_and_again(app) -> None:
    """The code may be on its way to the step, so a call waits for it a minute; it cannot know that the step is gone."""
    calls: list[str] = []

    def flaky() -> None:
        raise ValueError("not yet")

    async def old(ctx):
        await ctx.step.run("flaky", flaky)

    async def new(ctx):
        calls.append("call")
        assert len(calls) <= 61
        await ctx.step.sleep("rest", "1h")

    run = _changed(old, new, retries=1)

    assert run.status == "COMPLETED"


def test_the_length_of_a_rest_that_has_begun_stays_what_it_was(app) -> None:
    async def old(ctx):
        await ctx.step.sleep("rest", "1h")

    async def new(ctx):
        await ctx.step.sleep("rest", "10d")
        return f"{ctx.now():%H:%M}"

    run = _changed(old, new)

    assert run.output == "01:00"


def test_a_result_that_no_longer_has_the_declared_type_fails_the_run_and_says_what_to_do(app) -> None:
    def number() -> int:
        return 7

    def text() -> str:
        return "seven"

    async def old(ctx):
        await ctx.step.run("a", number)
        await ctx.step.sleep("rest", "1h")

    async def new(ctx):
        await ctx.step.run("a", text)
        await ctx.step.sleep("rest", "1h")

    run = _changed(old, new)

    assert run.status == "FAILED"
    assert "the remembered result of step 'a' has not the declared type" in run.trace
    assert "give the step a new id" in run.trace


def test_a_kind_that_changed_takes_what_is_remembered(app) -> None:
    """Steps are known by their ids alone: a sleep that becomes a body finds the sleep's result."""
    bodies: list[str] = []

    async def old(ctx):
        await ctx.step.sleep("a", "1h")

    async def new(ctx):
        return [await ctx.step.run("a", _body(bodies, "a"))]

    run = _changed(old, new)

    assert (run.status, run.output, bodies) == ("COMPLETED", [None], [])


def test_more_retries_in_the_new_code_count_for_runs_under_way(app) -> None:
    attempts: list[int] = []

    async def code(ctx):
        def charge() -> None:
            attempts.append(ctx.attempt)
            raise ValueError("never")

        await ctx.step.run("charge", charge)

    old, new = Stepwell("shop"), Stepwell("shop")
    old.create_function(id="bill", trigger="ordered", retries=1)(code)
    new.create_function(id="bill", trigger="ordered", retries=3)(code)
    with harness(old, retry_interval="1h") as t:
        t.send("ordered", {})
        t.crash(app=new)
        t.advance("1d")

        t.assert_failed(t.run("bill"), "never")
        assert attempts == [0, 1, 2, 3]


def test_a_function_that_is_gone_keeps_its_runs_for_when_it_comes_back(app) -> None:
    async def code(ctx):
        await ctx.step.sleep("rest", "1h")
        return "billed"

    async def nothing(ctx):
        pass

    other = Stepwell("shop")
    other.create_function(id="other", trigger="other")(nothing)
    with harness(_app(code)) as t:
        t.send("ordered", {})
        (run,) = t.runs()
        t.crash(app=other)
        t.advance("2h")
        assert not run.ended
        t.crash(app=_app(code))
        t.run_until_idle()

        t.assert_completed(run, "billed")
