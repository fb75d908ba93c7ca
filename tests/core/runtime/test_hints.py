"""Hints: who is told of what, how often, and what it costs while nobody looks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from stepwell.errors import LimitExceeded, NotRunning
from stepwell.limits import HINT_TOPICS_MAX
from stepwell.model.changes import Change, CreateRun, Enqueue, FinishRun, SaveEvent
from stepwell.model.event import Event
from stepwell.model.item import Item, ItemKind
from stepwell.model.run import Run
from stepwell.runtime.hints import EVENTS, RUNS, Hints, Looking, run_topic


class World:
    """Time that stands still until it is moved, and hints in it."""

    def __init__(self) -> None:
        self.now = 1_000
        self.looks = 0
        self.observers: list[Callable[[Sequence[Change]], None]] = []
        self._due: list[tuple[int, Callable[[], None]]] = []
        self.hints = Hints(self.observers, self, self, self._look)  # type: ignore[arg-type]

    def now_ms(self) -> int:
        return self.now

    def call_at(self, at: int, callback: Callable[[], None]) -> object:
        self._due.append((at, callback))
        return None

    def pass_ms(self, ms: int) -> None:
        self.now += ms
        due = [each for each in self._due if each[0] <= self.now]
        self._due = [each for each in self._due if each[0] > self.now]
        for _, callback in sorted(due, key=lambda each: each[0]):
            callback()
        if due:
            self.pass_ms(0)

    def write(self, *changes: Change) -> None:
        for observer in self.observers:
            observer(changes)

    def _look(self) -> None:
        self.looks += 1


def created(run_id: str) -> CreateRun:
    return CreateRun(Run(id=run_id, function_id="f", event_id="e", queued_at=0, scheduled_at=0))


async def told(looking: Looking) -> list[str] | None:
    """What has been told; nothing is an empty list."""
    try:
        async with asyncio.timeout(0):
            return await looking.next()
    except TimeoutError:
        return []


@pytest.fixture
def world() -> World:
    return World()


async def test_who_looks_is_told_of_what_concerns_them(world: World):
    runs, one, events = (world.hints.look([each]) for each in (RUNS, run_topic("a"), EVENTS))

    world.write(created("a"), Enqueue(Item(id="a", kind=ItemKind.RUN, function_id="f", at=0, run_id="a", queued_at=0)))
    world.write(created("b"), FinishRun("b", "FAILED", 0))
    world.pass_ms(40)

    assert [await told(each) for each in (runs, one, events)] == [[RUNS], [run_topic("a")], []]


async def heard_while(world: World, looking: Looking, happens: Callable[[], None], ms: int = 1_500) -> list[int]:
    """The moments at which something is told while something happens every millisecond."""
    heard = []
    for at in range(ms):
        happens()
        world.pass_ms(1)
        if await told(looking):
            heard.append(at + 1)
    return heard


async def test_what_changes_within_a_moment_is_told_once_and_what_comes_next_soon(world: World):
    looking = world.hints.look([RUNS])

    heard = await heard_while(world, looking, lambda: world.write(created("a")))

    assert heard == list(range(40, 1_500, 150))


async def test_of_what_others_write_everybody_is_told_as_soon_and_as_seldom(world: World):
    looking = world.hints.look([RUNS, run_topic("a")])
    world.hints.others_wrote()
    world.pass_ms(0)
    assert await told(looking) == [run_topic("a"), RUNS]

    assert await heard_while(world, looking, world.hints.others_wrote) == list(range(150, 1_501, 150))


async def test_what_comes_while_all_rest_is_told_then(world: World):
    looking = world.hints.look([RUNS])
    world.write(created("a"))
    world.pass_ms(40)
    assert await told(looking) == [RUNS]
    world.pass_ms(10)

    world.write(created("b"))

    world.pass_ms(139)
    assert await told(looking) == []
    world.pass_ms(1)
    assert await told(looking) == [RUNS]
    world.pass_ms(10_000)
    assert await told(looking) == []


async def test_all_rest_ten_times_as_long_as_their_looks_were_work(world: World):
    looking = world.hints.look([RUNS])

    def happens() -> None:
        world.write(created("a"))

    for looks, rest in ((50, 500), (15, 150), (3, 150), (0, 150)):
        world.pass_ms(10_000)
        await told(looking)  # what was left of the round before
        world.pass_ms(10_000)
        happens()
        world.pass_ms(40)
        assert await told(looking) == [RUNS], "nobody has to rest after such a time"
        happens()  # while they look, so the moment is known before what it costs is
        for _ in range(looks):
            world.hints.spent(1.0)
        assert (await heard_while(world, looking, happens, 510))[:1] == [rest]


async def test_one_look_that_was_dear_holds_nobody_up(world: World):
    looking = world.hints.look([RUNS])
    world.hints.others_wrote()
    world.pass_ms(0)
    assert await told(looking)

    world.hints.spent(5_000.0)

    assert (await heard_while(world, looking, lambda: world.write(created("a"))))[:1] == [150]


async def test_a_clock_that_was_set_back_makes_nobody_wait_for_it(world: World):
    world.pass_ms(10_000_000)
    looking = world.hints.look([RUNS])
    world.hints.others_wrote()
    world.pass_ms(0)
    assert await told(looking)

    world.now -= 3_600_000
    world.write(created("a"))

    world.pass_ms(150)
    assert await told(looking) == [RUNS]


async def test_while_nobody_looks_nothing_is_looked_at(world: World):
    assert (world.observers, world.hints.wanted, world.looks) == ([], False, 0)
    looking = world.hints.look([RUNS])
    assert (len(world.observers), world.hints.wanted, world.looks) == (1, True, 1)
    other = world.hints.look([RUNS])

    looking.close()
    assert len(world.observers) == 1
    other.close()
    world.hints.others_wrote()

    assert (world.observers, world.hints.wanted) == ([], False)
    assert await other.next() is None


async def test_who_is_slow_is_told_of_everything_at_once(world: World):
    looking = world.hints.look([RUNS, EVENTS])
    world.write(created("a"))
    world.pass_ms(40)
    world.write(SaveEvent(Event(id="1", name="n", ts=0, received_at=0)))
    world.pass_ms(150)

    assert await told(looking) == [EVENTS, RUNS]
    assert await told(looking) == []


async def test_at_the_end_all_are_sent_away(world: World):
    looking = world.hints.look([RUNS])
    world.hints.close()

    assert await looking.next() is None
    with pytest.raises(NotRunning):
        world.hints.look([RUNS])


async def test_nobody_looks_at_everything(world: World):
    with pytest.raises(LimitExceeded):
        world.hints.look([str(number) for number in range(HINT_TOPICS_MAX + 1)])
