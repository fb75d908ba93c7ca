"""Virtual time: what it does, what it costs, and what shows that a test would hang."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest

from stepwell.errors import RetryAfterError, StepError
from stepwell.sdk.context import Context
from stepwell.sdk.options import Timeouts
from stepwell.sdk.triggers import TriggerCron
from stepwell.testing import Stuck, harness
from tests.spec.test_harness import Ordered


async def take(seconds: float) -> None:
    """Work that takes time."""
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, done.set)
    await done.wait()


# Time ---------------------------------------------------------------------------------------------------------


def test_a_sleep_ends_at_its_moment_and_not_before(app):
    @app.create_function(id="nap", trigger="go")
    async def nap(ctx: Context) -> None:
        await ctx.step.sleep("month", timedelta(days=30))

    with harness(app) as t:
        t.send("go")
        t.run_until_idle()
        t.assert_waiting(t.run(nap), "month")
        assert t.run(nap).waiting_for == "step month: sleeping until 2026-01-31T00:00:00.000Z"

        t.advance(timedelta(days=30) - timedelta(milliseconds=1))
        assert not t.run(nap).ended

        t.advance(1)
        assert t.run(nap).ended_at == datetime(2026, 1, 31, tzinfo=UTC)


def test_time_starts_where_it_is_told_to_and_moves_to_a_moment(app):
    with harness(app, start="2030-06-01T12:00:00+02:00") as t:
        assert t.now == datetime(2030, 6, 1, 10, tzinfo=UTC)

        t.advance_to(datetime(2030, 7, 1, tzinfo=UTC))
        t.advance("1h")

        assert t.now == datetime(2030, 7, 1, 1, tzinfo=UTC)
        with pytest.raises(ValueError, match="it is 2030-07-01T01:00"):
            t.advance_to("2030-07-01")
        with pytest.raises(ValueError, match="time does not go back"):
            t.advance(-1)


def test_a_failing_step_is_tried_again_at_the_moments_of_the_table(app):
    tried: list[str] = []

    @app.create_function(id="bill", trigger="go", retries=2)
    async def bill(ctx: Context) -> str:
        async def charge() -> None:
            tried.append(ctx.now().strftime("%H:%M:%S"))
            raise RuntimeError("declined")

        try:
            await ctx.step.run("charge", charge)
        except StepError as error:
            return error.message
        return ""

    with harness(app, retry_interval="20s") as t:
        t.send("go")
        run = t.run(bill)
        assert (run.steps["charge"].status, run.steps["charge"].attempts) == ("ERRORED", 1)

        t.advance("1m")

        assert tried == ["00:00:00", "00:00:20", "00:00:40"]
        assert run.steps["charge"].status == "FAILED"
        assert [error.message for error in run.steps["charge"].errors] == ["declined"] * 3
        t.assert_completed(run, "declined")


def test_a_step_may_say_itself_when_to_try_again(app):
    @app.create_function(id="bill", trigger="go")
    async def bill(ctx: Context) -> int:
        async def charge() -> int:
            if ctx.attempt == 0:
                raise RetryAfterError("busy", "2h")
            return ctx.attempt

        return await ctx.step.run("charge", charge)

    with harness(app) as t:
        t.send("go")
        t.advance("1h59m59s")
        t.assert_waiting(t.run(bill), "charge")
        t.advance("1s")
        t.assert_completed(t.run(bill), 1)


def test_a_wait_gets_its_event_or_times_out(app):
    @app.create_function(id="approve", trigger=Ordered)
    async def approve(ctx: Context[Ordered]) -> bool:
        found = await ctx.step.wait_for_event("approval", "approved", match="data.order", timeout="3d")
        return found is not None

    with harness(app) as t:
        t.send([Ordered("1"), Ordered("2")])
        t.send("approved", {"order": "2"})

        first, second = t.runs(approve)
        t.assert_completed(second, True)
        assert first.waiting_for == "step approval: waiting for approved until 2026-01-04T00:00:00.000Z"
        t.advance("3d")
        t.assert_completed(first, False)
        assert first.steps["approval"].status == "TIMED_OUT"


def test_a_cron_ticks(app):
    ticks: list[datetime] = []

    @app.create_function(id="report", trigger=TriggerCron("0 9 * * *"))
    async def report(ctx: Context) -> None:
        ticks.append(ctx.now())

    with harness(app, start=datetime(2026, 1, 1, 8, tzinfo=UTC)) as t:
        t.advance("2d")

        assert ticks == [datetime(2026, 1, 1, 9, tzinfo=UTC), datetime(2026, 1, 2, 9, tzinfo=UTC)]
        assert len(t.runs(report)) == 2


def test_timeouts_and_cancellations_show(app):
    @app.create_function(id="slow", trigger="go", timeouts=Timeouts(finish="1h"))
    async def slow(ctx: Context) -> None:
        await ctx.step.sleep("long", "2h")

    with harness(app) as t:
        t.send("go")
        t.advance("1h")
        t.assert_cancelled(t.run(slow))
        assert "finish timeout" in (t.run(slow).reason or "")

        t.send("go")
        assert t.cancel(t.runs(slow)[-1])
        t.assert_cancelled(t.runs(slow)[-1])
        assert not t.cancel(t.runs(slow)[-1]), "it had ended"


def test_work_that_takes_time_takes_virtual_time(app):
    @app.create_function(id="work", trigger="go")
    async def work(ctx: Context) -> str:
        async def calculate() -> str:
            await take(100)
            return "done"

        return await ctx.step.run("calculate", calculate)

    with harness(app) as t:
        t.send("go")
        assert t.run(work).waiting_for is None, "it is being called"

        t.advance("99s")
        assert not t.run(work).ended
        t.run_until_idle()

        t.assert_completed(t.run(work), "done")
        assert t.now == datetime(2026, 1, 1, 0, 1, 40, tzinfo=UTC)


def test_a_plain_function_runs_in_a_thread_that_is_waited_for(app):
    @app.create_function(id="work", trigger="go")
    async def work(ctx: Context) -> bool:
        return await ctx.step.run("calculate", lambda: threading.current_thread() is threading.main_thread())

    with harness(app) as t:
        t.send("go")

        t.assert_completed(t.run(work), False)


# Speed: counted in turns of the event loop, which no machine makes slower --------------------------------------


def turns(t) -> int:
    return t._loop.rounds


def test_a_flow_of_thirty_days_costs_next_to_nothing(app):
    @app.create_function(id="month", trigger="go")
    async def month(ctx: Context) -> None:
        for day in range(30):
            await ctx.step.sleep(f"day-{day}", "1d")

    with harness(app) as t:
        t.send("go")
        before = turns(t)
        t.advance("30d")

        t.assert_completed(t.run(month))
        assert turns(t) - before < 30 * 100, "time is walked through, not jumped over"


def test_an_idle_year_costs_next_to_nothing(app):
    @app.create_function(id="year", trigger="go")
    async def year(ctx: Context) -> None:
        await ctx.step.sleep("year", "365d")

    with harness(app) as t:
        t.send("go")
        t.advance("1h")
        before = turns(t)
        t.advance("363d")
        idle = turns(t) - before
        t.advance("2d")

        t.assert_completed(t.run(year))
        assert idle < 365 * 24 * 5


@pytest.mark.sqlite("counts how often a loop turns whose store answers at once")
def test_a_cron_costs_the_same_for_each_tick(app):
    @app.create_function(id="tick", trigger=TriggerCron("0 * * * *"))
    async def tick(ctx: Context) -> None: ...

    with harness(app) as t:
        t.advance("20d")
        before = turns(t)
        t.advance("20d")

        assert len(t.runs(tick)) == 40 * 24
        assert (turns(t) - before) / (20 * 24) < 15


# Nothing hangs ------------------------------------------------------------------------------------------------


def test_a_call_that_waits_for_what_never_comes_is_named(app):
    @app.create_function(id="stuck", trigger="go")
    async def stuck(ctx: Context) -> None:
        await ctx.step.run("first", lambda: 1)
        await ctx.step.run("hang", asyncio.Event().wait)

    with harness(app) as t:
        t.send("go")
        with pytest.raises(
            Stuck, match=r"never come; busy:\n  shop-stuck, run \w+, in step hang, since 2026-01-01T00:00"
        ):
            t.run_until_idle()


def test_a_call_that_takes_hours_is_named(app):
    @app.create_function(id="poller", trigger="go")
    async def poller(ctx: Context) -> None:
        while True:
            await take(60)

    with harness(app) as t:
        t.send("go")
        with pytest.raises(Stuck, match=r"did not end within 2h; busy:\n  shop-poller, run \w+, before its first step"):
            t.run_until_idle()


@pytest.mark.sqlite("waits less for a sign of life than a database may take for an answer")
def test_a_thread_that_does_not_return_is_named(app):
    release = threading.Event()

    @app.create_function(id="blocker", trigger="go")
    async def blocker(ctx: Context) -> None:
        await ctx.step.run("block", release.wait)

    with harness(app, patience=0.05) as t:
        with pytest.raises(Stuck, match=r"no sign of life for 0.05 s.*\n.*shop-blocker, run \w+, in step block"):
            t.send("go")
        release.set()


def test_a_call_that_begins_while_time_goes_by_and_never_ends_is_found_out(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.sleep("rest", "1m")
        await asyncio.Event().wait()

    with harness(app) as t:
        t.send("ordered", {})
        with pytest.raises(Stuck, match="will never come"):
            t.advance("1h")
