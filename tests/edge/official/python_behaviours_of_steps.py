"""Functions with every kind of step, and how they fail, in Python."""

from __future__ import annotations

import datetime
import time
from typing import Any

import inngest

from tests.edge.official.python_app import fails, note
from tests.edge.official.python_base import HOUR, clean_up, client, define, noted

# Steps ----------------------------------------------------------------------------------------------------------------


@define("loop")
async def loop(ctx: inngest.Context) -> object:
    async def turn(n: int) -> int:
        note("turn")
        return n

    return [await ctx.step.run("turn", turn, n) for n in range(int(str(ctx.event.data["times"])))]


@define("echoes")
async def echoes(ctx: inngest.Context) -> object:
    async def same(value: Any) -> Any:
        return value

    values: Any = ctx.event.data["values"]
    return [await ctx.step.run(f"Schritt é 🎉 {n}", same, value) for n, value in enumerate(values)]


@define("large")
async def large(ctx: inngest.Context) -> object:
    async def longer(text: str) -> str:
        return text * 5

    text = str(ctx.event.data["text"])
    return [len(text), len(await ctx.step.run("longer", longer, text))]


@define("adds")
async def adds(ctx: inngest.Context) -> object:
    async def add(one: int, two: int) -> int:
        return one + two

    return await ctx.step.run("add", add, 2, 3)


@define("until")
async def until(ctx: inngest.Context) -> None:
    moment = datetime.datetime.fromtimestamp(float(str(ctx.event.data["at"])), datetime.UTC)
    await ctx.step.sleep_until("until", moment)
    await ctx.step.sleep("no time", 0)
    note("woke", at=time.time())


@define("too-long")
async def too_long(ctx: inngest.Context) -> None:
    note("too-long")
    await ctx.step.sleep("too long", datetime.timedelta(days=400))


@define("hears")
async def hears(ctx: inngest.Context) -> object:
    found = await ctx.step.wait_for_event("hear", event="py/heard", timeout=HOUR)
    return None if found is None else found.data["n"]


@define("missed")
async def missed(ctx: inngest.Context) -> object:
    """Neither what came before the wait nor the event that started the run is what it waits for."""
    found = await ctx.step.wait_for_event("again", event="py/missed", timeout=datetime.timedelta(seconds=1))
    return None if found is None else "heard"


@define("nonsense")
async def nonsense(ctx: inngest.Context) -> None:
    note("nonsense")
    await ctx.step.wait_for_event("nonsense", event="py/heard", if_exp="event.data.n ===", timeout=HOUR)


@define("either")
async def either(ctx: inngest.Context) -> object:
    async def wait(name: str) -> str | None:
        found = await ctx.step.wait_for_event(name, event=f"py/{name}", timeout=HOUR)
        if found is not None:
            await ctx.step.run(f"got {name}", lambda: noted(f"got {name}"))
        return None if found is None else name

    found = await ctx.group.parallel(
        (lambda: wait("left"), lambda: wait("right")), parallel_mode=inngest.ParallelMode.RACE
    )
    return list(found)


@define("says-and-hears")
async def says_and_hears(ctx: inngest.Context) -> object:
    key = str(ctx.event.data["key"])
    found: Any = await ctx.group.parallel(
        (
            lambda: ctx.step.wait_for_event("hear", event="py/said", if_exp=f"async.data.key == '{key}'", timeout=HOUR),
            lambda: ctx.step.send_event("say", inngest.Event(name="py/said", data={"key": key})),
        )
    )
    return found[0].data["key"]


@define("at-once", retries=1)
async def at_once(ctx: inngest.Context) -> object:
    async def flaky() -> str:
        fails("flaky member", 1)
        return "flaky"

    return list(
        await ctx.group.parallel(
            (
                lambda: ctx.step.run("good", lambda: noted("good")),
                lambda: ctx.step.run("flaky", flaky),
                lambda: ctx.step.sleep("nap", 100),
                lambda: ctx.step.wait_for_event("never", event="py/never", timeout=datetime.timedelta(seconds=1)),
                lambda: ctx.step.invoke("child", function=echo, data={"n": 3}),
            )
        )
    )


@define("member-fails", retries=0)
async def member_fails(ctx: inngest.Context) -> object:
    async def bad() -> None:
        note("bad")
        raise ValueError("this one is bad")

    try:
        await ctx.group.parallel(
            (lambda: ctx.step.run("good", lambda: noted("good")), lambda: ctx.step.run("bad", bad))
        )
    except inngest.StepError as error:
        return [error.message, await ctx.step.run("after", lambda: noted("after"))]
    return None


@define("nested")
async def nested(ctx: inngest.Context) -> object:
    async def inner(name: str) -> list[str]:
        await ctx.step.run(f"{name} before", lambda: noted(f"{name} before"))

        def of(part: str) -> Any:
            return lambda: ctx.step.run(part, lambda: noted(part))

        return list(await ctx.group.parallel((of(f"{name} 1"), of(f"{name} 2"))))

    both = await ctx.group.parallel((lambda: inner("a"), lambda: inner("b")), parallel_mode=inngest.ParallelMode.RACE)
    return [part for found in both for part in found]


