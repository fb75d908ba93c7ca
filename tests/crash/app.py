"""The app whose process is killed. Each body first writes into a ledger that outlives every kill."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import Any

from stepwell import (
    BatchEvents,
    Concurrency,
    Context,
    Debounce,
    RateLimit,
    RunConcurrency,
    Singleton,
    Stepwell,
    Throttle,
    TriggerCron,
    TriggerEvent,
)

app = Stepwell("crash")
_LEDGER = os.open(os.environ["CRASH_LEDGER"], os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)


def note(ctx: Context[Any], step: str) -> str:
    """A body starts: durable before anything else happens, in one write, so that no line is ever torn."""
    write(run=ctx.run_id, step=step, attempt=ctx.attempt, key=ctx.event.data.get("key"))
    os.fsync(_LEDGER)
    return step


def write(**line: Any) -> None:
    os.write(_LEDGER, json.dumps({**line, "at": time.time_ns() // 1_000_000}).encode() + b"\n")


async def body(ctx: Context[Any], step: str, seconds: float = 0.0) -> str:
    note(ctx, step)
    if seconds:
        await asyncio.sleep(seconds)
        write(over=ctx.run_id, step=step)
    return step


@app.create_function(id="sequence", trigger="crash/go")
async def sequence(ctx: Context[Any]) -> list[str]:
    return [await ctx.step.run(f"s{n}", body, ctx, f"s{n}", 0.01 * n) for n in range(5)]


@app.create_function(id="parallel", trigger="crash/go")
async def parallel(ctx: Context[Any]) -> list[str]:
    found = await asyncio.gather(*(ctx.step.run(f"p{n}", body, ctx, f"p{n}", 0.02 * n) for n in range(4)))
    await ctx.step.sleep("rest", "300ms")
    return [*found, await ctx.step.run("last", body, ctx, "last")]


@app.create_function(id="flaky", trigger="crash/go")
async def flaky(ctx: Context[Any]) -> str:
    async def fails_twice() -> str:
        note(ctx, "flaky")
        if ctx.attempt < 2:
            raise RuntimeError("not yet")
        return "flaky"

    return await ctx.step.run("flaky", fails_twice)


@app.create_function(id="waiter", trigger="crash/go")
async def waiter(ctx: Context[Any]) -> str:
    await ctx.step.run("before", body, ctx, "before")
    found = await ctx.step.wait_for_event("answer", "crash/answer", match="data.n", timeout="10m", lookback="run")
    await ctx.step.run("after", body, ctx, "after")
    return "answered" if found else "timed out"


@app.create_function(id="answerer", trigger="crash/go")
async def answerer(ctx: Context[Any]) -> None:
    from stepwell import Event

    await ctx.step.run("think", body, ctx, "think", 0.05)
    await ctx.step.send_event("answer", Event("crash/answer", {"n": ctx.event.data["n"]}))


@app.create_function(id="child", trigger=None)
async def child(ctx: Context[Any]) -> str:
    return await ctx.step.run("work", body, ctx, "work", 0.02)


@app.create_function(id="parent", trigger="crash/go")
async def parent(ctx: Context[Any]) -> str:
    answer = await ctx.step.invoke("child", child, data={"n": ctx.event.data["n"]})
    await ctx.step.run("thank", body, ctx, "thank")
    return answer


@app.create_function(
    id="limited",
    trigger=[TriggerEvent("crash/go", if_="event.data.n % 2 == 0"), TriggerEvent("crash/counted")],
    concurrency=Concurrency(1, key="event.data.key"),
)
async def limited(ctx: Context[Any]) -> None:
    await ctx.step.run("alone", body, ctx, "alone", 0.02)
    await ctx.step.sleep("rest", "100ms")
    await ctx.step.run("again", body, ctx, "again", 0.02)


@app.create_function(id="sync", trigger="crash/go")
def sync(ctx: Any) -> str:
    first: str = ctx.step.run("one", note, ctx, "one")
    ctx.step.sleep("rest", "50ms")
    return first + str(ctx.step.run("two", note, ctx, "two"))


def some(every: int) -> TriggerEvent:
    return TriggerEvent("crash/go", if_=f"event.data.n % {every} == 0")


RULES: dict[str, dict[str, Any]] = {
    "throttled": {"trigger": some(10), "throttle": Throttle(10, "1s", key="event.data.key")},
    "rated": {"trigger": some(3), "rate_limit": RateLimit(10, "1s", key="event.data.key")},
    "single": {"trigger": some(3), "singleton": Singleton("skip", key="event.data.key")},
    "latest": {"trigger": some(2), "debounce": Debounce("1s", timeout="3s", key="event.data.key")},
    "batched": {"trigger": some(2), "batch_events": BatchEvents(5, "1s", key="event.data.key")},
    "places": {"trigger": some(10), "run_concurrency": RunConcurrency(1, key="event.data.key")},
    "ticks": {"trigger": TriggerCron("* * * * *", missed="all")},
}
"""What the audit of the database judges."""


def ruled(id: str) -> None:
    @app.create_function(id=id, **RULES[id])
    async def work(ctx: Context[Any]) -> None:
        await ctx.step.run("work", body, ctx, "work", 0.02)
        await ctx.step.sleep("rest", "50ms")


for each in RULES:
    ruled(each)
