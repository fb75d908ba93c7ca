"""An app whose runs are in every state at once: what moving an installation has to bring over.

Bodies say in a ledger that they ran. What waits for a file named ``go`` in the folder waits until somebody writes it.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import apsw

from stepwell import (
    BatchEvents,
    Concurrency,
    Context,
    Debounce,
    Event,
    NonRetriableError,
    RetryAfterError,
    Stepwell,
    Throttle,
)
from stepwell.embedded import Embedded
from stepwell.ids import RandomIds
from stepwell.model.questions import ListRuns
from stepwell.runtime.nearby import Nearby

EACH = 10
PATIENCE_S = 30.0
# Every event starts one run, but for those that are collected.
STARTS = ("sleeping", "waiting", "signalled", "calling", "retrying", "held", "throttled", "paused", "failing", "done")
RUNS = EACH * (len(STARTS) + 1)  # and those that are called
ENDED = 2 * EACH


def shop(folder: Path) -> Stepwell:
    """The app. Its ledger is in the folder."""
    app = Stepwell("shop")

    def note(ctx: Context[Any], step: str) -> str:
        with (folder / "ledger").open("a") as ledger:
            ledger.write(f"{ctx.event.name} {ctx.event.data['n']} {step}\n")
        return step

    def may_go() -> bool:
        return (folder / "go").exists()

    @app.create_function(id="sleeping", trigger="sleeping")
    async def sleeping(ctx: Context[Any]) -> str:
        ctx.logger.info("it is about to rest")
        await ctx.step.run("a", note, ctx, "a")
        await ctx.step.sleep("rest", "4s")
        return await ctx.step.run("b", note, ctx, "b")

    @app.create_function(id="waiting", trigger="waiting")
    async def waiting(ctx: Context[Any]) -> Any:
        await ctx.step.run("a", note, ctx, "a")
        found = await ctx.step.wait_for_event("approval", "approved", match="data.n", timeout="1h")
        await ctx.step.run("b", note, ctx, "b")
        return found and found.data

    @app.create_function(id="signalled", trigger="signalled")
    async def signalled(ctx: Context[Any]) -> Any:
        await ctx.step.run("a", note, ctx, "a")
        return await ctx.step.wait_for_signal("call", f"call-{ctx.event.data['n']}", timeout="1h")

    @app.create_function(id="called", trigger="called")
    async def called(ctx: Context[Any]) -> int:
        await ctx.step.wait_for_event("approval", "approved", match="data.n", timeout="1h")
        return int(ctx.event.data["n"]) * 2

    @app.create_function(id="calling", trigger="calling")
    async def calling(ctx: Context[Any]) -> int:
        await ctx.step.run("a", note, ctx, "a")
        return await ctx.step.invoke("call", called, data=ctx.event.data)

    @app.create_function(id="retrying", trigger="retrying", retries=20)
    async def retrying(ctx: Context[Any]) -> str:
        await ctx.step.run("a", note, ctx, "a")

        def attempt() -> str:
            if not may_go():
                raise RetryAfterError("not yet", "1s")
            return note(ctx, "b")

        return await ctx.step.run("b", attempt)

    @app.create_function(id="held", trigger="held", concurrency=Concurrency(1))
    async def held(ctx: Context[Any]) -> str:
        async def body() -> str:
            while not may_go():  # noqa: ASYNC110 - a file says nothing
                await asyncio.sleep(0.01)
            return note(ctx, "a")

        return await ctx.step.run("a", body)

    @app.create_function(id="throttled", trigger="throttled", throttle=Throttle(limit=2, period="1s"))
    async def throttled(ctx: Context[Any]) -> str:
        return await ctx.step.run("a", note, ctx, "a")

    @app.create_function(id="paused", trigger="paused")
    async def paused(ctx: Context[Any]) -> str:
        return await ctx.step.run("a", note, ctx, "a")

    @app.create_function(id="failing", trigger="failing")
    async def failing(ctx: Context[Any]) -> None:
        await ctx.step.run("a", note, ctx, "a")
        raise NonRetriableError(f"no {ctx.event.data['n']}")

    @app.create_function(id="done", trigger="done")
    async def done(ctx: Context[Any]) -> dict[str, Any]:
        return {"text": "\x00 ü 🙂", "n": await ctx.step.run("a", note, ctx, "a")}

    @app.create_function(id="debounced", trigger="debounced", debounce=Debounce("4s"))
    async def debounced(ctx: Context[Any]) -> int:
        return int(ctx.event.data["n"])

    @app.create_function(id="batched", trigger="batched", batch_events=BatchEvents(100, timeout="4s"))
    async def batched(ctx: Context[Any]) -> list[int]:
        return sorted(event.data["n"] for event in ctx.events)

    return app


async def begin(app: Stepwell, engine: Embedded, path: Path) -> None:
    """Start runs, until each is where it stays."""
    # Each request goes to a place of its own, as if they did not come at the same moment.
    engine.engine._nearby = Nearby(RandomIds(1), 1)  # pyright: ignore[reportPrivateUsage]
    await engine.pause("paused", events="hold")
    for name in (*STARTS, "debounced", "batched"):
        await app.send([Event(name, {"n": n}) for n in range(EACH)])
    waits = EACH * 3  # those that wait, are signalled, or called
    rests = "SELECT count(*) FROM steps WHERE name = 'rest'"
    tried = "SELECT count(DISTINCT run_id) FROM attempts"
    ended = "SELECT count(*) FROM runs WHERE ended_at IS NOT NULL"
    async with asyncio.timeout(PATIENCE_S):
        while not (  # noqa: ASYNC110
            ask(path, "SELECT count(*) FROM waits") >= waits
            and ask(path, rests) == EACH
            and ask(path, tried) >= EACH
            and ask(path, ended) >= ENDED
        ):
            await asyncio.sleep(0.02)


async def end(app: Stepwell, engine: Embedded, folder: Path) -> None:
    """Bring about what the runs wait for, until all have ended."""
    (folder / "go").touch()
    await engine.resume("paused")
    await app.send([Event("approved", {"n": n}) for n in range(EACH)])
    for n in range(EACH):
        await app.send_signal(f"call-{n}", {"n": n})
    async with asyncio.timeout(PATIENCE_S):
        while len(await _runs(engine, ended=True)) < RUNS + 2:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert not await _runs(engine, ended=False)


async def _runs(engine: Embedded, *, ended: bool) -> list[str]:
    found = await engine.engine.store.read(ListRuns(limit=1_000))
    return [run.id for run in found if (run.ended_at is not None) == ended]


def ask(path: Path, text: str) -> int:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(5_000)
    try:
        return int(connection.execute(text).fetchall()[0][0])
    finally:
        connection.close()


def results(path: Path) -> dict[tuple[str, int], tuple[str, object]]:
    """What became of each run: by function and number. A run that is there twice would be missing elsewhere."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    text = """
      SELECT r.function_id, e.data, r.status, r.output FROM runs AS r
      JOIN events AS e ON e.shard = r.shard AND e.id = r.event_id"""
    found = connection.execute(text).fetchall()
    connection.close()
    made = {
        (function, json.loads(data)["n"]): (status, _result(status, output)) for function, data, status, output in found
    }
    assert len(made) == len(found)
    return made


def bodies(folder: Path) -> Counter[str]:
    """How often each body ran."""
    return Counter((folder / "ledger").read_text().splitlines())


def _result(status: str, output: bytes | None) -> object:
    value = json.loads(output or b"null")
    return value["message"] if status == "FAILED" else value
