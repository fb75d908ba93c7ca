"""``step.sleep``: rest for a length of time, holding no process and no slot (semantics §5.2; F33)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepwell import Concurrency, Event
from stepwell.testing import harness

START = datetime(2026, 1, 1, tzinfo=UTC)  # when a harness begins


@pytest.mark.parametrize("duration", ["1h", "60m", timedelta(hours=1), 3_600_000], ids=repr)
def test_a_sleep_ends_after_its_length_and_never_before(app, duration: Any) -> None:
    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx):
        await ctx.step.sleep("rest", duration)
        return "rested"

    with harness(app) as t:
        t.send("signed-up", {})

        t.advance("59m59s999ms")
        t.assert_waiting(t.run(remind), "rest")
        t.advance(1)
        t.assert_completed(t.run(remind), "rested")
        assert t.run(remind).ended_at == START + timedelta(hours=1)


def test_a_sleep_returns_nothing_and_shows_until_when_it_lasts(app) -> None:
    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx):
        return [await ctx.step.sleep("rest", "1h")]

    with harness(app) as t:
        t.send("signed-up", {})

        step = t.run(remind).steps["rest"]
        assert (step.status, step.kind) == ("SLEEPING", "sleep")
        assert step.due == START + timedelta(hours=1)
        assert t.run(remind).status == "RUNNING"
        t.advance("1h")
        t.assert_completed(t.run(remind), [None])
        assert t.run(remind).steps["rest"].status == "COMPLETED"


@pytest.mark.parametrize("duration", [0, "0s", timedelta(0)], ids=repr)
def test_a_sleep_of_no_length_does_not_rest(app, duration: Any) -> None:
    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx):
        await ctx.step.sleep("rest", duration)

    with harness(app) as t:
        t.send("signed-up", {})

        t.assert_completed(t.run(remind))
        assert t.run(remind).ended_at == START


def test_the_length_counts_from_when_the_sleep_was_begun_not_from_when_the_run_was(app) -> None:
    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx):
        await ctx.step.run("slow", lambda: asyncio.sleep(600))
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send("signed-up", {})
        t.advance("2h")

        assert t.run(remind).ended_at == START + timedelta(hours=1, minutes=10)


def test_sleeps_follow_each_other(app) -> None:
    moments: list[datetime] = []

    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx):
        for day in range(5):
            await ctx.step.sleep(f"day {day}", "1d")
            await ctx.step.run(f"mail {day}", lambda: moments.append(t.now))

    with harness(app) as t:
        t.send("signed-up", {})
        t.advance("30d")

        assert moments == [START + timedelta(days=day) for day in range(1, 6)]
        t.assert_completed(t.run(remind))


def test_a_sleep_may_last_366_days(app) -> None:
    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx):
        await ctx.step.sleep("rest", timedelta(days=366))

    with harness(app) as t:
        t.send("signed-up", {})
        t.advance(timedelta(days=366) - timedelta(milliseconds=1))
        t.assert_waiting(t.run(remind), "rest")
        t.advance(1)

        t.assert_completed(t.run(remind))


def test_a_sleep_of_more_than_366_days_fails_the_run_at_once(app) -> None:
    bodies: list[str] = []

    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx):
        await ctx.step.run("before", lambda: bodies.append("before"))
        await ctx.step.sleep("rest", timedelta(days=366, milliseconds=1))

    with harness(app) as t:
        t.send("signed-up", {})

        run = t.run(remind)
        t.assert_failed(run, "InngestErrTimeoutTooLong")
        t.assert_failed(run, "366 days")
        assert run.steps["before"].status == "COMPLETED"
        assert bodies == ["before"]


@pytest.mark.parametrize(
    "duration", ["soon", "1 fortnight", "", None, object()], ids=["soon", "fortnight", "", "None", "object"]
)
def test_what_is_no_length_of_time_fails_the_run_at_once_and_says_what_is(app, duration: Any) -> None:
    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx):
        await ctx.step.sleep("rest", duration)

    with harness(app) as t:
        t.send("signed-up", {})

        run = t.run(remind)
        t.assert_failed(run, "InvalidDuration")
        assert run.error is not None
        assert "fix:" in run.error.message
        assert len(run.errors) == 1


def test_a_negative_sleep_does_not_rest(app) -> None:
    """Code that computes "what is left" may find that nothing is."""

    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx):
        await ctx.step.sleep("rest", timedelta(seconds=-1))

    with harness(app) as t:
        t.send("signed-up", {})

        t.assert_completed(t.run(remind))


def test_a_sleep_that_ended_while_nothing_ran_goes_on_at_the_restart(app) -> None:
    """I15: it fires after downtime, and once."""
    bodies: list[datetime] = []

    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx):
        await ctx.step.sleep("rest", "1h")
        await ctx.step.run("mail", lambda: bodies.append(t.now))

    with harness(app) as t:
        t.send("signed-up", {})
        t.advance("30m")
        t.crash(down="5h")
        t.run_until_idle()
        t.crash()
        t.advance("10d")

        t.assert_completed(t.run(remind))
        assert bodies == [START + timedelta(hours=5, minutes=30)]


def test_a_restart_in_the_very_moment_a_sleep_ends_loses_nothing(app) -> None:
    """Race of timer and restart: the wake was granted, the call was not finished."""
    bodies: list[str] = []

    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx):
        await ctx.step.sleep("rest", "1h")
        await asyncio.sleep(5)
        await ctx.step.run("mail", lambda: bodies.append("mail"))

    with harness(app) as t:
        t.send("signed-up", {})
        t.advance("1h")
        assert bodies == []
        t.crash()
        t.advance("1m")

        t.assert_completed(t.run(remind))
        assert bodies == ["mail"]


def test_a_cancel_in_the_very_moment_a_sleep_ends_is_decided_once(app) -> None:
    """Race of timer and cancel: who commits first wins."""

    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx):
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send("signed-up", {})
        t.send("signed-up", {})
        early, late = t.runs(remind)
        t.advance("59m59s999ms")
        assert t.cancel(early)
        t.advance(1)

        t.assert_cancelled(early)
        assert not t.cancel(late)
        t.assert_completed(late)


def test_a_sleeping_run_is_cancelled_at_once_and_never_wakes(app) -> None:
    bodies: list[str] = []

    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx):
        await ctx.step.sleep("rest", "1h")
        await ctx.step.run("mail", lambda: bodies.append("mail"))

    with harness(app) as t:
        t.send("signed-up", {})
        t.advance("10m")
        assert t.cancel(t.run(remind))
        t.crash()
        t.advance("10d")

        t.assert_cancelled(t.run(remind))
        assert bodies == []


def test_sleepers_hold_no_slot(app) -> None:
    """I12: a hundred may sleep under a limit of one."""

    @app.create_function(id="remind", trigger="signed-up", concurrency=Concurrency(1))
    async def remind(ctx):
        await ctx.step.sleep("rest", "1h")

    with harness(app) as t:
        t.send([_signed_up() for _ in range(100)])
        t.advance("1h")

        assert [run.status for run in t.runs(remind)] == ["COMPLETED"] * 100
        assert {run.ended_at for run in t.runs(remind)} == {START + timedelta(hours=1)}


def test_after_the_sleep_a_slot_must_be_free_again(app) -> None:
    @app.create_function(id="remind", trigger="signed-up", concurrency=Concurrency(1))
    async def remind(ctx):
        await ctx.step.sleep("rest", "1h")
        await ctx.step.run("mail", lambda: asyncio.sleep(60))

    with harness(app) as t:
        t.send([_signed_up() for _ in range(3)])
        t.advance("2h")

        ended = [run.ended_at for run in t.runs(remind)]
        assert sorted(ended) == [START + timedelta(minutes=60 + minute) for minute in (1, 2, 3)]


def test_many_that_end_in_one_moment_all_go_on(app) -> None:
    """K07, I4."""
    bodies: list[str] = []

    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx):
        await ctx.step.sleep("rest", "1h")
        await ctx.step.run("mail", lambda: bodies.append(ctx.run_id))

    with harness(app) as t:
        t.send([_signed_up() for _ in range(300)])
        t.advance("1h")

        assert sorted(bodies) == sorted(run.id for run in t.runs(remind))
        assert {run.status for run in t.runs(remind)} == {"COMPLETED"}


def _signed_up() -> Event:
    return Event("signed-up", {})
