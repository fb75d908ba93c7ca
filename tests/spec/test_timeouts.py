"""``timeouts=Timeouts(start=…, finish=…)``: too late is cancelled (semantics §8.2; F81, F82)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepwell import BatchEvents, Cancel, Concurrency, ConfigurationError, Event, Stepwell, Timeouts
from stepwell.model.questions import ListRuns
from stepwell.testing import harness
from tests.spec.looking import events, items, totals

START = datetime(2026, 1, 1, tzinfo=UTC)


# Start -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["1h", timedelta(hours=1), 3_600_000], ids=repr)
def test_a_run_that_is_not_begun_in_time_is_cancelled_without_ever_running(app, limit: Any) -> None:
    calls: list[str] = []

    @app.create_function(id="work", trigger="go", concurrency=Concurrency(1), timeouts=Timeouts(start=limit))
    async def work(ctx):
        calls.append(ctx.event.data["name"])
        await ctx.step.run("work", lambda: asyncio.sleep(7_000))

    with harness(app) as t:
        t.send([Event("go", {"name": "first"}), Event("go", {"name": "second"})])
        t.advance("59m59s999ms")
        first, second = t.runs(work)
        assert (first.status, second.status) == ("RUNNING", "QUEUED")

        t.advance(1)
        t.assert_cancelled(second)
        assert second.ended_at == START + timedelta(hours=1)
        assert second.started_at is None
        assert "start timeout" in (second.reason or "")
        t.advance("1d")
        t.assert_completed(first)
        assert calls == ["first"]


def test_once_begun_the_start_timeout_has_no_say(app) -> None:
    @app.create_function(id="work", trigger="go", timeouts=Timeouts(start="1s"))
    async def work(ctx):
        await ctx.step.sleep("rest", "1d")

    with harness(app) as t:
        t.send("go")
        assert [item.kind for item in items(t, t.run(work))] == ["run"], "its timer is gone"
        t.crash(down="1h")
        t.advance("2d")

        t.assert_completed(t.run(work))


def test_a_run_that_fails_at_first_and_is_tried_again_has_begun(app) -> None:
    @app.create_function(id="work", trigger="go", timeouts=Timeouts(start="1s"))
    async def work(ctx):
        if ctx.attempt == 0:
            raise RuntimeError("busy")

    with harness(app) as t:
        t.send("go")
        t.advance("1h")

        t.assert_completed(t.run(work))


def test_a_start_timeout_that_passed_while_nothing_ran_cancels_at_the_restart(app) -> None:
    """Race of timeout, start and restart: both moments are past, the run must not begin."""
    calls: list[str] = []

    @app.create_function(id="work", trigger="go", timeouts=Timeouts(start="40m"))
    async def work(ctx):
        calls.append("called")

    with harness(app) as t:
        t.send("go", ts=START + timedelta(minutes=30))
        t.crash(down="2h")
        t.advance("1h")

        t.assert_cancelled(t.run(work))
        assert calls == []
        assert t.run(work).started_at is None


def test_a_run_that_may_begin_in_the_very_moment_of_its_start_timeout_has_one_end(app) -> None:
    """Race of timeout and start."""

    @app.create_function(id="work", trigger="go", timeouts=Timeouts(start="1h"))
    async def work(ctx):
        return "worked"

    with harness(app) as t:
        t.send("go", ts=START + timedelta(hours=1))
        t.advance("2h")

        run = t.run(work)
        assert run.ended
        assert (run.started_at is None) == (run.status == "CANCELLED")


# Finish ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["1h", timedelta(hours=1), 3_600_000], ids=repr)
def test_a_run_that_does_not_end_in_time_is_cancelled(app, limit: Any) -> None:
    @app.create_function(id="work", trigger="go", timeouts=Timeouts(finish=limit))
    async def work(ctx):
        await ctx.step.sleep("rest", "2h")

    with harness(app) as t:
        t.send("go")
        t.advance("59m59s999ms")
        assert t.run(work).status == "RUNNING"
        t.advance(1)

        t.assert_cancelled(t.run(work))
        assert t.run(work).ended_at == START + timedelta(hours=1)
        assert "finish timeout" in (t.run(work).reason or "")


def test_the_finish_timeout_counts_from_the_first_call_not_from_the_creation(app) -> None:
    @app.create_function(id="work", trigger="go", timeouts=Timeouts(finish="1h"))
    async def work(ctx):
        await ctx.step.sleep("rest", "2h")

    with harness(app) as t:
        t.send("go", ts=START + timedelta(hours=5))
        t.advance("1d")

        assert t.run(work).ended_at == START + timedelta(hours=6)


def test_retries_count(app) -> None:
    @app.create_function(id="work", trigger="go", retries=20, timeouts=Timeouts(finish="10m"))
    async def work(ctx):
        raise RuntimeError("busy")

    with harness(app) as t:
        t.send("go")
        t.advance("1d")

        t.assert_cancelled(t.run(work))
        assert t.run(work).ended_at == START + timedelta(minutes=10)


@pytest.mark.parametrize("what", ["sleep", "wait", "invoke", "back-off"])
def test_whatever_the_run_rests_in_the_finish_timeout_ends_it_and_leaves_nothing(app, what: str) -> None:
    """I11, I13."""

    @app.create_function(id="child")
    async def child(ctx):
        await ctx.step.sleep("rest", "3h")

    @app.create_function(id="work", trigger="go", timeouts=Timeouts(finish="1h"), concurrency=Concurrency(1))
    async def work(ctx):
        if what == "sleep":
            await ctx.step.sleep("rest", "2h")
        elif what == "wait":
            await ctx.step.wait_for_event("rest", "never", timeout="2h")
        elif what == "invoke":
            await ctx.step.invoke("rest", child, data={})
        else:
            await ctx.step.run("rest", _fail)

    with harness(app, retry_interval="50m") as t:
        t.send("go")
        t.advance("1h")
        t.assert_cancelled(t.run(work))
        t.advance("1d")

        t.assert_cancelled(t.run(work))
        assert (totals(t).items, totals(t).waits, totals(t).live_runs) == (0, 0, 0)


def _fail() -> None:
    raise RuntimeError("busy")


def test_a_step_that_is_under_way_is_not_interrupted_but_its_result_is_refused(app) -> None:
    done: list[str] = []

    @app.create_function(id="work", trigger="go", timeouts=Timeouts(finish="1h"))
    async def work(ctx):
        await ctx.step.run("long", _long)
        await ctx.step.run("next", lambda: done.append("next"))

    async def _long() -> None:
        await asyncio.sleep(5_400)
        done.append("long")

    with harness(app) as t:
        t.send("go")
        t.advance("3h")

        t.assert_cancelled(t.run(work))
        assert t.run(work).ended_at == START + timedelta(hours=1)
        assert done == ["long"]
        assert list(t.run(work).steps) == []


def test_a_run_that_ended_in_time_is_left_alone(app) -> None:
    @app.create_function(id="work", trigger="go", timeouts=Timeouts(start="1h", finish="1h"))
    async def work(ctx):
        return "worked"

    with harness(app) as t:
        t.send("go")
        t.advance("1d")

        t.assert_completed(t.run(work), "worked")
        assert totals(t).items == 0
        assert events(t, "inngest/function.cancelled") == []


@pytest.mark.parametrize("limit", ["20m", "40m"])
def test_a_finish_timeout_that_passed_while_nothing_ran_cancels_at_the_restart(app, limit: str) -> None:
    """I18: whether the sleep would have ended before it or after, no code of the run is called any more."""
    calls: list[str] = []

    @app.create_function(id="work", trigger="go", timeouts=Timeouts(finish=limit))
    async def work(ctx):
        calls.append("called")
        await ctx.step.sleep("rest", "30m")
        await ctx.step.run("body", lambda: calls.append("body"))

    with harness(app) as t:
        t.send("go")
        t.crash(down="2h")
        t.advance("1h")

        t.assert_cancelled(t.run(work))
        assert calls == ["called"]
        assert t.run(work).ended_at == START + timedelta(hours=2)


def test_all_that_is_overdue_when_a_process_starts_happens_whatever_the_one_before_had_in_hand(app) -> None:
    """K59, I15: what is in flight is known to the store alone."""

    @app.create_function(id="work", trigger="go", timeouts=Timeouts(start="1h", finish="1h"))
    async def work(ctx):
        if ctx.event.data["n"] % 2:
            await ctx.step.run("long", asyncio.sleep, 1_800)
        else:
            await ctx.step.sleep("rest", "30m")
        await ctx.step.wait_for_event("end", "never", timeout="10m")

    with harness(app) as t:
        t.send([Event("go", {"n": n}, ts=START + timedelta(minutes=n % 3)) for n in range(30)])
        t.advance("10m")
        t.crash(down="15m")
        t.advance("1s")
        t.crash(down="20m")
        t.advance("1h")

        assert all(run.ended for run in t.runs(work))
        assert (totals(t).items, totals(t).waits) == (0, 0)


def test_a_timeout_that_its_function_has_no_more_ends_no_run(app) -> None:
    """Race of timeout and a change of the configuration (semantics §9.7)."""

    @app.create_function(id="work", trigger="go", timeouts=Timeouts(finish="1h"))
    async def work(ctx):
        await ctx.step.sleep("rest", "1d")

    later = Stepwell("shop")

    @later.create_function(id="work", trigger="go")
    async def free(ctx):
        await ctx.step.sleep("rest", "1d")

    with harness(app) as t:
        t.send("go")
        t.crash(app=later)
        t.send("go")
        t.advance("2d")

        assert [run.status for run in t.runs(work)] == ["COMPLETED", "COMPLETED"]


def test_a_timeout_of_a_function_that_has_left_its_app_holds(app) -> None:
    @app.create_function(id="work", trigger="go", timeouts=Timeouts(finish="1h"))
    async def work(ctx):
        await ctx.step.sleep("rest", "1d")

    with harness(app) as t:
        t.send("go")
        run = t.run(work)
        t.crash(app=Stepwell("shop"))
        t.advance("2h")

        (stored,) = t.ask(ListRuns(9))
        assert (stored.id, stored.status) == (run.id, "CANCELLED")


def test_a_batch_that_is_not_begun_in_time_is_cancelled_too(app) -> None:
    """A deviation: the reference gives it no start timeout (semantics §7.2), and says nothing."""

    @app.create_function(
        id="work",
        trigger="go",
        concurrency=1,
        batch_events=BatchEvents(2, timeout="1m"),
        timeouts=Timeouts(start="1h"),
    )
    async def work(ctx):
        await ctx.step.run("work", asyncio.sleep, 7_000)

    with harness(app) as t:
        t.send([Event("go")] * 4)
        t.advance("1d")

        first, second = t.runs(work)
        t.assert_completed(first)
        t.assert_cancelled(second)
        assert second.ended_at == START + timedelta(hours=1)


def test_a_run_that_wakes_in_the_very_moment_of_its_finish_timeout_has_one_end(app) -> None:
    """Race of timeout and wake."""
    calls: list[str] = []

    @app.create_function(id="work", trigger="go", timeouts=Timeouts(finish="1h"))
    async def work(ctx):
        await ctx.step.sleep("rest", "1h")
        await ctx.step.run("body", lambda: calls.append("body"))

    with harness(app) as t:
        t.send("go")
        t.advance("1h")

        t.assert_cancelled(t.run(work))
        assert calls == []
        assert len(events(t, "inngest/function.cancelled")) == 1


def test_a_cancel_that_one_timeout_causes_in_turn_stops_a_run_that_wakes_in_the_same_moment(app) -> None:
    """Race of wake and cancel, in one decision: the woken run is not called after it was cancelled."""
    calls: list[str] = []

    @app.create_function(id="first", trigger="go", timeouts=Timeouts(finish="1h"))
    async def first(ctx):
        await ctx.step.sleep("rest", "1d")

    @app.create_function(id="second", trigger="go", cancel=Cancel("inngest/function.cancelled"))
    async def second(ctx):
        await ctx.step.sleep("rest", "1h")
        await ctx.step.run("body", lambda: calls.append("body"))

    with harness(app) as t:
        t.send("go")
        t.advance("2h")

        t.assert_cancelled(t.run(first))
        t.assert_cancelled(t.run(second))
        assert calls == []


def test_a_finish_timeout_frees_the_slot_of_a_step_that_hangs(app) -> None:
    """I13."""

    @app.create_function(id="work", trigger="go", concurrency=Concurrency(1), timeouts=Timeouts(finish="10m"))
    async def work(ctx):
        await ctx.step.run("hang", lambda: asyncio.sleep(ctx.event.data["seconds"]))

    with harness(app) as t:
        t.send([Event("go", {"seconds": 7_000}), Event("go", {"seconds": 1})])
        t.advance("10m1s")

        assert [run.status for run in t.runs(work)] == ["CANCELLED", "COMPLETED"]
        assert t.runs(work)[1].started_at == START + timedelta(minutes=10)


@pytest.mark.parametrize("wrong", ["soon", "", "0s", 0, -1, timedelta(seconds=-1), 1.5, True, "1x"], ids=repr)
@pytest.mark.parametrize("option", ["start", "finish"])
def test_a_length_that_cannot_be_is_refused_when_the_function_is_declared(app, option: str, wrong: Any) -> None:
    with pytest.raises(ConfigurationError) as refused:

        @app.create_function(id="work", trigger="go", timeouts=Timeouts(**{option: wrong}))
        async def work(ctx): ...

    assert all((refused.value.what, refused.value.why, refused.value.fix))
    assert app.functions == {}
