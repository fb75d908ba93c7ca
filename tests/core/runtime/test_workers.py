"""Who gets a call of those that have connected, and what becomes of it, in virtual time. Numbers are those of protocol
§14."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from stepwell.ids import RandomIds
from stepwell.protocol.connect import ExecutorRequest, Frame, WorkerReply, decode
from stepwell.runtime.workers import ALL_BUSY, NO_WORKER, SILENT, LeaseLost, NotAnswered, Worker, Workers
from stepwell.testing.loop import VirtualClock, VirtualLoop, VirtualTimers

SECOND = 1_000
LEASE = 120 * SECOND
HOUR = 3_600 * SECOND


class World:
    """Workers that do as the test says. ``got`` are the calls that each has been given."""

    def __init__(self) -> None:
        self.loop = VirtualLoop(rounds_max=200_000)
        self.clock = VirtualClock(self.loop, 1_000_000)
        self.timers = VirtualTimers(self.loop, self.clock)
        self.workers = Workers(self.clock, self.timers, RandomIds(1), lease_ms=LEASE)
        self.got: dict[str, list[ExecutorRequest]] = {}
        self.stored: list[str] = []
        self.any = Worker("any", "any", {"app": frozenset("f")}, lambda _: None, capacity=1, connected_at=0)

    def play(self, work: Callable[[World], Awaitable[None]]) -> None:
        try:
            self.loop.run_until_complete(work(self))
        finally:
            self.loop.abandon()
            self.loop.close()

    def join(
        self, id: str, *, functions: str = "f", instance: str = "", capacity: int = 1_000, ready: bool = True
    ) -> Worker:
        calls = self.got[id] = []
        apps = {"app": frozenset(functions.split())}

        def say(message: bytes) -> None:
            calls.append(decode(ExecutorRequest, decode(Frame, message).payload))

        worker = Worker(id, instance or id, apps, say, capacity=capacity, connected_at=0)
        self.workers.join(worker)
        if ready:
            self.workers.make_ready(worker)
        return worker

    def ask(self, id: str = "r", function: str = "f") -> asyncio.Task[Any]:
        return asyncio.ensure_future(
            self.workers.ask(ExecutorRequest(request_id=id, app_name="app", function_slug=function))
        )

    async def later(self, ms: int = 0) -> None:
        """Let so much time pass, and all that is due happen."""
        over = asyncio.Event()
        self.timers.call_at(self.clock.now_ms() + ms, over.set)
        await over.wait()
        for _ in range(5):
            await asyncio.sleep(0)

    def reply(self, id: str = "r", body: bytes = b"1", name: str = "") -> None:
        self.workers.replied(WorkerReply(request_id=id, body=body), lambda: self.stored.append(name or id))

    async def held(self, id: str, worker: Worker, asked: asyncio.Task[Any]) -> str:
        """The lease of a call that this worker has taken."""
        await self.later()
        self.workers.acked(id, worker)
        assert not asked.done()
        return self.got[worker.id][-1].lease_id


@pytest.fixture
def world() -> World:
    return World()


def test_an_answer_is_acknowledged_when_it_is_stored_and_not_before(world: World) -> None:
    async def work(world: World) -> None:
        asked = world.ask()
        await world.held("r", world.join("a"), asked)
        world.reply(name="first")
        world.reply(body=b"2", name="second")
        found, stored = await asked
        world.reply(name="third")
        assert (found.body, world.stored) == (b"1", [])

        stored()
        world.reply(name="fourth")
        assert world.stored == ["first", "second", "third", "fourth"]

    world.play(work)


def test_108_nobody_gets_a_call_before_it_is_ready(world: World) -> None:
    async def work(world: World) -> None:
        worker = world.join("a", ready=False)
        assert not world.workers.serves("f")
        world.ask()
        await world.later()
        assert world.got["a"] == []

        world.workers.make_ready(worker)
        assert world.workers.serves("f")
        await world.later()
        assert len(world.got["a"]) == 1

    world.play(work)


def test_109_three_minutes_pass_with_extensions_and_are_too_long_without(world: World) -> None:
    async def work(world: World) -> None:
        worker = world.join("a")
        kept, lost = world.ask("kept"), world.ask("lost")
        await world.held("lost", worker, lost)
        world.workers.acked("kept", worker)
        lease: str | None = world.got["a"][0].lease_id
        leases = {lease}
        for _ in range(6):
            await world.later(30 * SECOND)
            assert lease is not None
            lease = world.workers.extended("kept", lease, world.any)
            leases.add(lease)

        assert len(leases) == 7
        assert None not in leases
        assert not kept.done()
        with pytest.raises(LeaseLost):
            await lost
        assert world.workers.extended("lost", world.got["a"][1].lease_id, world.any) is None
        world.reply("kept")
        assert (await kept)[0].body == b"1"

    world.play(work)


def test_109_a_lease_ends_to_the_second(world: World) -> None:
    async def work(world: World) -> None:
        asked = world.ask()
        await world.held("r", world.join("a"), asked)
        await world.later(LEASE - 1)
        assert not asked.done()
        await world.later(1)
        with pytest.raises(LeaseLost):
            await asked

    world.play(work)


def test_a_cut_connection_alone_ends_no_lease(world: World) -> None:
    async def work(world: World) -> None:
        worker, other = world.join("a"), world.join("b")
        world.workers.pause(other)
        asked = world.ask()
        lease = await world.held("r", worker, asked)
        world.workers.leave(worker)
        await world.later(LEASE - 1)

        assert world.workers.extended("r", lease, world.any) is not None
        await world.later(LEASE - 1)
        world.reply()
        assert (await asked)[0].body == b"1"

    world.play(work)


def test_a_call_that_nobody_says_to_have_got_goes_from_one_to_the_next(world: World) -> None:
    async def work(world: World) -> None:
        workers = {id: world.join(id) for id in "abcd"}
        asked = world.ask()
        await world.later(5 * SECOND - 1)
        (first,) = [id for id in workers if world.got[id]]
        await world.later(1)
        second, *_ = [id for id in workers if world.got[id] and id != first]
        world.workers.acked("r", workers[first])  # too late: it is with the other one
        assert world.workers.extended("r", world.got[first][0].lease_id, world.any) is None
        await world.later(10 * SECOND)

        with pytest.raises(NotAnswered) as failed:
            await asked
        assert failed.value.code == SILENT
        assert sum(map(len, world.got.values())) == 3
        assert world.got[first][0].lease_id != world.got[second][0].lease_id

    world.play(work)


def test_the_answer_of_one_that_was_slow_to_say_that_it_has_the_call_counts(world: World) -> None:
    async def work(world: World) -> None:
        world.join("a")
        world.join("b")
        asked = world.ask()
        await world.later(6 * SECOND)
        world.reply(body=b"of the first")
        assert (await asked)[0].body == b"of the first"

    world.play(work)


def test_a_worker_that_goes_before_it_has_the_call_is_not_waited_for(world: World) -> None:
    async def work(world: World) -> None:
        worker = world.join("a")
        asked = world.ask()
        await world.later()
        other = world.join("b")
        world.workers.leave(worker)
        await world.later()
        await world.held("r", other, asked)

    world.play(work)


def test_without_a_worker_a_call_waits_ten_seconds_and_fails(world: World) -> None:
    async def work(world: World) -> None:
        world.join("other", functions="g")
        asked = world.ask()
        await world.later(10 * SECOND - 1)
        assert not asked.done()
        await world.later(1)
        with pytest.raises(NotAnswered) as failed:
            await asked
        assert failed.value.code == NO_WORKER

        again = world.ask("again")
        await world.later(9 * SECOND)
        await world.held("again", world.join("a"), again)

    world.play(work)


def test_where_all_are_busy_calls_wait_for_room_in_their_order(world: World) -> None:
    async def work(world: World) -> None:
        world.join("a", instance="one", capacity=2)
        world.join("b", instance="one", capacity=2)  # the same program, by another connection
        tasks = [world.ask(f"r{n}") for n in range(4)]
        await world.later()
        begun = [call.request_id for calls in world.got.values() for call in calls]
        assert sorted(begun) == ["r0", "r1"]
        assert [each.in_flight for each in world.workers.of("app")] == [2, 2]

        world.reply("r1")
        await tasks[1]
        await world.later()
        begun = [call.request_id for calls in world.got.values() for call in calls]
        assert sorted(begun) == ["r0", "r1", "r2"]

    world.play(work)


def test_who_waits_for_room_does_not_wait_for_ever(world: World) -> None:
    async def work(world: World) -> None:
        worker = world.join("a", capacity=1)
        first = world.ask("first")
        lease: str | None = await world.held("first", worker, first)
        second = world.ask("second")
        while not second.done():
            await world.later(100 * SECOND)
            assert lease is not None
            lease = world.workers.extended("first", lease, world.any) or lease
        with pytest.raises(NotAnswered) as failed:
            await second
        assert failed.value.code in (ALL_BUSY, SILENT)  # there may be room in the very moment
        assert world.clock.now_ms() >= 1_000_000 + 2 * HOUR
        assert first.exception() is not None

    world.play(work)


def test_the_least_busy_gets_the_next_call(world: World) -> None:
    async def work(world: World) -> None:
        world.join("small", capacity=2)
        world.join("large", capacity=6)
        for n in range(8):
            world.ask(f"r{n}")
        await world.later()
        assert {id: len(calls) for id, calls in world.got.items()} == {"small": 2, "large": 6}

    world.play(work)


def test_112_a_worker_that_pauses_keeps_what_it_has(world: World) -> None:
    async def work(world: World) -> None:
        worker = world.join("a")
        asked = world.ask()
        lease = await world.held("r", worker, asked)
        world.workers.pause(worker)
        assert not world.workers.serves("f")
        assert [each.status for each in world.workers.of("app")] == ["DRAINING"]
        world.workers.make_ready(worker)
        assert not world.workers.serves("f"), "it does not come back"

        assert world.workers.extended("r", lease, world.any) is not None
        world.reply()
        assert (await asked)[0].body == b"1"

    world.play(work)


def test_a_call_that_is_given_up_leaves_nothing_behind(world: World) -> None:
    async def work(world: World) -> None:
        worker = world.join("a", capacity=1)
        asked, waiting, other = world.ask("r"), world.ask("waiting"), world.ask("other")
        lease = await world.held("r", worker, asked)
        waiting.cancel()
        asked.cancel()
        await asyncio.gather(asked, waiting, return_exceptions=True)
        await world.later()

        assert world.workers.extended("r", lease, world.any) is None
        assert [call.request_id for call in world.got["a"]] == ["r", "other"]
        world.reply("r")
        assert world.stored == ["r"]
        assert not other.done()

    world.play(work)


def test_a_worker_that_was_slow_to_say_that_it_has_a_call_keeps_it(world: World) -> None:
    """It was busy with itself; to ask another would do the work twice."""

    async def work(world: World) -> None:
        worker = world.join("a")
        asked = world.ask()
        await world.later(60 * SECOND)
        assert not asked.done()
        world.workers.acked("r", worker)
        assert world.workers.of("app")[0].in_flight == 1
        await world.later(LEASE - 1)
        assert world.workers.extended("r", world.got["a"][0].lease_id, world.any) is not None
        world.reply()
        assert (await asked)[0].body == b"1"
        assert (len(world.got["a"]), world.workers.of("app")[0].in_flight) == (1, 0)

    world.play(work)


def test_one_that_stays_mute_is_not_waited_for_longer_than_a_lease(world: World) -> None:
    async def work(world: World) -> None:
        world.join("a")
        asked = world.ask()
        await world.later(5 * SECOND + LEASE - 1)
        assert not asked.done()
        await world.later(1)
        with pytest.raises(NotAnswered) as failed:
            await asked
        assert failed.value.code == SILENT

    world.play(work)


def test_nobody_is_there_once_the_mute_one_has_gone(world: World) -> None:
    """That is no fault of the function's: no attempt is spent."""

    async def work(world: World) -> None:
        worker = world.join("a")
        asked = world.ask()
        await world.later(50 * SECOND)
        world.workers.leave(worker)
        await world.later(10 * SECOND)
        with pytest.raises(NotAnswered) as failed:
            await asked
        assert failed.value.code == NO_WORKER

    world.play(work)


