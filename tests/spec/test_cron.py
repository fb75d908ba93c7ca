"""``TriggerCron``: started by the clock, in a zone, each tick once, whatever happens in between.

Semantics §2.2, design D10; F16, F17, F18.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from stepwell import Cancel, Concurrency, ConfigurationError, InvalidCron, Stepwell, Timeouts, TriggerCron
from stepwell.testing import Harness, harness
from tests.spec.looking import events, outcomes, totals

START = datetime(2026, 1, 1, tzinfo=UTC)  # a Thursday


def at(month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def report(app: Stepwell, cron: str, **options: Any) -> Any:
    @app.create_function(id="report", trigger=TriggerCron(cron, **options))
    async def report(ctx):
        return ctx.event.data["scheduledAt"]

    return report


def ticks(t: Harness) -> list[str]:
    """The moments for which there is a run, in the order of the runs."""
    return [run.event["data"]["scheduledAt"] for run in t.runs("report")]


def started(t: Harness) -> list[datetime | None]:
    return [run.started_at for run in t.runs("report")]


# Ticks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 9 * * *", [at(1, 1, 9), at(1, 2, 9), at(1, 3, 9)]),
        ("30 */12 * * *", [at(1, 1, 0, 30), at(1, 1, 12, 30), at(1, 2, 0, 30)]),
        ("0 0 * * 1", [at(1, 5), at(1, 12), at(1, 19)]),
        ("0 0 * * mon-tue", [at(1, 5), at(1, 6), at(1, 12)]),
        ("0 0 1 * *", [at(2, 1), at(3, 1), at(4, 1)]),
        ("0 0 L * *", [at(1, 31), at(2, 28), at(3, 31)]),
        ("0 0 31 * *", [at(1, 31), at(3, 31), at(5, 31)]),
        ("0 0 13 * 5", [at(1, 2), at(1, 9), at(1, 13)]),
        ("15,45 8-9 * * *", [at(1, 1, 8, 15), at(1, 1, 8, 45), at(1, 1, 9, 15)]),
    ],
)
def test_runs_start_at_exactly_the_moments_of_the_schedule(app, cron: str, expected: list[datetime]) -> None:
    report(app, cron)

    with harness(app) as t:
        t.advance_to(expected[-1])

        assert started(t) == expected


def test_a_tick_never_comes_early(app) -> None:
    """I15."""
    report(app, "0 * * * *")

    with harness(app) as t:
        t.advance("59m59s999ms")
        assert ticks(t) == []
        t.advance(1)

        assert ticks(t) == ["2026-01-01T01:00:00.000Z"]


def test_the_moment_at_which_the_engine_starts_is_no_tick(app) -> None:
    report(app, "0 * * * *")

    with harness(app, start=at(1, 1, 12)) as t:
        assert ticks(t) == []


def test_99_the_event_of_a_tick_says_which_it_is(app) -> None:
    report(app, "30 * * * *")

    with harness(app) as t:
        t.advance("1h")

        (found,) = events(t, "inngest/scheduled.timer")
        assert json.loads(found.data) == {
            "cron": "30 * * * *",
            "scheduledAt": "2026-01-01T00:30:00.000Z",
            "fireAt": "2026-01-01T00:30:00.000Z",
        }
        assert (found.public_id, found.ts) == ("2026-01-01T00:30:00.000Z", int(at(1, 1, 0, 30).timestamp() * 1000))


def test_a_schedule_that_never_comes_up_is_accepted_and_starts_nothing(app) -> None:
    report(app, "0 0 30 2 *")

    with harness(app) as t:
        t.advance("60d")

        assert ticks(t) == []
        assert totals(t).items == 0


def test_several_schedules_of_one_function_each_have_their_ticks(app) -> None:
    @app.create_function(id="report", trigger=[TriggerCron("0 6 * * *"), TriggerCron("0 */6 * * *")])
    async def report(ctx):
        return ctx.event.data["cron"]

    with harness(app) as t:
        t.advance("6h")

        assert sorted(run.output for run in t.runs(report)) == ["0 */6 * * *", "0 6 * * *"]


def test_a_run_that_is_still_running_does_not_hold_up_the_next_tick(app) -> None:
    @app.create_function(id="report", trigger=TriggerCron("* * * * *"))
    async def report(ctx):
        await ctx.step.sleep("rest", "10m")

    with harness(app) as t:
        t.advance("5m")

        assert [run.status for run in t.runs(report)] == ["RUNNING"] * 5


def test_the_limits_of_the_function_hold_for_ticks_too(app) -> None:
    @app.create_function(
        id="report",
        trigger=TriggerCron("* * * * *"),
        concurrency=Concurrency(1),
        timeouts=Timeouts(start="90s"),
        cancel=Cancel("stop"),
    )
    async def report(ctx):
        await ctx.step.run("work", lambda: asyncio.sleep(600))

    with harness(app) as t:
        t.advance("5m")
        assert [run.status for run in t.runs(report)] == ["RUNNING", "CANCELLED", "CANCELLED", "QUEUED", "QUEUED"]
        t.send("stop")

        assert {run.status for run in t.runs(report)} == {"CANCELLED"}


def test_a_tick_may_be_refused_by_an_idempotency_key_and_says_so(app) -> None:
    @app.create_function(id="report", trigger=TriggerCron("0 */12 * * *"), idempotency="'daily'")
    async def report(ctx): ...

    with harness(app) as t:
        t.advance("2d")

        assert started(t) == [at(1, 1, 12), at(1, 2, 12)]
        kinds = [outcomes(t, found.id).get("shop-report") for found in events(t, "inngest/scheduled.timer")]
        assert [found.kind if found else None for found in kinds] == [None, "idempotent", None, "idempotent"]


# Zones -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cron", "zone"),
    [("0 9 * * *", "Asia/Tokyo"), ("TZ=Asia/Tokyo 0 9 * * *", "UTC"), ("CRON_TZ=Asia/Tokyo 0 9 * * *", "UTC")],
)
def test_a_zone_may_be_given_beside_or_in_the_schedule(app, cron: str, zone: str) -> None:
    report(app, cron, tz=zone)

    with harness(app) as t:
        t.advance("2d")

        assert started(t) == [at(1, 2), at(1, 3)]


def test_local_time_stays_what_it_is_when_clocks_change(app) -> None:
    paris = ZoneInfo("Europe/Paris")
    report(app, "0 9 * * *", tz="Europe/Paris")

    with harness(app, start=at(3, 27)) as t:
        t.advance("5d")

        assert [moment.astimezone(paris).hour for moment in started(t) if moment] == [9] * 5
        assert [moment.hour for moment in started(t) if moment] == [8, 8, 7, 7, 7]


def test_a_local_time_that_is_skipped_does_not_come_up(app) -> None:
    """On 29 March 2026 there is no 02:30 in Paris."""
    report(app, "30 2 * * *", tz="Europe/Paris")

    with harness(app, start=at(3, 28)) as t:
        t.advance("3d")

        assert started(t) == [at(3, 28, 1, 30), at(3, 30, 0, 30)]


def test_a_fixed_local_time_that_comes_twice_starts_once(app) -> None:
    """On 25 October 2026 there are two 02:30 in Paris."""
    report(app, "30 2 * * *", tz="Europe/Paris")

    with harness(app, start=at(10, 24, 12)) as t:
        t.advance("2d")

        assert started(t) == [at(10, 25, 0, 30), at(10, 26, 1, 30)]


def test_an_hourly_schedule_starts_in_both_of_two_equal_hours(app) -> None:
    report(app, "30 * * * *", tz="Europe/Paris")

    with harness(app, start=at(10, 25, 0)) as t:
        t.advance("3h")

        assert started(t) == [at(10, 25, hour, 30) for hour in (0, 1, 2)]


# Jitter ----------------------------------------------------------------------------------------------------------


def test_jitter_delays_each_tick_by_1_second_to_its_length_always_by_the_same(app) -> None:
    report(app, "0 * * * *", jitter="5m")

    def delays(seed: int) -> list[float]:
        with harness(app, seed=seed) as t:
            t.advance("20h10m")
            hours = [at(1, 1) + timedelta(hours=n) for n in range(1, 21)]
            found = started(t)
            assert len(found) == 20
            return [(moment - hour).total_seconds() for moment, hour in zip(found, hours, strict=True) if moment]

    first = delays(seed=1)
    assert all(1 <= delay < 300 for delay in first)
    assert len(set(first)) > 10
    assert delays(seed=2) == first


def test_a_jitter_longer_than_the_pause_between_ticks_loses_none(app) -> None:
    """I23: one run per tick."""
    report(app, "* * * * *", jitter="5m")

    with harness(app) as t:
        t.advance("1h5m")

        expected = [f"2026-01-01T00:{minute:02}:00.000Z" for minute in range(1, 60)]
        assert ticks(t)[:59] == expected
        assert all(
            timedelta(seconds=1) <= moment - datetime.fromisoformat(tick) < timedelta(minutes=5)
            for moment, tick in zip(started(t), ticks(t), strict=True)
            if moment
        )


# Exactly once ----------------------------------------------------------------------------------------------------


def test_K51_each_tick_happens_once_however_often_the_process_dies(app) -> None:
    """K51: restarted more often than the schedule ticks; I23."""
    report(app, "0 * * * *")

    with harness(app) as t:
        for _ in range(60):
            t.advance("7m")
            t.crash()

        assert ticks(t) == [f"2026-01-01T0{hour}:00:00.000Z" for hour in range(1, 8)]


def test_a_crash_in_the_very_moment_of_a_tick_neither_loses_nor_doubles_it(app) -> None:
    @app.create_function(id="report", trigger=TriggerCron("0 * * * *"))
    async def report(ctx):
        await ctx.step.run("work", lambda: asyncio.sleep(60))

    with harness(app) as t:
        t.advance("1h")
        t.crash()
        t.crash()
        t.advance("30m")

        assert [run.status for run in t.runs(report)] == ["COMPLETED"]


@pytest.mark.parametrize("app_is_there", [True, False], ids=["with the app", "without the app"])
def test_K24_after_a_restart_ticks_go_on_without_a_new_sync(app, app_is_there: bool) -> None:
    """K24: only the server was restarted. Without the app the runs wait for it."""
    function = report(app, "0 * * * *")
    other = Stepwell("other")

    with harness(app) as t:
        t.crash(app=app if app_is_there else other)
        t.advance("3h")
        if not app_is_there:
            t.crash(app=app)
            t.run_until_idle()

        assert [run.output for run in t.runs(function)] == [f"2026-01-01T0{hour}:00:00.000Z" for hour in (1, 2, 3)]


# After downtime --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missed", "expected"),
    [("latest", ["02:00", "03:00"]), ("skip", ["03:00"]), ("all", ["01:00", "02:00", "03:00"])],
)
def test_after_hours_without_a_process_the_policy_says_which_ticks_happen(
    app, missed: str, expected: list[str]
) -> None:
    report(app, "0 * * * *", missed=missed)

    with harness(app) as t:
        t.crash(down="2h10m")
        t.advance("1h")

        assert [tick[11:16] for tick in ticks(t)] == expected


def test_K23_there_is_no_flurry_of_minutely_ticks_after_downtime(app) -> None:
    """K23."""
    report(app, "* * * * *")

    with harness(app) as t:
        t.crash(down="2h10m30s")
        t.advance("1m30s")

        assert [tick[11:16] for tick in ticks(t)] == ["02:10", "02:11", "02:12"]


def test_the_run_of_a_missed_tick_knows_which_it_was_and_when_it_fired(app) -> None:
    report(app, "0 9 * * *")

    with harness(app) as t:
        t.crash(down="2d12h")

        data = t.run("report").event["data"]
        assert data["scheduledAt"] == "2026-01-03T09:00:00.000Z"
        assert data["fireAt"] == "2026-01-03T12:00:00.000Z"


def test_after_downtime_with_jitter_too_only_the_latest_tick_happens(app) -> None:
    report(app, "0 * * * *", jitter="5m")

    with harness(app) as t:
        t.crash(down="10h6m")
        t.advance("1m")

        assert ticks(t) == ["2026-01-01T10:00:00.000Z"]


def test_a_short_stop_between_two_ticks_is_not_noticed(app) -> None:
    report(app, "0 * * * *", missed="skip")

    with harness(app) as t:
        t.advance("30m")
        t.crash(down="20m")
        t.advance("1h10m")

        assert started(t) == [at(1, 1, 1), at(1, 1, 2)]


def test_a_tick_that_is_a_little_late_is_not_missed(app) -> None:
    report(app, "0 * * * *", missed="skip")

    with harness(app) as t:
        t.advance("59m50s")
        t.crash(down="20s")
        t.run_until_idle()

        assert ticks(t) == ["2026-01-01T01:00:00.000Z"]


# Changes ---------------------------------------------------------------------------------------------------------


def test_K25_a_changed_schedule_ticks_from_then_on_and_the_old_one_no_more(app) -> None:
    """K25: no double tick at the change."""
    report(app, "0 * * * *")
    later = Stepwell("shop")
    report(later, "30 * * * *")

    with harness(app) as t:
        t.advance("2h")
        t.crash(app=later)
        t.advance("2h")

        assert started(t) == [at(1, 1, 1), at(1, 1, 2), at(1, 1, 2, 30), at(1, 1, 3, 30)]


def test_a_schedule_that_changes_in_the_moment_of_a_tick_of_both_ticks_once(app) -> None:
    report(app, "0 * * * *")
    later = Stepwell("shop")
    report(later, "*/30 * * * *")

    with harness(app) as t:
        t.advance("1h")
        t.crash(app=later)
        t.advance("30m")

        assert started(t) == [at(1, 1, 1), at(1, 1, 1, 30)]


def test_a_deploy_that_changes_something_else_keeps_the_tick(app) -> None:
    report(app, "0 * * * *")
    later = Stepwell("shop")

    @later.create_function(id="report", trigger=TriggerCron("0 * * * *"), retries=1)
    async def changed(ctx): ...

    with harness(app) as t:
        t.advance("59m")
        t.crash(app=later, down="2m")
        t.run_until_idle()

        assert ticks(t) == ["2026-01-01T01:00:00.000Z"]


def test_a_function_that_is_gone_ticks_no_more(app) -> None:
    report(app, "0 * * * *")
    later = Stepwell("shop")

    @later.create_function(id="other", trigger="x")
    async def other(ctx): ...

    with harness(app) as t:
        t.advance("1h")
        t.crash(app=later)
        t.advance("5h")

        assert len(t.runs()) == 1
        assert totals(t).items == 0


def test_a_run_that_had_begun_goes_on_under_the_new_schedule(app) -> None:
    def define(of: Stepwell, cron: str) -> Any:
        @of.create_function(id="report", trigger=TriggerCron(cron))
        async def report(ctx):
            await ctx.step.sleep("rest", "30m")
            return ctx.event.data["cron"]

        return report

    function = define(app, "0 1 * * *")
    later = Stepwell("shop")
    define(later, "0 5 * * *")

    with harness(app) as t:
        t.advance("1h")
        t.crash(app=later)
        t.advance("5h")

        assert [run.output for run in t.runs(function)] == ["0 1 * * *", "0 5 * * *"]


# What is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cron",
    [
        "",
        "* * * *",
        "* * * * * *",
        "0 0 * * * 2026",
        "@hourly",
        "@daily",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "*/0 * * * *",
        "a b c d e",
        "5-1 * * * *",
        "TZ=Mars/Base 0 9 * * *",
        "TZ= 0 9 * * *",
        "TZ=UTC",
        "0 9 * * * TZ=UTC",
        "0 " + ",".join(["1"] * 200) + " * * *",
        "0\x009 * * *",
    ],
    ids=lambda cron: cron[:30],
)
def test_a_schedule_that_cannot_be_read_is_refused_with_what_why_and_fix(app, cron: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        report(app, cron)

    assert all((refused.value.what, refused.value.why, refused.value.fix))
    assert app.functions == {}


@pytest.mark.parametrize(
    "options",
    [
        {"tz": "Mars/Base"},
        {"tz": ""},
        {"tz": "../etc/passwd"},
        {"tz": "europe/paris "},
        {"jitter": "500ms"},
        {"jitter": "6m"},
        {"jitter": "soon"},
        {"jitter": -1},
        {"missed": "none"},
    ],
    ids=repr,
)
def test_options_of_a_schedule_that_cannot_be_are_refused_with_what_why_and_fix(app, options: Any) -> None:
    with pytest.raises(ConfigurationError) as refused:
        report(app, "0 9 * * *", **options)

    assert all((refused.value.what, refused.value.why, refused.value.fix))
    assert app.functions == {}


def test_a_zone_given_twice_is_refused(app) -> None:
    with pytest.raises(InvalidCron):
        report(app, "TZ=Asia/Tokyo 0 9 * * *", tz="Europe/Paris")
