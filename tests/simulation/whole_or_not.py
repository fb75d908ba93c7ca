"""Small scenarios for the exhaustive crash mode, one for each thing that must be whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from stepwell import (
    BatchEvents,
    Cancel,
    Concurrency,
    Debounce,
    Event,
    NonRetriableError,
    Priority,
    RateLimit,
    Singleton,
    StepError,
    Stepwell,
    Throttle,
    Timeouts,
    TriggerCron,
    TriggerEvent,
)
from stepwell.engine.again import FromStep
from stepwell.runtime.operator import rerun
from stepwell.runtime.orders import Replay, replay_many
from stepwell.testing.harness import START, Harness

Bodies = list[tuple[str, str]]
"""Which bodies were started, in order: run id and step name."""

Action = Callable[[Harness], object]
"""One thing that is done from outside. It names events by id and moments absolutely, so it may be done again."""


class Scenario(NamedTuple):
    """An app, what is done to it, and the list its bodies write to."""

    app: Stepwell
    actions: list[Action]
    bodies: Bodies
    writes: str | None
    """A change that must be among those at which it dies."""


SCENARIOS: dict[str, Callable[[], Scenario]] = {}


def send(name: str, id: str = "1", **data: Any) -> Action:
    return lambda t: (t.send(Event(name, data, id=f"{name}/{id}")), t.run_until_idle())


def until(length: timedelta) -> Action:
    def act(t: Harness) -> None:
        t.advance_to(max(START + length, t.now))

    return act


def kill(t: Harness) -> None:
    """One more death, on top of the one that the mode deals out."""
    t.crash()


def scenario(
    *actions: Action, writes: str | None = None
) -> Callable[[Callable[[Stepwell, Any], None]], Callable[[Stepwell, Any], None]]:
    def take(define: Callable[[Stepwell, Any], None]) -> Callable[[Stepwell, Any], None]:
        def make() -> Scenario:
            bodies: Bodies = []
            app = Stepwell("sweep")

            async def did(ctx: Any, name: str, result: Any = None) -> Any:
                bodies.append((ctx.run_id, name))
                return result

            define(app, did)
            return Scenario(app, [*actions, until(timedelta(days=30))], bodies, writes)

        SCENARIOS[define.__name__.replace("_", " ")] = make
        return define

    return take


HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@scenario(send("go"))
def a_function_without_steps(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go")
    async def f(ctx: Any) -> str:
        return "done"


@scenario(send("go"))
def steps_one_after_the_other(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go")
    async def f(ctx: Any) -> list[int]:
        return [await ctx.step.run(f"s{n}", did, ctx, f"s{n}", n) for n in range(3)]


@scenario(send("go"))
def a_step_that_fails_twice(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go")
    async def f(ctx: Any) -> int:
        async def body() -> int:
            await did(ctx, "flaky-3")
            if ctx.attempt < 2:
                raise RuntimeError("not yet")
            return 7

        return await ctx.step.run("flaky-3", body)


@scenario(send("go"))
def a_step_that_fails_for_good_and_is_undone(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go")
    async def f(ctx: Any) -> str:
        async def body() -> None:
            await did(ctx, "pay")
            raise NonRetriableError("no money")

        await ctx.step.run("reserve", did, ctx, "reserve")
        try:
            await ctx.step.run("pay", body)
        except StepError as error:
            await ctx.step.run("release", did, ctx, "release")
            return error.name
        return "paid"


@scenario(send("go"))
def code_that_fails_once_between_steps(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go")
    async def f(ctx: Any) -> str:
        await ctx.step.run("before", did, ctx, "before")
        if ctx.attempt == 0:
            raise RuntimeError("once")
        return await ctx.step.run("after", did, ctx, "after", "x")


@scenario(send("go"))
def a_run_that_fails_and_its_handler(app: Stepwell, did: Any) -> None:
    async def handler(ctx: Any) -> str:
        return await ctx.step.run("tell", did, ctx, "tell", "told")

    @app.create_function(id="f", trigger="go", on_failure=handler)
    async def f(ctx: Any) -> None:
        await ctx.step.run("before", did, ctx, "before")
        raise NonRetriableError("no")


@scenario(send("go"), until(HOUR))
def a_sleep(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go")
    async def f(ctx: Any) -> str:
        await ctx.step.run("before", did, ctx, "before")
        await ctx.step.sleep("rest", "1h")
        return await ctx.step.run("after", did, ctx, "after", "x")


@scenario(send("go"), until(2 * DAY))
def many_sleeps_in_a_row(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go")
    async def f(ctx: Any) -> int:
        for n in range(4):
            await ctx.step.sleep(f"rest{n}", "6h")
        return 4


@scenario(send("go"), send("paid", n=1))
def a_wait_that_is_answered(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go")
    async def f(ctx: Any) -> Any:
        found = await ctx.step.wait_for_event("paid", "paid", timeout="20d", if_="async.data.n == 1")
        await ctx.step.run("after", did, ctx, "after")
        return found.data if found else None


@scenario(send("go"), until(2 * DAY))
def a_wait_that_times_out(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go")
    async def f(ctx: Any) -> bool:
        found = await ctx.step.wait_for_event("paid", "paid", timeout="1d")
        await ctx.step.run("after", did, ctx, "after")
        return found is None


@scenario(send("paid", order=3), send("go", order=3))
def a_wait_that_looks_back(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go")
    async def f(ctx: Any) -> Any:
        found = await ctx.step.wait_for_event("paid", "paid", match="data.order", timeout="1d", lookback="1h")
        return found.data if found else None


@scenario(send("go"))
def an_event_sent_by_a_step(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go")
    async def f(ctx: Any) -> int:
        return len(await ctx.step.send_event("tell", [Event("told", {"n": 1}), Event("told", {"n": 2})]))

    @app.create_function(id="g", trigger="told")
    async def g(ctx: Any) -> Any:
        return await ctx.step.run("hear", did, ctx, "hear", ctx.event.data["n"])


@scenario(send("go"))
def a_wait_and_its_answer_side_by_side(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go")
    async def f(ctx: Any) -> Any:
        found, _ = await asyncio.gather(
            ctx.step.wait_for_event("hear", "told", timeout="20d"), ctx.step.send_event("tell", Event("told", {"n": 1}))
        )
        return found.data


@scenario(send("go"))
def an_invoke(app: Stepwell, did: Any) -> None:
    @app.create_function(id="child", trigger=None)
    async def child(ctx: Any) -> int:
        return int(await ctx.step.run("double", did, ctx, "double", ctx.event.data["n"] * 2))

    @app.create_function(id="f", trigger="go")
    async def f(ctx: Any) -> int:
        return int(await ctx.step.invoke("child", child, data={"n": 4})) + 1


@scenario(send("go"))
def an_invoke_that_fails(app: Stepwell, did: Any) -> None:
    @app.create_function(id="child", trigger=None, retries=0)
    async def child(ctx: Any) -> None:
        raise ValueError("no")

    @app.create_function(id="f", trigger="go")
    async def f(ctx: Any) -> str:
        try:
            await ctx.step.invoke("child", child, data={})
        except StepError as error:
            return error.name
        return "never"


@scenario(send("go"), until(2 * DAY))
def an_invoke_that_takes_too_long(app: Stepwell, did: Any) -> None:
    @app.create_function(id="child", trigger=None)
    async def child(ctx: Any) -> str:
        await ctx.step.sleep("long", "5d")
        return "late"

    @app.create_function(id="f", trigger="go")
    async def f(ctx: Any) -> str:
        try:
            await ctx.step.invoke("child", child, data={}, timeout="1d")
        except StepError as error:
            return error.name
        return "never"


@scenario(send("go"))
def branches_side_by_side(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go")
    async def f(ctx: Any) -> list[int]:
        found = await asyncio.gather(*(ctx.step.run(f"b{n}", did, ctx, f"b{n}", n) for n in range(3)))
        return [*found, await ctx.step.run("last", did, ctx, "last", 9)]


@scenario(send("go"), until(5 * DAY))
def branches_that_sleep(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go")
    async def f(ctx: Any) -> list[int]:
        async def branch(n: int) -> int:
            await ctx.step.sleep(f"rest{n}", f"{n}d")
            return int(await ctx.step.run(f"b{n}", did, ctx, f"b{n}", n))

        return list(await asyncio.gather(*(branch(n) for n in (3, 1, 2))))


@scenario(send("go"), until(5 * DAY))
def a_race_of_sleeps(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go")
    async def f(ctx: Any) -> str:
        async def branch(name: str, days: int) -> str:
            await ctx.step.sleep(name, f"{days}d")
            return name

        winner = await ctx.group.race([branch("slow", 3), branch("quick", 1)])
        return str(await ctx.step.run("after", did, ctx, "after", winner))


@scenario(send("go", order=1), send("stop", order=1), send("go", "2", order=2), until(2 * DAY))
def a_cancel_by_event(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go", cancel=Cancel("stop", match="data.order"))
    async def f(ctx: Any) -> str:
        await ctx.step.sleep("rest", "1d")
        return str(await ctx.step.run("after", did, ctx, "after", "x"))

    @app.create_function(id="tidy", trigger="inngest/function.cancelled")
    async def tidy(ctx: Any) -> str:
        return str(await ctx.step.run("tidy", did, ctx, "tidy", "tidied"))


@scenario(send("go"), lambda t: [t.cancel(run) for run in t.runs("f")], until(2 * DAY))
def a_cancel_by_an_operator_with_its_child(app: Stepwell, did: Any) -> None:
    @app.create_function(id="child", trigger=None)
    async def child(ctx: Any) -> None:
        await ctx.step.sleep("long", "5d")

    @app.create_function(id="f", trigger="go")
    async def f(ctx: Any) -> None:
        await ctx.step.invoke("child", child, data={}, cancel_child=True)


@scenario(send("go"), until(2 * DAY))
def a_finish_timeout(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go", timeouts=Timeouts(finish="1h"))
    async def f(ctx: Any) -> None:
        await ctx.step.run("before", did, ctx, "before")
        await ctx.step.sleep("rest", "1d")


@scenario(send("go"), send("go", "2"), until(2 * DAY))
def a_start_timeout_behind_a_limit(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go", timeouts=Timeouts(start="10d"), concurrency=Concurrency(1))
    async def f(ctx: Any) -> None:
        await ctx.step.run("work", did, ctx, "work")


@scenario(send("go", k="a"), send("go", "2", k="a"), send("go", "3", k="b"), until(2 * DAY))
def a_limit_of_one_for_each_key(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go", concurrency=Concurrency(1, key="event.data.k"))
    async def f(ctx: Any) -> str:
        await ctx.step.run("one", did, ctx, "one")
        await ctx.step.sleep("rest", "1h")
        return str(await ctx.step.run("two", did, ctx, "two", "x"))


@scenario(send("go"), until(2 * DAY))
def branches_under_a_limit(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go", concurrency=Concurrency(2))
    async def f(ctx: Any) -> list[int]:
        return list(await asyncio.gather(*(ctx.step.run(f"b{n}", did, ctx, f"b{n}", n) for n in range(4))))


def each_in_turn(*numbers: int, apart: timedelta = timedelta(seconds=1)) -> list[Action]:
    """So many events, one after the other."""
    found: list[Action] = []
    for n in numbers:
        found += [send("go", id=str(n), n=n), until(apart * (n + 1))]
    return found


@scenario(*each_in_turn(0, 1, 2), until(timedelta(minutes=5)), writes="Schedule")
def starts_that_wait_their_turn(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go", throttle=Throttle(1, "10s", burst=0))
    async def f(ctx: Any) -> int:
        return int(await ctx.step.run("a", did, ctx, "a", ctx.event.data["n"]))


@scenario(*each_in_turn(0, 1, 2), until(timedelta(minutes=5)), writes="TakeSlots")
def places_of_runs_under_way_beside_a_limit_and_turns(app: Stepwell, did: Any) -> None:
    @app.create_function(
        id="f", trigger="go", run_concurrency=1, concurrency=Concurrency(1), throttle=Throttle(1, "5s", burst=0)
    )
    async def f(ctx: Any) -> int:
        await ctx.step.sleep("rest", "2s")
        return int(await ctx.step.run("a", did, ctx, "a", ctx.event.data["n"]))


@scenario(*each_in_turn(0, 1, 2), until(timedelta(minutes=5)), writes="HoldEvent")
def events_that_are_held_back_for_the_newest(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go", debounce=Debounce("10s"))
    async def f(ctx: Any) -> int:
        return int(await ctx.step.run("a", did, ctx, "a", ctx.event.data["n"]))


@scenario(*each_in_turn(0, 1, 2), until(timedelta(minutes=5)), writes="HoldEvent")
def batches_that_are_full_or_out_of_time(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go", batch_events=BatchEvents(2, timeout="10s"))
    async def f(ctx: Any) -> list[int]:
        return list(await ctx.step.run("a", did, ctx, "a", [event.data["n"] for event in ctx.events]))


@scenario(*each_in_turn(0, 1, 2), send("go", id="9", n=9), until(timedelta(minutes=5)), writes="PutCell")
def starts_beyond_a_rate_that_are_dropped(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go", rate_limit=RateLimit(1, "3s"))
    async def f(ctx: Any) -> int:
        return int(await ctx.step.run("a", did, ctx, "a", ctx.event.data["n"]))


@scenario(*each_in_turn(0, 1, 2, 3), until(timedelta(minutes=5)), writes="ReleaseShared")
def functions_that_share_a_limit_and_have_priorities(app: Stepwell, did: Any) -> None:
    for name in ("f", "g"):

        @app.create_function(
            id=name,
            trigger="go",
            concurrency=Concurrency(1, key="'pool'", scope="env"),
            priority=Priority("event.data.n * 60"),
        )
        async def work(ctx: Any) -> int:
            await ctx.step.run("busy", asyncio.sleep, 2)
            return int(await ctx.step.run("a", did, ctx, "a", ctx.event.data["n"]))


@scenario(*each_in_turn(0, 1, 2), until(timedelta(minutes=5)), writes="FreeSlots")
def a_run_that_takes_the_place_of_another(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go", singleton=Singleton("cancel"))
    async def f(ctx: Any) -> int:
        await ctx.step.sleep("rest", "1m")
        return int(await ctx.step.run("a", did, ctx, "a", ctx.event.data["n"]))


@scenario(send("go", cart="c"), send("go", "2", cart="c"), send("go", "3", cart="d"))
def one_run_for_each_idempotency_key(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go", idempotency="event.data.cart")
    async def f(ctx: Any) -> str:
        return str(await ctx.step.run("work", did, ctx, "work", ctx.event.data["cart"]))


@scenario(send("go"), send("go"))
def the_same_event_twice(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go")
    async def f(ctx: Any) -> str:
        return str(await ctx.step.run("work", did, ctx, "work", "x"))


@scenario(send("a/b"))
def one_event_and_several_functions(app: Stepwell, did: Any) -> None:
    for name in ("f", "g", "h"):

        @app.create_function(id=name, trigger=TriggerEvent("a/*"))
        async def work(ctx: Any) -> str:
            return str(await ctx.step.run("work", did, ctx, "work", "x"))


@scenario(until(timedelta(hours=3)))
def the_ticks_of_a_cron(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger=TriggerCron("0 0 1,2,3 * *", missed="all"))
    async def f(ctx: Any) -> str:
        return str(await ctx.step.run("work", did, ctx, "work", ctx.event.data["scheduledAt"]))


@scenario(send("go"), until(2 * DAY))
def a_plain_function(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go")
    def f(ctx: Any) -> str:
        ctx.step.run("one", did, ctx, "one")
        ctx.step.sleep("rest", "1h")
        return str(ctx.step.run("two", did, ctx, "two", "x"))


def begin(t: Harness) -> None:
    t.send([Event("go", {}, id="go/1"), Event("go", {}, id="go/2")])


@scenario(begin, kill, kill, kill, writes="Postpone")
def runs_that_are_left_alone_after_their_process_died_three_times(app: Stepwell, did: Any) -> None:
    """ADR 0010."""

    @app.create_function(id="f", trigger="go")
    async def f(ctx: Any) -> int:
        async def body() -> int:
            await did(ctx, "long-4")
            await asyncio.sleep(60)
            return 7

        return await ctx.step.run("long-4", body)


def cancel_the_first(t: Harness) -> None:
    for run in t.runs():
        if run.function_id == "sweep-f" and not run.ended:
            t.cancel(run)
            t.run_until_idle()


def put_off(app: Stepwell, did: Any, *, ends: str) -> None:
    @app.create_defer(id="later")
    async def later(ctx: Any) -> object:
        return await ctx.step.run("work", did, ctx, "work", ctx.event.data)

    @app.create_function(id="f", trigger="go", retries=0)
    async def f(ctx: Any) -> None:
        ctx.defer("first", function=later, data={"n": 1})
        aborted = ctx.defer("aborted", function=later, data={"n": 2})

        async def body() -> None:
            await did(ctx, "one")
            ctx.defer("in a body", function=later, data={"n": 3})

        await ctx.step.run("one", body)
        await ctx.step.sleep("rest", "1h")
        aborted.abort()
        if ends == "cancelled":
            await ctx.step.sleep("rest long", "10d")
        ctx.defer("last", function=later, data={"n": 4})
        if ends == "failed":
            raise NonRetriableError("no")


@scenario(send("go"), until(2 * DAY), writes="SettleStep")
def functions_that_are_put_off_until_the_run_completes(app: Stepwell, did: Any) -> None:
    put_off(app, did, ends="completed")


@scenario(send("go"), until(2 * DAY), writes="SettleStep")
def functions_that_are_put_off_until_the_run_fails(app: Stepwell, did: Any) -> None:
    put_off(app, did, ends="failed")


@scenario(send("go"), until(2 * DAY), cancel_the_first, writes="SettleStep")
def functions_that_are_put_off_until_the_run_is_cancelled(app: Stepwell, did: Any) -> None:
    put_off(app, did, ends="cancelled")


@scenario(send("go"), until(2 * DAY), writes="SaveMetadata")
def what_a_run_says_of_itself(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go")
    async def f(ctx: Any) -> None:
        async def body() -> None:
            await did(ctx, "one")
            ctx.metadata({"n": 1})

        await ctx.step.run("one", body)
        await ctx.step.metadata("begun", {"phase": 1})
        await ctx.step.sleep("rest", "1h")
        await ctx.step.metadata("over", {"phase": 2})


def replay_what_failed(t: Harness) -> None:
    replay = Replay(app_id="sweep", function_id="sweep-f", statuses=("FAILED", "SKIPPED"), rate="2/m")
    t._do(lambda: replay_many(t.engine, replay, key="once"))


def begin_with_the_second_step(t: Harness) -> None:
    first = next(run for run in t.runs("f") if run.status == "COMPLETED")
    begin = FromStep(step="two", outputs={"one": b'"by hand"'})
    t._do(lambda: rerun(t.engine, first.id, key="once", from_step=begin, merge=b'{"n":9}'))
    t.run_until_idle()


def pause_f(t: Harness) -> None:
    t.pause("f")


def resume_f(t: Harness) -> None:
    t.resume("f")


@scenario(
    *each_in_turn(0, 1, 2),
    pause_f,
    send("go", "3", n=3),
    resume_f,
    until(timedelta(hours=1)),
    replay_what_failed,
    until(timedelta(hours=2)),
    begin_with_the_second_step,
    writes="DropOutcome",
)
def runs_that_are_started_again_many_at_once_and_from_a_step(app: Stepwell, did: Any) -> None:
    @app.create_function(id="f", trigger="go", retries=0)
    async def f(ctx: Any) -> list[Any]:
        one = await ctx.step.run("one", did, ctx, "one", ctx.event.data["n"])
        if ctx.event.data["n"] in (1, 2):
            raise ValueError("no")
        return [one, await ctx.step.run("two", did, ctx, "two", ctx.event.data["n"])]
