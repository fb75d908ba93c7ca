"""A call in flight hears of what other processes write about its run."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stepwell import Cancel, Context, Event, Singleton, StepError, Stepwell
from stepwell.clock import monotonic_s
from stepwell.errors import NotRunning, StorageUnavailable
from stepwell.model.changes import Decision, Enqueue
from stepwell.model.item import Item, ItemKind
from stepwell.model.questions import Count, ListRuns, RegistryStamp, Standings
from stepwell.runtime import live_call
from stepwell.runtime.engine import Engine
from stepwell.runtime.operator import rerun
from stepwell.storage.interface import Changed

pytestmark = pytest.mark.slow


def _app(told: asyncio.Queue[str], hold: asyncio.Event) -> Stepwell:
    app = Stepwell("shared")

    @app.create_function(id="order", trigger="shared/ordered")
    async def order(ctx: Context[Any]) -> None:
        async def pack() -> None:
            told.put_nowait("packing")
            await hold.wait()

        async def approval() -> None:
            found = await ctx.step.wait_for_event("approval", "shared/approved", timeout="1h")
            told.put_nowait("approved" if found else "not approved")

        await asyncio.gather(ctx.step.run("pack", pack), approval())

    return app


async def _packs_and_waits(told: asyncio.Queue[str], engine: Engine) -> None:
    """An event that comes before the wait is written is none for it."""
    assert await told.get() == "packing"
    while (await engine.store.read(Count(0))).waits == 0:
        pass


async def test_an_event_that_another_process_accepts_reaches_a_call_that_is_busy(tmp_path: Path) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    hold = asyncio.Event()
    app, other = _app(told, hold), _app(told, hold)
    path = tmp_path / "shared.db"
    async with asyncio.timeout(20), app.embedded(path) as leader, other.embedded(path) as follower:
        assert (leader.leads, follower.leads) == (True, False)
        [event_id] = await app.send(Event("shared/ordered", {}))
        await _packs_and_waits(told, leader.engine)
        [run] = await leader.runs(event_id)

        await other.send(Event("shared/approved", {}))

        assert await told.get() == "approved"  # although the other branch goes on packing
        hold.set()
        await leader.wait(run.id)


async def test_a_process_that_only_sends_knows_what_others_have_registered_since(tmp_path: Path) -> None:
    old = [Stepwell("shared") for _ in range(2)]
    new = Stepwell("shared")
    for app in (*old, new):

        @app.create_function(id="order", trigger="shared/ordered")
        async def order(ctx: Context[Any]) -> None: ...

    @new.create_function(id="new", trigger="shared/new")
    async def added(ctx: Context[Any]) -> None: ...

    path = tmp_path / "shared.db"
    async with asyncio.timeout(20), old[0].embedded(path), old[1].embedded(path) as follower, new.embedded(path):
        [event_id] = await old[1].send(Event("shared/new", {}))

        assert [run.function_id for run in await follower.runs(event_id)] == ["shared-new"]


async def test_every_one_of_many_events_at_once_knows_them(tmp_path: Path) -> None:
    old = [Stepwell("shared") for _ in range(2)]
    new = Stepwell("shared")
    for app in (*old, new):

        @app.create_function(id="order", trigger="shared/ordered")
        async def order(ctx: Context[Any]) -> None: ...

    @new.create_function(id="new", trigger="shared/new")
    async def added(ctx: Context[Any]) -> None: ...

    async def send(turns: int) -> list[str]:
        for _ in range(turns):
            await asyncio.sleep(0)
        return await old[1].send(Event("shared/new", {}))

    path = tmp_path / "shared.db"
    async with asyncio.timeout(20), old[0].embedded(path), old[1].embedded(path) as follower, new.embedded(path):
        # Staggered: some are on their way while the first has the functions read anew.
        sent = await asyncio.gather(*(send(number) for number in range(200)))

        started = [len(await follower.runs(event_id)) for [event_id] in sent]
        assert started == [1] * 200


async def test_the_leader_knows_what_another_process_has_just_registered(tmp_path: Path) -> None:
    old, new = Stepwell("shared"), Stepwell("shared")

    @new.create_function(id="new", trigger="shared/new")
    async def added(ctx: Context[Any]) -> None: ...

    path = tmp_path / "shared.db"
    async with asyncio.timeout(20), old.embedded(path) as leader:
        await leader.engine._watcher.stop()  # so that it does not notice by itself
        async with new.embedded(path):
            [event_id] = await old.send(Event("shared/new", {}))

            assert [run.function_id for run in await leader.runs(event_id)] == ["shared-new"]


async def test_those_who_find_out_together_that_functions_were_registered_read_them_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = Stepwell("shared"), Stepwell("shared")

    @new.create_function(id="new", trigger="shared/new")
    async def added(ctx: Context[Any]) -> None: ...

    path = tmp_path / "shared.db"
    async with asyncio.timeout(20), old.embedded(path) as leader:
        await leader.engine._watcher.stop()  # so that it does not notice by itself
        async with new.embedded(path):
            read, loads = leader.engine.load, []
            monkeypatch.setattr(leader.engine, "load", lambda: loads.append(1) or read())
            await asyncio.gather(*(old.send(Event("shared/new", {})) for _ in range(100)))

            assert len(loads) == 1


async def test_whoever_waits_for_that_when_the_process_stops_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = Stepwell("shared"), Stepwell("shared")

    @new.create_function(id="new", trigger="shared/new")
    async def added(ctx: Context[Any]) -> None: ...

    path = tmp_path / "shared.db"
    async with asyncio.timeout(20), old.embedded(path) as leader:
        await leader.engine._watcher.stop()
        await leader.engine._dispatcher.stop()  # a claim would have to load them too, perhaps first
        async with new.embedded(path):
            loading = asyncio.Event()

            async def load() -> None:
                loading.set()
                await asyncio.Event().wait()

            monkeypatch.setattr(leader.engine, "load", load)
            sending = asyncio.ensure_future(old.send(Event("shared/new", {})))
            await loading.wait()
            await leader.engine.halt()

            with pytest.raises(NotRunning, match="shutting down"):
                await sending


async def test_K52_when_a_cancel_by_another_process_is_acknowledged_no_other_step_begins(tmp_path: Path) -> None:
    """I18, K52."""
    begun: list[int] = []
    under_way = asyncio.Event()
    apps = [Stepwell("shared") for _ in range(2)]
    for app in apps:

        @app.create_function(id="busy", trigger="shared/go")
        async def busy(ctx: Context[Any]) -> None:
            for number in range(900):
                await asyncio.sleep(0.003)
                await ctx.step.run(f"s{number}", begin, number)

    async def begin(number: int) -> None:
        begun.append(number)
        if number == 3:
            under_way.set()

    path = tmp_path / "shared.db"
    async with asyncio.timeout(30), apps[0].embedded(path), apps[1].embedded(path) as follower:
        for _ in range(5):
            begun.clear()
            under_way.clear()
            [event_id] = await apps[0].send(Event("shared/go", {}))
            [run] = await follower.runs(event_id)
            await under_way.wait()

            assert await follower.cancel(run.id)

            steps = len(begun)
            await asyncio.sleep(0.05)
            assert len(begun) == steps


async def test_a_rerun_that_takes_the_place_of_another_is_acknowledged_when_that_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I18: its run may have a call in flight in another process."""
    apps = [Stepwell("shared") for _ in range(2)]
    begun = asyncio.Event()
    for app in apps:

        @app.create_function(id="alone", trigger="shared/go", singleton=Singleton("cancel"))
        async def alone(ctx: Context[Any]) -> None:
            begun.set()
            await asyncio.sleep(3_600)

    path = tmp_path / "shared.db"
    async with asyncio.timeout(20), apps[0].embedded(path, grace=0), apps[1].embedded(path) as follower:
        [event_id] = await apps[0].send(Event("shared/go", {}))
        [run] = await follower.runs(event_id)
        await begun.wait()
        waited: list[object] = []
        seen = follower.engine.until_seen

        async def until_seen() -> None:
            waited.append("for the leader")
            await seen()

        monkeypatch.setattr(follower.engine, "until_seen", until_seen)
        await rerun(follower.engine, run.id)

        assert waited == ["for the leader"]


