"""Functions with flow control, cancellation, triggers and hooks, and what only Python has."""

from __future__ import annotations

import datetime
import time
from typing import Any

import inngest
import pydantic

from tests.edge.official.python_app import fails, note
from tests.edge.official.python_base import HOUR, Hooks, clean_up, define, gate, noted

# Flow control, cancellation, timeouts ---------------------------------------------------------------------------------


@define("keyed", concurrency=[inngest.Concurrency(limit=1, key="event.data.key")])
async def keyed(ctx: inngest.Context) -> str:
    return await ctx.step.run("work", gate, str(ctx.event.data["gate"]))


def _shared() -> list[inngest.Concurrency]:
    return [inngest.Concurrency(limit=1, key="'shared'", scope="env")]


@define("shared-one", concurrency=_shared())
async def shared_one(ctx: inngest.Context) -> str:
    return await ctx.step.run("work", gate, str(ctx.event.data["gate"]))


@define("shared-two", concurrency=_shared())
async def shared_two(ctx: inngest.Context) -> str:
    return await ctx.step.run("work", gate, str(ctx.event.data["gate"]))


@define("resting", concurrency=[inngest.Concurrency(limit=1)])
async def resting(ctx: inngest.Context) -> str:
    if ctx.event.data.get("rests"):
        await ctx.step.wait_for_event("rest", event="py/rested", timeout=HOUR)
    return "done"


@define("once", idempotency="event.data.cart")
async def once(ctx: inngest.Context) -> None:
    note("once", cart=ctx.event.data["cart"])


_CANCEL = inngest.Cancel(event="py/stop", if_exp="event.data.id == async.data.id")


@define("stoppable", cancel=[_CANCEL], on_failure=clean_up)
async def stoppable(ctx: inngest.Context) -> None:
    await ctx.step.run("held", gate, str(ctx.event.data["gate"]))
    note("let go")
    await ctx.step.run("after", noted, "after")


@define("cancelled-ones", event="inngest/function.cancelled", expression="event.data.function_id == 'py-stoppable'")
async def cancelled_ones(ctx: inngest.Context) -> None:
    note("cancelled", run=ctx.event.data["run_id"])


@define("listens", cancel=[inngest.Cancel(event="py/stop-listener", timeout=datetime.timedelta(seconds=1))])
async def listens(ctx: inngest.Context) -> str:
    await ctx.step.sleep("longer than the listener", datetime.timedelta(milliseconds=1200))
    await ctx.step.run("rested", noted, "rested")
    await ctx.step.wait_for_event("go", event="py/go", timeout=HOUR)
    return "not cancelled"


@define("ends-in-time", timeouts=inngest.Timeouts(finish=datetime.timedelta(seconds=1)))
async def ends_in_time(ctx: inngest.Context) -> None:
    note("begins")
    await ctx.step.sleep("long", HOUR)


@define(
    "begins-in-time",
    concurrency=[inngest.Concurrency(limit=1)],
    timeouts=inngest.Timeouts(start=datetime.timedelta(seconds=1)),
)
async def begins_in_time(ctx: inngest.Context) -> str:
    return await ctx.step.run("work", gate, str(ctx.event.data["gate"]))


# Triggers and what a function is told ---------------------------------------------------------------------------------


@define(
    "several",
    trigger=[
        inngest.TriggerEvent(event="py/several.one", expression="event.data.n > 0"),
        inngest.TriggerEvent(event="py/several-two"),
        inngest.TriggerEvent(event="py/wild/*"),
    ],
)
async def several(ctx: inngest.Context) -> str:
    return ctx.event.name


@define("told-itself", retries=3)
async def told_itself(ctx: inngest.Context) -> object:
    note("time", at=time.time())
    return {
        "run": ctx.run_id,
        "attempt": ctx.attempt,
        "event": [ctx.event.id, ctx.event.name, ctx.event.ts],
        "events": len(ctx.events),
    }


@define("logs")
async def logs_some(ctx: inngest.Context) -> None:
    ctx.logger.info("before")
    await ctx.step.run("one", noted, "one")
    ctx.logger.info("between")
    await ctx.step.sleep("nap", 10)
    ctx.logger.info("after")


@define("hooked", middleware=[Hooks])
async def hooked(ctx: inngest.Context) -> object:
    found = await ctx.step.run("shout", noted, "shout")
    await ctx.step.send_event("stamped", inngest.Event(name="py/stamped", data={}))
    return [ctx.event.data["added"], found]


@define("stamped")
async def stamped(ctx: inngest.Context) -> None:
    note("stamped", stamp=ctx.event.data.get("stamp"))


class Order(pydantic.BaseModel):
    id: str
    lines: list[int]


@define("typed", retries=0)
async def typed(ctx: inngest.Context) -> object:
    async def read() -> Order:
        return Order.model_validate(ctx.event.data)

    order = await ctx.step.run("read", read, output_type=Order)
    return {"id": order.id, "total": sum(order.lines)}


# What only Python has -------------------------------------------------------------------------------------------------


@define("plain")
def plain(ctx: inngest.ContextSync) -> object:
    """A function that is no coroutine, with steps that are none."""

    def say(what: str) -> str:
        note(what)
        return what

    first = ctx.step.run("first", say, "first")
    both = ctx.group.parallel((lambda: ctx.step.run("a", say, "a"), lambda: ctx.step.run("b", say, "b")))
    ctx.step.sleep("nap", 10)
    return [first, *both]


@define("final-step", retries=3)
async def final_step(ctx: inngest.Context) -> None:
    async def body() -> None:
        note("final-step")
        raise inngest.NonRetriableError("never again")

    await ctx.step.run("final-step", body)


@define("nested-steps", retries=3)
async def nested_steps(ctx: inngest.Context) -> None:
    async def outer() -> None:
        note("outer")
        await ctx.step.run("inner", noted, "inner")

    await ctx.step.run("outer", outer)


@define("unwritable", retries=1)
async def unwritable(ctx: inngest.Context) -> object:
    note("unwritable")
    return object()


streamed_client = inngest.Inngest(app_id="streamed", logger=None)


async def streams(ctx: inngest.Context) -> object:
    async def flaky() -> str:
        fails("flaky stream", 1)
        return "flaky"

    one = await ctx.step.run("one", noted, "one")
    both = await ctx.group.parallel((lambda: ctx.step.run("a", noted, "a"), lambda: ctx.step.run("b", noted, "b")))
    return [one, *both, await ctx.step.run("flaky", flaky)]


STREAMED: list[Any] = [
    streamed_client.create_function(fn_id="streams", trigger=inngest.TriggerEvent(event="streamed/streams"), retries=1)(
        streams
    )
]
