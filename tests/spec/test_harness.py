"""``stepwell.testing.harness``: functions in virtual time, as users test theirs."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from stepwell.errors import ConfigurationError, NonRetriableError, RetryAfterError, StepError
from stepwell.sdk.app import Stepwell
from stepwell.sdk.context import Context
from stepwell.sdk.events import Event, event
from stepwell.sdk.options import Timeouts
from stepwell.sdk.triggers import TriggerCron
from stepwell.testing import TIMEOUT, Harness, Stuck, crash_sweep, harness


@event("shop/ordered")
class Ordered(msgspec.Struct):
    order: str
    amount: int = 1


class Receipt(msgspec.Struct):
    id: str


@pytest.fixture
def app():
    return Stepwell("shop")


async def take(seconds: float) -> None:
    """Work that takes time."""
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, done.set)
    await done.wait()


@pytest.mark.parametrize("given", ["app.py", None, [], [None], Stepwell, b"x"], ids=repr)
def test_what_is_no_app_is_refused_before_anything_starts(given):
    with pytest.raises(ConfigurationError) as raised:
        harness(given)

    assert all((raised.value.what, raised.value.why, raised.value.fix))


def test_the_name_of_a_file_is_told_to_be_imported():
    with pytest.raises(ConfigurationError, match=r"import the app from app\.py"):
        harness("app.py")


@pytest.mark.parametrize("options", [{"start": "soon"}, {"start": None}, {"retry_interval": -1}], ids=repr)
def test_an_option_that_cannot_be_is_refused(app, options):
    with pytest.raises(ConfigurationError):
        harness(app, **options)


# Sending and looking ------------------------------------------------------------------------------------------


def test_an_event_starts_a_run_and_its_output_and_steps_can_be_looked_at(app):
    @app.create_function(id="bill", trigger=Ordered)
    async def bill(ctx: Context[Ordered]) -> str:
        async def charge(order: str) -> Receipt:
            return Receipt(f"r-{order}")

        receipt = await ctx.step.run("charge", charge, ctx.event.data.order)
        return receipt.id

    with harness(app) as t:
        t.send(Ordered("7"))

        run = t.run(bill)
        t.assert_completed(run, "r-7")
        t.assert_steps(run, "charge")
        assert run.steps["charge"].output == {"id": "r-7"}
        assert run.steps["charge"].attempts == 1
        assert run.event["data"] == {"order": "7", "amount": 1}
        assert run.function_id == "shop-bill"


@pytest.mark.parametrize(
    "given", [("shop/ordered", {"order": "7"}), (Ordered("7"),), (Event("shop/ordered", {"order": "7"}),)]
)
def test_an_event_can_be_sent_by_name_by_class_and_with_all_it_has(app, given):
    @app.create_function(id="bill", trigger=Ordered)
    async def bill(ctx: Context[Ordered]) -> str:
        return ctx.event.data.order

    with harness(app) as t:
        ids = t.send(*given)

        assert len(ids) == 1
        t.assert_completed(t.run(bill), "7")


def test_a_list_of_events_is_sent_at_once(app):
    @app.create_function(id="bill", trigger=Ordered)
    async def bill(ctx: Context[Ordered]) -> str:
        return ctx.event.data.order

    with harness(app) as t:
        ids = t.send([Ordered("1"), Ordered("2")])

        assert len(ids) == 2
        assert [run.output for run in t.runs(bill)] == ["1", "2"]


def test_an_event_id_works_as_it_does_in_production(app):
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None: ...

    with harness(app) as t:
        t.send("paid", {}, id="invoice-1")
        t.send("paid", {}, id="invoice-1")

        assert len(t.runs(bill)) == 1


def test_to_ask_for_the_only_run_names_those_there_are(app):
    @app.create_function(id="bill", trigger="paid")
    async def bill(ctx: Context) -> None: ...

    with harness(app) as t:
        with pytest.raises(AssertionError, match="not one run of shop-bill but 0; there is none at all"):
            t.run(bill)
        t.send([Event("paid"), Event("paid")])
        with pytest.raises(AssertionError, match=r"but 2; there are:\n  shop-bill \w+ COMPLETED"):
            t.run(bill)
        with pytest.raises(AssertionError, match="there is no function 'ship'; there are shop-bill"):
            t.run("ship")


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


def test_a_thread_that_does_not_return_is_named(app):
    release = threading.Event()

    @app.create_function(id="blocker", trigger="go")
    async def blocker(ctx: Context) -> None:
        await ctx.step.run("block", release.wait)

    with harness(app, patience=0.05) as t:
        with pytest.raises(Stuck, match=r"no sign of life for 0.05 s.*\n.*shop-blocker, run \w+, in step block"):
            t.send("go")
        release.set()


# Stubs --------------------------------------------------------------------------------------------------------


@pytest.fixture
def flow(app):
    @app.create_function(id="child", trigger="never")
    async def child(ctx: Context) -> int:
        raise AssertionError("stubbed")

    @app.create_function(id="flow", trigger="go", retries=1)
    async def flow(ctx: Context) -> list[object]:
        async def charge(amount: int) -> Receipt:
            raise AssertionError("stubbed")

        receipt = await ctx.step.run("charge", charge, 5)
        found = await ctx.step.wait_for_event("approval", Ordered, timeout="1d")
        try:
            result: object = await ctx.step.invoke("child", child, data={})
        except StepError as error:
            result = error.name
        return [receipt.id, found.data.order if found else None, result]

    return flow


def test_stubs_stand_in_for_bodies_waits_and_invokes(app, flow):
    with harness(app) as t:
        t.stub("charge", lambda amount: Receipt(f"r{amount}"))
        t.stub("approval", Ordered("9"))
        t.stub("child", 42)
        t.send("go")

        t.assert_completed(t.run(flow), ["r5", "9", 42])
        t.assert_steps(t.run(flow), "charge", "approval", "child")
        assert [step.kind for step in t.run(flow).steps.values()] == ["run", "waitForEvent", "invoke"]


def test_a_stub_may_time_out(app, flow):
    with harness(app) as t:
        t.stub("charge", Receipt("r"))
        t.stub("approval", TIMEOUT)
        t.stub("child", TIMEOUT)
        t.send("go")

        t.assert_completed(t.run(flow), ["r", None, "InngestInvokeTimeoutError"])


def test_a_stub_that_raises_is_tried_again_as_the_step_would_be(app, flow):
    calls: list[int] = []

    async def charge(amount: int) -> Receipt:
        calls.append(amount)
        raise RuntimeError("declined")

    with harness(app) as t:
        t.stub("charge", charge, function=flow)
        t.send("go")
        t.advance("1h")

        assert calls == [5, 5]
        t.assert_failed(t.run(flow), "declined")


def test_a_stub_for_one_function_leaves_the_others_alone(app, flow):
    @app.create_function(id="other", trigger="other")
    async def other(ctx: Context) -> str:
        return await ctx.step.run("charge", lambda: "real")

    with harness(app) as t:
        t.stub("charge", NonRetriableError("no"), function=flow)
        t.send("other")
        t.send("go")

        t.assert_completed(t.run(other), "real")
        t.assert_failed(t.run(flow), "no")


# Crashes ------------------------------------------------------------------------------------------------------


def test_a_crash_loses_memory_and_keeps_what_was_written(app):
    bodies: list[str] = []

    @app.create_function(id="bill", trigger="go")
    async def bill(ctx: Context) -> None:
        async def work(name: str, seconds: float) -> None:
            bodies.append(name)
            await take(seconds)

        await ctx.step.run("charge", work, "charge", 0)
        await ctx.step.sleep("pause", "1h")
        await ctx.step.run("mail", work, "mail", 10)

    with harness(app) as t:
        t.send("go")
        t.crash()
        t.advance("1h")
        assert bodies == ["charge", "mail"]

        t.crash()
        t.run_until_idle()

        assert bodies == ["charge", "mail", "mail"], "what was under way is done again, what was saved is not"
        t.assert_completed(t.run(bill))


def test_a_sweep_crashes_a_scenario_at_each_of_its_commits(app):
    bodies: list[str] = []

    @app.create_function(id="bill", trigger="go")
    async def bill(ctx: Context) -> str:
        async def work(name: str) -> str:
            bodies.append(name)
            return name

        receipt = await ctx.step.run("charge", work, "charge")
        await ctx.step.sleep("pause", "1h")
        await ctx.step.run("mail", work, "mail")
        return receipt

    def scenario(t: Harness) -> None:
        bodies.clear()
        t.send("go")
        t.advance("2h")
        t.assert_completed(t.run(bill), "charge")
        assert 2 <= len(bodies) <= 3, "a body that was under way may run again, and no other"

    report = crash_sweep(app, scenario)

    assert report.points > 6
    assert str(report) == f"{report.points} crash points, 0 failures"


def test_a_sweep_names_the_crashes_that_a_scenario_does_not_survive(app):
    charged: list[str] = []

    @app.create_function(id="bill", trigger="go")
    async def bill(ctx: Context) -> None:
        async def charge() -> None:
            charged.append(ctx.run_id)

        await ctx.step.run("charge", charge)

    def scenario(t: Harness) -> None:
        charged.clear()
        t.send("go")
        t.assert_completed(t.run(bill))
        assert len(charged) == 1, "charged twice"

    with pytest.raises(AssertionError, match=r"1 failures\n  crash before commit \d+ \(SaveStep\): charged twice"):
        crash_sweep(app, scenario)


# Failing tests explain themselves -----------------------------------------------------------------------------


def test_a_failed_assertion_shows_the_run_as_a_tree(app):
    @app.create_function(id="bill", trigger="go")
    async def bill(ctx: Context) -> None:
        async def charge() -> None:
            if ctx.attempt < 1:
                raise RuntimeError("declined")

        await ctx.step.run("charge", charge)
        await ctx.step.wait_for_event("approval", "approved", timeout="1d")

    with harness(app, retry_interval="20s") as t:
        t.send("go")
        t.advance("1m")
        run = t.run(bill)
        with pytest.raises(AssertionError) as failed:
            t.assert_completed(run)

    assert str(failed.value) == "\n".join(
        [
            "it is RUNNING, not COMPLETED",
            f"run {run.id} of shop-bill: RUNNING (queued 2026-01-01T00:00:00.000Z)",
            "├─ charge  run  COMPLETED  2 attempts  → null",
            "│  └─ attempt 0: RuntimeError: declined, again at 2026-01-01T00:00:20.000Z",
            "├─ approval  waitForEvent  WAITING  until 2026-01-02T00:00:20.000Z",
            "└─ waits for step approval: waiting for approved until 2026-01-02T00:00:20.000Z",
        ]
    )


async def test_it_works_inside_of_an_async_test_too(app):
    @app.create_function(id="nap", trigger="go")
    async def nap(ctx: Context) -> str:
        await ctx.step.sleep("week", "1w")
        return await ctx.step.run("thread", lambda: "rested")

    with harness(app) as t:
        t.send("go")
        await asyncio.sleep(0)
        t.advance("1w")
        t.assert_completed(t.run(nap), "rested")

    await asyncio.sleep(0)


def test_a_stub_that_is_never_used_fails_the_test(app) -> None:
    """A wrong id would let the real body run unnoticed."""

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        return await ctx.step.run("charge", lambda: "for real")

    with (
        pytest.raises(AssertionError, match=r"the stub of step 'chargee' was never used; .*: 'charge'"),
        harness(app) as t,
    ):
        t.stub("chargee", "not really")
        t.send("ordered")

    with pytest.raises(AssertionError, match=r"of shop-bill was never used; .*: none"), harness(app) as t:
        t.stub("charge", function=bill)


def test_an_error_of_the_test_is_not_hidden_by_a_stub_that_was_not_reached(app) -> None:
    with pytest.raises(ZeroDivisionError), harness(app) as t:
        t.stub("charge")
        raise ZeroDivisionError


def test_a_call_that_begins_while_time_goes_by_and_never_ends_is_found_out(app) -> None:
    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx):
        await ctx.step.sleep("rest", "1m")
        await asyncio.Event().wait()

    with harness(app) as t:
        t.send("ordered", {})
        with pytest.raises(Stuck, match="will never come"):
            t.advance("1h")


def test_events_of_one_moment_count_apart_where_processes_may_die() -> None:
    """They are sent with a seed, from which the ids of the events of a request count up."""
    app = Stepwell("shop")

    @app.create_function(id="work", trigger="go")
    async def work(ctx: Context) -> None: ...

    with harness(app) as t:
        t.die_when(lambda before, decision: False)
        t.send([Event("go")] * 3)
        t.send(Event("go"))

        assert len(t.runs(work)) == 4


def test_a_process_dies_from_the_moment_on_that_it_is_to() -> None:
    app = Stepwell("shop")

    @app.create_function(id="work", trigger="go")
    async def work(ctx: Context) -> None: ...

    with harness(app) as t:
        asked: list[bool] = []
        t.die_when(lambda before, decision: asked.append(before) or len(asked) == 1)  # type: ignore[func-returns-value]
        t.send("go")

        assert asked[0] is True
        assert len(asked) > 3
        assert [run.status for run in t.runs(work)] == ["COMPLETED"]