async def test_a_process_that_only_sends_is_not_healthy_while_what_is_due_does_not_move(tmp_path: Path) -> None:
    """K58."""
    app, other = Stepwell("shared"), Stepwell("shared")

    async with app.embedded(tmp_path / "shared.db") as leader, other.embedded(tmp_path / "shared.db") as follower:
        later = leader.engine.clock.now_ms() + 60_000
        item = Item(id="r1/start", kind=ItemKind.START_TIMEOUT, function_id="f", run_id="r1", at=later)
        await leader.engine.store.commit(Decision((Enqueue(item),)))
        assert (await follower.health()).healthy

        follower.engine.clock = _At(later + 6_000)  # the leader stands still, as far as it can see

        assert (await follower.health(count=False)).why == "work has been due for 6.0 s and does not move"


async def test_a_process_that_only_sends_is_healthy_while_the_leader_has_no_room(tmp_path: Path) -> None:
    app, other = Stepwell("shared"), Stepwell("other")
    begun, hold = asyncio.Event(), asyncio.Event()

    @app.create_function(id="busy", trigger="shared/go")
    async def busy(ctx: Context[Any]) -> None:
        begun.set()
        await hold.wait()

    path = tmp_path / "shared.db"
    async with asyncio.timeout(20), app.embedded(path, concurrency=1) as leader, other.embedded(path) as follower:
        await app.send([Event("shared/go", {}), Event("shared/go", {})])
        await begun.wait()
        now = leader.engine.clock.now_ms()

        follower.engine.clock = _At(now + 6_000)
        assert (await follower.health(count=False)).healthy

        follower.engine.clock = _At(now + 40_000)  # no lease is extended: the leader stands still
        assert not (await follower.health(count=False)).healthy
        hold.set()


