"""An imagined world: engines, functions, clients and everything that can go wrong, all of it decided by one seed.

The engine, the SDK and the store (SQLite in memory) are the real ones. One virtual event loop runs them all, and the
seed decides the order of whatever is ready at one moment. After every commit the invariants are checked; when the
faults stop, everything must come to its end and the account of what happened must be right (``examination.py``).
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextvars import ContextVar
from hashlib import sha256
from random import Random
from typing import Any, Final, TypeVar

import msgspec

from stepwell.engine.again import FromStep
from stepwell.errors import LimitExceeded, NotFound, NotRunning, StorageError
from stepwell.ids import RandomIds
from stepwell.model.event import rfc3339 as iso
from stepwell.model.order import Order
from stepwell.model.pause import Pause
from stepwell.model.standing import EVERYTHING, StandingKind, StandingOrder, of_app, of_function
from stepwell.protocol.events import Incoming, validate_incoming
from stepwell.protocol.messages import Call
from stepwell.protocol.signals import Signal
from stepwell.runtime.engine import Engine
from stepwell.runtime.local import LocalMessages
from stepwell.runtime.loop import LoopTimers
from stepwell.runtime.operator import pause as pause_function
from stepwell.runtime.operator import rerun
from stepwell.runtime.operator import resume as resume_function
from stepwell.runtime.orders import Replay, Selection, cancel_many, replay_many
from stepwell.runtime.standing import give as give_order
from stepwell.runtime.standing import withdraw as withdraw_order
from stepwell.sdk.app import Stepwell
from stepwell.sdk.client import EventPayload
from stepwell.storage.sqlite import SqliteStore
from stepwell.testing.examination import examine
from stepwell.testing.faults import FaultyDoor, FaultyTransport, pause
from stepwell.testing.invariants import Guard, Violation
from stepwell.testing.ledger import Ledger, Start
from stepwell.testing.loop import NumberedTask, Stuck, VirtualClock, VirtualLoop
from stepwell.testing.node import Node
from stepwell.testing.plans import Action, Plan, make_plan, other_rules
from stepwell.testing.player import functions
from stepwell.testing.tables import Tables

T = TypeVar("T")

APP: Final = "w"
START_MS: Final = 1_767_225_600_000  # 2026-01-01
_FROM_STEP: Final = 0.7  # of the runs that are started again
_MANY: Final = 0.4  # of what operators cancel are all runs of a function
_AFTERMATH_MS: Final = 900_000  # how long faults go on after the last action
_QUIET_MS_MAX: Final = 60 * 86_400_000  # everything that can end ends within this time without faults
_ROUNDS_MAX: Final = 400_000  # what goes on longer than this does not come to an end
_CLIENT_MS: Final = 10_000  # a client that hears nothing for so long asks again
_LOOK_MS: Final = 50  # how soon a process looks at what another has written
_LOOK_PAUSE_MS: Final = 500  # … and again, if it could not

NODE: ContextVar[Process | None] = ContextVar("stepwell_world_node", default=None)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a world."""

    seed: int
    violations: tuple[Violation, ...]
    reached: dict[str, int]
    commits: int
    runs: int
    digest: str
    story: tuple[str, ...]


class Archived(msgspec.Struct):
    """Somebody asked for it at the first of these moments, and it held until the second at the latest."""

    target: str
    since: int
    until: int = 1 << 62


