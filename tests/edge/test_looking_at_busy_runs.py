"""What a look at a run shows of the bodies that execute at that moment."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from rich.console import Console

from stepwell import Context, Event, Stepwell
from stepwell.cli.tree import trace_tree
from stepwell.model.questions import GetRun
from stepwell.runtime.engine import Engine
from stepwell.views.trace import TraceView, trace_view
from stepwell.views.why import why_run
from stepwell.views.why.shapes import Situation
from stepwell.views.why.text import sentences


async def looked(engine: Engine, run_id: str) -> tuple[TraceView, str]:
    run = await engine.store.read(GetRun(run_id))
    assert run is not None
    now = engine.clock.now_ms()
    why = await why_run(engine.store, engine.registry, run, Situation(now=now, bodies=engine.executing))
    trace = await trace_view(engine.store, run, engine.registry.get, bodies=engine.executing)
    return trace, "\n".join(sentences(why, now))


def drawn(trace: TraceView, now: int) -> str:
    console = Console(width=200, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(trace_tree(trace, now))
    return captured.get()


async def test_bodies_that_execute_are_shown_although_they_have_no_result_yet() -> None:
    app = Stepwell("shop")
    begun: asyncio.Queue[str] = asyncio.Queue()
    go = asyncio.Event()

    async def body(name: str) -> str:
        begun.put_nowait(name)
        await go.wait()
        return name

    @app.create_function(id="bill", trigger="ordered")
    async def bill(ctx: Context[Any]) -> None:
        await ctx.step.run("first", lambda: 1)
        await asyncio.gather(ctx.step.run("charge", body, "charge"), ctx.step.run("mail", body, "mail"))

    async with asyncio.timeout(20), app.embedded(":memory:") as embedded:
        [run] = await embedded.runs(*await app.send(Event("ordered")))
        assert {await begun.get(), await begun.get()} == {"charge", "mail"}

        trace, why = await looked(embedded.engine, run.id)
        assert [(s.name, s.kind, s.status, s.attempt) for s in trace.steps] == [
            ("first", "run", "COMPLETED", 0),
            ("charge", "run", "RUNNING", 0),
            ("mail", "run", "RUNNING", 0),
        ]
        assert [[(a.attempt, a.status) for a in s.attempts] for s in trace.steps] == [
            [(0, "COMPLETED")],
            [(0, "RUNNING")],
            [(0, "RUNNING")],
        ]
        assert "It executes step 'charge' since" in why
        assert "It executes step 'mail' since" in why
        assert "charge  executes, for" in drawn(trace, embedded.engine.clock.now_ms())

        go.set()
        await embedded.wait(run.id)
        trace, _ = await looked(embedded.engine, run.id)
        assert [s.status for s in trace.steps] == ["COMPLETED"] * 3
        assert not embedded.engine.executing(run.id)


async def test_a_retry_that_executes_is_no_longer_shown_as_due() -> None:
    app = Stepwell("shop")
    begun, go = asyncio.Event(), asyncio.Event()

    @app.create_function(id="bill", trigger="ordered", retries=1)
    async def bill(ctx: Context[Any]) -> None:
        async def charge() -> None:
            if ctx.attempt == 0:
                raise OSError("no line")
            begun.set()
            await go.wait()

        await ctx.step.run("charge", charge)

    async with asyncio.timeout(20), app.embedded(":memory:", retry_interval=1) as embedded:
        [run] = await embedded.runs(*await app.send(Event("ordered")))
        await begun.wait()

        trace, why = await looked(embedded.engine, run.id)
        (step,) = trace.steps
        assert (step.status, step.attempt, step.due) == ("RUNNING", 1, None)
        assert [(each.attempt, each.status, each.ended_at is None) for each in step.attempts] == [
            (0, "ERRORED", False),
            (1, "RUNNING", True),
        ]
        assert step.attempts[1].queued_at == step.attempts[0].retry_at
        assert "It executes attempt 2 of step 'charge' since" in why
        tree = drawn(trace, embedded.engine.clock.now_ms())
        assert "▶ charge  executes attempt 2 of 2" in tree
        assert re.search(r"└── ▶ attempt 2 of 2  [\d:]{8}  for \d+ ms so far", tree)

        go.set()
        await embedded.wait(run.id)