class _At:
    def __init__(self, ms: int) -> None:
        self._ms = ms

    def now_ms(self) -> int:
        return self._ms


_CANCELS_ALL = """
import asyncio, sys
from stepwell import Stepwell
from stepwell.model.questions import ListRuns

async def main(path):
    app = Stepwell("other")
    async with app.embedded(path) as follower:
        runs = await follower.engine.store.read(ListRuns(limit=1000, function_id="shared-many"))
        assert len(runs) == 40
        assert all(await asyncio.gather(*(follower.cancel(run.id) for run in runs)))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_nor_do_those_of_calls_that_had_only_just_been_granted(tmp_path: Path) -> None:
    """I18: that one call has been looked at says nothing of those that were not in flight yet."""
    path = tmp_path / "shared.db"
    app = Stepwell("shared")
    begun: list[str] = []
    go = asyncio.Event()

    async def begin() -> None:
        begun.append("body")

    @app.create_function(id="many", trigger="shared/many")
    async def many(ctx: Context[Any]) -> None:
        await ctx.step.run("body", begin)

    @app.create_function(id="holds", trigger="shared/hold")
    async def holds(ctx: Context[Any]) -> None:
        await go.wait()
        # Meanwhile the forty runs are written, each in the hands of this process, which cannot hear of it.
        subprocess.run([sys.executable, "-c", _CANCELS_ALL, str(path)], check=True)  # noqa: ASYNC221
        await ctx.step.run("look", asyncio.sleep, 0)

    async with asyncio.timeout(20), app.embedded(path) as leader:
        [event_id] = await app.send(Event("shared/hold", {}))
        [run] = await leader.runs(event_id)
        sending = asyncio.ensure_future(app.send([Event("shared/many", {})] * 40))
        await asyncio.sleep(0)
        go.set()
        await sending
        await leader.wait(run.id)

        assert begun == []


async def test_one_look_serves_all_who_ask_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Stepwell("shared")
    asked: list[object] = []
    begun, go = asyncio.Semaphore(0), asyncio.Event()

    @app.create_function(id="many", trigger="shared/many")
    async def many(ctx: Context[Any]) -> None:
        begun.release()
        await go.wait()
        await ctx.step.run("body", asyncio.sleep, 0)

    async with asyncio.timeout(20), app.embedded(tmp_path / "shared.db") as leader:
        ids = await app.send([Event("shared/many", {})] * 200)
        for _ in ids:
            await begun.acquire()
        read = leader.engine.store.read
        monkeypatch.setattr(leader.engine.store, "read", lambda question: asked.append(question) or read(question))
        for call in leader.engine.caller.live.values():
            call.seen = 0.0  # as after a second in which the event loop was held up
        go.set()
        for event_id in ids:
            [run] = await leader.runs(event_id)
            await leader.wait(run.id)

        looks = [question for question in asked if isinstance(question, Standings)]
        assert 1 <= len(looks) <= 3


async def test_what_cannot_be_read_for_a_moment_costs_no_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Stepwell("shared")
    failures = iter([True])

    @app.create_function(id="busy", trigger="shared/go", retries=0)
    async def busy(ctx: Context[Any]) -> str:
        call = leader.engine.caller.live[ctx.run_id]
        call.seen = 0.0
        return await ctx.step.run("body", lambda: "done")

    async with asyncio.timeout(20), app.embedded(tmp_path / "shared.db") as leader:
        read = leader.engine.store.read

        async def fails_once(question: Any) -> Any:
            if isinstance(question, Standings) and next(failures, False):
                raise StorageUnavailable("the disk fails", "so decided the test")
            return await read(question)

        monkeypatch.setattr(leader.engine.store, "read", fails_once)
        [event_id] = await app.send(Event("shared/go", {}))
        [run] = await leader.runs(event_id)

        assert await leader.wait(run.id) == "done"


async def test_no_body_begins_for_as_long_as_it_cannot_be_read_what_others_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I18: a look that failed is none, however many there were."""
    monkeypatch.setattr(live_call, "_LOOK_PAUSE_MS", 1)
    app = Stepwell("shared")
    looks: list[str] = []

    @app.create_function(id="busy", trigger="shared/go", retries=0)
    async def busy(ctx: Context[Any]) -> None:
        leader.engine.caller.live[ctx.run_id].seen = 0.0
        await ctx.step.run("body", lambda: looks.append("began"))

    async with asyncio.timeout(20), app.embedded(tmp_path / "shared.db") as leader:
        read = leader.engine.store.read

        async def fails(question: Any) -> Any:
            if isinstance(question, Standings):
                looks.append("failed" if len(looks) < 50 else "succeeded")
                if looks[-1] == "failed":
                    raise StorageUnavailable("the disk fails", "so decided the test")
            return await read(question)

        monkeypatch.setattr(leader.engine.store, "read", fails)
        [event_id] = await app.send(Event("shared/go", {}))
        [run] = await leader.runs(event_id)
        await leader.wait(run.id)

        assert looks == ["failed"] * 50 + ["succeeded", "began"]


