"""``RetryAfterError``: try again at this moment (semantics §6.2; F58)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepwell import Backoff, RetryAfterError, StepError
from stepwell.testing import harness

START = datetime(2026, 1, 1, tzinfo=UTC)  # when a harness begins


@pytest.mark.parametrize("in_step", [True, False], ids=["step", "code"])
@pytest.mark.parametrize(
    ("after", "pause"),
    [
        ("90s", 90),
        (timedelta(minutes=5), 300),
        (2_500, 2.5),
        (START + timedelta(hours=3), 10_800),
        (datetime(2026, 1, 1, 0, 0, 30), 30),  # noqa: DTZ001
        (0, 1),
        (timedelta(seconds=-5), 1),
        (START - timedelta(days=1), 1),
        ("48h", 86_400),
        (START + timedelta(days=30), 86_400),
    ],
    ids=["text", "timedelta", "ms", "moment", "naive", "least", "negative", "past", "most", "far"],
)
def test_the_next_attempt_is_made_at_that_moment_within_a_second_and_a_day(
    app, after: Any, pause: float, in_step: bool
) -> None:
    """K38."""
    moments: list[datetime] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        def charge() -> str:
            moments.append(t.now)
            if len(moments) == 1:
                raise RetryAfterError("busy", after)
            return "charged"

        return await ctx.step.run("charge", charge) if in_step else charge()

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("30d")

        t.assert_completed(t.run(bill), "charged")
        assert (moments[1] - moments[0]).total_seconds() == pause


def test_it_uses_up_an_attempt(app) -> None:
    bodies: list[int] = []

    @app.create_function(id="bill", trigger="ordered", retries=2)
    async def bill(ctx):
        def charge() -> None:
            bodies.append(ctx.attempt)
            raise RetryAfterError("busy", "10s")

        try:
            await ctx.step.run("charge", charge)
        except StepError as error:
            return [error.name, error.message]

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill), ["RetryAfterError", "busy"])
        assert bodies == [0, 1, 2]


def test_the_table_goes_on_where_it_would_be_after_it(app) -> None:
    moments: list[datetime] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        def charge() -> str:
            moments.append(t.now)
            if len(moments) == 1:
                raise RetryAfterError("busy", "2s")
            if len(moments) == 2:
                raise ValueError("not yet")
            return "charged"

        return await ctx.step.run("charge", charge)

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        t.assert_completed(t.run(bill), "charged")
        assert 30 <= (moments[2] - moments[1]).total_seconds() < 60


def test_it_wins_over_a_fixed_interval_and_over_a_back_off(app) -> None:
    moments: list[datetime] = []

    @app.create_function(id="bill", trigger="ordered", backoff=Backoff.fixed("7s"))
    async def bill(ctx):
        def charge() -> str:
            moments.append(t.now)
            if len(moments) == 1:
                raise RetryAfterError("busy", "20s")
            return "charged"

        return await ctx.step.run("charge", charge)

    with harness(app, retry_interval="1s") as t:
        t.send("ordered", {})
        t.advance("1h")

        assert moments[1] - moments[0] == timedelta(seconds=20)


def test_a_restart_meanwhile_does_not_make_it_earlier(app) -> None:
    """I15, race of retry and restart."""
    moments: list[datetime] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        moments.append(t.now)
        if ctx.attempt == 0:
            raise RetryAfterError("busy", "1h")

    with harness(app) as t:
        t.send("ordered", {})
        for _ in range(4):
            t.advance("10m")
            t.crash()
        t.advance("1h")

        assert moments == [START, START + timedelta(hours=1)]


def test_of_a_group_the_latest_moment_counts(app) -> None:
    moments: list[datetime] = []

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        moments.append(t.now)
        if ctx.attempt == 0:
            raise ExceptionGroup("busy", [RetryAfterError("a", "5s"), RetryAfterError("b", "9s"), ValueError("c")])

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1h")

        assert moments == [START, START + timedelta(seconds=9)]


@pytest.mark.parametrize("after", ["soon", None, object()], ids=["text", "none", "object"])
def test_what_is_no_length_of_time_is_an_attempt_that_failed_and_nothing_is_lost(app, after: Any) -> None:
    """I27: a mistake in the error itself must not stop the run for ever."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        def charge() -> str:
            if ctx.attempt == 0:
                raise RetryAfterError("busy", after)
            return "charged"

        return await ctx.step.run("charge", charge)

    with harness(app, retry_interval="1s") as t:
        t.send("ordered", {})
        t.advance("1h")

        run = t.run(bill)
        t.assert_completed(run, "charged")
        assert "busy (it asks for another try after" in run.trace()
