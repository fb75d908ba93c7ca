import asyncio
from pathlib import Path
from typing import Any

from stepwell import Context, Event, Stepwell
from stepwell.model.questions import ListEvents, RunsOfEvent


async def test_a_sender_that_gives_up_does_not_keep_its_run_from_starting(tmp_path: Path) -> None:
    app = Stepwell("alone")
    started = asyncio.Event()

    @app.create_function(id="work", trigger="alone/go")
    async def work(ctx: Context[Any]) -> None:
        started.set()

    async with app.embedded(tmp_path / "alone.db"):
        sending = asyncio.ensure_future(app.send(Event("alone/go", {})))
        await asyncio.sleep(0)  # by now it waits for the disk
        sending.cancel()

        async with asyncio.timeout(5):
            await started.wait()


async def test_a_call_in_flight_may_send_while_its_process_drains(tmp_path: Path) -> None:
    app = Stepwell("alone")
    begun, go = asyncio.Event(), asyncio.Event()

    @app.create_function(id="work", trigger="alone/go")
    async def work(ctx: Context[Any]) -> None:
        async def body() -> None:
            begun.set()
            await go.wait()

        await ctx.step.run("body", body)
        await ctx.step.send_event("tell", Event("alone/told", {}))

    async with app.embedded(tmp_path / "alone.db") as engine:
        (event_id,) = await app.send(Event("alone/go", {}))
        await begun.wait()
        stopping = asyncio.ensure_future(engine.stop())
        await asyncio.sleep(0)
        go.set()
        await stopping

    async with app.embedded(tmp_path / "alone.db") as engine:
        (run,) = await engine.engine.store.read(RunsOfEvent(event_id))
        told = await engine.engine.store.read(ListEvents(limit=1, name="alone/told"))
    assert (run.status, len(told)) == ("COMPLETED", 1)
