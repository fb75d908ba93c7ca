"""Functions with rules for their starts: batches, debounce, rates, singletons, priority, idempotency."""

from __future__ import annotations

import datetime
from typing import Any

import inngest

from tests.edge.official.python_app import note
from tests.edge.official.python_base import HOUR, define, gate

SECOND = datetime.timedelta(seconds=1)
KEY = "event.data.key"


async def numbers(ctx: inngest.Context) -> object:
    """Notes what its events say."""
    told: Any = [event.data["n"] for event in ctx.events]
    note(str(ctx.event.data["key"]), run=ctx.run_id, told=told, first=ctx.event.data["n"])
    return told


async def rests(ctx: inngest.Context) -> str:
    async def begin() -> None:
        note(str(ctx.event.data["key"]), run=ctx.run_id)

    await ctx.step.run("begin", begin)
    await ctx.step.wait_for_event("rest", event="py/go-on", if_exp="event.data.n == async.data.n", timeout=HOUR)
    return "done"


define("batched", batch_events=inngest.Batch(max_size=3, timeout=SECOND, key=KEY, if_exp="event.data.n > 0"))(numbers)
define("calm", debounce=inngest.Debounce(period=SECOND, key=KEY))(numbers)
define("calm-in-time", debounce=inngest.Debounce(period=SECOND, timeout=SECOND, key=KEY))(numbers)
define("rated", rate_limit=inngest.RateLimit(limit=1, period=HOUR, key=KEY))(numbers)
define("throttled", throttle=inngest.Throttle(limit=1, period=SECOND, key=KEY))(numbers)
define("throttled-burst", throttle=inngest.Throttle(limit=1, period=HOUR, burst=2, key=KEY))(numbers)
define("skips", singleton=inngest.Singleton(mode="skip", key=KEY))(rests)
define("replaces", singleton=inngest.Singleton(mode="cancel", key=KEY))(rests)
define("daily", idempotency=KEY)(numbers)
pausable = define("pausable")(numbers)


@define(
    "ranked",
    concurrency=[inngest.Concurrency(limit=1)],
    priority=inngest.Priority(run="event.data.vip ? 600 : -600"),
)
async def ranked(ctx: inngest.Context) -> str:
    return await ctx.step.run("work", gate, str(ctx.event.data["gate"]))


@define("one-at-a-time", concurrency=[inngest.Concurrency(limit=1)])
async def one_at_a_time(ctx: inngest.Context) -> str:
    rest = ctx.event.data.get("rest")
    if rest == "sleep":
        await ctx.step.sleep("rest", HOUR)
    elif rest == "wait":
        await ctx.step.wait_for_event("rest", event="py/never", timeout=HOUR)
    return "free"


@define("invokes-pausable", retries=0)
async def invokes_pausable(ctx: inngest.Context) -> str:
    try:
        await ctx.step.invoke("ask", function=pausable, data={"key": ctx.event.data["key"], "n": 0})
    except inngest.StepError as error:
        return error.message
    return "started"