async def test_what_came_for_a_call_before_it_was_known_is_done_when_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that was made between the lease and the call has seen the poke, and told nobody."""
    told: asyncio.Queue[str] = asyncio.Queue()
    hold = asyncio.Event()
    app, other = _app(told, hold), _app(told, hold)
    path = tmp_path / "shared.db"

    async def nothing() -> Changed:
        return Changed(False, monotonic_s())

    async with asyncio.timeout(20), app.embedded(path) as leader, other.embedded(path):
        [event_id] = await app.send(Event("shared/ordered", {}))
        await _packs_and_waits(told, leader.engine)
        [run] = await leader.runs(event_id)
        # From here on it sees nothing when it looks, and the last look had come too early for the call.
        monkeypatch.setattr(leader.engine.store, "changed", nothing)
        await leader.engine.caller.look()  # that is the last
        leader.engine.caller.live[run.id].seen = 0.0
        await other.send(Event("shared/approved", {}))

        hold.set()

        await leader.wait(run.id)
        assert await told.get() == "approved"


async def test_what_others_wrote_is_acted_on_although_it_could_not_be_read_at_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apps = [Stepwell("shared") for _ in range(2)]
    for app in apps:

        @app.create_function(id="order", trigger="shared/ordered")
        async def order(ctx: Context[Any]) -> str:
            return "served"

    failed = asyncio.Event()
    path = tmp_path / "shared.db"
    async with asyncio.timeout(20), apps[0].embedded(path) as leader, apps[1].embedded(path) as follower:
        read = leader.engine.store.read

        async def fails_once(question: Any) -> Any:
            if isinstance(question, RegistryStamp) and not failed.is_set():
                failed.set()
                raise StorageUnavailable("the disk fails", "so decided the test")
            return await read(question)

        monkeypatch.setattr(leader.engine.store, "read", fails_once)
        [event_id] = await apps[1].send(Event("shared/ordered", {}))
        [run] = await follower.runs(event_id)

        assert await follower.wait(run.id) == "served"
        assert failed.is_set()


async def test_what_the_leader_itself_says_is_heard_by_what_others_have_just_registered(tmp_path: Path) -> None:
    """I2: the end of a run, too, is an event."""
    old, new = Stepwell("shared"), Stepwell("other")

    @old.create_function(id="fails", trigger="shared/go", retries=0)
    async def fails(ctx: Context[Any]) -> None:
        raise ValueError("it fails")

    @new.create_function(id="alarm", trigger="inngest/function.failed")
    async def alarm(ctx: Context[Any]) -> None: ...

    path = tmp_path / "shared.db"
    async with asyncio.timeout(20), old.embedded(path) as leader:
        await leader.engine._watcher.stop()  # so that it does not notice by itself
        async with new.embedded(path):
            [event_id] = await old.send(Event("shared/go", {}))
            [run] = await leader.runs(event_id)
            with pytest.raises(StepError):
                await leader.wait(run.id)

            found = await leader.engine.store.read(ListRuns(limit=10, function_id="other-alarm"))
            assert len(found) == 1


_OTHER = """
import asyncio, sys
from stepwell import Event, Stepwell

