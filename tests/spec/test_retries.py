"""How often things are tried: counters of steps and of the code between them (semantics §6.1; F53, F54)."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepwell import ConfigurationError, StepError
from stepwell.testing import harness

START = datetime(2026, 1, 1, tzinfo=UTC)  # when a harness begins


@pytest.mark.parametrize("failures", range(7))
def test_a_step_is_tried_five_times_by_default(app, failures: int) -> None:
    """Semantics §6.5: k failures for k = 0 … retries + 1 (and one more)."""
    attempts: list[int] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        def charge() -> str:
            attempts.append(ctx.attempt)
            if len(attempts) <= failures:
                raise ValueError(f"failure {len(attempts)}")
            return "charged"

        return await ctx.step.run("charge", charge)

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1d")

        run = t.run(bill)
        assert attempts == list(range(min(failures + 1, 5)))
        assert run.steps["charge"].attempts == len(attempts)
        assert [error.message for error in run.steps["charge"].errors] == [
            f"failure {number}" for number in range(1, min(failures, 5) + 1)
        ]
        if failures < 5:
            t.assert_completed(run, "charged")
        else:
            t.assert_failed(run, "ValueError: failure 5")


@pytest.mark.parametrize("failures", range(7))
def test_the_code_between_steps_is_tried_five_times_by_default(app, failures: int) -> None:
    attempts: list[int] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        attempts.append(ctx.attempt)
        if len(attempts) <= failures:
            raise ValueError(f"failure {len(attempts)}")
        return "billed"

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1d")

        run = t.run(bill)
        assert attempts == list(range(min(failures + 1, 5)))
        assert len(run.errors) == min(failures, 5)
        if failures < 5:
            t.assert_completed(run, "billed")
        else:
            t.assert_failed(run, "ValueError: failure 5")


@pytest.mark.parametrize("retries", [0, 1, 20])
def test_retries_says_how_often_after_the_first(app, retries: int) -> None:
    bodies: list[int] = []

    @app.create_function(id="bill", trigger="ordered", retries=retries)
    async def bill(ctx):
        def charge() -> None:
            bodies.append(ctx.max_attempts)
            raise ValueError("never")

        await ctx.step.run("charge", charge)

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("10d")

        t.assert_failed(t.run(bill), "ValueError: never")
        assert bodies == [retries + 1] * (retries + 1)


@pytest.mark.parametrize("retries", [-1, 21, 2.5, "3", True, None], ids=repr)
def test_retries_that_cannot_be_are_refused_where_they_are_written(app, retries: Any) -> None:
    with pytest.raises(ConfigurationError, match="retries is") as caught:
        app.create_function(id="bill", trigger="ordered", retries=retries)(_nothing)

    assert "0 to 20" in caught.value.why


async def _nothing(ctx) -> None:
    pass


def test_each_step_has_a_counter_of_its_own(app) -> None:
    """K38: the attempts of one step are not those of the next."""
    attempts: dict[str, list[int]] = {"a": [], "b": [], "c": []}

    @app.create_function(id="bill", trigger="ordered", retries=1)
    async def bill(ctx):
        def once_wrong(name: str) -> None:
            attempts[name].append(ctx.attempt)
            if ctx.attempt == 0:
                raise ValueError("not yet")

        for name in attempts:
            await ctx.step.run(name, once_wrong, name)
        return "billed"

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1d")

        t.assert_completed(t.run(bill), "billed")
        assert attempts == {"a": [0, 1], "b": [0, 1], "c": [0, 1]}


def test_code_that_fails_after_a_step_has_its_own_attempts_and_the_step_is_not_run_again(app) -> None:
    story: list[str] = []

    @app.create_function(id="bill", trigger="ordered", retries=2)
    async def bill(ctx):
        def charge() -> None:
            story.append(f"step {ctx.attempt}")
            if ctx.attempt < 2:
                raise ValueError("not yet")

        await ctx.step.run("charge", charge)
        story.append(f"code {ctx.attempt}")
        if ctx.attempt < 2:
            raise ValueError("nor now")
        return "billed"

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1d")

        t.assert_completed(t.run(bill), "billed")
        assert story == ["step 0", "step 1", "step 2", "code 0", "code 1", "code 2"]


def test_progress_gives_the_code_all_its_attempts_back(app) -> None:
    """Semantics §6.1: success resets the counter."""
    calls: list[int] = []

    @app.create_function(id="bill", trigger="ordered", retries=1)
    async def bill(ctx):
        calls.append(ctx.attempt)
        if len(calls) == 1:
            raise ValueError("before the step")
        await ctx.step.run("charge", lambda: None)
        if len(calls) == 2:
            raise ValueError("after the step")
        return "billed"

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1d")

        t.assert_completed(t.run(bill), "billed")


def test_a_step_out_of_attempts_is_progress_as_well(app) -> None:
    calls: list[int] = []

    @app.create_function(id="bill", trigger="ordered", retries=1)
    async def bill(ctx):
        def never() -> None:
            raise ValueError("never")

        calls.append(ctx.attempt)
        if len(calls) == 1:
            raise ValueError("before the step")
        with suppress(StepError):
            await ctx.step.options("charge", retries=0).run(never)
        if len(calls) == 2:
            raise ValueError("after the step")
        return "billed"

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1d")

        t.assert_completed(t.run(bill), "billed")


def test_a_rest_gives_the_code_all_its_attempts_back(app) -> None:
    calls: list[int] = []

    @app.create_function(id="bill", trigger="ordered", retries=1)
    async def bill(ctx):
        calls.append(ctx.attempt)
        if calls == [0]:
            raise ValueError("before the sleep")
        await ctx.step.sleep("rest", "1h")
        if calls == [0, 1, 0]:
            raise ValueError("after the sleep")
        return "billed"

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1d")

        t.assert_completed(t.run(bill), "billed")
        assert calls == [0, 1, 0, 1]


def test_a_step_may_have_retries_of_its_own(app) -> None:
    bodies: list[int] = []

    @app.create_function(id="bill", trigger="ordered", retries=0)
    async def bill(ctx):
        def charge() -> str:
            bodies.append(ctx.attempt)
            if ctx.attempt < 3:
                raise ValueError("not yet")
            return "charged"

        return await ctx.step.options("charge", retries=3).run(charge)

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1d")

        t.assert_completed(t.run(bill), "charged")
        assert bodies == [0, 1, 2, 3]


def test_a_step_may_have_no_retries_in_a_function_that_has(app) -> None:
    bodies: list[int] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        def charge() -> None:
            bodies.append(ctx.attempt)
            raise ValueError("never")

        await ctx.step.options("charge", retries=0).run(charge)

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_failed(t.run(bill), "never")
        assert bodies == [0]


def test_a_restart_between_attempts_neither_spends_nor_gives_one(app) -> None:
    """I6, race of retry and restart: attempts run 0, 1, 2 … without gap or repeat."""
    attempts: list[int] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        def charge() -> None:
            attempts.append(ctx.attempt)
            raise ValueError("never")

        await ctx.step.run("charge", charge)

    with harness(app) as t:
        t.send("ordered", {})
        for _ in range(20):
            t.crash()
            t.advance("1m")
        t.advance("1d")

        t.assert_failed(t.run(bill), "never")
        assert attempts == [0, 1, 2, 3, 4]


def test_a_restart_while_the_code_backs_off_neither_spends_nor_gives_an_attempt(app) -> None:
    attempts: list[int] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        attempts.append(ctx.attempt)
        raise ValueError("never")

    with harness(app) as t:
        t.send("ordered", {})
        for _ in range(20):
            t.crash()
            t.advance("1m")
        t.advance("1d")

        t.assert_failed(t.run(bill), "never")
        assert attempts == [0, 1, 2, 3, 4]


def test_a_cancel_while_backing_off_ends_the_run_and_no_attempt_follows(app) -> None:
    """I18, race of retry and cancel."""
    attempts: list[int] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        def charge() -> None:
            attempts.append(ctx.attempt)
            raise ValueError("never")

        await ctx.step.run("charge", charge)

    with harness(app) as t:
        t.send("ordered", {})
        assert t.cancel(t.run(bill))
        t.crash()
        t.advance("1d")

        t.assert_cancelled(t.run(bill))
        assert attempts == [0]


def test_while_it_backs_off_a_run_is_running_and_says_when_it_goes_on(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        def charge() -> None:
            raise ValueError("not yet")

        await ctx.step.run("charge", charge)

    with harness(app, retry_interval="10m") as t:
        t.send("ordered", {})

        run = t.run(bill)
        assert run.status == "RUNNING"
        assert run.steps["charge"].status == "ERRORED"
        assert run.steps["charge"].due == START + timedelta(minutes=10)
        assert "to be tried again" in str(run.waiting_for)


def test_backing_off_holds_no_slot(app) -> None:
    """I12."""

    @app.create_function(id="bill", trigger="ordered", concurrency=1)
    async def bill(ctx):
        def charge() -> None:
            if ctx.event.data["bad"] and ctx.attempt == 0:
                raise ValueError("not yet")

        await ctx.step.run("charge", charge)

    with harness(app, retry_interval="1h") as t:
        t.send("ordered", {"bad": True})
        t.send("ordered", {"bad": False})
        t.run_until_idle()

        assert [run.status for run in t.runs(bill)] == ["RUNNING", "COMPLETED"]
        t.advance("1h")
        assert [run.status for run in t.runs(bill)] == ["COMPLETED", "COMPLETED"]


def test_an_attempt_remembers_name_message_and_the_users_part_of_the_stack(app) -> None:
    """Semantics §6.5."""

    def deep() -> None:
        raise LookupError("no such card")

    @app.create_function(id="bill", trigger="ordered", retries=0)
    async def bill(ctx):
        await ctx.step.run("charge", lambda: deep())

    with harness(app) as t:
        t.send("ordered", {})

        (error,) = t.run(bill).steps["charge"].errors
        assert (error.name, error.message) == ("LookupError", "no such card")
        assert error.stack is not None
        assert "in deep" in error.stack
        assert "stepwell/sdk" not in error.stack
        assert t.run(bill).error is not None
        assert t.run(bill).error.name == "LookupError"


class Unshowable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Unshowable(), "<Unshowable that cannot be shown>"),
        (ValueError("x" * 100_000), "x" * 1_000),
        (ValueError("\ud800 \x00 😀"), "😀"),
        (StopIteration("stop"), "StopIteration"),
        (asyncio.CancelledError("mine"), "mine"),
        (ExceptionGroup("several", [ValueError("one"), KeyError("two")]), "several"),
        (ValueError(), "ValueError"),
        (KeyError("who"), "who"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_error_of_a_body_is_an_attempt_that_failed_and_nothing_is_lost(
    app, error: BaseException, said: str
) -> None:
    """I27, K54: whatever is raised is contained and shown."""

    @app.create_function(id="bill", trigger="ordered", retries=1)
    async def bill(ctx):
        async def charge() -> str:
            if ctx.attempt == 0:
                raise error
            return "charged"

        return await ctx.step.run("charge", charge)

    with harness(app) as t:
        t.send("ordered", {})
        step = t.run(bill).steps["charge"]
        assert step.error is not None
        assert said in f"{step.error.name}: {step.error.message}"
        t.advance("1m")

        t.assert_completed(t.run(bill), "charged")


def test_a_plain_body_that_raises_stopiteration_is_an_attempt_that_failed(app) -> None:
    @app.create_function(id="bill", trigger="ordered", retries=1)
    async def bill(ctx):
        def charge() -> str:
            return next(iter(["charged"] if ctx.attempt else []))

        return await ctx.step.run("charge", charge)

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1m")

        t.assert_completed(t.run(bill), "charged")


def test_a_plain_body_that_calls_exit_ends_its_attempt_and_not_the_process(app) -> None:
    """I27: the command line of some library, called as a function."""

    @app.create_function(id="bill", trigger="ordered", retries=1)
    async def bill(ctx):
        return await ctx.step.run("charge", lambda: "charged" if ctx.attempt else sys.exit(3))

    with harness(app) as t:
        t.send("ordered", {})
        assert "SystemExit(3)" in t.run(bill).trace()
        t.advance("1m")

        t.assert_completed(t.run(bill), "charged")


def test_except_exception_around_a_step_that_rests_swallows_nothing_of_ours(app) -> None:
    """Design §2.6: what suspends a run is no ``Exception``."""
    caught: list[BaseException] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        def charge() -> str:
            if ctx.attempt == 0:
                raise ValueError("not yet")
            return "charged"

        try:
            await ctx.step.sleep("rest", "1h")
            await ctx.step.wait_for_event("wait", "never", timeout="1h")
            return await ctx.step.run("charge", charge)
        except Exception as error:
            caught.append(error)

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1d")

        t.assert_completed(t.run(bill), "charged")
        assert caught == []


def test_one_step_out_of_attempts_does_not_use_up_those_of_others(app) -> None:
    @app.create_function(id="bill", trigger="ordered", retries=1)
    async def bill(ctx):
        def never() -> None:
            raise ValueError("never")

        def second_time() -> str:
            if ctx.attempt == 0:
                raise ValueError("not yet")
            return "charged"

        try:
            await ctx.step.run("never", never)
        except StepError:
            return await ctx.step.run("charge", second_time)

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1d")

        t.assert_completed(t.run(bill), "charged")


@pytest.mark.parametrize("where", ["body", "function"])
def test_async_code_that_calls_exit_ends_its_attempt_and_not_the_process(app, where: str) -> None:
    """I27."""

    @app.create_function(id="bill", trigger="ordered", retries=1)
    async def bill(ctx):
        async def charge() -> str:
            if where == "body" and ctx.attempt == 0:
                sys.exit("no licence")
            return "charged"

        if where == "function" and ctx.attempt == 0:
            sys.exit("no licence")
        return await ctx.step.run("charge", charge)

    with harness(app, retry_interval="1m") as t:
        t.send("ordered", {})
        assert "no licence" in t.run(bill).trace()
        t.advance("1m")

        t.assert_completed(t.run(bill), "charged")
