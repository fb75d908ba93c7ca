"""What a decision costs does not depend on how much waits: counted in statements and rows, without a clock."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import apsw
import msgspec
import pytest

from stepwell.engine import operator, pausing
from stepwell.engine.dispatch import claim
from stepwell.engine.draft import Draft, Moment, Outcome
from stepwell.engine.intake import accept
from stepwell.engine.leased import Leased
from stepwell.engine.progress import complete
from stepwell.engine.registry import Registry
from stepwell.engine.releasing import review
from stepwell.model.changes import Decision, OpenWait, PauseFunction, Plan, SaveFunction
from stepwell.model.event import Event
from stepwell.model.function import Function
from stepwell.model.pause import Pause
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import DueItems, ListRuns
from stepwell.model.wait import Wait, WaitKind
from stepwell.protocol.config import parse_function
from stepwell.storage.sqlite.committer import Ask, Committer
from stepwell.storage.sqlite.files import Files

NOW = 1_700_000_000_000
FEW, MANY = 10, 10_000

pytestmark = pytest.mark.slow

Config = dict[str, Any]
BY_KEY = {"key": "event.data.key"}
HELD = Pause(since=0, events="hold", runs="hold")
ALONE: Config = {"concurrency": [{"limit": 1, **BY_KEY}]}


class World:
    """Decisions of an engine on a database in memory. Function n is started by events named ``go/n``."""

    def __init__(self, *configs: Config) -> None:
        self.committer = Committer(Files(":memory:", "full"), leader=True)
        self.functions: list[Function] = [
            parse_function({"id": f"w-f{n}", "triggers": [{"event": f"go/{n}"}], **config}, "w")
            for n, config in enumerate(configs)
        ]
        self.now = NOW
        self._tokens, self._ids = itertools.count(1), itertools.count(1)

    def decide(self, plan: Callable[[Draft], Plan]) -> Outcome:
        moment = Moment(self.now, self._id)
        found = self.committer.run([lambda: plan(Draft(Registry(self.functions), moment, until=self.now + 30_000))])[0]
        assert found.error is None, found.error
        outcome: Outcome = found.result.result
        return outcome

    def send(self, *keys: object, function: int = 0) -> None:
        for first in range(0, len(keys), 500):
            events = [self._event(key, function) for key in keys[first : first + 500]]
            self.decide(lambda draft, events=events: accept(draft, events))  # type: ignore[misc]

    def claim(self) -> list[Leased]:
        """Claim until nothing is due."""
        found: list[Leased] = []
        more = True
        while more:
            outcome = self.decide(
                lambda draft: claim(draft, shard=0, room=256, new_token=self._tokens.__next__, serves=lambda _: True)
            )
            found += outcome.leased
            more = self.now in (outcome.value, outcome.wake)
        return found

    def end(self, leased: Leased) -> None:
        self.decide(lambda draft: complete(draft, leased, b"null"))

    def due(self) -> int:
        return len(self.committer.answer(Ask(DueItems(self.now, 10, EVERYWHERE))).result)

    def newest_run(self) -> str:
        found: str = self.committer.answer(Ask(ListRuns(limit=1))).result[0].id
        return found

    def _event(self, key: object, function: int) -> Event:
        text = b'{"key": "%s"}' % str(key).encode()
        return Event(id=self._id(), name=f"go/{function}", ts=self.now, received_at=self.now, data=text)

    def _id(self, place: int = 0) -> str:
        return f"{next(self._ids):026d}"


class Cost(NamedTuple):
    """Statements that SQLite ran, steps of its virtual machine, rows that it changed."""

    statements: int
    steps: int
    rows: int


def cost(world: World, act: Callable[[World], object]) -> Cost:
    connection = world.committer.connection
    texts = steps = 0

    def on_statement(_: object) -> None:
        nonlocal texts
        texts += 1

    def on_step() -> bool:
        nonlocal steps
        steps += 1
        return False

    before = connection.total_changes()
    connection.trace_v2(apsw.SQLITE_TRACE_STMT, on_statement)
    connection.set_progress_handler(on_step, 1)
    act(world)
    connection.set_progress_handler(None)
    connection.trace_v2(0, None)
    return Cost(texts, steps, connection.total_changes() - before)


# What waits, and what is done beside it or with the next of it --------------------------------------------------------

Act = Callable[[World], object]
Prepare = Callable[[World, int], Act]


def _behind_one(act: Callable[[World, Leased], object]) -> Prepare:
    """So many runs wait behind one of the same key."""

    def prepare(world: World, count: int) -> Act:
        world.send(*["a"] * (count + 1))
        (first,) = world.claim()
        return lambda world: act(world, first)

    return prepare


def _many_keys(act: Callable[[World, Leased], object]) -> Prepare:
    """One run holds the slot of each of so many keys, and one waits for it."""

    def prepare(world: World, count: int) -> Act:
        world.send(*range(count), *range(count))
        first = world.claim()[0]
        return lambda world: act(world, first)

    return prepare


def _start_another(world: World, _: Leased) -> None:
    world.send("x", function=1)
    assert len(world.claim()) == 1


def _hold_another(world: World, _: Leased) -> None:
    world.send("0")
    assert not world.claim()


def _end_and_claim(world: World, leased: Leased) -> None:
    world.end(leased)
    assert len(world.claim()) == 1


def _cancel_one(world: World, _: Leased) -> None:
    run_id = world.newest_run()
    assert world.decide(lambda draft: operator.cancel_run(draft, run_id, "enough")).value
    assert world.due() == 0  # nobody is woken, only to be put aside again


def _keys(act: Act, *, then: Callable[[World], object] = lambda world: world.claim()) -> Prepare:
    """Something is remembered for so many keys."""

    def prepare(world: World, count: int) -> Act:
        world.send(*range(count))
        then(world)
        return act

    return prepare


def _events(act: Act) -> Prepare:
    """So many events came of one key."""

    def prepare(world: World, count: int) -> Act:
        world.send(*["a"] * count)
        return act

    return prepare


def _throttled(world: World, count: int) -> Act:
    world.send(*["a"] * (count + 1))
    for leased in world.claim():
        world.end(leased)

    def turn(world: World) -> None:
        world.now += 60_000
        assert len(world.claim()) == 1

    return turn


def _waiting(world: World, count: int) -> Act:
    """So many runs wait for an event, each for one with another value."""
    for number in range(count):
        wait = Wait(
            run_id=f"r{number}",
            id="w",
            kind=WaitKind.EVENT,
            event_name="go/0",
            since=NOW,
            expires_at=NOW + 60_000,
            condition=f'async.data.key == "{number}"',
            path="data.key",
            value=f"s:{number}",
        )
        world.decide(lambda draft, wait=wait: _open(draft, wait))  # type: ignore[misc]

    def resume(world: World) -> None:
        assert world.decide(lambda draft: accept(draft, [world._event("7", 0)])).touched == ("r7",)

    return resume


def _open(draft: Draft, wait: Wait) -> Plan:
    draft.add(OpenWait(wait))
    return draft.decision()
    yield


def _send(key: str) -> Act:
    return lambda world: world.send(key)


DEBOUNCE: Config = {"debounce": {"period": "10s", **BY_KEY}}
BATCH: Config = {"batchEvents": {"maxSize": 100, "timeout": "10s", **BY_KEY}}
RATE: Config = {"rateLimit": {"limit": 1, "period": "1h", **BY_KEY}}
THROTTLE: Config = {"throttle": {"limit": 1, "period": "1m", "burst": 0, **BY_KEY}}
SKIP: Config = {"singleton": {"mode": "skip", **BY_KEY}}
CANCEL: Config = {"singleton": {"mode": "cancel", **BY_KEY}}
ONCE: Config = {"idempotency": "event.data.key"}

CASES: dict[str, tuple[Config, Prepare]] = {
    "another function's start, beside a key": (ALONE, _behind_one(_start_another)),
    "another function's start, beside keys": (ALONE, _many_keys(_start_another)),
    "one more that waits for a key": (ALONE, _many_keys(_hold_another)),
    "an end that lets the next of a key go": (ALONE, _behind_one(_end_and_claim)),
    "an end among keys": (ALONE, _many_keys(_end_and_claim)),
    "one that waits is cancelled": (ALONE, _behind_one(_cancel_one)),
    "a turn of a throttle": (THROTTLE, _throttled),
    "a throttled start among keys": (THROTTLE, _keys(lambda world: (world.send("x"), world.claim()))),
    "a new debounce among keys": (DEBOUNCE, _keys(_send("x"))),
    "a debounce goes on among keys": (DEBOUNCE, _keys(_send("7"))),
    "a debounce goes on after many events": (DEBOUNCE, _events(_send("a"))),
    "a new batch among keys": (BATCH, _keys(_send("x"))),
    "a batch goes on among keys": (BATCH, _keys(_send("7"))),
    "a rate limit among keys": (RATE, _keys(_send("7"))),
    "a rate limit after many events": (RATE, _events(_send("a"))),
    "a singleton that skips, among keys": (SKIP, _keys(_send("7"))),
    "a singleton that cancels, among keys": (CANCEL, _keys(_send("7"))),
    "idempotency among keys": (ONCE, _keys(_send("7"))),
    "an event among waits for others": ({}, _waiting),
}


@pytest.mark.parametrize("name", CASES)
def test_a_decision_costs_the_same_whether_ten_or_ten_thousand_wait(name: str):
    config, prepare = CASES[name]

    def measured(count: int) -> Cost:
        world = World(config, {})
        act = prepare(world, count)
        return cost(world, act)

    few, many = measured(FEW), measured(MANY)

    assert (many.statements, many.rows) == (few.statements, few.rows)
    assert many.steps < few.steps * 1.5  # where in a page a row lies costs some more or less; a look at all, thousands


def test_a_slot_that_functions_share_costs_the_same_however_many_wait_for_it_in_vain():
    def sharing(limit: int) -> Config:
        return {"concurrency": [{"limit": limit, "key": "'printer'", "scope": "env"}]}

    def measured(count: int) -> Cost:
        world = World(sharing(1), sharing(2))
        world.send("a", "a", function=1)
        first, _ = world.claim()
        world.send(*range(count), function=0)
        world.send(*range(count), function=1)
        assert world.claim() == []
        return cost(world, lambda world: _end_and_claim(world, first))

    few, many = measured(FEW), measured(MANY)

    assert (many.statements, many.rows) == (few.statements, few.rows)
    assert many.steps < few.steps * 1.5


def test_a_claim_counts_the_slots_that_are_in_use_once_and_not_for_each_run():
    def measured(in_use: int) -> Cost:
        world = World({"concurrency": [{"limit": 5_000}]})
        world.send(*range(in_use))
        assert len(world.claim()) == in_use
        world.send(*range(100))
        return cost(world, World.claim)

    few, many = measured(10), measured(1_010)

    assert (many.statements, many.rows) == (few.statements, few.rows)
    assert many.steps < few.steps + 10 * 1_000  # some steps for each row of one count, and not for each of a hundred


def test_letting_go_of_a_backlog_costs_the_same_however_much_is_in_it():
    def measured(count: int) -> Cost:
        world = World({}, {})
        world.functions[0] = msgspec.structs.replace(world.functions[0], pause=HELD)
        world.committer.run([Decision((SaveFunction(function, 1),)) for function in world.functions])
        world.committer.run([Decision((PauseFunction("w-f0", HELD),))])
        world.send(*range(count))
        world.claim()
        return cost(world, lambda world: world.decide(lambda draft: pausing.resume(draft, "w-f0")))

    few, many = measured(200), measured(MANY)

    assert (many.statements, many.rows) == (few.statements, few.rows)
    assert few.rows < 200
    assert many.steps < few.steps * 1.5


def test_a_review_of_limits_costs_a_look_at_each_backlog_and_some_in_each_decision():
    def measured(each: int) -> Cost:
        world = World(ALONE, {})
        world.send(*range(60), *(key for key in range(60) for _ in range(each)))
        assert len(world.claim()) == 60
        world.decide(lambda draft: _review(draft, "w"))
        return cost(world, World.claim)

    few, many = measured(1), measured(100)

    assert (many.statements, many.rows) == (few.statements, few.rows)
    assert many.steps < few.steps * 1.5


def _review(draft: Draft, app_id: str) -> Plan:
    review(draft, app_id)
    return draft.decision()
    yield