class Process:
    """A node with all its tasks, so that killing it leaves nothing behind."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.heard = 0.0  # what others had written before this moment of the loop is known
        self._will_look = False
        self.tasks: set[asyncio.Task[Any]] = set()
        self.context = contextvars.copy_context()
        self.context.run(NODE.set, self)
        self.node = Node(
            FaultyDoor(world, lambda: world.crash(self, 1_000)),
            FaultyTransport(world, world.app.transport(world.clock)),
            world.clock,
            LoopTimers(world.clock),
            RandomIds(world.plan.seed * 1_000 + number),
            {APP: world.configs},
            calls_max=world.plan.calls_max,
        )

    def look_soon(self) -> None:
        """What a process that shares its file does many times a second: see that another one has written."""
        if not self._will_look:
            self._will_look = True
            self.world.loop.call_later(_LOOK_MS / 1000, self._begin_to_look)

    def _begin_to_look(self) -> None:
        self._will_look = False
        if self.node.door.open and self.node.engine.leads:
            self.do(self._look())

    async def _look(self) -> None:
        while self.node.door.open:
            began = self.world.loop.time()
            try:
                await self.node.engine._look_for_others(self.world.clock.now_ms())  # pyright: ignore[reportPrivateUsage]
            except StorageError:
                await pause(_LOOK_PAUSE_MS)
            else:
                self.heard = max(self.heard, began)
                return

    def do(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        return asyncio.get_running_loop().create_task(work, context=self.context)


class World:
    """One seed's world. ``play`` lets it happen."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.chance = Random(f"chance {plan.seed}")
        self.loop = VirtualLoop(order=Random(f"order {plan.seed}"), inline=True, rounds_max=_ROUNDS_MAX)
        self.loop.set_task_factory(_owned)
        self.loop.set_exception_handler(self._unhandled)
        self.clock = VirtualClock(self.loop, START_MS)
        self.store = SqliteStore.inline(hook=self)
        self.tables = Tables(self.store)
        alone = any(spec.rules.singleton for spec in plan.functions)
        self.guard = Guard(self.tables, _limits(plan), self.clock.now_ms, alone=alone)
        self.violations: list[Violation] = []
        self.story: list[str] = []
        self.reached: Counter[str] = Counter()
        self.ledger = Ledger()
        self.app = Stepwell(APP)
        self.functions = functions(self, self.app)
        self.configs: Sequence[Mapping[str, Any]] = self.app.configs()
        self.loop.run_until_complete(self._bind())
        self.doubled: set[str] = set()
        self.acked: dict[str, tuple[str, str]] = {}
        self.archived: list[Archived] = []
        self.written: dict[str, int] = {}
        self._events = 0  # the last that was written
        self._changes = 0  # of rows, so far
        self._pressures: dict[str, tuple[int, float, Process | None]] = {}
        self.cancelled: set[str] = set()
        self.healthy = False
        self._leader: Process | None = None
        self._processes: list[Process] = []
        self._clients: list[asyncio.Task[None]] = []

    async def _bind(self) -> None:
        self.app.bind(self)

    def play(self) -> Report:
        """Let it happen, from the first action to the last end."""
        logger = logging.getLogger("stepwell")
        level = logger.level
        logger.setLevel(logging.CRITICAL + 1)
        try:
            self.loop.run_until_complete(self.loop.create_task(self._live()))
        except Stuck as stuck:
            self.fail("I10", str(stuck))
        finally:
            logger.setLevel(level)
            found = self.tables.all()
            self._end()
        text = "\n".join([*self.story, *map(repr, found), *map(str, self.violations)])
        return Report(
            seed=self.plan.seed,
            violations=tuple(self.violations),
            reached=dict(self.reached),
            commits=self.guard.checks,
            runs=sum(row[0] == "runs" for row in found),
            digest=sha256(text.encode()).hexdigest()[:16],
            story=tuple(self.story),
        )

    # What happens -----------------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        await self._lead()
        for action in self.plan.actions:
            await pause(action.after_ms)
            if self.violations:
                return
            self._act(action)
        await pause(_AFTERMATH_MS)
        await self._heal()
        if not self.violations:
            for violation in examine(self):
                self.fail(violation.rule, violation.what)

    def _act(self, action: Action) -> None:
        self.tell(f"action: {action.kind} {action.event} {action.key} {action.id or ''}".rstrip())
        self.reach(f"action {action.kind}")
        if action.kind == "send":
            for copy in range(action.copies):
                self._client(self._send(action, f"{len(self._clients)}-{copy}"))
        elif action.kind == "cancel":
            self._client(self._cancel(action.pick))
        elif action.kind in ("pause", "resume"):
            spec = self.plan.functions[int(action.pick * len(self.plan.functions))]
            function_id = f"{APP}-{spec.id}"
            self._client(self._resume(function_id) if action.kind == "resume" else self._pause(function_id, action))
        elif action.kind in ("archive", "drain"):
            self._client(self._give(StandingKind(action.kind), self._target(action)))
        elif action.kind in ("unarchive", "undrain"):
            self._client(self._withdraw(StandingKind(action.kind.removeprefix("un")), self._target(action)))
        elif action.kind == "rerun":
            self._client(self._rerun(action.pick, f"k{len(self._clients)}"))
        elif action.kind == "replay":
            self._client(self._replay(action, f"k{len(self._clients)}"))
        elif action.kind == "deploy":
            self._client(self._deploy(action.pick))
        elif action.kind == "jump":
            self.clock.jump(action.delay_ms)
        elif self._leader is None:
            return
        elif action.kind == "crash":
            self.crash(self._leader, action.delay_ms)
        elif action.kind == "depose":
            self._depose(action.delay_ms)

    def _client(self, work: Coroutine[Any, Any, None]) -> None:
        self._clients.append(self.loop.create_task(work))

    async def _send(self, action: Action, label: str) -> None:
        seed = f"{self.clock.now_ms()},{b64encode(sha256(label.encode()).digest()[:10]).decode()}"
        event = validate_incoming(
            Incoming(
                name=action.event,
                data=msgspec.json.encode({"key": action.key}),
                id=action.id,
                ts=self.clock.now_ms() + action.delay_ms if action.delay_ms else 0,
            )
        )

        def send(engine: Engine) -> Coroutine[Any, Any, list[str]]:
            return engine.send([event], seed=seed)

        while True:
            answer = await self._ask(send)
            if answer is not None:
                self.acked[answer[0]] = (action.event, action.key)
                return
            self.reach("client asks again")

    async def _cancel(self, pick: float) -> None:
        live = self.tables.unfinished()
        if not live:
            return
        run_id, function_id = live[int(pick * len(live))]
        if pick * 100 % 1 < _MANY:
            await self._cancel_many(function_id)
            return

        def cancel(engine: Engine) -> Coroutine[Any, Any, bool]:
            return engine.cancel(run_id)

        while (answer := await self._ask(cancel)) is None:
            pass
        self.reach("cancelled" if answer else "cancelled too late")
        self.cancelled.add(run_id)

    async def _cancel_many(self, function_id: str) -> None:
        """A client that is not answered orders it again."""

        def order(engine: Engine) -> Coroutine[Any, Any, Order]:
            return cancel_many(engine, Selection(app_id="w", function_id=function_id))

        while await self._ask(order) is None:
            pass
        self.reach("many cancelled")

    async def _rerun(self, pick: float, key: str) -> None:
        """Some begin with a step. A client that is not answered asks for the same once more."""
        runs = self.tables.ask("SELECT id FROM runs WHERE function_id NOT LIKE '%-failure' ORDER BY id")
        if not runs:
            return
        (run_id,) = runs[int(pick * len(runs))]
        steps = self.tables.ask("SELECT id FROM steps WHERE run_id = ? ORDER BY rowid", run_id)
        begin = None
        if steps and pick * 100 % 1 < _FROM_STEP:
            begin = FromStep(step=steps[int(pick * 1_000 % 1 * len(steps))][0])

        async def again(engine: Engine) -> str:
            try:
                run = await rerun(engine, run_id, key=key, from_step=begin)
            except LimitExceeded:
                return "not started again"
            except NotFound:  # its function is archived
                return "not there to be started again"
            return "started again from a step" if run.rerun is not None else "started again"

        while (done := await self._ask(again)) is None:
            pass
        self.reach(done)

    async def _replay(self, action: Action, key: str) -> None:
        spec = self.plan.functions[int(action.pick * len(self.plan.functions))]
        replay = Replay(app_id=APP, function_id=f"{APP}-{spec.id}", statuses=action.statuses, rate=action.rate)

        async def order(engine: Engine) -> str:
            try:
                made = await replay_many(engine, replay, key=key)
            except NotFound:
                return "replay of what is archived"
            return "replay of something" if made.what.matched else "replay of nothing"

        while (done := await self._ask(order)) is None:
            pass
        self.reach(done)

    async def _pause(self, function_id: str, action: Action) -> None:
        def pause_it(engine: Engine) -> Coroutine[Any, Any, Pause]:
            return pause_function(engine, function_id, events=action.events, runs=action.runs)

        while await self._ask(pause_it) is None:
            pass
        self.reach(f"paused: events {action.events}, runs {action.runs}")

    def _target(self, action: Action) -> str:
        """Whom a standing order is about. What is put off is not archived by itself: those that do so would need it."""
        if action.target == "app":
            return of_app(APP)
        if action.target == "all":
            return EVERYTHING
        specs = [spec for spec in self.plan.functions if not spec.put_off]
        return of_function(f"{APP}-{specs[int(action.pick * len(specs))].id}")

    async def _give(self, kind: StandingKind, target: str) -> None:
        began = self.clock.now_ms()

        def give(engine: Engine) -> Coroutine[Any, Any, StandingOrder]:
            return give_order(engine, kind, target)

        if kind == StandingKind.ARCHIVE:
            self.archived.append(Archived(target, began))
        while await self._ask(give) is None:
            pass
        self.reach(f"order: {kind}")
        if kind == StandingKind.ARCHIVE:  # another client may have taken it back before it was given at last
            self.archived.append(Archived(target, began))

    async def _withdraw(self, kind: StandingKind, target: str) -> None:
        async def withdraw(engine: Engine) -> str:
            taken = await withdraw_order(engine, kind, target)
            return f"order taken back: {kind}" if taken is not None else "no order to take back"

        while (done := await self._ask(withdraw)) is None:
            pass
        self.reach(done)
        for one in self.archived:
            if kind == StandingKind.ARCHIVE and one.target == target:
                one.until = min(one.until, self.clock.now_ms())

    async def _deploy(self, pick: float) -> None:
        """The rules of one function are others from now on."""
        number, chance = int(pick * len(self.configs)), Random(f"deploy {pick}")
        configs = self.configs = [
            other_rules(config, chance) if place == number else config for place, config in enumerate(self.configs)
        ]

        async def register(engine: Engine) -> bool:
            await engine.register(APP, configs)
            return True

        while await self._ask(register) is None:
            pass
        self.reach("deployed")

    async def _resume(self, function_id: str) -> None:
        async def resume_it(engine: Engine) -> str:
            return (
                "resumed" if await resume_function(engine, function_id) is not None else "resumed what was not paused"
            )

        while (done := await self._ask(resume_it)) is None:
            pass
        self.reach(done)

    async def _ask(self, question: Callable[[Engine], Coroutine[Any, Any, T]]) -> T | None:
        """Ask whoever leads. ``None`` if nobody answers, or says that it could not."""
        process = self._leader
        if process is None:
            await pause(5_000)
            return None
        task = process.do(question(process.node.engine))
        done, _ = await asyncio.wait((task,), timeout=_CLIENT_MS / 1000)
        if done and not task.cancelled() and task.exception() is None:
            return task.result()
        if done and not task.cancelled() and not isinstance(task.exception(), StorageError | NotRunning):
            self.fail("error", f"a client was told {task.exception()!r}")
        task.cancel()
        await pause(self.chance.choice((0, 300, 2_000)))
        return None

    # Processes --------------------------------------------------------------------------------------------------------

    async def _lead(self) -> None:
        """Start a process that takes over. If it dies or fails at that, another one is started."""
        while True:
            process = Process(self, len(self._processes) + 1)
            self._processes.append(process)
            self.tell(f"process {process.number} starts")
            start = process.do(process.node.start())
            await asyncio.wait((start,))
            if process.node.door.open and not start.cancelled() and start.exception() is None:
                self._leader = process
                return
            self.reach("start failed")
            self._vanish(process)
            await pause(1_000)

    def crash(self, process: Process, after_ms: int) -> None:
        """A process dies; another one is started some time later."""
        if not process.node.door.open:
            return
        self.reach("crash")
        self.tell(f"process {process.number} dies")
        self._vanish(process)
        if process is self._leader:
            self._leader = None
            self._later(after_ms)

    def _depose(self, outlives_ms: int) -> None:
        """Another process takes over from one that does not know it yet, and goes on for a while."""
        process = self._leader
        assert process is not None
        self.reach("two at once")
        self.tell(f"process {process.number} is deposed")
        self._leader = None
        self._later(0)
        self.loop.call_later(outlives_ms / 1000, self.crash, process, 0)

    def _later(self, ms: int) -> None:
        async def restart() -> None:
            await pause(ms)
            await self._lead()

        self._client(restart())

    def _vanish(self, process: Process) -> None:
        process.node.vanish()
        for task in list(process.tasks):
            task.cancel()

    async def _heal(self) -> None:
        """No more faults: everything that can end has to."""
        self.healthy = True
        self.tell("healed")
        for client in self._clients:  # may grow meanwhile
            await client
        await self._lift()
        for violation in self.guard.clocks():
            self.fail(violation.rule, violation.what)
        self.tables.ask("DELETE FROM items WHERE kind = 'cron'")
        waited, step = 0, 1_000
        tables = self.tables
        while (tables.unfinished() or tables.held_back() or tables.under_way()) and not self.violations:
            if waited > _QUIET_MS_MAX:
                for run_id, function in self.tables.unfinished():
                    self.fail("I10", f"run {run_id} of {function} never ended")
                if tables.under_way():
                    self.fail("I10", "an order is never done")
                if tables.held_back():
                    self.fail("I10", "events are held back for ever")
                return
            await pause(step)
            await self._lift()  # what a client has asked for, and did not wait for, may be done as late as now
            waited += step
            step = min(step * 2, 3_600_000)
        await pause(5_000)

    async def _lift(self) -> None:
        """Nothing is to be kept from starting or going on any more."""
        for kind, target in self.tables.ask("SELECT kind, target FROM standing_orders ORDER BY kind, target"):
            await self._withdraw(StandingKind(kind), target)
        for (function_id,) in self.tables.ask("SELECT id FROM functions WHERE pause IS NOT NULL ORDER BY id"):
            await self._resume(function_id)

    def _end(self) -> None:
        for process in self._processes:
            self._vanish(process)
        self.loop.abandon()
        self.loop.run_until_complete(self.store.close())
        self.loop.close()

    # What the parts of the world report -------------------------------------------------------------------------------

    def strikes(self, fault: str) -> bool:
        """Does this fault happen now?"""
        rate: float = getattr(self.plan.faults, fault)
        if self.healthy or not rate or self.chance.random() >= rate:
            return False
        self.reach(fault)
        self.tell(f"fault: {fault}")
        return True

    def reach(self, name: str) -> None:
        self.reached[name] += 1

    def tell(self, text: str) -> None:
        self.story.append(f"{iso(self.clock.now_ms())} {text}")

    def fail(self, rule: str, what: str) -> None:
        if rule in ("I4", "I5", "I6", "I11", "I15") and any(run_id in what for run_id in self.doubled):
            # Two copies of one request share a lease, so neither can be told from the other.
            self.reach("doubled work")
            return
        if rule in ("F92", "F93", "F96") and self.reached["two at once"]:
            return  # who was deposed has not heard of it: only a process that shares its file asks each time
        violation = Violation(rule, what)
        if violation not in self.violations:
            self.violations.append(violation)
            self.tell(f"VIOLATION {violation}")

    def called(self, call: Call) -> None:
        """A call goes out."""
        self.tell(f"call {call.request_id} of {call.function_id}, attempt {call.attempt}")
        if sum(process.node.door.open for process in self._processes) > 1:
            return  # one that was deposed may hear late that it held a lease; what its call does is refused
        if call.run_id in self.cancelled and self.tables.ended(call.run_id):
            self.fail("I18", f"run {call.run_id} was called after its cancellation had been acknowledged")

    def began(self, start: Start) -> None:
        """I12: a body is at work, and counts together with the others whose leases hold. What the tables say of slots
        plays no part in it."""
        working = [
            each.run_id
            for each in self.ledger.working.values()
            if each.run_id not in self.doubled and self.tables.holds(each.run_id, each.token)
        ]
        if start.run_id not in working:
            return
        slots = {run_id: self.tables.slots(run_id) for run_id in working}
        for slot in slots[start.run_id]:
            busy, limit = sum(slot in slots[run_id] for run_id in working), self.guard.limit(slot)
            if limit is not None and busy > limit:
                self.fail("I12", f"{busy} bodies are at work under {slot}, whose limit is {limit}")
            if limit is not None and busy == limit:
                self.reach("as many at work as may be")

    def before_commit(self, work: object) -> None:
        pass

    def after_commit(self, work: object) -> None:
        if self.tables.changes() != self._changes:
            for process in self._processes:
                if process is not NODE.get() and process.node.door.open:
                    process.look_soon()
        for number, event_id in self.tables.events_since(self._events):
            self._events, self.written[event_id] = number, self.clock.now_ms()
        for key, until in self.tables.pressures():
            if key not in self._pressures or self._pressures[key][0] != until:
                self._pressures[key] = until, self.loop.time(), NODE.get()
        for violation in self.guard.check():
            if violation.rule == "ADR 30" and not self._heard_of_all_pressure():
                self.reach("pressure not heard of")
                continue
            self.fail(violation.rule, violation.what)
        self._changes = self.tables.changes()

    def _heard_of_all_pressure(self) -> bool:
        """Whether the process whose commit this was has looked since another one, which it does not know to have taken
        over, has written that a queue is to be left alone: then it claims nothing of that queue (ADR 0030)."""
        process = NODE.get()
        if process is None:
            return True
        return all(writer is process or at < process.heard for _, at, writer in self._pressures.values())

    def knows_pressure(self, queues: Collection[str]) -> bool:
        """Whether the process that runs the present code has heard that one of these queues is to be left alone."""
        process = NODE.get()
        known = process.node.engine.pressure if process is not None else {}
        return any(known.get(queue, 0) > self.clock.now_ms() for queue in queues)

    async def send(self, payloads: Sequence[EventPayload], *, seed: str | None = None) -> list[str]:
        """The app's way to the engine: that of the process which runs the code."""
        process = NODE.get()
        assert process is not None, "events are sent by steps"
        events = [
            validate_incoming(Incoming(name=p.name, data=p.data, id=p.id, ts=p.ts, run_id=p.run_id)) for p in payloads
        ]
        return await process.node.engine.send(events, seed=seed, source="sdk")

    async def signal(self, name: str, data: bytes) -> str | None:
        process = NODE.get()
        assert process is not None, "signals are sent by steps"
        return await process.node.engine.signal(Signal(name, data))

    @property
    def decided_again(self) -> bool:
        """Whether decisions may have been made again, after later ones: what operators decide about functions is known
        to none that is under way."""
        return any(self.reached[f"action {kind}"] for kind in ("pause", "archive", "drain"))

    def may_be_archived(self, function_id: str, at: int) -> bool:
        """Whether nothing may have matched the function at that moment, as far as clients can know."""
        spans = [one for one in self.archived if one.target == of_function(function_id)]
        return any(one.since <= at <= one.until for one in spans) or (bool(spans) and self.reached["two at once"] > 0)

    @property
    def messages(self) -> LocalMessages:
        """The same for messages."""
        process = NODE.get()
        assert process is not None, "messages are published by steps"
        return LocalMessages(process.node.engine.realtime, self.clock)

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "handle" in context and not isinstance(context.get("exception"), StorageError):
            self.fail("error", f"{context.get('message')}: {context.get('exception')!r}")


