"""Functions as data: made up from a seed, run by an interpreter on the SDK, taken apart again to shrink a failure."""

from __future__ import annotations

from random import Random
from typing import Any, Final, Literal

import msgspec

from stepwell.flow import BatchEvents, Concurrency, Debounce, Priority, RateLimit, RunConcurrency, Singleton, Throttle
from stepwell.sdk.options import Cancel, Timeouts
from stepwell.sdk.triggers import TriggerCron, TriggerEvent

EVENTS: Final = ("e/0", "e/1", "e/2", "e/3", "e/4")
KEYS: Final = ("a", "b", "c")
_SECOND: Final = 1_000
_MINUTE: Final = 60_000
_HOUR: Final = 3_600_000


class Do(msgspec.Struct, frozen=True, tag=True):
    """A step with a body. ``fails`` says how its first attempts end: ``"error"``, ``"after"`` (asks for a moment of its
    own), ``"press"`` (for all that share its queue as well), ``"fatal"``. If all attempts fail the error is caught here
    (``caught``) or ends the function."""

    name: str
    fails: tuple[str, ...] = ()
    takes_ms: int = 0
    caught: bool = True


class Nap(msgspec.Struct, frozen=True, tag=True):
    name: str
    ms: int


class Await(msgspec.Struct, frozen=True, tag=True):
    """Wait for an event with the key of the event that started the run, perhaps for one that has been."""

    name: str
    event: str
    timeout_ms: int
    lookback_ms: int | None = None


class Invoke(msgspec.Struct, frozen=True, tag=True):
    name: str
    function: str
    timeout_ms: int | None = None
    cancel_child: bool = False


class Emit(msgspec.Struct, frozen=True, tag=True):
    """Send an event with the key of the event that started the run."""

    name: str
    event: str


class Hear(msgspec.Struct, frozen=True, tag=True):
    """Wait for the signal that is called like the key of the event that started the run."""

    name: str
    timeout_ms: int
    replace: bool = False


class Signal(msgspec.Struct, frozen=True, tag=True):
    """Send the signal that is called like the key of the event that started the run."""

    name: str


class PutOff(msgspec.Struct, frozen=True, tag=True):
    """Start a function when the run has ended."""

    name: str
    function: str


class TakeBack(msgspec.Struct, frozen=True, tag=True):
    """Do not start what was put off under this name after all."""

    name: str


class Fork(msgspec.Struct, frozen=True, tag=True):
    """Branches at once, started by ``how``: ``"gather"``, ``"parallel"``, or ``"race"``, which the first one ends."""

    branches: tuple[tuple[Node, ...], ...]
    how: str = "gather"


class Loop(msgspec.Struct, frozen=True, tag=True):
    """The same steps several times."""

    times: int
    body: tuple[Node, ...]


class Stumble(msgspec.Struct, frozen=True, tag=True):
    """The function's own code raises the first ``times`` times it comes here."""

    name: str
    times: int
    fatal: bool = False


class Dawdle(msgspec.Struct, frozen=True, tag=True):
    """The function's own code takes its time, outside of any step."""

    ms: int


Node = Do | Nap | Await | Invoke | Emit | Hear | Signal | PutOff | TakeBack | Fork | Loop | Stumble | Dawdle


