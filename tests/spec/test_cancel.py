"""Cancelling a run, and what that does (semantics §8.3, §8.4, §5.5; F83, F86, F87)."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepwell import Cancel, Concurrency, Event, StepError, Timeouts, TriggerEvent
from stepwell.model.questions import GetWaits, ListRuns
from stepwell.testing import harness
from tests.spec.looking import events, holders, items, totals

START = datetime(2026, 1, 1, tzinfo=UTC)
CANCELLED = "inngest/function.cancelled"


async def long(seconds: float = 3_600) -> str:
    await asyncio.sleep(seconds)
    return "done"


# By hand ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("doing", ["queued", "step", "code", "sleep", "wait", "invoke", "back-off", "blocked"])
def test_K12_K13_whatever_a_run_is_doing_cancelling_ends_it_at_once_and_leaves_nothing(app, doing: str) -> None:
    """I11, I13, I18, K12, K13: status, moment and reason are there, items and waits are not."""
    bodies: list[str] = []

    @app.create_function(id="child")
    async def child(ctx):
        await ctx.step.sleep("rest", "2h")

    def fail() -> None:
        raise RuntimeError("busy")

    @app.create_function(id="work", trigger="go", concurrency=Concurrency(1), retries=1)
    async def work(ctx):
        if doing in ("step", "blocked"):
            await ctx.step.run("work", long)
        elif doing == "code":
            await long()
        elif doing == "sleep":
            await ctx.step.sleep("work", "1h")
        elif doing == "wait":
            await ctx.step.wait_for_event("work", "never", timeout="1h")
        elif doing == "invoke":
            await ctx.step.invoke("work", child, data={})
        else:
            await ctx.step.run("work", fail)
        await ctx.step.run("next", lambda: bodies.append("next"))

    with harness(app, retry_interval="1h") as t:
        if doing == "blocked":
            t.send("go")
        t.send("go", ts=START + timedelta(hours=1) if doing == "queued" else None)
        t.advance("1m")
        run = t.runs(work)[-1]

        assert t.cancel(run)

        t.assert_cancelled(run)
        assert run.ended_at == START + timedelta(minutes=1)
        assert run.reason == "cancelled by an operator"
        assert items(t, run) == []
        assert t.ask(GetWaits(run.id)) == []
        t.advance("1d")
        t.assert_cancelled(run)
        assert bodies == (["next"] if doing == "blocked" else [])
        assert holders(t, "fn/shop-work") == []
        assert (totals(t).items, totals(t).waits) == (0, 0)


def test_cancelling_what_has_ended_changes_nothing_and_is_no_error(app) -> None:
    @app.create_function(id="work", trigger="go", retries=0)
    async def work(ctx):
        if ctx.event.data["fail"]:
            raise RuntimeError("no")
        return "worked"

    with harness(app) as t:
        t.send([Event("go", {"fail": False}), Event("go", {"fail": True})])
        good, bad = t.runs(work)

        assert not t.cancel(good)
        assert not t.cancel(bad)
        t.assert_completed(good, "worked")
        t.assert_failed(bad, "no")
        assert events(t, CANCELLED) == []


def test_cancelling_twice_is_cancelling_once(app) -> None:
    @app.create_function(id="work", trigger="go")
    async def work(ctx):
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send("go")
        assert t.cancel(t.run(work))
        t.advance("1m")
        assert not t.cancel(t.run(work))

        assert t.run(work).ended_at == START
        assert len(events(t, CANCELLED)) == 1


@pytest.mark.parametrize("id", ["", "nothing", "01KDVDNA0044J0MQ9F6HNTN52P", "x" * 5_000, "a\x00b"])
def test_cancelling_a_run_that_does_not_exist_does_nothing(app, id: str) -> None:
    with harness(app) as t:
        assert not t.cancel(id)


def test_a_cancel_that_was_acknowledged_survives_a_crash_in_the_same_moment(app) -> None:
    bodies: list[str] = []

    @app.create_function(id="work", trigger="go")
    async def work(ctx):
        await ctx.step.run("work", long)
        bodies.append("after")

    with harness(app) as t:
        t.send("go")
        t.advance("1m")
        assert t.cancel(t.run(work))
        t.crash()
        t.advance("1d")

        t.assert_cancelled(t.run(work))
        assert bodies == []


def test_K10_a_run_recovered_from_a_crash_can_be_cancelled(app) -> None:
    """K10: parents that wait for an invoke among them."""

    @app.create_function(id="child")
    async def child(ctx):
        await ctx.step.sleep("rest", "1d")

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        await ctx.step.invoke("call", child, data={})

    with harness(app) as t:
        t.send([Event("go")] * 100)
        t.crash()
        assert all(t.cancel(run) for run in t.runs(parent))
        t.advance("2d")

        assert {run.status for run in t.runs(parent)} == {"CANCELLED"}
        assert totals(t).live_runs == 0


# What is under way -----------------------------------------------------------------------------------------------


def test_a_step_that_executes_goes_on_in_the_app_and_its_result_is_discarded(app) -> None:
    done: list[str] = []

    @app.create_function(id="work", trigger="go")
    async def work(ctx):
        async def body() -> str:
            await asyncio.sleep(60)
            done.append("body")
            return "result"

        await ctx.step.run("work", body)
        done.append("code after it")

    with harness(app) as t:
        t.send("go")
        t.advance("10s")
        t.cancel(t.run(work))
        t.advance("1h")

        assert done == ["body"]
        assert t.run(work).steps == {}
        assert t.run(work).output is None


def test_no_attempt_begins_after_the_cancel_was_acknowledged(app) -> None:
    """I18: neither a retry, nor a later step, nor a branch that waits for its turn."""
    began: list[tuple[str, datetime]] = []

    @app.create_function(id="work", trigger="go", concurrency=Concurrency(1))
    async def work(ctx):
        async def body(name: str) -> None:
            began.append((name, t.now))
            await asyncio.sleep(60)
            raise RuntimeError("busy")

        await asyncio.gather(*(ctx.step.run(f"branch {n}", body, f"branch {n}") for n in range(3)))

    with harness(app, retry_interval="1s") as t:
        t.send("go")
        t.advance("30s")
        t.cancel(t.run(work))
        t.advance("1d")

        assert began == [("branch 0", START)]


def test_cancel_and_completion_in_one_moment_are_decided_once(app) -> None:
    """Race of cancel and late result: the first to be written wins, the loser is silent."""

    @app.create_function(id="work", trigger="go")
    async def work(ctx):
        await asyncio.sleep(60)
        return "worked"

    with harness(app) as t:
        t.send([Event("go"), Event("go")])
        first, second = t.runs(work)
        t.advance("59s999ms")
        assert t.cancel(first)
        t.advance(1)
        assert not t.cancel(second)

        t.assert_cancelled(first)
        t.assert_completed(second, "worked")
        assert len(events(t, CANCELLED)) == 1


def test_cancel_and_timeout_and_event_in_one_moment_end_a_run_once(app) -> None:
    """Race of all that can end a wait."""

    @app.create_function(id="work", trigger="go", timeouts=Timeouts(finish="1h"), cancel=Cancel("stop"))
    async def work(ctx):
        await ctx.step.wait_for_event("rest", "stop", timeout="1h")

    with harness(app) as t:
        t.send("go")
        t.advance("59m59s999ms")
        t.send("stop")
        t.cancel(t.run(work))
        t.advance("1h")

        assert "event stop" in (t.run(work).reason or "")
        assert len(events(t, CANCELLED)) == 1


def test_the_list_and_the_run_itself_say_the_same_at_every_moment(app) -> None:
    """K35, I25: and no status ever goes back."""

    @app.create_function(id="work", trigger="go")
    async def work(ctx):
        await ctx.step.run("work", long, 60)

    with harness(app) as t:
        t.send("go", ts=START + timedelta(seconds=10))
        seen: list[str] = []
        for second in range(100):
            if second == 50:
                t.cancel(t.run(work))
            (listed,) = t.ask(ListRuns(10))
            assert listed.status == t.run(work).status
            seen.append(listed.status)
            t.advance("1s")

        assert list(dict.fromkeys(seen)) == ["QUEUED", "RUNNING", "CANCELLED"]
        assert seen == sorted(seen, key=["QUEUED", "RUNNING", "CANCELLED"].index)


# What follows ----------------------------------------------------------------------------------------------------


def test_a_clean_up_function_is_told_of_the_run_and_its_event(app) -> None:
    """The pattern of §8.4."""

    @app.create_function(id="work", trigger="go")
    async def work(ctx):
        await ctx.step.run("reserve", lambda: "seat 7")
        await ctx.step.sleep("rest", "1h")

    @app.create_function(id="cleanup", trigger=TriggerEvent(CANCELLED, if_="event.data.function_id == 'shop-work'"))
    async def cleanup(ctx):
        return await ctx.step.run("release", lambda: ctx.event.data["event"]["data"]["order"])

    with harness(app) as t:
        t.send("go", {"order": 7})
        t.cancel(t.run(work))

        t.assert_completed(t.run(cleanup), 7)
        (announced,) = events(t, CANCELLED)
        data = json.loads(announced.data)
        assert (data["run_id"], announced.public_id) == (t.run(work).id, t.run(work).id)


def test_on_failure_is_not_called(app) -> None:
    called: list[str] = []

    async def on_failure(ctx: Any) -> None:
        called.append(ctx.run_id)

    @app.create_function(id="work", trigger="go", on_failure=on_failure)
    async def work(ctx):
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send("go")
        t.cancel(t.run(work))
        t.advance("1d")

        assert called == []


def test_the_next_in_the_queue_gets_the_slot(app) -> None:
    @app.create_function(id="work", trigger="go", concurrency=Concurrency(1))
    async def work(ctx):
        await ctx.step.run("work", long)

    with harness(app) as t:
        t.send([Event("go"), Event("go")])
        first, second = t.runs(work)
        t.advance("1m")
        t.cancel(first)

        assert second.started_at == START + timedelta(minutes=1)
        t.advance("2h")
        t.assert_completed(second)


# Children --------------------------------------------------------------------------------------------------------


def family(app: Any, **invoke: Any) -> tuple[Any, Any, Any]:
    @app.create_function(id="grandchild")
    async def grandchild(ctx):
        await ctx.step.sleep("rest", "1h")
        return "grown"

    @app.create_function(id="child")
    async def child(ctx):
        return await ctx.step.invoke("call", grandchild, data={}, **invoke)

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        try:
            return await ctx.step.invoke("call", child, data={}, **invoke)
        except StepError as error:
            return f"{error.name}: {error.message}"

    return parent, child, grandchild


def test_children_of_a_cancelled_run_go_on(app) -> None:
    parent, child, grandchild = family(app)

    with harness(app) as t:
        t.send("go")
        t.cancel(t.run(parent))
        t.advance("2h")

        t.assert_cancelled(t.run(parent))
        t.assert_completed(t.run(child), "grown")
        t.assert_completed(t.run(grandchild), "grown")


def test_with_cancel_child_they_are_cancelled_too_down_to_the_last(app) -> None:
    parent, child, grandchild = family(app, cancel_child=True)

    with harness(app) as t:
        t.send("go")
        t.cancel(t.run(parent))

        assert [t.run(each).status for each in (parent, child, grandchild)] == ["CANCELLED"] * 3
        assert t.run(parent).id in (t.run(child).reason or "")
        assert len(events(t, CANCELLED)) == 3
        t.advance("1d")
        assert (totals(t).items, totals(t).waits, totals(t).live_runs) == (0, 0, 0)


def test_with_cancel_child_a_child_that_has_ended_stays_as_it_is(app) -> None:
    @app.create_function(id="child")
    async def child(ctx):
        return "grown"

    @app.create_function(id="parent", trigger="go")
    async def parent(ctx):
        await ctx.step.invoke("call", child, data={}, cancel_child=True)
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send("go")
        t.cancel(t.run(parent))

        t.assert_completed(t.run(child), "grown")


def test_with_cancel_child_it_is_the_same_for_timeouts_and_events(app) -> None:
    @app.create_function(id="child")
    async def child(ctx):
        await ctx.step.sleep("rest", "1d")

    @app.create_function(id="parent", trigger="go", timeouts=Timeouts(finish="1h"), cancel=Cancel("stop"))
    async def parent(ctx):
        await ctx.step.invoke("call", child, data={}, cancel_child=True)

    with harness(app) as t:
        t.send("go")
        t.send("stop")
        t.send("go")
        t.advance("1h")

        assert [run.status for run in t.runs(child)] == ["CANCELLED"] * 2


def test_K33_a_parent_whose_child_is_cancelled_gets_an_error_that_says_so(app) -> None:
    """K33, I18."""
    parent, child, grandchild = family(app)

    with harness(app) as t:
        t.send("go")
        t.cancel(t.run(grandchild))

        t.assert_failed(t.run(child), "cancelled")
        assert t.run(parent).status == "COMPLETED"
        assert "cancelled" in t.run(parent).output


def test_a_cancelled_parent_is_not_woken_by_its_child(app) -> None:
    """Race of cancel and late result."""
    parent, child, _ = family(app)

    with harness(app) as t:
        t.send("go")
        t.advance("59m59s999ms")
        t.cancel(t.run(parent))
        t.advance("1h")

        t.assert_cancelled(t.run(parent))
        t.assert_completed(t.run(child), "grown")
        assert t.run(parent).ended_at == START + timedelta(minutes=59, seconds=59, milliseconds=999)
