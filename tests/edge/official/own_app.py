"""An app of our own SDK, served over HTTP by the web framework that is named: ``own_app FRAMEWORK PORT``.

As ``FRAMEWORK-by-step`` nothing is reported while a call goes on.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from stepwell import (
    Cancel,
    Concurrency,
    Context,
    Event,
    NonRetriableError,
    RunFailed,
    StepError,
    Stepwell,
    Sync,
    Topic,
    ai,
)

LEDGER = Path(os.environ.get("LEDGER", "ledger"))
app = Stepwell("own")


def note(what: str, **more: Any) -> str:
    with LEDGER.open("a") as ledger:
        ledger.write(json.dumps({"what": what, **more}) + "\n")
    return what


def times(what: str) -> int:
    return sum(json.loads(line)["what"] == what for line in LEDGER.read_text().splitlines())


def flaky() -> str:
    note("flaky")
    if times("flaky") < 3:
        raise ValueError("not yet")
    return "done"


def broken() -> None:
    note("broken")
    raise ValueError("it never works")


def dies() -> str:
    note("dies")
    if times("dies") == 1:
        os._exit(1)
    return "alive"


@app.create_function(id="steps", trigger="own/steps")
async def steps(ctx: Context[dict[str, Any]]) -> object:
    note("call")
    found = [await ctx.step.run(f"s{n}", note, f"s{n}") for n in range(5)]
    await ctx.step.sleep("nap", "100ms")
    return found


@app.create_function(id="logs", trigger="own/logs", retries=1)
async def logs(ctx: Context[dict[str, Any]]) -> None:
    ctx.logger.info("begins")

    def loud() -> None:
        ctx.logger.warning("attempt %d", ctx.attempt)
        if ctx.attempt == 0:
            raise ValueError("no")

    await ctx.step.run("loud", loud)
    ctx.logger.info("sleeps")
    await ctx.step.sleep("nap", "100ms")
    ctx.logger.info("fails")
    raise NonRetriableError("over")


@app.create_function(id="plain", trigger="own/plain")
def plain(ctx: Context[dict[str, Any], Sync]) -> object:
    first = ctx.step.run("first", note, "first")
    ctx.step.sleep("nap", "100ms")
    return [first, *ctx.group.parallel([lambda: ctx.step.run("a", note, "a"), lambda: ctx.step.run("b", note, "b")])]


@app.create_function(id="branches", trigger="own/branches")
async def branches(ctx: Context[dict[str, Any]]) -> object:
    async def chain(name: str, pause: str) -> str:
        await ctx.step.sleep(f"{name} rests", pause)
        return await ctx.step.run(name, note, name)

    return await asyncio.gather(chain("slow", "1s"), chain("quick", "100ms"), ctx.step.run("now", note, "now"))


@app.create_defer(id="receipt")
async def receipt(ctx: Context[dict[str, Any]]) -> object:
    note("receipt", data=ctx.event.data)
    return ctx.event.data


@app.create_function(id="defers", trigger="own/defers")
def defers(ctx: Context[dict[str, Any], Sync]) -> str:
    aborted = ctx.defer("aborted", function=receipt, data={"order": 1})
    ctx.step.run("one", lambda: ctx.defer("in a body", function=receipt, data={"order": 2}) and None)
    ctx.step.sleep("nap", "100ms")
    aborted.abort()
    ctx.defer("at the end", function=receipt, data={"order": 3})
    return "done"


@app.create_function(id="retries", trigger="own/retries", retries=3)
async def retries(ctx: Context[dict[str, Any]]) -> object:
    await ctx.step.run("before", note, "before")
    done = await ctx.step.run("flaky", flaky)
    try:
        await ctx.step.options("broken", retries=1).run(broken)
    except StepError as error:
        return [done, error.name, error.message]
    return None


@app.create_function(id="stumbles", trigger="own/stumbles", retries=2)
async def stumbles(ctx: Context[dict[str, Any]]) -> str:
    if times("stumble") < 1:
        note("stumble")
        raise ValueError("before any step")

    def work() -> str:
        note("work", attempt=ctx.attempt)
        if times("work") < 2:
            raise ValueError("not yet")
        return "done"

    return await ctx.step.run("work", work)


async def _handle(ctx: Context[RunFailed]) -> None:
    note("handled", error=ctx.event.data.error.message)


@app.create_function(id="fails", trigger="own/fails", on_failure=_handle)
async def fails(ctx: Context[dict[str, Any]]) -> None:
    raise NonRetriableError("never again")


@app.create_function(id="waits", trigger="own/waits")
async def waits(ctx: Context[dict[str, Any]]) -> object:
    found = await ctx.step.wait_for_event("approval", "own/approved", match="data.order", timeout="1m")
    return None if found is None else found.data


@app.create_function(id="signals", trigger="own/signals")
async def signals(ctx: Context[dict[str, Any]]) -> object:
    found = await ctx.step.wait_for_signal("go", "own-go", timeout="1m")
    return None if found is None else found["data"]


@app.create_function(id="signaller", trigger="own/signaller")
async def signaller(ctx: Context[dict[str, Any]]) -> object:
    return [await app.send_signal("own-go", {"n": 1}), await app.send_signal("nobody waits", 1)]


@app.create_function(id="child")
async def child(ctx: Context[dict[str, Any]]) -> object:
    return {"got": ctx.event.data}


@app.create_function(id="invokes", trigger="own/invokes")
async def invokes(ctx: Context[dict[str, Any]]) -> object:
    await ctx.step.send_event("tell", Event("own/told", {}))
    return await ctx.step.invoke("child", child, data={"n": 1})


@app.create_function(id="told", trigger="own/told")
async def told(ctx: Context[dict[str, Any]]) -> None:
    note("told")


@app.create_function(id="cancelled", trigger="own/cancellable", cancel=Cancel("own/cancel", match="data.id"))
async def cancelled(ctx: Context[dict[str, Any]]) -> None:
    await ctx.step.sleep("long", "1h")


@app.create_function(id="limited", trigger="own/limited", concurrency=Concurrency(2))
async def limited(ctx: Context[dict[str, Any]]) -> None:
    async def work() -> None:
        note("begin")
        await asyncio.sleep(0.02)
        note("end")

    await asyncio.gather(*(ctx.step.run(f"w{n}", work) for n in range(3)))


@app.create_function(id="large", trigger="own/large")
async def large(ctx: Context[dict[str, Any]]) -> int:
    parts = [len(await ctx.step.run(f"part {n}", lambda: "x" * 2_000_000)) for n in range(3)]
    await ctx.step.sleep("nap", "10ms")
    return sum(parts)


@app.create_function(id="dies", trigger="own/dies", retries=20)
async def dying(ctx: Context[dict[str, Any]]) -> str:
    await ctx.step.run("kept", note, "kept")
    return await ctx.step.run("dies", dies)


progress = Topic("progress", dict[str, int])


@app.create_function(id="publishes", trigger="own/publishes")
async def publishes(ctx: Context[dict[str, Any]]) -> object:
    channel = ctx.event.data["channel"]
    note("listens")
    async with app.realtime.subscribe(channel, progress) as messages:
        await ctx.step.realtime.publish("tell", channel, progress, {"done": 1})
        heard = None if ctx.event.data.get("deaf") else (await anext(messages)).data
    await ctx.realtime.publish(channel, "progress", {"done": 2})
    return {"heard": heard, "token": await app.realtime.token(channel, [progress])}


@app.create_function(id="publishes-sync", trigger="own/publishes-sync")
def publishes_sync(ctx: Context[dict[str, Any], Sync]) -> None:
    channel = ctx.event.data["channel"]
    ctx.step.realtime.publish("tell", channel, progress, {"done": 1})
    ctx.step.run("inside", lambda: ctx.realtime.publish(channel, progress, {"done": 2}))
    ctx.step.sleep("nap", "10ms")
    ctx.step.run("outside", app.realtime.publish_sync, channel, "progress", {"done": 3})


@app.create_function(id="infers", trigger="own/infers", retries=2)
async def infers(ctx: Context[dict[str, Any]]) -> object:
    model = ai.openai("m", api_key="sk-planted-in-ours", base_url=ctx.event.data["url"])
    await ctx.step.run("before", note, "before")
    try:
        return await ctx.step.ai.infer("ask", model=model, body={"messages": []})
    except StepError as error:
        return {"name": error.name, "message": error.message}


@app.create_function(id="fetches", trigger="own/fetches", retries=1)
def fetches(ctx: Context[dict[str, Any], Sync]) -> object:
    url = ctx.event.data["url"]
    first = ctx.step.fetch("first", url + "first", headers={"Authorization": "Bearer sk-planted-in-ours"})
    both = ctx.group.parallel(
        [lambda: ctx.step.fetch("a", url + "a", body={"n": 1}), lambda: ctx.step.run("b", note, "b")]
    )
    return [first.status, both[0].json()["asked"], both[1]]


def main(framework: str, port: int) -> None:
    """Serve the app at ``/api/inngest``."""
    framework, _, way = framework.partition("-")
    endpoint = app.serve(checkpointing=way != "by-step")
    if framework in ("starlette", "fastapi"):
        import uvicorn

        if framework == "fastapi":
            from fastapi import FastAPI

            site: Any = FastAPI()
            site.add_route("/api/inngest", endpoint)
        else:
            from starlette.applications import Starlette
            from starlette.routing import Route

            site = Starlette(routes=[Route("/api/inngest", endpoint)])
        uvicorn.run(site, host="127.0.0.1", port=port, log_level="warning")
        return
    from werkzeug.middleware.dispatcher import DispatcherMiddleware
    from werkzeug.serving import make_server

    if framework == "flask":
        from flask import Flask

        rest: Any = Flask(__name__).wsgi_app
    else:
        import django
        from django.conf import settings
        from django.core.handlers.wsgi import WSGIHandler

        settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"])
        django.setup()
        rest = WSGIHandler()
    site = DispatcherMiddleware(rest, {"/api/inngest": endpoint.wsgi})
    make_server("127.0.0.1", port, site, threaded=True).serve_forever()


urlpatterns: list[Any] = []

if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
