"""Two decisions in different shards that overlap: whichever is first, it is as if one had come after the other (D4)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
import pytest

from stepwell.engine import progress, signals
from stepwell.engine.dispatch import claim
from stepwell.engine.draft import Draft, Moment
from stepwell.engine.intake import accept
from stepwell.engine.leased import Leased
from stepwell.engine.operator import cancel_run
from stepwell.engine.pausing import pause, resume
from stepwell.engine.recovery import give_back
from stepwell.engine.registration import register, serve
from stepwell.engine.registry import Registry
from stepwell.ids import RandomIds
from stepwell.model.changes import Plan
from stepwell.model.event import Event
from stepwell.model.function import Function
from stepwell.model.pause import Pause
from stepwell.model.place import EVERYWHERE, shard_of
from stepwell.model.questions import BacklogItems, FindWaits, GetRun, GetStep, Question, RegistryStamp, ask
from stepwell.model.step import StepStatus
from stepwell.model.trigger import EventTrigger
from stepwell.model.wait import signal_name
from stepwell.ops import WaitForEvent, WaitForSignal
from stepwell.storage.interface import Verdict
from stepwell.storage.sqlite import SqliteStore
from stepwell.testing.loop import VirtualLoop
from stepwell.testing.overlap import OverlappingStore
from stepwell.testing.tables import Tables

NOW, MINUTE = 1_700_000_000_000, 60_000
WORK = Function(id="app-work", app_id="app", name="work", triggers=(EventTrigger("go", None),))


class Place:
    """A store of eight shards, and engines that do not know of one another."""

    def __init__(self, seed: int) -> None:
        self.loop = VirtualLoop(order=Random(seed), inline=True)
        self._inline = SqliteStore.inline(shards=8, hook=self)
        self._tables = Tables(self._inline)
        self._watched: tuple[str, tuple[Any, ...]] | None = None
        self.seen: list[Any] = []
        self.store = OverlappingStore(self._inline, Random(seed))
        self._ids = RandomIds(seed)
        self._tokens = itertools.count(1)

    def __enter__(self) -> Place:
        self.do(lambda draft: register(draft, "app", [WORK]))
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.run_until_complete(self.store.close())
        self.loop.close()

    def do(self, *plans: Callable[[Draft], Plan], function: Function = WORK) -> list[Any]:
        """Make these at the same moment. The value of each, or the exception that it raised."""
        return self.loop.run_until_complete(self._all(plans, function))

    def ask(self, question: Question[Any]) -> Any:
        return self.loop.run_until_complete(self._inline.read(question))

    def watch(self, text: str, *values: Any) -> None:
        """Ask this after each commit, from now on: ``seen`` has the answers."""
        self._watched = text, values

    def before_commit(self, work: object) -> None:
        pass

    def after_commit(self, work: object) -> None:
        if self._watched is not None:
            text, values = self._watched
            self.seen.append(self._tables.ask(text, *values))

    def event(self, name: str) -> Event:
        return Event(id=self._ids.ulid(NOW), name=name, ts=NOW, received_at=NOW)

    def leased(self) -> Leased:
        """A run that is being called."""
        event = self.event("go")
        (outcome,) = self.do(lambda draft: accept(draft, [event]))
        (found,) = outcome.leased
        return found

    async def _all(self, plans: tuple[Callable[[Draft], Plan], ...], function: Function) -> list[Any]:
        commits: list[asyncio.Future[Verdict]] = []
        for plan in plans:
            draft = self._draft(function)
            commits.append(self.store.commit(lambda plan=plan, draft=draft: plan(draft())))
        found = await asyncio.gather(*commits, return_exceptions=True)
        return [one if isinstance(one, BaseException) else one.result for one in found]

    def _draft(self, function: Function) -> Callable[[], Draft]:
        def draft() -> Draft:
            moment = Moment(NOW, lambda place: self._ids.ulid(NOW, place))
            return Draft(Registry([function]), moment, take_lease=self._lease, until=NOW + MINUTE)

        return draft

    def _lease(self, _: str) -> int:
        return next(self._tokens)


@pytest.fixture(params=range(40))
def place(request: pytest.FixtureRequest) -> Any:
    with Place(request.param) as place:
        yield place


def looks_back(leased: Leased) -> Callable[[Draft], Plan]:
    op = WaitForEvent(id="w", name="w", repeat=0, event="paid", timeout_ms=MINUTE, lookback_ms=MINUTE)
    return lambda draft: progress.suspend(draft, leased, [op])


def waits_for_signal(leased: Leased, *, replace: bool = False) -> Callable[[Draft], Plan]:
    op = WaitForSignal(id="s", name="s", repeat=0, signal="now", timeout_ms=MINUTE, replace=replace)
    return lambda draft: progress.suspend(draft, leased, [op])


def test_a_look_back_does_not_miss_the_event_beside_it(place: Place) -> None:
    leased, event = place.leased(), place.event("paid")

    place.do(looks_back(leased), lambda draft: accept(draft, [event]))

    assert place.ask(GetStep(leased.run.id, "w")).status == StepStatus.COMPLETED


def test_one_step_at_a_time_waits_for_a_signal(place: Place) -> None:
    one, other = place.leased(), place.leased()

    place.do(waits_for_signal(one), waits_for_signal(other))

    (wait,) = place.ask(FindWaits(signal_name("now"), (("", ""),), NOW, EVERYWHERE))
    assert {place.ask(GetRun(each.run.id)).status for each in (one, other) if each.run.id != wait.run_id} == {"FAILED"}


def test_a_signal_is_given_to_one_of_those_who_send_it(place: Place) -> None:
    leased = place.leased()
    place.do(waits_for_signal(leased))

    told = place.do(*[lambda draft: signals.deliver(draft, "now", b"1")] * 3)

    assert sorted([outcome.value is None for outcome in told]) == [False, True, True]


def test_a_signal_is_not_lost_between_one_who_waits_and_the_next(place: Place) -> None:
    one, other = place.leased(), place.leased()
    place.do(waits_for_signal(one))

    *_, outcome = place.do(waits_for_signal(other, replace=True), lambda draft: signals.deliver(draft, "now", b"1"))

    assert outcome.value in (one.run.id, other.run.id)


@pytest.mark.parametrize("kind", ["event", "signal"])
def test_a_run_that_was_cancelled_hears_of_nothing_any_more(place: Place, kind: str) -> None:
    leased, event = place.leased(), place.event("paid")
    step_id = "w" if kind == "event" else "s"
    place.do(looks_back(leased) if kind == "event" else waits_for_signal(leased))
    place.watch("SELECT r.status, s.status FROM runs AS r JOIN steps AS s ON s.run_id = r.id WHERE s.id = ?", step_id)

    place.do(
        lambda draft: cancel_run(draft, leased.run.id, "enough"),
        lambda draft: accept(draft, [event]) if kind == "event" else signals.deliver(draft, "now", b"1"),
    )

    after = [step for ((run, step),) in place.seen if run == "CANCELLED"]
    assert after and len(set(after)) == 1


def test_nothing_waits_for_an_app_that_has_come(place: Place) -> None:
    leased, came = place.leased(), list[bool]()
    place.do(lambda draft: give_back(draft, leased))
    shard = shard_of(leased.run.id, 8)

    def comes(draft: Draft) -> Plan:
        for _ in range(6):
            yield from ask(RegistryStamp())  # about as many questions as a claim has come to by then
        came.append(True)
        return (yield from serve(draft, [WORK.id]))

    def claims(draft: Draft) -> Plan:
        tokens = itertools.count(1_000)
        return claim(draft, shard=shard, room=9, new_token=tokens.__next__, serves=lambda _: bool(came))

    place.do(claims, comes)

    assert place.ask(BacklogItems(f"unserved/{WORK.id}", 9, EVERYWHERE)) == []


def test_nothing_is_put_aside_for_a_pause_that_is_over(place: Place) -> None:
    """Another process claims by what it knows of the functions, and that is to hold until it is done."""
    event = place.event("go")
    paused = msgspec.structs.replace(WORK, pause=Pause(since=NOW, events="hold", runs="hold"))
    place.do(lambda draft: pause(draft, WORK.id, events="hold", runs="hold"))
    place.do(lambda draft: accept(draft, [event]), function=paused)
    (item,) = place.ask(BacklogItems(f"paused/{WORK.id}", 9, EVERYWHERE))
    stamp = place.ask(RegistryStamp())

    def as_it_was(plan: Callable[[Draft], Plan]) -> Callable[[Draft], Plan]:
        def checked(draft: Draft) -> Plan:
            if (yield from ask(RegistryStamp())) != stamp:
                return draft.decision()
            return (yield from plan(draft))

        return checked

    later = place.event("go")
    place.do(
        as_it_was(lambda draft: accept(draft, [later])),
        lambda draft: resume(draft, WORK.id),
        function=paused,
    )

    assert item.backlog
    assert place.ask(BacklogItems(f"paused/{WORK.id}", 9, EVERYWHERE)) == []