# Invoking and sending -------------------------------------------------------------------------------------------------


@define("echo", retries=0)
async def echo(ctx: inngest.Context) -> object:
    return ctx.event.data["n"]


@define("sleeper", retries=0)
async def sleeper(ctx: inngest.Context) -> None:
    note("sleeper", run=ctx.run_id)
    await ctx.step.sleep("long", HOUR)


@define("invokes-sleeper", retries=0)
async def invokes_sleeper(ctx: inngest.Context) -> object:
    timeout = datetime.timedelta(seconds=int(str(ctx.event.data["timeout"])))
    try:
        await ctx.step.invoke("sleeper", function=sleeper, timeout=timeout)
    except inngest.StepError as error:
        return {"name": error.name, "message": error.message}
    return None


@define("invokes-nobody", retries=0)
async def invokes_nobody(ctx: inngest.Context) -> object:
    try:
        await ctx.step.invoke_by_id("nobody", app_id="py", function_id="nobody")
    except inngest.StepError as error:
        return error.message
    return None


@define("factorial", retries=0)
async def factorial(ctx: inngest.Context) -> int:
    n = int(str(ctx.event.data["n"]))
    if n < 2:
        return 1
    rest: Any = await ctx.step.invoke_by_id("smaller", app_id="py", function_id="factorial", data={"n": n - 1})
    return n * int(rest)


@define("tells")
async def tells(ctx: inngest.Context) -> object:
    """One event in a step, two in a step, and one from the code beside the steps."""
    one = await ctx.step.send_event("one", inngest.Event(name="py/told", data={"n": 1}))
    two = await ctx.step.send_event("two", [inngest.Event(name="py/told", data={"n": n}) for n in (2, 3)])
    beside = await client.send(inngest.Event(name="py/told", data={"n": 4}, id=f"beside {ctx.run_id}"))
    return [one, two, beside]


@define("told-one", event="py/told")
async def told_one(ctx: inngest.Context) -> None:
    note("told one", n=ctx.event.data["n"])


@define("told-two", event="py/told", expression="event.data.n > 1")
async def told_two(ctx: inngest.Context) -> None:
    note("told two", n=ctx.event.data["n"])


# Errors ---------------------------------------------------------------------------------------------------------------


@define("rolls-back", retries=0)
async def rolls_back(ctx: inngest.Context) -> None:
    done: list[str] = []

    async def refuse() -> None:
        note("charge")
        raise ValueError("card declined ✗")

    try:
        for what in ("flight", "hotel"):
            await ctx.step.run(f"book {what}", noted, f"book {what}")
            done.append(what)
        await ctx.step.run("charge", refuse)
    except inngest.StepError:
        for what in reversed(done):
            await ctx.step.run(f"cancel {what}", noted, f"cancel {what}")
        raise


@define("broken", retries=2)
async def broken(ctx: inngest.Context) -> None:
    async def body() -> None:
        note("body", attempt=ctx.attempt)
        raise ValueError("it never works")

    await ctx.step.run("body", body)


@define("one-attempt", retries=0)
async def one_attempt(ctx: inngest.Context) -> None:
    note("one-attempt")
    raise ValueError("only once")


@define("attempts", retries=2)
async def attempts(ctx: inngest.Context) -> None:
    note("attempt", n=ctx.attempt)
    raise LookupError(f"attempt {ctx.attempt} ✗")


@define("between", retries=2)
async def between(ctx: inngest.Context) -> str:
    await ctx.step.run("one", noted, "one")
    fails("between", 2)
    return await ctx.step.run("two", noted, "two")


@define("asks-for-time", retries=1)
async def asks_for_time(ctx: inngest.Context) -> object:
    form = str(ctx.event.data["form"])
    key = f"asks {ctx.event.data['form']}"
    wait: Any = {
        "number": 1000,
        "length": datetime.timedelta(seconds=1),
        "moment": datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1),
    }[form.removeprefix("step ")]

    async def body() -> str:
        note(key, at=time.time())
        if ctx.attempt == 0:
            raise inngest.RetryAfterError("in a moment", wait)
        return "later"

    return await (ctx.step.run("body", body) if form.startswith("step") else body())


class BackpressureError(inngest.RetryAfterError):
    """By this name it slows down all that shares its queue (ADR 0030)."""


@define("presses", retries=1)
async def presses(ctx: inngest.Context) -> None:
    who = str(ctx.event.data["who"])

    async def body() -> None:
        note(f"presses {who}", at=time.time())
        if who == "first" and ctx.attempt == 0:
            raise BackpressureError("leave me alone", datetime.timedelta(seconds=2))

    await ctx.step.run("body", body)


@define("handled", retries=0, on_failure=clean_up)
async def handled(ctx: inngest.Context) -> None:
    raise ValueError("it is handled")


@define("all-failures", event="inngest/function.failed", expression="event.data.event.name == 'py/handled'")
async def all_failures(ctx: inngest.Context) -> None:
    failed: Any = ctx.event.data
    note("seen", function=failed["function_id"], event_id=ctx.event.id)