class Rate(msgspec.Struct, frozen=True):
    limit: int
    period_ms: int
    burst: int = 0


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """When a function starts. With ``keyed`` all of them count for each key of an event, else for all together."""

    keyed: bool = False
    throttle: Rate | None = None
    rate_limit: Rate | None = None
    singleton: Literal["skip", "cancel"] | None = None
    debounce_ms: tuple[int, int | None] | None = None
    batch: tuple[int, int] | None = None
    priority: bool = False
    runs_max: int = 0

    def options(self) -> dict[str, Any]:
        """What ``app.create_function`` is told of them."""
        key = "event.data.key" if self.keyed else None
        throttle, rate, debounce, batch = self.throttle, self.rate_limit, self.debounce_ms, self.batch
        return {
            "run_concurrency": RunConcurrency(self.runs_max, key) if self.runs_max else None,
            "throttle": Throttle(throttle.limit, throttle.period_ms, throttle.burst, key) if throttle else None,
            "rate_limit": RateLimit(rate.limit, rate.period_ms, key) if rate else None,
            "singleton": Singleton(self.singleton, key) if self.singleton else None,
            "debounce": Debounce(*debounce, key) if debounce else None,
            "batch_events": BatchEvents(*batch, key) if batch else None,
            "priority": Priority("event.data.key == 'a' ? 30 : -5") if self.priority else None,
        }


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """A function: what starts it, what it does, what rules it runs under."""

    id: str
    program: tuple[Node, ...]
    event: str | None = None
    condition: str | None = None
    cron: str | None = None
    missed: Literal["latest", "skip", "all"] = "latest"
    jitter_ms: int = 0
    retries: int = 2
    limit: int = 0
    keyed: bool = False
    second_limit: int = 0
    shared_limit: int = 0
    idempotent: bool = False
    cancel_on: str | None = None
    start_timeout_ms: int | None = None
    finish_timeout_ms: int | None = None
    on_failure: bool = False
    put_off: bool = False  # it is started by those that put it off, and by nothing else
    rules: Rules = Rules()

    def matches(self, event: str, key: str) -> bool:
        """Whether an event of this name with this key starts it: the reference for the engine's own matching."""
        return self.event == event and (self.condition is None or key != KEYS[0])

    def limits(self) -> list[Concurrency]:
        found: list[Concurrency] = []
        if self.limit:
            found.append(Concurrency(self.limit, key="event.data.key" if self.keyed else None))
        if self.second_limit:
            found.append(Concurrency(self.second_limit, key="'all'"))
        elif self.shared_limit:
            found.append(Concurrency(self.shared_limit, key="'pool'", scope="env"))
        return found

    def _trigger(self) -> TriggerCron | TriggerEvent:
        if self.cron:
            return TriggerCron(self.cron, jitter=self.jitter_ms or None, missed=self.missed)
        return TriggerEvent(self.event or "", if_=self.condition)

    def options(self) -> dict[str, Any]:
        """What ``app.create_function`` is told of it, or ``app.create_defer``, but for the code."""
        return {
            "id": self.id,
            **({} if self.put_off else {"trigger": self._trigger()}),
            "retries": self.retries,
            "concurrency": self.limits() or None,
            "idempotency": "event.data.key" if self.idempotent else None,
            "cancel": Cancel(self.cancel_on, match="data.key") if self.cancel_on else None,
            "timeouts": Timeouts(start=self.start_timeout_ms, finish=self.finish_timeout_ms),
            **self.rules.options(),
        }


