"""The life of a run: its statuses, its moments, and that it ends once (semantics §4.1; F25)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepwell import Event, NonRetriableError, event
from stepwell.testing import RunView, harness

START = datetime(2026, 1, 1, tzinfo=UTC)  # when a harness begins


def _moments(run: RunView) -> list[int | None]:
    """Queued, scheduled, started, ended: in seconds after the start."""
    record, zero = run.record, int(START.timestamp() * 1000)
    moments = [record.queued_at, record.scheduled_at, record.started_at, record.ended_at]
    return [None if moment is None else (moment - zero) // 1000 for moment in moments]


def test_a_run_that_nothing_holds_back_is_running_at_once(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.run("slow", lambda: asyncio.sleep(60))

    with harness(app) as t:
        t.send("ordered", {})

        assert t.run(bill).status == "RUNNING"
        assert _moments(t.run(bill)) == [0, 0, 0, None]


def test_a_run_that_waits_for_its_moment_is_queued(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        pass

    with harness(app) as t:
        t.send("ordered", {}, ts=START + timedelta(hours=1))
        t.advance("59m")

        assert t.run(bill).status == "QUEUED"
        assert _moments(t.run(bill)) == [0, 3600, None, None]
        t.advance("1m")
        assert t.run(bill).status == "COMPLETED"
        assert _moments(t.run(bill)) == [0, 3600, 3600, 3600]


def test_a_run_that_waits_for_a_slot_is_queued(app) -> None:
    @app.create_function(id="bill", trigger="ordered", concurrency=1)
    async def bill(ctx):
        await ctx.step.run("slow", lambda: asyncio.sleep(60))

    with harness(app) as t:
        t.send([Event("ordered", {}), Event("ordered", {})])

        assert [run.status for run in t.runs(bill)] == ["RUNNING", "QUEUED"]
        t.advance("2m")
        assert [_moments(run) for run in t.runs(bill)] == [[0, 0, 0, 60], [0, 0, 60, 120]]


def test_sleeping_waiting_invoking_and_backing_off_are_all_running(app) -> None:
    @app.create_function(id="child")
    async def child(ctx):
        await ctx.step.sleep("rest", "10m")

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.sleep("rest", "10m")
        await ctx.step.wait_for_event("wait", "never", timeout="10m")
        await ctx.step.invoke("child", child)

        def flaky() -> None:
            if ctx.attempt == 0:
                raise ValueError("not yet")

        await ctx.step.run("flaky", flaky)

    with harness(app, retry_interval="10m") as t:
        t.send("ordered", {})
        seen = []
        for _ in range(4):
            seen.append((t.run(bill).status, list(t.run(bill).steps)[-1]))
            t.advance("10m")

        assert seen == [("RUNNING", "rest"), ("RUNNING", "wait"), ("RUNNING", "child"), ("RUNNING", "flaky")]
        t.assert_completed(t.run(bill))
        assert _moments(t.run(bill)) == [0, 0, 0, 2400]


@pytest.mark.parametrize("output", [None, 0, "text", [1, {"a": None}], {"x": 1.5}], ids=repr)
def test_a_run_completes_with_what_the_function_returned(app, output: Any) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return output

    with harness(app) as t:
        t.send("ordered", {})

        t.assert_completed(t.run(bill), output)
        assert t.run(bill).error is None


def test_a_function_that_returns_nothing_gives_null(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        pass

    with harness(app) as t:
        t.send("ordered", {})

        assert t.run(bill).record.output == b"null"


def test_a_return_value_that_is_no_json_fails_the_run_at_once_and_names_the_field(app) -> None:
    """Semantics §4.4: not retriable, and the steps keep what they gave."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.run("charge", lambda: "charged")
        return {"receipt": {"lock": object()}}

    with harness(app) as t:
        t.send("ordered", {})

        run = t.run(bill)
        t.assert_failed(run, "result.receipt.lock: object of type object")
        assert run.steps["charge"].output == "charged"
        assert len(run.errors) == 1


