"""The app whose runs are frozen in every state there is. While they are made (``MAKING``) nothing of it gets on; later
everything ends. It must stay as it is: the runs of all versions are of this code."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from typing import Any

from stepwell import (
    BatchEvents,
    Concurrency,
    Context,
    Debounce,
    RetryAfterError,
    Stepwell,
    Throttle,
    TriggerCron,
    TriggerEvent,
)

MAKING = bool(os.environ.get("STEPWELL_FREEZE"))
EVENTS = 8
"""How many there are; each starts one run of every function."""
REST = "2m"
"""Until what rests moves by itself. Longer than it takes to freeze it."""

app = Stepwell("frozen")
began: Counter[tuple[str, str]] = Counter()
"""How often the body of a step has begun in this process, by the ids of run and step."""


async def body(ctx: Context[Any], step: str, *, hangs: bool = False) -> str:
    began[ctx.run_id, step] += 1
    if hangs and MAKING:
        await asyncio.Event().wait()
    return step


async def fails_once(ctx: Context[Any]) -> str:
    began[ctx.run_id, "flaky"] += 1
    if ctx.attempt == 0:
        raise RetryAfterError("not yet", REST)
    return "flaky"


def function(id: str, **options: Any) -> Any:
    return app.create_function(id=id, trigger=TriggerEvent("frozen/go"), **options)


@function("ended")
async def ended(ctx: Context[Any]) -> str:
    return await ctx.step.run("before", body, ctx, "before")


@function("running")
async def running(ctx: Context[Any]) -> str:
    first = await ctx.step.run("before", body, ctx, "before")
    return f"{first} {await ctx.step.run('hangs', body, ctx, 'hangs', hangs=True)}"


@function("sleeping")
async def sleeping(ctx: Context[Any]) -> str:
    first = await ctx.step.run("before", body, ctx, "before")
    await ctx.step.sleep("rest", REST)
    return f"{first} {await ctx.step.run('after', body, ctx, 'after')}"


@function("waiting")
async def waiting(ctx: Context[Any]) -> str:
    first = await ctx.step.run("before", body, ctx, "before")
    found = await ctx.step.wait_for_event("answer", "frozen/answer", match="data.n", timeout=REST)
    return f"{first} {'timed out' if found is None else 'answered'}"


@app.create_function(id="child", trigger=None)
async def child(ctx: Context[Any]) -> str:
    await ctx.step.sleep("rest", REST)
    return await ctx.step.run("work", body, ctx, "work")


@function("invoking")
async def invoking(ctx: Context[Any]) -> str:
    first = await ctx.step.run("before", body, ctx, "before")
    return f"{first} {await ctx.step.invoke('child', child, data={'n': ctx.event.data['n']})}"


@function("retrying")
async def retrying(ctx: Context[Any]) -> str:
    first = await ctx.step.run("before", body, ctx, "before")
    return f"{first} {await ctx.step.run('flaky', fails_once, ctx)}"


@function("parallel")
async def parallel(ctx: Context[Any]) -> str:
    names = ("before", "hangs", "also")
    found = await asyncio.gather(*(ctx.step.run(name, body, ctx, name, hangs=name == "hangs") for name in names))
    return " ".join(found)


@function("queued", concurrency=Concurrency(1))
async def queued(ctx: Context[Any]) -> str:
    return await ctx.step.run("hangs", body, ctx, "hangs", hangs=True)


@function("throttled", throttle=Throttle(1, REST, burst=EVENTS))
async def throttled(ctx: Context[Any]) -> str:
    return await ctx.step.run("hangs", body, ctx, "hangs", hangs=True)


@function("debounced", debounce=Debounce(REST, key="event.data.n"))
async def debounced(ctx: Context[Any]) -> str:
    return await ctx.step.run("after", body, ctx, "after")


@function("batched", batch_events=BatchEvents(100, REST))
async def batched(ctx: Context[Any]) -> int:
    await ctx.step.run("after", body, ctx, "after")
    return len(ctx.events)


@function("paused")
async def paused(ctx: Context[Any]) -> str:
    return await ctx.step.run("after", body, ctx, "after")


async def sorry(ctx: Context[Any]) -> str:
    await ctx.step.sleep("rest", REST)
    return await ctx.step.run("sorry", body, ctx, "sorry")


@function("failed", retries=0, on_failure=sorry)
async def failed(ctx: Context[Any]) -> None:
    raise ValueError("for good")


@function("cancelled")
async def cancelled(ctx: Context[Any]) -> None:
    await ctx.step.sleep("rest", REST)


@app.create_function(id="ticking", trigger=TriggerCron("* * * * *"))
async def ticking(ctx: Context[Any]) -> str:
    return await ctx.step.run("after", body, ctx, "after")


OUTPUTS: dict[str, Any] = {
    "ended": "before",
    "running": "before hangs",
    "sleeping": "before after",
    "waiting": "before timed out",
    "child": "work",
    "invoking": "before work",
    "retrying": "before flaky",
    "parallel": "before hangs also",
    "queued": "hangs",
    "throttled": "hangs",
    "debounced": "after",
    "batched": EVENTS,
    "paused": "after",
    "failed-failure": "sorry",
    "ticking": "after",
}
"""What the runs of each function return, in whatever state they were."""
RESTING = (
    *("ended", "failed"),
    *("sleeping", "waiting", "invoking", "retrying", "child", "failed-failure", "cancelled"),
    *("running's before", "parallel's before", "parallel's also"),
)
"""What each event brings to its end, or to rest, before the process is killed."""
