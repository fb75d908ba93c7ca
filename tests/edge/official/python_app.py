"""An app of somebody else: the official Python SDK, unmodified, configured by what it offers everybody.

Run it as ``python -m tests.edge.official.python_app FRAMEWORK PORT``. It writes each side effect as a line of JSON to
the file that ``LEDGER`` names, and takes its orders from the data of events.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import inngest
import inngest.experimental
import inngest.experimental.ai.anthropic
import inngest.experimental.ai.openai
from inngest.experimental import realtime

LEDGER = Path(os.environ.get("LEDGER", "ledger"))
client = inngest.Inngest(app_id="py", logger=None)


def note(what: str, **more: Any) -> None:
    with LEDGER.open("a") as ledger:
        ledger.write(json.dumps({"what": what, **more}) + "\n")


def fails(name: str, times: int) -> None:
    """Fail so many times, counted by the ledger, which survives the process."""
    note(name)
    tried = sum(json.loads(line)["what"] == name for line in LEDGER.read_text().splitlines())
    if tried <= times:
        raise ValueError(f"{name} failed {tried} times")


@client.create_function(fn_id="steps", trigger=inngest.TriggerEvent(event="py/steps"))
async def steps(ctx: inngest.Context) -> object:
    async def first() -> dict[str, int]:
        note("first")
        return {"n": 1}

    async def nothing() -> None:
        note("nothing")

    one = await ctx.step.run("first", first)
    two = await ctx.step.run("nothing", nothing)
    again = [await ctx.step.run("first", first) for _ in range(2)]
    return {"one": one, "two": two, "again": again}


@client.create_function(fn_id="sleeps", trigger=inngest.TriggerEvent(event="py/sleeps"))
async def sleeps(ctx: inngest.Context) -> object:
    await ctx.step.sleep("nap", datetime.timedelta(seconds=1))
    await ctx.step.sleep_until("past", datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
    return "awake"


@client.create_function(fn_id="waits", trigger=inngest.TriggerEvent(event="py/waits"))
async def waits(ctx: inngest.Context) -> object:
    found = await ctx.step.wait_for_event(
        "approval",
        event="py/approved",
        if_exp="event.data.order == async.data.order",
        timeout=datetime.timedelta(seconds=int(str(ctx.event.data.get("timeout", 60)))),
    )
    return None if found is None else dict(found.data)


@client.create_function(fn_id="retries", trigger=inngest.TriggerEvent(event="py/retries"), retries=3)
async def retries(ctx: inngest.Context) -> object:
    async def flaky() -> str:
        fails("flaky", 2)
        return "done"

    await ctx.step.run("before", lambda: _noted("before"))
    return await ctx.step.run("flaky", flaky)


async def _noted(what: str) -> str:
    note(what)
    return what


@client.create_function(fn_id="catches", trigger=inngest.TriggerEvent(event="py/catches"), retries=1)
async def catches(ctx: inngest.Context) -> object:
    async def broken() -> None:
        note("broken")
        raise ValueError("it never works")

    try:
        await ctx.step.run("broken", broken)
    except inngest.StepError as error:
        return {"name": error.name, "message": error.message}
    return None


@client.create_function(fn_id="own-code", trigger=inngest.TriggerEvent(event="py/own-code"), retries=2)
async def own_code(ctx: inngest.Context) -> object:
    fails("own-code", 1)
    return {"attempt": ctx.attempt}


@client.create_function(fn_id="fails", trigger=inngest.TriggerEvent(event="py/fails"), retries=1)
async def fails_always(ctx: inngest.Context) -> None:
    note("fails")
    raise KeyError("what is not there")


async def _on_failure(ctx: inngest.Context) -> None:
    note("on-failure", error=dict(ctx.event.data["error"]), function=ctx.event.data["function_id"])


@client.create_function(
    fn_id="final", trigger=inngest.TriggerEvent(event="py/final"), retries=3, on_failure=_on_failure
)
async def final(ctx: inngest.Context) -> None:
    note("final")
    raise inngest.NonRetriableError("never again")


@client.create_function(fn_id="later", trigger=inngest.TriggerEvent(event="py/later"), retries=3)
async def later(ctx: inngest.Context) -> str:
    note("later", at=time.time())
    if ctx.attempt == 0:
        raise inngest.RetryAfterError("in a moment", 1000)
    return "later"


@client.create_function(fn_id="parallel", trigger=inngest.TriggerEvent(event="py/parallel"))
async def parallel(ctx: inngest.Context) -> object:
    note("call")

    async def branch(name: str) -> str:
        note(name)
        return name

    def of(name: str) -> Any:
        return lambda: ctx.step.run(name, branch, name)

    return list(await ctx.group.parallel(tuple(of(f"p{n}") for n in range(int(str(ctx.event.data["width"]))))))


@client.create_function(fn_id="race", trigger=inngest.TriggerEvent(event="py/race"))
async def race(ctx: inngest.Context) -> object:
    note("call")

    async def chain(name: str) -> str:
        await ctx.step.run(f"{name} one", lambda: _noted(f"{name} one"))
        await ctx.step.run(f"{name} two", lambda: _noted(f"{name} two"))
        return name

    found = await ctx.group.parallel((lambda: chain("a"), lambda: chain("b")), parallel_mode=inngest.ParallelMode.RACE)
    return list(found)


@client.create_function(fn_id="child", trigger=inngest.TriggerEvent(event="py/never"), retries=0)
async def child(ctx: inngest.Context) -> object:
    if ctx.event.data.get("fail"):
        raise ValueError("the child fails")
    return {"got": dict(ctx.event.data)}


@client.create_function(fn_id="invokes", trigger=inngest.TriggerEvent(event="py/invokes"), retries=0)
async def invokes(ctx: inngest.Context) -> object:
    by_function = await ctx.step.invoke("by-function", function=child, data={"n": 1})
    by_id = await ctx.step.invoke_by_id("by-id", app_id="py", function_id="child", data={"n": 2})
    try:
        await ctx.step.invoke("failing", function=child, data={"fail": True})
    except inngest.StepError as error:
        return [by_function, by_id, {"name": error.name, "message": error.message}]
    return None


@client.create_function(fn_id="sends", trigger=inngest.TriggerEvent(event="py/sends"))
async def sends(ctx: inngest.Context) -> object:
    ids = await ctx.step.send_event("tell", [inngest.Event(name="py/told", data={"n": n}) for n in range(2)])
    return len(ids)


@client.create_function(fn_id="told", trigger=inngest.TriggerEvent(event="py/told", expression="event.data.n == 1"))
async def told(ctx: inngest.Context) -> None:
    note("told", n=ctx.event.data["n"])


@client.create_function(
    fn_id="cancelled",
    trigger=inngest.TriggerEvent(event="py/cancellable"),
    cancel=[inngest.Cancel(event="py/cancel", if_exp="event.data.id == async.data.id")],
)
async def cancelled(ctx: inngest.Context) -> None:
    await ctx.step.sleep("long", datetime.timedelta(hours=1))


@client.create_function(
    fn_id="limited",
    trigger=inngest.TriggerEvent(event="py/limited"),
    concurrency=[inngest.Concurrency(limit=1, key="event.data.key")],
)
async def limited(ctx: inngest.Context) -> None:
    async def work() -> None:
        note("begin", key=ctx.event.data["key"])
        await asyncio.sleep(0.05)
        note("end", key=ctx.event.data["key"])

    await ctx.step.run("work", work)


@client.create_function(fn_id="large", trigger=inngest.TriggerEvent(event="py/large"))
async def large(ctx: inngest.Context) -> int:
    total = 0
    for n in range(3):
        total += len(str(await ctx.step.run(f"part {n}", lambda: _text(2_000_000))))
    return total


@client.create_function(fn_id="large-held", trigger=inngest.TriggerEvent(event="py/large-held"))
async def large_held(ctx: inngest.Context) -> list[object]:
    """Its state is too large for a call from the step on that waits."""
    total = 0
    for n in range(2):
        total += len(str(await ctx.step.run(f"part {n}", lambda: _text(2_200_000))))

    async def held() -> str:
        note("held")
        gate = Path(str(ctx.event.data["gate"]))
        await asyncio.to_thread(_until_there, gate)
        return gate.name

    async def after() -> str:
        note("after")
        return "after"

    return [total, await ctx.step.run("held", held), await ctx.step.run("after", after)]


def _until_there(file: Path) -> None:
    while not file.exists():
        time.sleep(0.01)


async def _text(length: int) -> str:
    return "x" * length


def _cut_off() -> None:
    note("cut-off")
    if sum(json.loads(line)["what"] == "cut-off" for line in LEDGER.read_text().splitlines()) == 1:
        os._exit(1)


@client.create_function(fn_id="dies", trigger=inngest.TriggerEvent(event="py/dies"), retries=20)
async def dies(ctx: inngest.Context) -> str:
    await ctx.step.run("kept", lambda: _noted("kept"))

    async def body() -> str:
        _cut_off()
        return "alive"

    return await ctx.step.run("cut-off", body)


@client.create_function(fn_id="publishes", trigger=inngest.TriggerEvent(event="py/publishes"))
async def publishes(ctx: inngest.Context) -> object:
    channel = str(ctx.event.data["channel"])

    async def tell() -> None:
        await realtime.publish(client, channel, "progress", {"done": 1})

    await ctx.step.run("tell", tell)
    await ctx.step.sleep("nap", datetime.timedelta(milliseconds=10))
    return dict(await realtime.get_subscription_token(client, channel, ["progress"]))


@client.create_function(fn_id="infers", trigger=inngest.TriggerEvent(event="py/infers"), retries=2)
async def infers(ctx: inngest.Context) -> object:
    url = str(ctx.event.data["url"])
    openai = inngest.experimental.ai.openai.Adapter(auth_key="sk-planted-in-python", base_url=url, model="m")
    anthropic = inngest.experimental.ai.anthropic.Adapter(auth_key="sk-planted-in-python", base_url=url, model="m")
    await ctx.step.run("before", lambda: _noted("before"))
    found = []
    for name, adapter in (("openai", openai), ("anthropic", anthropic)):
        try:
            found.append(await ctx.step.ai.infer(name, adapter=adapter, body={"messages": [], "max_tokens": 9}))
        except inngest.StepError as error:
            found.append({"name": error.name, "message": error.message})
    return found


FUNCTIONS = [
    steps,
    sleeps,
    waits,
    retries,
    catches,
    own_code,
    fails_always,
    final,
    later,
    parallel,
    race,
    child,
    invokes,
    sends,
    told,
    cancelled,
    limited,
    large,
    large_held,
    dies,
    publishes,
    infers,
]


def serve(
    framework: str,
    port: int,
    client: Any,
    functions: list[Any],
    streamed: tuple[Any, list[Any]] | None = None,
    second: tuple[Any, list[Any]] | None = None,
) -> None:
    """Serve functions with this framework at ``/api/inngest``; with FastAPI, which can have several apps, those that
    stream and those of a second app, at paths of their own."""
    if framework == "fastapi":
        import fastapi
        import inngest.fast_api
        import uvicorn

        app = fastapi.FastAPI()
        inngest.fast_api.serve(app, client, functions)
        if streamed is not None:
            given, path = inngest.Streaming.FORCE, "/api/streaming"
            inngest.fast_api.serve(app, streamed[0], streamed[1], serve_path=path, streaming=given)
        if second is not None:
            inngest.fast_api.serve(app, second[0], second[1], serve_path="/api/second")
        uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
    elif framework == "flask":
        import flask
        import inngest.flask
        from werkzeug.serving import make_server

        site = flask.Flask(__name__)
        inngest.flask.serve(site, client, functions)
        make_server("127.0.0.1", port, site, threaded=True).serve_forever()
    elif framework == "django":
        import django
        import inngest.django
        import uvicorn
        from django.conf import settings
        from django.core.handlers.asgi import ASGIHandler

        # A call has up to 4 MiB; of itself, Django refuses more than 2.5.
        settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], DATA_UPLOAD_MAX_MEMORY_SIZE=5_000_000)
        django.setup()
        # Coroutine functions need its ASGI side; its WSGI side takes plain ones only.
        urlpatterns.append(inngest.django.serve(client, FUNCTIONS))
        uvicorn.run(ASGIHandler(), host="127.0.0.1", port=port, lifespan="off", log_level="warning")
    else:
        raise SystemExit(f"no such framework: {framework}")


urlpatterns: list[Any] = []  # what Django looks for in this module

if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), client, FUNCTIONS)