def test_a_failed_run_has_an_error_and_no_output(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        raise NonRetriableError("no card")

    with harness(app) as t:
        t.send("ordered", {})

        run = t.run(bill)
        assert (run.status, run.output) == ("FAILED", None)
        assert run.error is not None
        assert (run.error.name, run.error.message) == ("NonRetriableError", "no card")
        assert _moments(run) == [0, 0, 0, 0]


def test_a_cancelled_run_says_why_and_when(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("10m")
        assert t.cancel(t.run(bill))

        run = t.run(bill)
        assert (run.status, run.output, run.error) == ("CANCELLED", None, None)
        assert "operator" in str(run.reason)
        assert _moments(run) == [0, 0, 0, 600]


def test_a_run_that_was_never_called_can_be_cancelled(app) -> None:
    calls: list[int] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        calls.append(1)

    with harness(app) as t:
        t.send("ordered", {}, ts=START + timedelta(hours=1))
        assert t.cancel(t.run(bill))
        t.advance("2h")

        t.assert_cancelled(t.run(bill))
        assert _moments(t.run(bill)) == [0, 3600, None, 0]
        assert calls == []


@pytest.mark.parametrize("ending", ["completed", "failed", "cancelled"])
def test_an_end_is_never_left(app, ending: str) -> None:
    """I9: no cancel, event, timer or restart changes a run that has ended."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        if ending == "cancelled":
            await ctx.step.wait_for_event("wait", "approved", timeout="1h")
        elif ending == "failed":
            raise NonRetriableError("no card")

    with harness(app) as t:
        t.send("ordered", {})
        if ending == "cancelled":
            assert t.cancel(t.run(bill))
        before = t.run(bill).record
        assert before.ended

        assert not t.cancel(t.run(bill))
        t.send("approved", {})
        t.crash()
        t.advance("10d")
        assert t.run(bill).record == before


@pytest.mark.parametrize("ending", ["completed", "failed", "cancelled"])
def test_K08_an_end_is_announced_once(app, ending: str) -> None:
    """K08, K09, I9: by the commit that ends the run, whatever happens afterwards."""
    seen: list[tuple[str, str]] = []

    @app.create_function(id="watch", trigger="inngest/function.finished")
    async def watch(ctx):
        if ctx.event.data["function_id"] == "shop-bill":
            await ctx.step.run(
                "note", lambda: seen.append((ctx.event.data["run_id"], ctx.event.data["_inngest"]["status"]))
            )

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.sleep("rest", "1h")
        if ending == "failed":
            raise NonRetriableError("no card")

    with harness(app) as t:
        t.send("ordered", {})
        if ending == "cancelled":
            assert t.cancel(t.run(bill))
        t.advance("1h")
        for _ in range(3):
            t.crash(down="1m")
            t.run_until_idle()

        assert seen == [(t.run(bill).id, ending.capitalize())]


@pytest.mark.slow
def test_K10_runs_go_on_after_a_restart_in_all_states(app) -> None:
    """K10, I10: hundreds that sleep, wait, back off and invoke; afterwards a cancel works at once."""

    @app.create_function(id="child")
    async def child(ctx):
        await ctx.step.sleep("rest", "1h")
        return "child"

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        def flaky() -> str:
            if ctx.attempt == 0:
                raise ValueError("not yet")
            return "flaky"

        kind = ctx.event.data["n"] % 4
        if kind == 0:
            return await ctx.step.sleep("rest", "1h")
        if kind == 1:
            return await ctx.step.wait_for_event("wait", "never", timeout="1h")
        if kind == 2:
            return await ctx.step.run("flaky", flaky)
        return await ctx.step.invoke("child", child)

    with harness(app, retry_interval="1h") as t:
        t.send([Event("ordered", {"n": n}) for n in range(200)])
        t.crash(down="10s")
        cancelled = t.runs(bill)[:8]
        assert all(t.cancel(run) for run in cancelled)
        t.advance("2h")

        outputs = [run.output for run in t.runs(bill)[8:]]
        assert outputs == [None, None, "flaky", "child"] * 48
        assert {run.status for run in cancelled} == {"CANCELLED"}
        assert all(run.ended for run in t.runs())


def test_one_bad_run_does_not_hold_up_the_others(app) -> None:
    """K37, K57, I27: an event that its function cannot read, among many."""

    @event("ordered")
    @dataclass
    class Ordered:
        n: int

    @app.create_function(id="bill", trigger=Ordered)
    async def bill(ctx):
        return ctx.event.data.n

    with harness(app) as t:
        t.send([Event("ordered", {"n": "?" if n == 3 else n}) for n in range(6)])

        assert [run.output for run in t.runs(bill)] == [0, 1, 2, None, 4, 5]
        t.assert_failed(t.runs(bill)[3], "data.n: Expected `int`, got `str`")
