"""An app of the official Python SDK whose configuration is that of its environment, as in another deployment of it.

Run it as ``python -m tests.edge.official.settings_app PORT``; ``SETTINGS`` is a JSON object.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import sys
from pathlib import Path
from typing import Any

import inngest

from tests.edge.official.python_app import note, serve
from tests.edge.official.python_base import opened

SETTINGS: dict[str, Any] = {"limit": 1, "throttle": 1, "version": 1, **json.loads(os.environ.get("SETTINGS", "{}"))}
HOUR = datetime.timedelta(hours=1)
KEY = "event.data.key"

client = inngest.Inngest(app_id="py", logger=None)
FUNCTIONS: list[Any] = []


def define(name: str, **options: Any) -> Any:
    def add(handler: Any) -> Any:
        if name not in SETTINGS.get("without", ()):
            on = inngest.TriggerEvent(event=f"py/{name}")
            # Attempts while the app starts again are in vain.
            FUNCTIONS.append(client.create_function(fn_id=name, trigger=on, retries=20, **options)(handler))
        return handler

    return add


async def numbers(ctx: inngest.Context) -> object:
    told: Any = [event.data["n"] for event in ctx.events]
    note(str(ctx.event.data["key"]), run=ctx.run_id, told=told)
    return told


@define("limited", concurrency=[inngest.Concurrency(limit=SETTINGS["limit"])])
async def limited(ctx: inngest.Context) -> object:
    async def work() -> object:
        n, key = ctx.event.data["n"], ctx.event.data["key"]
        note("begin", n=n, key=key)
        await asyncio.to_thread(opened, Path(f"{key} {n}"))
        note("end", n=n, key=key)
        return n

    return await ctx.step.run("work", work)


@define("versioned")
async def versioned(ctx: inngest.Context) -> object:
    async def version() -> object:
        return SETTINGS["version"]

    first = await ctx.step.run("first", version)
    await ctx.step.wait_for_event("rest", event="py/go-on", if_exp="event.data.n == async.data.n", timeout=2 * HOUR)
    return [first, await ctx.step.run("second", version), SETTINGS["version"]]


@define("single", singleton=inngest.Singleton(mode="skip", key=KEY))
async def single(ctx: inngest.Context) -> object:
    await ctx.step.wait_for_event("rest", event="py/go-on", if_exp="event.data.n == async.data.n", timeout=2 * HOUR)
    return await numbers(ctx)


define("throttled", throttle=inngest.Throttle(limit=SETTINGS["throttle"], period=HOUR, burst=0, key=KEY))(numbers)
define("calm", debounce=inngest.Debounce(period=HOUR, key=KEY))(numbers)
define("batched", batch_events=inngest.Batch(max_size=5, timeout=HOUR, key=KEY))(numbers)
define("rated", rate_limit=inngest.RateLimit(limit=1, period=24 * HOUR, key=KEY))(numbers)
define("daily", idempotency=KEY)(numbers)
define("late", timeouts=inngest.Timeouts(finish=HOUR))(single)

if __name__ == "__main__":
    serve("fastapi", int(sys.argv[1]), client, FUNCTIONS)
