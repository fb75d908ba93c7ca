"""``ts`` in the future delays the start of the runs an event causes; nothing else (semantics §1.5; F4)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from stepwell import Cancel, Concurrency, Event, Timeouts
from stepwell.testing import harness

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def test_a_run_exists_at_once_and_starts_at_its_moment_never_before(app) -> None:
    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx): ...

    with harness(app) as t:
        t.send("signed-up", ts=START + DAY)

        run = t.run(remind)
        assert run.status == "QUEUED"
        assert (run.record.queued_at, run.record.scheduled_at) == (1_767_225_600_000, 1_767_312_000_000)
        assert run.waiting_for == "its next call at 2026-01-02T00:00:00.000Z"

        t.advance("23h59m59s999ms")
        assert run.status == "QUEUED"
        t.advance(1)
        t.assert_completed(run)
        assert run.started_at == START + DAY


def test_a_moment_in_the_past_delays_nothing(app) -> None:
    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx):
        return ctx.event.ts

    with harness(app) as t:
        t.send("signed-up", ts=START - DAY)

        t.assert_completed(t.run(remind), 1_767_139_200_000)
        assert t.run(remind).started_at == START


def test_runs_start_in_the_order_of_their_moments_not_of_their_arrival(app) -> None:
    order: list[int] = []

    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx):
        order.append(ctx.event.data["n"])

    with harness(app) as t:
        for hours in (3, 1, 2):
            t.send("signed-up", {"n": hours}, ts=START + timedelta(hours=hours))
        t.advance("1d")

        assert order == [1, 2, 3]


def test_a_moment_that_passed_while_nothing_ran_starts_its_run_at_the_restart_once(app) -> None:
    """I15."""
    calls: list[datetime] = []

    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx):
        calls.append(t.now)

    with harness(app) as t:
        t.send("signed-up", ts=START + timedelta(hours=1))
        t.crash(down="2h")
        t.crash()
        t.advance("10d")

        assert calls == [START + timedelta(hours=2)]


def test_waits_match_when_the_event_arrives_not_at_its_moment(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        found = await ctx.step.wait_for_event("payment", "paid", timeout="1h")
        return found.ts

    with harness(app) as t:
        t.send("ordered")
        t.send("paid", ts=START + DAY)

        t.assert_completed(t.run(bill), 1_767_312_000_000)


def test_cancellations_match_when_the_event_arrives_not_at_its_moment(app) -> None:
    @app.create_function(id="bill", trigger="ordered", cancel=Cancel("stopped"))
    async def bill(ctx):
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send("ordered")
        t.send("stopped", ts=START + DAY)

        t.assert_cancelled(t.run(bill))


def test_a_run_that_has_not_started_can_be_cancelled_by_an_event(app) -> None:
    calls: list[str] = []

    @app.create_function(id="remind", trigger="signed-up", cancel=Cancel("left", match="data.user"))
    async def remind(ctx):
        calls.append(ctx.event.data["user"])

    with harness(app) as t:
        t.send([Event("signed-up", {"user": user}, ts=START + DAY) for user in "ab"])
        t.advance("1h")
        t.send("left", {"user": "a"})
        t.advance("2d")

        assert calls == ["b"]
        assert [run.status for run in t.runs(remind)] == ["CANCELLED", "COMPLETED"]


def test_a_long_delay_and_a_short_start_timeout_cancel_the_run(app) -> None:
    @app.create_function(id="remind", trigger="signed-up", timeouts=Timeouts(start="1h"))
    async def remind(ctx): ...

    with harness(app) as t:
        t.send("signed-up", ts=START + DAY)
        t.advance("2d")

        t.assert_cancelled(t.run(remind))
        assert t.run(remind).started_at is None


def test_a_run_that_waits_for_its_moment_holds_no_slot(app) -> None:
    @app.create_function(id="work", trigger="go", concurrency=Concurrency(1))
    async def work(ctx):
        await ctx.step.run("work", lambda: asyncio.sleep(60))

    with harness(app) as t:
        t.send("go", ts=START + DAY)
        t.send("go")
        t.advance("1m")

        assert [run.status for run in t.runs(work)] == ["QUEUED", "COMPLETED"]


def test_the_id_of_an_event_that_lies_in_the_future_counts_from_its_arrival(app) -> None:
    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx): ...

    with harness(app) as t:
        t.send("signed-up", id="1", ts=START + timedelta(hours=12))
        t.advance("23h")
        t.send("signed-up", id="1")
        assert len(t.runs(remind)) == 1
        t.advance("1h")
        t.send("signed-up", id="1")

        assert len(t.runs(remind)) == 2
