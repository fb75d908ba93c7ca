"""The pauses before retries (semantics §6.2; F55, F56)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from stepwell import Backoff, ConfigurationError, InvalidDuration, RetryAfterError, Stepwell
from stepwell.testing import harness

START = datetime(2026, 1, 1, tzinfo=UTC)  # when a harness begins
TABLE = [15, 30, 60, 120, 300, 600, 1_200, 2_400, 3_600, 7_200]  # seconds


def _pauses(moments: list[datetime]) -> list[float]:
    return [(later - earlier).total_seconds() for earlier, later in pairwise(moments)]


def _failing(app: Stepwell, moments: list[datetime], now: Any, *, in_step: bool, **options: Any) -> Any:
    @app.create_function(id="bill", trigger="ordered", **options)
    async def bill(ctx):
        def charge() -> None:
            moments.append(now())
            raise ValueError("never")

        if in_step:
            await ctx.step.run("charge", charge)
        else:
            charge()

    return bill


@pytest.mark.parametrize("in_step", [True, False], ids=["step", "code"])
@pytest.mark.parametrize("seed", range(5))
def test_pauses_follow_the_table_plus_up_to_thirty_seconds_of_chance(app, in_step: bool, seed: int) -> None:
    moments: list[datetime] = []
    bill = _failing(app, moments, lambda: t.now, in_step=in_step, retries=12)

    with harness(app, seed=seed) as t:
        t.send("ordered", {})
        t.advance("2d")

        t.assert_failed(t.run(bill), "never")
        for pause, least in zip(_pauses(moments), [*TABLE, 7_200, 7_200], strict=True):
            assert least <= pause < least + 30


def test_two_runs_that_fail_together_are_not_tried_again_together(app) -> None:
    moments: list[datetime] = []
    _failing(app, moments, lambda: t.now, in_step=True, retries=1)

    with harness(app) as t:
        for _ in range(10):
            t.send("ordered", {})
        t.advance("1m")

        assert len(set(moments[10:])) > 5


def test_one_setting_for_quick_tests_replaces_the_table(app) -> None:
    moments: list[datetime] = []
    _failing(app, moments, lambda: t.now, in_step=True)

    with harness(app, retry_interval="2s") as t:
        t.send("ordered", {})
        t.advance("1m")

        assert _pauses(moments) == [2, 2, 2, 2]


@pytest.mark.parametrize("in_step", [True, False], ids=["step", "code"])
@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        (Backoff.fixed("7s"), [7, 7, 7, 7]),
        (Backoff.fixed(0), [0, 0, 0, 0]),
        (Backoff.exponential(), [1, 2, 4, 8]),
        (Backoff.exponential("2s", factor=3, longest="20s"), [2, 6, 18, 20]),
        (Backoff.table("1s", timedelta(minutes=1)), [1, 60, 60, 60]),
    ],
    ids=["fixed", "none", "exponential", "bounded", "table"],
)
def test_a_function_may_have_a_back_off_of_its_own(app, backoff: Backoff, expected: list[float], in_step: bool) -> None:
    moments: list[datetime] = []
    _failing(app, moments, lambda: t.now, in_step=in_step, backoff=backoff)

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1d")

        assert _pauses(moments) == expected


def test_a_step_may_have_a_back_off_of_its_own(app) -> None:
    """F56."""
    moments: list[datetime] = []

    @app.create_function(id="bill", trigger="ordered", backoff=Backoff.fixed("1h"))
    async def bill(ctx):
        def charge() -> None:
            moments.append(t.now)
            raise ValueError("never")

        await ctx.step.options("charge", backoff=Backoff.table("1s", "5s"), retries=3).run(charge)

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1d")

        t.assert_failed(t.run(bill), "never")
        assert _pauses(moments) == [1, 5, 5]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Backoff.fixed("25h"),
        lambda: Backoff.fixed("1s", jitter="25h"),
        lambda: Backoff.exponential(longest="2d", factor=100),
        lambda: Backoff.table(*["1s"] * 21),
    ],
)
def test_a_pause_of_more_than_a_day_or_after_the_last_retry_is_refused_where_it_is_written(make: Any) -> None:
    with pytest.raises(ConfigurationError) as raised:
        make()

    assert "back-off" in raised.value.what
    assert "delays_ms" not in str(raised.value)


def test_the_jitter_of_a_back_off_is_kept_within_its_bounds(app) -> None:
    moments: list[datetime] = []
    _failing(app, moments, lambda: t.now, in_step=True, backoff=Backoff.fixed("10s", jitter="5s"), retries=20)

    with harness(app) as t:
        t.send("ordered", {})
        t.advance("1d")

        assert all(10 <= pause < 15 for pause in _pauses(moments))
        assert len(set(_pauses(moments))) > 5


def test_a_retry_that_came_due_while_nothing_ran_happens_at_the_restart(app) -> None:
    """I15."""
    moments: list[datetime] = []
    _failing(app, moments, lambda: t.now, in_step=True, backoff=Backoff.fixed("1h"), retries=1)

    with harness(app) as t:
        t.send("ordered", {})
        t.crash(down="30m")
        t.crash(down="5h")
        t.run_until_idle()

        assert moments == [START, START + timedelta(hours=5, minutes=30)]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Backoff.table(),
        lambda: Backoff.exponential(factor=0.5),
        lambda: Backoff.exponential(factor=float("inf")),
        lambda: Backoff.exponential(factor=float("nan")),
        lambda: Backoff((-5,)),
        lambda: Backoff(("1s",)),
        lambda: Backoff.fixed(timedelta(seconds=-1)),
        lambda: Backoff.fixed("soon"),
        lambda: Backoff.fixed("1s", jitter=-1),
    ],
    ids=["empty", "shrinking", "infinite", "no-number", "below", "unread", "negative", "text", "jitter"],
)
def test_a_back_off_that_cannot_be_is_refused_where_it_is_written(wrong: Any) -> None:
    with pytest.raises((ConfigurationError, InvalidDuration)) as caught:
        wrong()

    assert caught.value.fix


def test_an_event_does_not_cut_short_the_back_off_of_the_code(app) -> None:
    """A branch that gets what it waits for does not use up an attempt that the function asked for later."""
    calls: list[int] = []

    @app.create_function(id="bill", trigger="ordered", retries=1)
    async def bill(ctx):
        calls.append(1)

        async def fails() -> None:
            if len(calls) == 1:
                await ctx.step.run("before", lambda: None)
                raise RetryAfterError("later", "1h")

        found, _ = await asyncio.gather(ctx.step.wait_for_event("paid", "paid", timeout="1d"), fails())
        return found.name

    with harness(app) as t:
        t.send("ordered", {})
        t.run_until_idle()
        t.send("paid", {})
        t.advance("59m")
        assert len(calls) == 1
        t.advance("2m")

        assert t.run(bill).output == "paid"
