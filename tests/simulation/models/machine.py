"""One function under one rule, and all that may happen to it in any order, beside a small model of the same rule.

A machine does the same to the engine and to the model: events with keys and moments of their own, time, deaths of the
process, a changed rule while runs wait, cancelled runs, pauses. After each of them both must tell the same of every
event. The moments are whole milliseconds since the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from stepwell import Event, Stepwell
from stepwell.model.questions import Count
from stepwell.testing import Harness, harness
from tests import on_postgres
from tests.tables import tables

START = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = ("a", "b")
DAY = 86_400_000

Told = dict[int, Any]
"""What became of each event, by its number: ``("started", when)``, ``("waits",)``, or why it started nothing."""


class Model:
    """What a rule does to the events that come; each rule's own says how. ``now`` is milliseconds since the start."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.now = 0
        self.told: Told = {}
        self.paused: tuple[str, str] | None = None
        self.change(options)

    def change(self, options: Mapping[str, Any]) -> None:
        """The rule is this one from now on."""
        raise NotImplementedError

    def arrive(self, number: int, key: str, ts: int) -> None:
        raise NotImplementedError

    def next(self) -> int | None:
        """When something happens by itself; it may be in the past, if nobody was there to do it."""
        return None

    def happen(self) -> None:
        """Do what is due."""

    def cancel(self, number: int) -> None:
        """Forget a run that waits."""

    def pause(self, events: str, runs: str) -> None:
        self.paused = events, runs

    def resume(self) -> None:
        self.paused = None

    def advance(self, ms: int) -> None:
        until = self.now + ms
        while (moment := self.next()) is not None and moment <= until:
            self.now = max(self.now, moment)
            self.happen()
        self.now = until

    def sleep(self, ms: int) -> None:
        """Nobody is there for so long."""
        self.now += ms
        self.advance(0)


