import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from stepwell import ConfigurationError, Context, Event, Stepwell, Sync
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


@pytest.mark.parametrize("function_is_async", [True, False])
async def test_a_thread_that_is_busy_does_not_hold_up_a_stop_beyond_its_grace(function_is_async: bool) -> None:
    app = Stepwell("alone")
    begun, go = threading.Event(), threading.Event()

    def body() -> None:
        begun.set()
        go.wait(60)

    if function_is_async:

        @app.create_function(id="async", trigger="alone/go")
        async def with_await(ctx: Context[Any]) -> None:
            await ctx.step.run("body", body)
    else:

        @app.create_function(id="plain", trigger="alone/go")
        def plain(ctx: Context[Any, Sync]) -> None:
            ctx.step.run("body", body)

    engine = app.embedded(":memory:", grace="0s")
    await engine.start()
    try:
        await app.send(Event("alone/go", {}))
        await asyncio.to_thread(begun.wait, 10)

        async with asyncio.timeout(4):
            await engine.stop()
    finally:
        go.set()


async def test_a_second_engine_does_not_take_the_events_of_the_first_away(tmp_path: Path) -> None:
    app = Stepwell("alone")

    async with app.embedded(tmp_path / "first.db"):
        with pytest.raises(ConfigurationError, match="connected to an engine already"):
            async with app.embedded(tmp_path / "second.db"):
                pass

        assert await app.send(Event("alone/go", {}))
    assert not (tmp_path / "second.db").exists()

    async with app.embedded(tmp_path / "second.db"):
        assert await app.send(Event("alone/go", {}))