def test_a_worker_that_has_gone_mute_gets_calls_last_until_it_says_something(world: World) -> None:
    async def work(world: World) -> None:
        frozen = world.join("frozen")
        world.ask("first")
        await world.later()
        other = world.join("other")
        await world.later(5 * SECOND)
        world.workers.acked("first", other)
        for n in range(3):
            world.ask(f"r{n}")
            await world.later()
            world.workers.acked(f"r{n}", other)
        assert (len(world.got["frozen"]), len(world.got["other"])) == (1, 4)

        world.workers.heard(frozen)
        world.ask("later")
        await world.later()
        assert len(world.got["frozen"]) == 2

    world.play(work)


def test_a_connection_answers_only_for_its_own_apps(world: World) -> None:
    """Ids count up: who gets a call could guess the next one (S29)."""

    async def work(world: World) -> None:
        worker = world.join("a")
        stranger = Worker("s", "s", {"other": frozenset("f")}, lambda _: None, capacity=1, connected_at=0)
        asked = world.ask()
        lease = await world.held("r", worker, asked)
        world.workers.replied(WorkerReply(request_id="r", body=b"2"), lambda: world.stored.append("s"), stranger)
        assert world.workers.extended("r", lease, stranger) is None
        assert world.stored == ["s"], "it need not be said again"

        assert world.workers.extended("r", lease, world.any) is not None
        world.workers.replied(WorkerReply(request_id="r", body=b"1"), lambda: None, world.any)
        assert (await asked)[0].body == b"1"

    world.play(work)


