"""A worker of the official Python SDK that connects: ``python -m tests.edge.official.worker [INSTANCE]``."""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
import sys
import time
from typing import Any

import inngest

from tests.edge.official import standins
from tests.edge.official.python_app import note
from tests.edge.official.python_base import gate, noted

standins.install()

from inngest.connect import ConnectionState, connect  # noqa: E402 (needs what has just been installed)

INSTANCE = sys.argv[1] if len(sys.argv) > 1 else "worker"
logging.basicConfig(level=logging.INFO)
client = inngest.Inngest(app_id="py", logger=logging.getLogger("worker"))
other = inngest.Inngest(app_id="other", logger=logging.getLogger("worker"))


def on(event: str) -> inngest.TriggerEvent:
    return inngest.TriggerEvent(event=event)


@client.create_function(fn_id="steps", trigger=on("py/steps"))
async def steps(ctx: inngest.Context) -> list[str]:
    one = await ctx.step.run("one", noted, "one")
    await ctx.step.sleep("rest", 1_000)
    return [one, await ctx.step.run("two", noted, "two")]


@client.create_function(fn_id="parallel", trigger=on("py/parallel"))
async def parallel(ctx: inngest.Context) -> list[str]:
    names = "a", "b", "c"
    return list(await ctx.group.parallel(tuple((lambda name=name: ctx.step.run(name, noted, name)) for name in names)))


@client.create_function(fn_id="slow", trigger=on("py/slow"), retries=0)
async def slow(ctx: inngest.Context) -> str:
    await ctx.step.run("before", noted, "before")

    async def wait() -> str:
        note("at slow", pid=os.getpid(), instance=INSTANCE)
        return await gate(str(ctx.event.data["gate"]))

    found = await ctx.step.run("slow", wait)
    await ctx.step.run("after", noted, "after")
    return found


@client.create_function(fn_id="rests", trigger=on("py/rests"))
async def rests(ctx: inngest.Context) -> None:
    await ctx.step.sleep("rest", 5_000)


@client.create_function(fn_id="large", trigger=on("py/large"))
async def large(ctx: inngest.Context) -> int:
    parts = [await ctx.step.run(f"part {n}", filled, n) for n in range(3)]
    return len("".join(parts))


async def filled(n: int) -> str:
    note("filled", n=n)
    return str(n) * 2_000_000


@client.create_function(
    fn_id="limited",
    trigger=on("py/limited"),
    retries=0,
    concurrency=[inngest.Concurrency(limit=1, key="event.data.key")],
)
async def limited(ctx: inngest.Context) -> str:
    async def wait() -> str:
        note("at limited", gate=ctx.event.data["gate"], pid=os.getpid(), instance=INSTANCE)
        return await gate(str(ctx.event.data["gate"]))

    return await ctx.step.run("limited", wait)


@client.create_function(
    fn_id="throttled",
    trigger=on("py/throttled"),
    throttle=inngest.Throttle(limit=1, period=datetime.timedelta(seconds=3)),
)
async def throttled(ctx: inngest.Context) -> None:
    note("throttled", at=time.time())


async def handle(ctx: inngest.Context) -> None:
    failed: Any = ctx.event.data
    note("on-failure", message=failed["error"]["message"])


@client.create_function(fn_id="fails", trigger=on("py/fails"), retries=1, on_failure=handle)
async def fails(ctx: inngest.Context) -> None:
    note("fails", attempt=ctx.attempt)
    raise TypeError("it never works")


@client.create_function(fn_id="final", trigger=on("py/final"))
async def final(ctx: inngest.Context) -> None:
    note("final")
    raise inngest.NonRetriableError("never again")


@other.create_function(fn_id="hello", trigger=on("other/hello"))
async def hello(ctx: inngest.Context) -> str:
    return f"hello {ctx.event.data['name']}"


async def main() -> None:
    most = os.environ.get("MOST")
    connection = connect(
        [(client, [steps, parallel, slow, rests, large, limited, throttled, fails, final]), (other, [hello])],
        instance_id=INSTANCE,
        max_worker_concurrency=int(most) if most else None,
    )
    running = asyncio.create_task(connection.start())
    active = asyncio.create_task(connection.wait_for_state(ConnectionState.ACTIVE))
    await asyncio.wait((running, active), return_when=asyncio.FIRST_COMPLETED)
    if active.done():
        note("connected", id=connection.get_connection_id())
    await running
    note("closed")


if __name__ == "__main__":
    asyncio.run(main())