class Maker:
    """Makes functions up. ``later`` is how many more functions there will be: only those may be invoked or sent to, so
    that nothing causes itself for ever."""

    def __init__(self, random: Random) -> None:
        self._random = random
        # In some worlds all lengths of time are the same, so that things come due in one moment.
        self._beat = random.choice((5_000, 2 * _MINUTE)) if random.random() < 0.3 else None
        self._names = 0
        self._looping = 0

    def functions(self, count: int) -> tuple[Spec, ...]:
        return tuple(self._function(index, count) for index in range(count))

    def _function(self, index: int, count: int) -> Spec:
        random = self._random
        self._names = 0
        program = self._sequence(index, count, depth=0)
        base = Spec(id=f"f{index}", program=program, retries=random.choice((0, 1, 2, 3)))
        if random.random() < 0.12:
            cron = random.choice(("* * * * *", "*/7 * * * *", "0 * * * *"))
            # A tick a minute for days: short, so that what comes after the faults is over soon.
            return msgspec.structs.replace(base, cron=cron, program=self._short())
        limited = random.random() < 0.35
        rules = self._rules() if random.random() < 0.4 else Rules()
        batched = rules.batch is not None  # with it much else cannot be (semantics §7.2)
        return msgspec.structs.replace(
            base,
            rules=rules,
            event=EVENTS[min(index, len(EVENTS) - 1)] if random.random() < 0.7 else random.choice(EVENTS[: index + 1]),
            condition="event.data.key != 'a'" if random.random() < 0.2 else None,
            limit=random.choice((1, 1, 2)) if limited else 0,
            keyed=random.random() < 0.5,
            second_limit=random.choice((1, 2)) if limited and random.random() < 0.35 else 0,
            idempotent=not batched and random.random() < 0.12,
            cancel_on=random.choice(EVENTS) if not batched and random.random() < 0.2 else None,
            start_timeout_ms=self._ms(2_000, 60_000) if random.random() < 0.1 else None,
            finish_timeout_ms=self._ms(5_000, 120_000, _HOUR) if random.random() < 0.25 else None,
            on_failure=random.random() < 0.2,
        )

    def _rules(self) -> Rules:
        random = self._random
        throttle = None
        if random.random() < 0.4:
            throttle = Rate(random.choice((1, 2, 10)), random.choice((1_000, _MINUTE)), random.choice((0, 1, 3)))
        runs_max = random.choice((1, 2)) if random.random() < 0.3 else 0
        if random.random() < 0.3:
            batch = random.choice((2, 3, 5)), random.choice((1_000, 10_000, 5 * _MINUTE))
            return Rules(keyed=random.random() < 0.5, throttle=throttle, batch=batch, runs_max=runs_max)
        debounce = None
        if random.random() < 0.35:
            period = random.choice((1_000, 10_000, _MINUTE))
            debounce = period, random.choice((None, 3 * period))
        return Rules(
            keyed=random.random() < 0.5,
            throttle=throttle,
            rate_limit=Rate(random.choice((1, 2, 20)), random.choice((10_000, _HOUR)))
            if random.random() < 0.2
            else None,
            singleton=random.choice(("skip", "cancel")) if random.random() < 0.4 else None,
            debounce_ms=debounce,
            priority=random.random() < 0.3,
            runs_max=runs_max,
        )

    def _sequence(self, index: int, count: int, depth: int) -> tuple[Node, ...]:
        return tuple(self._node(index, count, depth) for _ in range(self._random.randint(1, 4 - depth)))

    def _node(self, index: int, count: int, depth: int) -> Node:
        random, kind = self._random, self._random.random()
        if kind < 0.38:
            return self._do()
        if kind < 0.50:
            return Nap(self._name("nap"), self._ms(0, 500, 5_000, _MINUTE, 3 * _HOUR))
        if kind < 0.62:
            timeout = self._ms(1, 5_000, 10 * _MINUTE, _HOUR)
            lookback = random.choice((5_000, 10 * _MINUTE)) if random.random() < 0.15 else None
            return Await(self._name("wait"), random.choice(EVENTS[:3]), timeout, lookback)
        if kind < 0.73 and index + 1 < count:
            target = f"f{random.randrange(index + 1, count)}" if random.random() < 0.93 else "nobody"
            cancel_child = random.random() < 0.4
            limit = None if random.random() < 0.25 else self._ms(100, 20_000, _HOUR)
            return Invoke(self._name("call"), target, limit, cancel_child)
        if kind < 0.79 and index + 1 < len(EVENTS):
            return Emit(self._name("send"), random.choice(EVENTS[index + 1 :]))
        if kind < 0.90 and depth < 2:
            # The names of a loop come again, so nobody may be left behind in it.
            how = ("gather", "parallel") if self._looping else ("gather", "parallel", "race")
            return Fork(self._branches(index, count, depth), random.choice(how))
        if kind < 0.93 and depth < 2:
            self._looping += 1
            loop = Loop(random.randint(2, 3), self._sequence(index, count, depth + 1)[:2])
            self._looping -= 1
            return loop
        if kind < 0.97:
            return Stumble(self._name("own"), random.randint(1, 2), fatal=random.random() < 0.2)
        return Dawdle(random.choice((10, 4_000, 50_000)))

    def _branches(self, index: int, count: int, depth: int) -> tuple[tuple[Node, ...], ...]:
        random = self._random
        kind = random.random()
        wait = Await(self._name("wait"), random.choice(EVENTS[:3]), _HOUR)
        if kind < 0.15:  # something, or a time limit for it
            return (Do(self._name("do")),), (wait,)
        if kind < 0.30:  # giving up while something is being waited for
            return (Dawdle(random.choice((1, 10, 2_000))), Stumble(self._name("own"), 1, fatal=True)), (wait,)
        if kind < 0.45 and index + 1 < count:  # several things that come due in one moment
            ms = self._ms(5_000, 2 * _MINUTE)
            child = f"f{random.randrange(index + 1, count)}"
            return (Invoke(self._name("call"), child, random.choice((ms, None))),), (Nap(self._name("nap"), ms),)
        return tuple(self._sequence(index, count, depth + 1) for _ in range(random.randint(2, 3)))

    def _do(self) -> Do:
        random = self._random
        fails: tuple[str, ...] = ()
        if random.random() < 0.35:
            fails = tuple(
                random.choice(("error", "error", "press", "after", "fatal")) for _ in range(random.randint(1, 4))
            )
        return Do(
            self._name("do"),
            fails=fails,
            takes_ms=random.choice((0, 0, 0, 20, 3_000, 45_000)),
            caught=random.random() < 0.6,
        )

    def _short(self) -> tuple[Node, ...]:
        return (self._do(),) if self._random.random() < 0.7 else (Do(self._name("do")), Nap(self._name("nap"), 5_000))

    def _ms(self, *lengths: int) -> int:
        return self._beat if self._beat is not None else self._random.choice(lengths)

    def _name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}{self._names}"
