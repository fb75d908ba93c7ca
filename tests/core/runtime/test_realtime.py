"""The hub: who hears what, who is closed, and what processes tell one another."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from stepwell.errors import InvalidMessage, LimitExceeded, NotRunning, StorageUnavailable
from stepwell.ids import RandomIds
from stepwell.limits import (
    REALTIME_SUBSCRIBERS_MAX,
    REALTIME_TOPICS_MAX,
    REALTIME_WAITING_BYTES_MAX,
    REALTIME_WAITING_MAX,
)
from stepwell.model.changes import Change, CreateRun, Decision, FinishRun, Listen, Post, StartRun, Unlisten
from stepwell.model.questions import OthersListen
from stepwell.protocol.realtime import Message, Topic, decode_message, message
from stepwell.runtime.loop import rest
from stepwell.runtime.realtime import SLOW, STOPPING, Frame, Hub, Subscription
from stepwell.storage.sqlite import SqliteStore
from stepwell.testing.loop import VirtualClock, VirtualLoop, VirtualTimers
from tests.storage.nouns import run

A, B = Topic("c", "a"), Topic("c", "b")
STREAM = Topic("c", "$stream")
RUN_ID = "01HF7YAT000000000000000001"


class World:
    """Processes on one store, in virtual time."""

    def __init__(self, *, shared: bool = True) -> None:
        self.loop = VirtualLoop(rounds_max=200_000)
        self.clock = VirtualClock(self.loop, 1_000_000)
        self.store = SqliteStore.inline()
        self.committed: list[type] = []
        self.asked = 0
        self.failing = False
        self.observers: list[Callable] = []
        self._shared = shared
        self._seeds = itertools.count()

    def hub(self) -> Hub:
        timers = VirtualTimers(self.loop, self.clock)
        return Hub(self, self.clock, timers, RandomIds(next(self._seeds)), self.observers, shared=self._shared)

    def play(self, work) -> None:
        try:
            self.loop.run_until_complete(work(self))
        finally:
            self.loop.abandon()
            self.loop.close()

    # A store that can fail, and that notes what it is asked -----------------------------------------------------------

    def commit(self, work):
        if self.failing:
            future = self.loop.create_future()
            future.set_exception(StorageUnavailable("the disk is full"))
            return future
        future = self.store.commit(work)
        if isinstance(work, Decision):
            self.committed += map(type, work.changes)
        else:
            self.committed.append(Listen)
        return future

    async def read(self, question):
        if self.failing:
            raise StorageUnavailable("the disk is full")
        self.asked += isinstance(question, OthersListen)
        return await self.store.read(question)

    async def write(self, *changes: Change) -> None:
        await self.store.commit(Decision(changes))
        for observer in tuple(self.observers):
            observer(changes)

    async def rest(self, ms: int) -> None:
        await rest(ms, self.clock, VirtualTimers(self.loop, self.clock))


@pytest.fixture
def world():
    return World()


def said(text: str, to: Topic = A) -> Message:
    return message(to, f'"{text}"'.encode(), 0)


async def heard(subscription: Subscription) -> str:
    frame = await subscription.next()
    assert frame is not None, subscription.reason
    return str(decode_message(frame.body).data, "utf-8").strip('"')


def test_a_message_reaches_those_who_listen_to_its_topic(world: World):
    async def play(world: World) -> None:
        hub = world.hub()
        first, second, both = await hub.subscribe([A]), await hub.subscribe([B]), await hub.subscribe([A, B])
        for text, to in (("1", A), ("2", B), ("3", Topic("other", "a"))):
            await hub.publish(said(text, to))

        assert [await heard(first), await heard(second), await heard(both), await heard(both)] == ["1", "2", "1", "2"]
        hub.close_subscribers()
        assert [await each.next() for each in (first, second, both)] == [None] * 3
        assert {each.reason for each in (first, second, both)} == {STOPPING}
        with pytest.raises(NotRunning):
            await hub.subscribe([A])

    world.play(play)


@pytest.mark.parametrize(
    ("size", "fits"), [(1, REALTIME_WAITING_MAX), (512 * 1024, REALTIME_WAITING_BYTES_MAX // 2**19)]
)
def test_one_who_does_not_keep_up_is_closed_and_nothing_is_kept_for_it(world: World, size: int, fits: int):
    async def play(world: World) -> None:
        hub = world.hub()
        slow = await hub.subscribe([A], raw=True)
        for _ in range(fits):
            slow.offer(Frame(b"x" * size, raw=True))
        assert slow.reason is None

        slow.offer(Frame(b"x" * size, raw=True))

        assert slow.reason == SLOW
        assert await slow.next() is None
        slow.offer(Frame(b"late", raw=True))
        assert await slow.next() is None

    world.play(play)


def test_one_who_reads_may_be_sent_any_number(world: World):
    async def play(world: World) -> None:
        quick = await world.hub().subscribe([A])
        for _ in range(3 * REALTIME_WAITING_MAX):
            quick.offer(Frame(b"x" * 10_000, raw=False))
            await quick.next()
        assert quick.reason is None

    world.play(play)


def test_bytes_go_to_those_who_read_bytes_and_may_listen_to_the_stream_of_the_channel(world: World):
    async def play(world: World) -> None:
        hub = world.hub()
        reads, other, one_topic, elsewhere = (
            await hub.subscribe([STREAM], raw=True),
            await hub.subscribe([A, STREAM]),
            await hub.subscribe([A], raw=True),
            await hub.subscribe([Topic("d", "$stream")], raw=True),
        )
        await hub.tee("c", b"data: 1\n\n")
        await hub.publish(said("1"))

        assert await reads.next() == Frame(b"data: 1\n\n", raw=True)
        assert [await heard(other), await heard(one_topic)] == ["1", "1"]
        elsewhere.close()
        assert await elsewhere.next() is None

    world.play(play)


@pytest.mark.parametrize("shared", [True, False])
def test_a_stream_ends_with_the_answer_for_those_who_listen_to_nothing_else(shared: bool):
    async def play(world: World) -> None:
        here, there = world.hub(), world.hub()
        hub = there if shared else here
        stream, more = Topic("c", "$stream"), Topic("d", "$stream")
        ends, stays = await hub.subscribe([stream], raw=True), await hub.subscribe([stream, more], raw=True)
        told = [b'event: inngest.stream\ndata: "event: inngest.response"\n\n', b"event: inngest.response\ndata: {}\n\n"]
        for each in told:
            await here.tee("c", each)

        assert [await ends.next() for _ in range(3)] == [*(Frame(each, raw=True) for each in told), None]
        assert ends.reason == ""
        assert [await stays.next() for _ in range(2)] == [Frame(each, raw=True) for each in told]
        assert stays.reason is None

    World(shared=shared).play(play)


def test_a_subscriber_may_listen_to_more_and_to_less(world: World):
    async def play(world: World) -> None:
        hub = world.hub()
        one = await hub.subscribe([A])
        hub.add(one, [B, Topic("d", "b")])
        hub.remove(one, ["b"])
        await hub.publish(said("b", B))
        await hub.publish(said("d", Topic("d", "b")))
        await hub.publish(said("1"))
        assert await heard(one) == "1"
        with pytest.raises(InvalidMessage):
            hub.add(one, [Topic("c", str(n)) for n in range(REALTIME_TOPICS_MAX)])

    world.play(play)


def test_there_are_only_so_many_subscribers_and_those_who_leave_make_room(world: World):
    async def play(world: World) -> None:
        hub = world.hub()
        many = [await hub.subscribe([A]) for _ in range(REALTIME_SUBSCRIBERS_MAX)]
        with pytest.raises(LimitExceeded):
            await hub.subscribe([A])
        many[0].close()
        many[0].close()
        await hub.subscribe([A])
        with pytest.raises(LimitExceeded):
            await hub.subscribe([A])

    world.play(play)


# Processes ------------------------------------------------------------------------------------------------------------


def test_another_process_is_told_what_was_published_in_order_and_once(world: World):
    async def play(world: World) -> None:
        here, there = world.hub(), world.hub()
        far, near = await there.subscribe([A, STREAM], raw=True), await here.subscribe([A])
        for n in range(300):
            await here.publish(said(str(n)))
        await here.tee("c", b"bytes")

        assert [await heard(far) for _ in range(300)] == [str(n) for n in range(300)]
        assert await far.next() == Frame(b"bytes", raw=True)
        assert [await heard(near) for _ in range(300)] == [str(n) for n in range(300)]
        await world.rest(200)
        await here.publish(said("last"))
        assert [await heard(far), await heard(near)] == ["last", "last"]

    world.play(play)


def test_nothing_is_written_while_nobody_listens_elsewhere(world: World):
    async def play(world: World) -> None:
        here, there = world.hub(), world.hub()
        await here.subscribe([A])
        await here.publish(said("1"))
        assert Post not in world.committed

        far = await there.subscribe([A])
        await here.publish(said("2"))
        assert world.committed.count(Post) == 1

        far.close()
        await world.rest(10_000)
        assert Unlisten in world.committed
        await here.publish(said("3"))
        assert world.committed.count(Post) == 1

    world.play(play)


def test_a_process_that_listens_for_long_stays_known_and_one_that_has_died_does_not(world: World):
    async def play(world: World) -> None:
        here, there, dead = world.hub(), world.hub(), world.hub()
        far = await there.subscribe([A])
        await world.rest(60_000)
        await here.publish(said("1"))
        assert await heard(far) == "1"
        await there.close()
        posted = world.committed.count(Post)
        await here.publish(said("2"))
        assert world.committed.count(Post) == posted

        await dead.subscribe([A])
        await dead.halt()
        await here.publish(said("3"))
        assert world.committed.count(Post) == posted + 1
        await world.rest(31_000)
        await here.publish(said("4"))
        assert world.committed.count(Post) == posted + 1

    world.play(play)


def test_who_comes_back_while_its_process_says_goodbye_hears_all_the_same(world: World):
    async def play(world: World) -> None:
        here, there = world.hub(), world.hub()
        for n in range(40):
            far = await there.subscribe([A])
            await here.publish(said(str(n)))
            assert await heard(far) == str(n)
            far.close()
            await world.rest(4_800 + n * 10)  # around the moment at which it does

    world.play(play)


def test_who_comes_hears_nothing_of_what_was_published_before(world: World):
    async def play(world: World) -> None:
        here, there = world.hub(), world.hub()
        (await there.subscribe([A])).close()
        await here.publish(said("before"))
        far = await there.subscribe([A])
        await here.publish(said("after"))
        assert await heard(far) == "after"

    world.play(play)


def test_a_store_that_fails_costs_messages_to_others_and_no_publisher(world: World):
    async def play(world: World) -> None:
        here, there = world.hub(), world.hub()
        near, far = await here.subscribe([A]), await there.subscribe([A])
        world.failing = True
        await here.publish(said("lost"))
        assert await heard(near) == "lost"
        late = world.hub()
        for _ in range(REALTIME_SUBSCRIBERS_MAX + 1):  # who could not come in takes no room
            with pytest.raises(StorageUnavailable):
                await late.subscribe([A])
        await world.rest(500)
        world.failing = False
        await here.publish(said("found"))
        assert await heard(far) == "found"

    world.play(play)


def test_a_store_of_one_process_is_asked_nothing():
    async def play(world: World) -> None:
        hub = world.hub()
        one = await hub.subscribe([A])
        await hub.publish(said("1"))
        assert await heard(one) == "1"
        assert (world.committed, world.asked) == ([], 0)

    World(shared=False).play(play)


# Runs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [True, False])
def test_whoever_watches_a_run_hears_how_it_is_and_what_becomes_of_it(shared: bool):
    async def play(world: World) -> None:
        hub = world.hub()
        early = await hub.subscribe([Topic(RUN_ID, "$run")])
        await world.write(CreateRun(replace(run(), id=RUN_ID)), StartRun(RUN_ID, 5))
        if shared:
            assert await heard(early) == '{"status":"running"}'
        late = await hub.subscribe([Topic(RUN_ID, "$run"), A])
        assert await heard(late) == '{"status":"running"}'
        await world.write(FinishRun(RUN_ID, "COMPLETED", 9, b'{"a":1}'))
        assert await heard(late) == '{"status":"completed","output":{"a":1}}'
        after = await hub.subscribe([Topic(RUN_ID, "$run")])
        assert await heard(after) == '{"status":"completed","output":{"a":1}}'

        await hub.publish(said("1"))
        assert await heard(late) == "1"
        for each in (early, late, after):
            each.close()
        assert world.observers == []

    World(shared=shared).play(play)


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        (FinishRun(RUN_ID, "FAILED", 9, b'{"name":"E"}'), '{"status":"failed","error":{"name":"E"}}'),
        (FinishRun(RUN_ID, "CANCELLED", 9, None, "by hand"), '{"status":"cancelled","reason":"by hand"}'),
        (FinishRun(RUN_ID, "COMPLETED", 9, b'"' + b"x" * 600_000 + b'"'), '{"status":"completed"}'),
    ],
)
def test_each_end_of_a_run_says_what_can_be_said_of_it(world: World, ending: FinishRun, told: str):
    async def play(world: World) -> None:
        await world.write(CreateRun(replace(run(), id=RUN_ID)), StartRun(RUN_ID, 5), ending)
        one = await world.hub().subscribe([Topic(RUN_ID, "$run")])
        assert await heard(one) == told

    world.play(play)


def test_who_did_not_ask_what_becomes_of_a_run_is_not_told(world: World):
    async def play(world: World) -> None:
        hub = world.hub()
        await world.write(CreateRun(replace(run(), id=RUN_ID)))
        watches, other = await hub.subscribe([Topic(RUN_ID, "$run")]), await hub.subscribe([Topic(RUN_ID, "log")])
        assert await heard(watches) == '{"status":"queued"}'
        await hub.publish(said("1", Topic(RUN_ID, "log")))
        assert await heard(other) == "1"

    world.play(play)