class Admitted(Model):
    """What is let in starts at the moment of its event, unless the function is paused."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.queued: dict[int, tuple[int, bool]] = {}  # by number: when it is due, and whether it came in a pause
        super().__init__(options)

    def let_in(self, number: int, ts: int) -> None:
        """A run is created, unless the function is paused and lets none be."""
        if self.paused and self.paused[0] == "skip":
            self.told[number] = ("paused",)
            return
        self.queued[number] = max(self.now, ts), self.paused is not None
        self.told[number] = ("waits",)

    def cancel(self, number: int) -> None:
        del self.queued[number]
        self.told[number] = ("cancelled",)

    def resume(self) -> None:
        super().resume()
        self.queued = {number: (due, False) for number, (due, _) in self.queued.items()}

    def next(self) -> int | None:
        return min((due for due, _ in self.free().values()), default=None)

    def happen(self) -> None:
        for number, (due, _) in sorted(self.free().items()):
            if due <= self.now and number in self.queued:
                del self.queued[number]
                self.start(number)

    def start(self, number: int) -> None:
        self.told[number] = ("started", self.now)

    def free(self) -> dict[int, tuple[int, bool]]:
        """Those that no pause holds."""
        if self.paused and self.paused[1] == "hold":
            return {}
        return {number: each for number, each in self.queued.items() if not each[1]}


class Machine(RuleBasedStateMachine):
    """A rule's machine says which options its function may have, and which model."""

    options: ClassVar[st.SearchStrategy[dict[str, Any]]]
    model_of: ClassVar[type[Model]]
    gaps: ClassVar[tuple[int, ...]] = (0, 1, 500, 1_000, 2_000, 5_000, 20_000, 60_000)
    ages: ClassVar[tuple[int, ...]] = (0, 0, 0, -30_000, 30_000)
    """By how much the moment of an event differs from the one at which it comes."""

    t: Harness

    def __init__(self) -> None:
        super().__init__()
        self.numbers: dict[str, int] = {}
        self.sent = 0

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        options = data.draw(self.options)
        self.model = self.model_of(options)
        self.version = self.app(options)
        self.t = harness(self.version).__enter__()
        self.tables = tables(self.t)

    def app(self, options: Mapping[str, Any]) -> Stepwell:
        app = Stepwell("shop")

        @app.create_function(id="work", trigger="go", **options)
        async def work(ctx: Any) -> None:
            await self.body(ctx)

        return app

    async def body(self, ctx: Any) -> None:
        """What the function does: nothing, unless the rule is about what it does."""

    @rule(key=st.sampled_from(KEYS), data=st.data(), count=st.sampled_from((1, 1, 2, 4)))
    def send(self, key: str, data: st.DataObject, count: int) -> None:
        age = data.draw(st.sampled_from(self.ages))
        moment = START + timedelta(milliseconds=self.model.now + age)
        events = [Event("go", {"n": self.sent + n, "k": key}, ts=moment) for n in range(count)]
        for event_id in self.t.send(events):
            self.numbers[event_id] = self.sent
            self.model.arrive(self.sent, key, self.model.now + age)
            self.sent += 1
        self.model.advance(0)

    @rule(data=st.data())
    def wait(self, data: st.DataObject) -> None:
        gap = data.draw(st.sampled_from(self.gaps))
        self.t.advance(gap)
        self.model.advance(gap)

    @rule(down=st.sampled_from((0, 0, 3_000, 100_000)))
    def crash(self, down: int) -> None:
        self.t.crash(down=down, app=self.version)
        self.t.run_until_idle()
        self.model.sleep(down)

    @rule(data=st.data(), crash=st.booleans())
    def change(self, data: st.DataObject, crash: bool) -> None:
        options = data.draw(self.options)
        self.version = self.app(options)
        self.model.change(options)
        if crash:
            self.t.crash(app=self.version)
        else:
            self.t._do(lambda: self.t.engine.register("shop", self.version.configs()))
        self.t.run_until_idle()
        self.model.advance(0)

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number, run_id = data.draw(st.sampled_from(sorted(self.waiting().items())))
        self.t.cancel(run_id)
        self.model.cancel(number)
        self.model.advance(0)

    @precondition(lambda self: self.model.paused is None)
    @rule(events=st.sampled_from(("skip", "hold")), runs=st.sampled_from(("finish", "hold")))
    def pause(self, events: str, runs: str) -> None:
        self.wait_a_little()  # what came in this very millisecond counts as after the pause
        self.t.pause("work", events=events, runs=runs)  # type: ignore[arg-type]
        self.model.pause(events, runs)

    @precondition(lambda self: self.model.paused is not None)
    @rule()
    def resume(self) -> None:
        self.t.resume("work")
        self.t.run_until_idle()
        self.model.resume()
        self.model.advance(0)

    @invariant()
    def both_tell_the_same(self) -> None:
        engine, model = self.told(), self.model.told
        numbers = sorted({*engine, *model})
        wrong = {n: (engine.get(n), model.get(n)) for n in numbers if engine.get(n) != model.get(n)}
        assert not wrong, f"by event, what the engine says and what the model says: {wrong}"

    def teardown(self) -> None:
        if not hasattr(self, "t"):
            return
        try:
            if self.model.paused is not None:
                self.resume()
            self.t.advance(30 * DAY)
            self.model.advance(30 * DAY)
            self.both_tell_the_same()
            self.nothing_is_left()
        finally:
            self.t.__exit__(None, None, None)

    def nothing_is_left(self) -> None:
        """I13."""
        left = self.t.ask(Count(int(self.t.now.timestamp() * 1000)))
        assert (left.live_runs, left.items, left.leased, left.blocked) == (0, 0, 0, 0)
        assert self.tables.ask("SELECT * FROM slots") == []
        assert self.tables.audit() == []

    def wait_a_little(self) -> None:
        self.t.advance(1)
        self.model.advance(1)

    def waiting(self) -> dict[int, str]:
        """The runs that have not begun, by the number of their event."""
        if not hasattr(self, "t"):
            return {}
        found = self.tables.ask("SELECT event_id, id FROM runs WHERE status = 'QUEUED' AND function_id = 'shop-work'")
        return {self.numbers[event_id]: run_id for event_id, run_id in found}

    def told(self) -> Told:
        """What the engine says of each event."""
        found: Told = {}
        text = "SELECT event_id, status, started_at FROM runs WHERE function_id = 'shop-work'"
        for event_id, status, started_at in self.tables.ask(text):
            if status == "CANCELLED" and started_at is None:
                found[self.numbers[event_id]] = ("cancelled",)
            elif started_at is None:
                found[self.numbers[event_id]] = ("waits",)
            else:
                found[self.numbers[event_id]] = ("started", since_start(started_at))
        for event_id, kind in self.tables.ask("SELECT event_id, kind FROM outcomes"):
            assert self.numbers[event_id] not in found, "an event has one outcome (I2)"
            found[self.numbers[event_id]] = (kind,)
        return found


def since_start(moment: int) -> int:
    return moment - int(START.timestamp() * 1000)


def check(machine: type[RuleBasedStateMachine], *, share: int = 2, steps: int = 25, shrinks: bool = True) -> None:
    """Play it in as many ways as the profile says, divided by ``share``; tell the shortest that goes wrong.

    On PostgreSQL it is a tenth of them: each takes as many times longer.
    """
    share *= 10 if on_postgres.chosen() else 1
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=max(1, settings().max_examples // share),
            stateful_step_count=steps,
            report_multiple_bugs=False,
            phases=tuple(Phase) if shrinks else (Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