def play(seed: int) -> Report:
    """The world of a seed."""
    return World(make_plan(seed)).play()


def _limits(plan: Plan) -> dict[str, int]:
    """Which limit belongs to which key of slots: the key itself, or what all keys of one limit begin with."""
    found: dict[str, int] = {}
    for spec in plan.functions:
        for limit in spec.limits():
            key = limit.slot(f"{APP}-{spec.id}", {"event": {"data": {"key": "a"}}}, 0) or ""
            found[key if limit.key is None else key[: key.rfind("/") + 1]] = limit.limit
        runs_max = spec.rules.options()["run_concurrency"]
        if runs_max is not None:
            key = runs_max.place(f"{APP}-{spec.id}", {"event": {"data": {"key": "a"}}}, 0) or ""
            found[key if runs_max.key is None else key[: key.rfind("/") + 1]] = runs_max.limit
    return found


def _owned(
    loop: asyncio.AbstractEventLoop, work: Any, context: contextvars.Context | None = None, **named: Any
) -> asyncio.Task[Any]:
    """Makes tasks that belong to the process whose code makes them."""
    assert isinstance(loop, VirtualLoop)
    task = NumberedTask(work, loop=loop, context=context, **named)
    process = context.get(NODE) if context is not None else NODE.get()
    if process is not None:
        process.tasks.add(task)
        task.add_done_callback(process.tasks.discard)
    return task
