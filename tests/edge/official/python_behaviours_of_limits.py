"""Functions that limit how many of their steps execute at once, and what operators do to runs.

Each body notes where it begins and ends: ``intervals`` tells how many there were at once.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import inngest

from tests.edge.official.python_app import note
from tests.edge.official.python_base import HOUR, client, define, opened
from tests.edge.official.python_behaviours_of_starts import numbers, rests

KEY = "event.data.key"
LIMIT = inngest.Concurrency


async def _work(of: str, data: Any) -> str:
    told = {"of": of, "key": data["key"], "n": data["n"]}
    note("begin", **told)
    await asyncio.to_thread(opened, Path(data["gate"]))
    note("end", **told)
    return of


def works(of: str) -> Any:
    async def handler(ctx: inngest.Context) -> str:
        return await ctx.step.run("work", _work, of, ctx.event.data)

    return handler


define("two-for-each", concurrency=[LIMIT(limit=2, key=KEY)])(works("two-for-each"))
define("two-limits", concurrency=[LIMIT(limit=3), LIMIT(limit=1, key=KEY)])(works("two-limits"))

second_client = inngest.Inngest(app_id="py-two", logger=None)
SECOND_APP: list[Any] = []
for scope in ("env", "account"):
    pool: Any = [LIMIT(limit=2, key="event.data.pool", scope=scope)]
    define(f"pool-{scope}", concurrency=pool)(works("one"))
    on = inngest.TriggerEvent(event=f"py/pool-{scope}")
    SECOND_APP.append(second_client.create_function(fn_id=f"pool-{scope}", trigger=on, concurrency=pool)(works("two")))

define("rated-ten", rate_limit=inngest.RateLimit(limit=20, period=HOUR, key=KEY))(numbers)
define("parked")(rests)


@define("parked-cancelled", event="inngest/function.cancelled", expression="event.data.function_id == 'py-parked'")
async def parked_cancelled(ctx: inngest.Context) -> None:
    data: Any = ctx.event.data
    note("cleaned", run=data["run_id"], key=data["event"]["data"]["key"])


@define("asks", retries=0)
async def asks(ctx: inngest.Context) -> object:
    data = {"key": ctx.event.data["key"], "n": 0}
    try:
        return await ctx.step.invoke_by_id(
            "ask", app_id="py", function_id=str(ctx.event.data["of"]), data=data, timeout=HOUR
        )
    except inngest.StepError as error:
        return error.message


assert client.app_id == "py", "the other app's functions are those of `second_client`"
