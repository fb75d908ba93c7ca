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


def _app(code: Code, *, strict: bool = False) -> Stepwell:
    app = Stepwell("shop")
    app.create_function(id="bill", trigger="ordered", retries=0, strict=strict)(code)
    return app


def _changed(old: Code, new: Code, *, strict: bool = False) -> RunView:
    """What becomes of a run that began with the old code, rested, and went on with the new."""
    with harness(_app(old)) as t:
        t.send("ordered", {})
        t.crash(app=_app(new, strict=strict))
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