def test_a_function_is_served_for_as_long_as_one_worker_takes_its_calls(world: World) -> None:
    async def work(world: World) -> None:
        one, two = world.join("a"), world.join("b", functions="f g")
        assert not world.workers.make_ready(one), "it is ready already"
        world.workers.pause(two)
        world.workers.pause(two)
        world.workers.leave(two)
        assert (world.workers.serves("f"), world.workers.serves("g")) == (True, False)
        assert not world.workers.make_ready(two)
        world.workers.leave(one)
        assert not world.workers.serves("f")

    world.play(work)


def test_decisions_may_ask_what_is_served_while_workers_come_and_go(world: World) -> None:
    """They are made in a thread of their own."""

    async def work(world: World) -> None:
        workers = [world.join(str(n), functions=f"f{n}") for n in range(50)]
        broken: list[Exception] = []
        over = threading.Event()

        def ask() -> None:
            try:
                while not over.is_set():
                    world.workers.serves("g")
            except Exception as error:
                broken.append(error)

        asking, before = threading.Thread(target=ask), sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            asking.start()
            for _ in range(20):
                for act in (world.workers.leave, world.workers.join, world.workers.make_ready):
                    for worker in workers:
                        act(worker)
        finally:
            over.set()
            asking.join()
            sys.setswitchinterval(before)
        assert broken == []

    world.play(work)


def test_who_waits_is_asked_for_only_while_there_is_room(world: World) -> None:
    """A thousand calls may wait for workers that are all busy."""

    async def work(world: World) -> None:
        worker = world.join("a", capacity=2)
        tasks = [world.ask(f"r{n}") for n in range(5)]
        await world.later()
        looked: list[str] = []
        has = worker.has
        worker.has = lambda id: looked.append(id) or has(id)  # type: ignore[method-assign, assignment, func-returns-value]
        world.reply("r0")
        await tasks[0]
        await world.later()

        assert [call.request_id for call in world.got["a"]] == ["r0", "r1", "r2"]
        assert len(looked) <= 4
        world.reply("r1")
        world.reply("r2")
        await world.later()
        assert [call.request_id for call in world.got["a"]] == [f"r{n}" for n in range(5)]

    world.play(work)
