"""The functions whose messages are recorded, with the official Python SDK: ``recorded_app PORT``."""

from __future__ import annotations

import datetime
import sys
from typing import Any

import fastapi
import inngest
import inngest.fast_api
import uvicorn
from inngest.experimental.ai import openai

client = inngest.Inngest(app_id="app", logger=None)
FUNCTIONS: list[Any] = []
MOMENT = datetime.datetime(2040, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)


def define(name: str) -> Any:
    def add(handler: Any) -> Any:
        trigger = inngest.TriggerEvent(event=f"app/{name}")
        FUNCTIONS.append(client.create_function(fn_id=name, retries=2, trigger=trigger)(handler))
        return FUNCTIONS[-1]

    return add


async def give(value: Any) -> Any:
    return value


async def broken() -> None:
    raise ValueError("it broke")


async def refused() -> None:
    raise inngest.NonRetriableError("never")


async def later() -> None:
    raise inngest.RetryAfterError("in a moment", MOMENT)


@define("one")
async def one(ctx: inngest.Context) -> object:
    return await ctx.step.run("load", give, {"id": 7})


@define("nothing")
async def nothing(ctx: inngest.Context) -> None:
    await ctx.step.run("nothing", give, None)


@define("repeats")
async def repeats(ctx: inngest.Context) -> object:
    return [await ctx.step.run("again", give, n) for n in range(2)]


@define("breaks")
async def breaks(ctx: inngest.Context) -> None:
    await ctx.step.run("break", broken)


@define("catches")
async def catches(ctx: inngest.Context) -> object:
    try:
        await ctx.step.run("break", broken)
    except inngest.StepError as error:
        return [error.name, error.message]
    return None


@define("refuses")
async def refuses(ctx: inngest.Context) -> None:
    await ctx.step.run("refuse", refused)


@define("waits-a-moment")
async def waits_a_moment(ctx: inngest.Context) -> None:
    await ctx.step.run("later", later)


@define("sends")
async def sends(ctx: inngest.Context) -> object:
    return await ctx.step.send_event("tell", [inngest.Event(name="app/told", data={"n": n}, ts=1) for n in range(2)])


@define("sleeps")
async def sleeps(ctx: inngest.Context) -> str:
    await ctx.step.sleep("nap", HOUR)
    return "awake"


@define("sleeps-until")
async def sleeps_until(ctx: inngest.Context) -> None:
    await ctx.step.sleep_until("until", MOMENT)


@define("hears")
async def hears(ctx: inngest.Context) -> object:
    found = await ctx.step.wait_for_event("hear", event="app/heard", timeout=HOUR)
    return None if found is None else dict(found.data)


@define("hears-if")
async def hears_if(ctx: inngest.Context) -> None:
    condition = "event.data.n == async.data.n"
    await ctx.step.wait_for_event("hear", event="app/heard", if_exp=condition, timeout=datetime.timedelta(days=2))


@define("invokes")
async def invokes(ctx: inngest.Context) -> object:
    return await ctx.step.invoke("ask", function=one, data={"n": 1}, timeout=HOUR)


@define("invokes-elsewhere")
async def invokes_elsewhere(ctx: inngest.Context) -> object:
    return await ctx.step.invoke_by_id("ask", app_id="other", function_id="answer", data={"n": 1})


@define("invokes-without-data")
async def invokes_without_data(ctx: inngest.Context) -> object:
    return await ctx.step.invoke("ask", function=one)


@define("infers")
async def infers(ctx: inngest.Context) -> object:
    adapter = openai.Adapter(auth_key="key", model="small")
    return await ctx.step.ai.infer("ask", adapter=adapter, body={"messages": [{"role": "user", "content": "hello"}]})


def _both(ctx: inngest.Context) -> Any:
    return (lambda: ctx.step.run("a", give, "a"), lambda: ctx.step.run("b", give, "b"))


@define("both")
async def both(ctx: inngest.Context) -> object:
    return list(await ctx.group.parallel(_both(ctx)))


@define("races")
async def races(ctx: inngest.Context) -> object:
    return list(await ctx.group.parallel(_both(ctx), parallel_mode=inngest.ParallelMode.RACE))


@define("everything")
async def everything(ctx: inngest.Context) -> None:
    await ctx.group.parallel(
        (
            lambda: ctx.step.run("run", give, 1),
            lambda: ctx.step.sleep_until("until", MOMENT),
            lambda: ctx.step.wait_for_event("hear", event="app/heard", timeout=HOUR),
            lambda: ctx.step.invoke("ask", function=one),
        )
    )


@define("returns")
async def returns(ctx: inngest.Context) -> object:
    return ctx.event.data["value"]


@define("fails")
async def fails(ctx: inngest.Context) -> None:
    await broken()


@define("gives-up")
async def gives_up(ctx: inngest.Context) -> None:
    await refused()


@define("comes-back")
async def comes_back(ctx: inngest.Context) -> None:
    await later()


if __name__ == "__main__":
    app = fastapi.FastAPI()
    inngest.fast_api.serve(app, client, FUNCTIONS)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
