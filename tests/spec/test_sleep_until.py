"""``step.sleep_until``: rest until a moment (semantics §5.2; F34)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from stepwell.testing import harness

START = datetime(2026, 1, 1, tzinfo=UTC)  # when a harness begins


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 3, 1, 9, 0, tzinfo=UTC),
        datetime(2026, 3, 1, 9, 0),  # noqa: DTZ001
        datetime(2026, 3, 1, 10, 0, tzinfo=timezone(timedelta(hours=1))),
        datetime(2026, 3, 1, 4, 0, tzinfo=ZoneInfo("America/New_York")),
    ],
    ids=["UTC", "naive means UTC", "offset", "zone"],
)
def test_a_run_rests_until_the_moment_and_not_less(app, moment: datetime) -> None:
    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx):
        await ctx.step.sleep_until("rest", moment)

    with harness(app) as t:
        t.send("signed-up", {})
        assert t.run(remind).steps["rest"].due == datetime(2026, 3, 1, 9, 0, tzinfo=UTC)

        t.advance_to("2026-03-01T08:59:59.999")
        t.assert_waiting(t.run(remind), "rest")
        t.advance_to("2026-03-01T09:00")
        t.assert_completed(t.run(remind))


@pytest.mark.parametrize("past", [START, START - timedelta(days=5_000)], ids=["now", "long ago"])
def test_a_moment_that_is_past_does_not_rest(app, past: datetime) -> None:
    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx):
        return [await ctx.step.sleep_until("rest", past)]

    with harness(app) as t:
        t.send("signed-up", {})

        t.assert_completed(t.run(remind), [None])


def test_a_moment_computed_from_now_stays_what_it_was_at_first(app) -> None:
    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx):
        await ctx.step.sleep_until("rest", ctx.now() + timedelta(hours=1))
        await ctx.step.sleep_until("again", ctx.now() + timedelta(hours=1))

    with harness(app) as t:
        t.send("signed-up", {})
        t.advance("1h")
        t.crash()
        t.advance("1h")

        t.assert_completed(t.run(remind))
        assert t.run(remind).ended_at == START + timedelta(hours=2)


def test_a_moment_more_than_366_days_away_fails_the_run_at_once(app) -> None:
    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx):
        await ctx.step.sleep_until("rest", START + timedelta(days=367))

    with harness(app) as t:
        t.send("signed-up", {})

        t.assert_failed(t.run(remind), "InngestErrTimeoutTooLong")


@pytest.mark.parametrize("moment", ["2026-03-01", "1h", 1_767_225_600_000, None], ids=repr)
def test_what_is_no_datetime_fails_the_run_at_once_and_says_what_to_write(app, moment: Any) -> None:
    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx):
        await ctx.step.sleep_until("rest", moment)

    with harness(app) as t:
        t.send("signed-up", {})

        run = t.run(remind)
        t.assert_failed(run, "ConfigurationError")
        assert run.error is not None
        assert "pass a datetime" in run.error.message
        assert len(run.errors) == 1


def test_a_moment_that_passed_while_nothing_ran_ends_the_rest_at_the_restart(app) -> None:
    """I15."""

    @app.create_function(id="remind", trigger="signed-up")
    async def remind(ctx):
        await ctx.step.sleep_until("rest", START + timedelta(hours=1))

    with harness(app) as t:
        t.send("signed-up", {})
        t.crash(down="3h")
        t.run_until_idle()

        t.assert_completed(t.run(remind))
        assert t.run(remind).ended_at == START + timedelta(hours=3)
