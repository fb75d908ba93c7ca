import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from stepwell import ConfigurationError, Context, Event, Stepwell, Sync
from stepwell.clock import SystemClock
from stepwell.errors import StorageUnavailable
from stepwell.limits import RETENTION_DEFAULT
from stepwell.model.changes import CreateRun, Decision, FinishRun
from stepwell.model.duration import to_ms
from stepwell.model.questions import GetRun, ListEvents, Notes, RunsOfEvent
from stepwell.model.run import Run
from stepwell.storage.interface import Verdict
from stepwell.storage.sqlite import SqliteStore


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


async def test_an_app_can_be_started_again_after_a_stop_that_did_not_finish(tmp_path: Path) -> None:
    app = Stepwell("alone")
    begun = asyncio.Event()

    @app.create_function(id="busy", trigger="alone/go")
    async def busy(ctx: Context[Any]) -> None:
        begun.set()
        await asyncio.Event().wait()

    first = app.embedded(tmp_path / "first.db", grace="1h")
    await first.start()
    await app.send(Event("alone/go", {}))
    await begun.wait()
    stopping = asyncio.create_task(first.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping

    async with app.embedded(tmp_path / "second.db"):
        assert await app.send(Event("alone/gone", {}))


async def test_an_engine_is_started_once(tmp_path: Path) -> None:
    engine = Stepwell("alone").embedded(tmp_path / "s.db")
    async with engine:
        with pytest.raises(ConfigurationError, match="started already"):
            await engine.start()
        assert engine.leads


async def test_a_disk_that_takes_results_again_is_not_failing(tmp_path: Path) -> None:
    """Although no event has come since it refused one."""
    app = Stepwell("alone")
    healthy: list[bool] = []

    @app.create_function(id="busy", trigger="alone/go")
    async def busy(ctx: Context[Any]) -> None:
        engine = embedded.engine
        engine.refused = engine.clock.now_ms(), "no space is left"
        healthy.append((await embedded.health()).healthy)
        await ctx.step.run("first", lambda: 1)
        healthy.append((await embedded.health()).healthy)

    async with app.embedded(tmp_path / "s.db") as embedded:
        [event_id] = await app.send(Event("alone/go", {}))
        [run] = await embedded.runs(event_id)
        await embedded.wait(run.id)

    assert healthy == [False, True]


async def test_unless_told_otherwise_commits_survive_a_power_failure_and_ended_runs_are_forgotten_in_the_end(
    tmp_path: Path,
) -> None:
    """design D2, D3: both defaults, at the end where they count."""
    app = Stepwell("alone")
    old = SystemClock().now_ms() - (to_ms(RETENTION_DEFAULT) + 1_000)
    ended = Run(id="01OLD", function_id="alone-work", event_id="01EVENT", queued_at=old, scheduled_at=old)
    async with app.embedded(tmp_path / "alone.db") as engine:
        store = engine.engine.store
        await store.commit(Decision((CreateRun(ended), FinishRun("01OLD", "COMPLETED", old))))
        assert isinstance(store, SqliteStore)
        assert store._committer.connection.execute("PRAGMA synchronous").fetchall() == [(2,)]  # FULL

    async with asyncio.timeout(20), app.embedded(tmp_path / "alone.db") as engine:
        while await engine.engine.store.read(GetRun("01OLD")) is not None:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def test_what_is_granted_while_the_engine_stops_is_given_back_and_not_begun(tmp_path: Path) -> None:
    """I7: else it would go on beside the next leader."""
    app = Stepwell("alone")
    begun: list[str] = []

    @app.create_function(id="work", trigger="alone/go", concurrency=5)
    async def work(ctx: Context[Any]) -> None:
        begun.append(ctx.run_id)

    engine = app.embedded(tmp_path / "alone.db", grace=0)
    await engine.start()
    inner = engine.engine
    room = inner._dispatcher._tick

    async def and_stop(now: int) -> int | None:
        claiming = asyncio.ensure_future(room(now))
        inner.stopping = True  # the claim is on its way to the disk
        return await claiming

    inner._dispatcher._tick = and_stop
    (event_id,) = await app.send(Event("alone/go", {}))
    await engine.stop()

    assert begun == []
    async with app.embedded(tmp_path / "alone.db") as again:
        (run,) = await again.runs(event_id)
        await again.wait(run.id)
        notes = await again.engine.store.read(Notes(run.id))
    assert (len(begun), notes) == (1, [])  # no loss is counted


async def test_all_leases_are_extended_at_once_and_one_that_cannot_be_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = Stepwell("alone")
    go, all_begun = asyncio.Event(), asyncio.Barrier(4)

    @app.create_function(id="work", trigger="alone/go")
    async def work(ctx: Context[Any]) -> None:
        await all_begun.wait()
        await go.wait()

    async with app.embedded(":memory:") as engine, asyncio.timeout(10):
        await app.send([Event("alone/go", {"n": n}) for n in range(3)])
        await all_begun.wait()
        alone, calls = engine.engine, list(engine.engine.caller.live.values())
        before, asked = [call.leased.until for call in calls], list[asyncio.Future[Verdict]]()

        def commit(decision: Decision) -> asyncio.Future[Verdict]:
            asked.append(asyncio.get_running_loop().create_future())
            if len(asked) == 3:  # nothing is answered before all have been asked
                asked[0].set_exception(StorageUnavailable("the disk is full", "it is", "free some space"))
                asked[1].set_result(Verdict(True))
                asked[2].set_result(Verdict(False))
            return asked[-1]

        with monkeypatch.context() as patched:
            patched.setattr(alone.store, "commit", commit)
            with pytest.raises(StorageUnavailable):
                await alone.caller.extend(before[0] + 1)

        assert calls[0].leased.until == before[0]
        assert calls[1].leased.until >= before[1]
        assert [call.lost for call in calls] == [False, False, True]
        go.set()