async def main(path, run_id):
    app = Stepwell("other")
    async with app.embedded(path) as follower:
        assert not follower.leads
        if run_id:
            assert await follower.cancel(run_id)
        else:
            await app.send(Event("shared/stop", {}))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("by_event", [False, True])
@pytest.mark.parametrize("plain", [False, True])
async def test_K52_neither_does_one_begin_if_the_event_loop_was_held_up_meanwhile(
    tmp_path: Path, by_event: bool, plain: bool
) -> None:
    """I18, K52: what the other process waits for is no matter of luck."""
    path = tmp_path / "shared.db"
    app = Stepwell("shared")
    begun: list[str] = []

    async def begin() -> None:
        begun.append("first")

    @app.create_function(id="busy", trigger="shared/go", cancel=[Cancel(event="shared/stop")])
    async def busy(ctx: Context[Any]) -> None:
        # In the thread of the event loop, which therefore hears nothing until the other process has been answered.
        subprocess.run([sys.executable, "-c", _OTHER, str(path), "" if by_event else ctx.run_id], check=True)  # noqa: ASYNC221
        await ctx.step.run("first", (lambda: begun.append("first")) if plain else begin)

    async with asyncio.timeout(20), app.embedded(path) as leader:
        [event_id] = await app.send(Event("shared/go", {}))
        [run] = await leader.runs(event_id)

        with pytest.raises(StepError, match=r"cancelled|stop"):
            await leader.wait(run.id)

        assert begun == []
