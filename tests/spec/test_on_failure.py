"""``on_failure``: called once when a run has failed for good (semantics §6.4; F61)."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell import Cancel, ConfigurationError, Context, NonRetriableError, RunFailed, TriggerEvent
from stepwell.testing import harness


def test_the_handler_is_called_once_with_the_run_its_error_and_its_event(app) -> None:
    seen: list[dict[str, Any]] = []

    async def apologise(ctx: Context[RunFailed]) -> str:
        failed = ctx.event.data
        seen.append(
            {
                "run": failed.run_id,
                "function": failed.function_id,
                "error": (failed.error.name, failed.error.message),
                "event": failed.event["data"],
            }
        )
        return "sorry"

    @app.create_function(id="bill", trigger="ordered", retries=1, on_failure=apologise)
    async def bill(ctx):
        raise ValueError("no card")

    with harness(app, retry_interval="1s") as t:
        t.send("ordered", {"n": 1})
        assert seen == []
        t.advance("1m")

        run = t.run(bill)
        t.assert_failed(run, "no card")
        assert seen == [{"run": run.id, "function": "shop-bill", "error": ("ValueError", "no card"), "event": {"n": 1}}]
        t.assert_completed(t.run("bill-failure"), "sorry")


def test_a_step_that_fails_the_run_is_the_error_the_handler_sees(app) -> None:
    seen: list[str] = []

    async def apologise(ctx: Context[RunFailed]) -> None:
        seen.append(f"{ctx.event.data.error.name}: {ctx.event.data.error.message}")

    @app.create_function(id="bill", trigger="ordered", retries=0, on_failure=apologise)
    async def bill(ctx):
        def charge() -> None:
            raise LookupError("no card")

        await ctx.step.run("charge", charge)

    with harness(app) as t:
        t.send("ordered", {})

        assert seen == ["LookupError: no card"]


def test_the_handler_may_use_steps_and_rest(app) -> None:
    story: list[str] = []

    async def apologise(ctx: Context[RunFailed]) -> None:
        await ctx.step.run("mail", lambda: story.append("mail"))
        await ctx.step.sleep("rest", "1h")
        await ctx.step.run("call", lambda: story.append("call"))

    @app.create_function(id="bill", trigger="ordered", retries=0, on_failure=apologise)
    async def bill(ctx):
        raise ValueError("no card")

    with harness(app) as t:
        t.send("ordered", {})
        t.crash()
        t.advance("1h")

        t.assert_completed(t.run("bill-failure"))
        assert story == ["mail", "call"]


def test_each_function_has_its_own_handler_and_only_that_is_called(app) -> None:
    story: list[str] = []

    async def first(ctx: Context[RunFailed]) -> None:
        story.append("first")

    async def second(ctx: Context[RunFailed]) -> None:
        story.append("second")

    @app.create_function(id="a", trigger="ordered", retries=0, on_failure=first)
    async def a(ctx):
        raise ValueError("a")

    @app.create_function(id="b", trigger="paid", retries=0, on_failure=second)
    async def b(ctx):
        raise ValueError("b")

    with harness(app) as t:
        t.send("paid", {})

        assert story == ["second"]


@pytest.mark.parametrize("ending", ["completed", "cancelled", "cancelled by event"])
def test_it_is_not_called_for_a_run_that_completed_or_was_cancelled(app, ending: str) -> None:
    story: list[str] = []

    async def apologise(ctx: Context[RunFailed]) -> None:
        story.append("sorry")

    @app.create_function(id="bill", trigger="ordered", on_failure=apologise, cancel=Cancel("closed"))
    async def bill(ctx):
        if ending != "completed":
            await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send("ordered", {})
        if ending == "cancelled":
            assert t.cancel(t.run(bill))
        elif ending == "cancelled by event":
            t.send("closed", {})
        t.advance("2h")

        assert t.run(bill).ended
        assert story == []
        assert t.runs("bill-failure") == []


def test_a_handler_that_fails_is_a_failed_run_and_triggers_nothing(app) -> None:
    calls: list[int] = []

    async def apologise(ctx: Context[RunFailed]) -> None:
        calls.append(ctx.max_attempts)
        raise ValueError("no mail server")

    @app.create_function(id="bill", trigger="ordered", retries=0, on_failure=apologise)
    async def bill(ctx):
        raise ValueError("no card")

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1d")

        t.assert_failed(t.run("bill-failure"), "no mail server")
        assert calls == [1]
        assert len(t.runs()) == 2


def test_K08_the_handler_is_started_by_the_commit_that_ends_the_run(app) -> None:
    """K08, K09, I9: a restart at that moment neither loses nor repeats it."""
    story: list[str] = []

    async def apologise(ctx: Context[RunFailed]) -> None:
        await ctx.step.run("mail", lambda: story.append("mail"))

    @app.create_function(id="bill", trigger="ordered", on_failure=apologise)
    async def bill(ctx):
        await ctx.step.sleep("rest", "1h")
        raise NonRetriableError("no card")

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")
        for _ in range(3):
            t.crash()
            t.advance("1h")

        assert len(t.runs("bill-failure")) == 1
        assert story == ["mail"]


def test_any_function_may_look_after_the_failures_of_all_others(app) -> None:
    """Semantics §6.4: the generic form."""
    seen: list[str] = []

    @app.create_function(id="watch", trigger=TriggerEvent(RunFailed))
    async def watch(ctx: Context[RunFailed]):
        seen.append(ctx.event.data.function_id)

    for name in ("a", "b"):

        @app.create_function(id=name, trigger="ordered", retries=0)
        async def fail(ctx):
            raise ValueError("no")

    with harness(app) as t:
        t.send("ordered", {})

        assert sorted(seen) == ["shop-a", "shop-b"]


def test_a_run_that_a_limit_of_ours_ended_is_a_failure_as_well(app) -> None:
    seen: list[str] = []

    async def apologise(ctx: Context[RunFailed]) -> None:
        seen.append(ctx.event.data.error.name)

    @app.create_function(id="bill", trigger="ordered", on_failure=apologise)
    async def bill(ctx):
        await ctx.step.sleep("rest", "400d")

    with harness(app) as t:
        t.send("ordered", {})

        assert seen == ["InngestErrTimeoutTooLong"]


def test_a_handler_of_the_other_colour_is_refused_where_it_is_written(app) -> None:
    def apologise(ctx: Any) -> None:
        pass

    with pytest.raises(ConfigurationError, match="on_failure of function 'bill' is not async") as caught:

        @app.create_function(id="bill", trigger="ordered", on_failure=apologise)
        async def bill(ctx):
            pass

    assert "write both" in caught.value.fix


@pytest.mark.parametrize("id", ["it's", "a\\b", "a'\\'b", 'say "no"'])
def test_it_is_called_whatever_is_in_the_id_of_the_function(app, id: str) -> None:
    called: list[str] = []

    async def clean_up(ctx):
        called.append(ctx.event.data.function_id)

    @app.create_function(id=id, trigger="ordered", retries=0, on_failure=clean_up)
    async def bill(ctx):
        raise ValueError("no")

    with harness(app) as t:
        t.send("ordered", {})

    assert called == [f"shop-{id}"]
