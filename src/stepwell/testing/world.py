"""An imagined world: engines, functions, clients and everything that can go wrong, all of it decided by one seed.

The engine, the SDK and the store (SQLite in memory) are the real ones. One virtual event loop runs them all, and the
seed decides the order of whatever is ready at one moment. After every commit the invariants are checked; when the
faults stop, everything must come to its end and the account of what happened must be right (``examination.py``).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from random import Random
from typing import Any, Final, TypeVar

import msgspec

from stepwell.errors import StorageError
from stepwell.model.event import rfc3339 as iso
from stepwell.model.standing import StandingKind, of_function
from stepwell.protocol.events import Incoming, validate_incoming
from stepwell.protocol.messages import Call
from stepwell.protocol.signals import Signal
from stepwell.runtime.local import LocalMessages
from stepwell.sdk.app import Stepwell
from stepwell.sdk.client import EventPayload
from stepwell.storage.sqlite import SqliteStore
from stepwell.testing.clients import Archived, Clients
from stepwell.testing.examination import examine
from stepwell.testing.faults import pause
from stepwell.testing.invariants import Guard, Violation
from stepwell.testing.ledger import Ledger, Start
from stepwell.testing.loop import Stuck, VirtualClock, VirtualLoop
from stepwell.testing.overlap import OverlappingStore
from stepwell.testing.plans import APP, Action, Plan, make_plan
from stepwell.testing.player import functions
from stepwell.testing.processes import NODE, Process, Processes, owned
from stepwell.testing.shards import CheckingStore, ShardGuard
from stepwell.testing.tables import Tables

T = TypeVar("T")

START_MS: Final = 1_767_225_600_000  # 2026-01-01
_AFTERMATH_MS: Final = 900_000  # how long faults go on after the last action
_QUIET_MS_MAX: Final = 60 * 86_400_000  # everything that can end ends within this time without faults
_OVERLAP_MS_MAX: Final = 1_000  # how long a decision is under way at most, where they overlap
_ROUNDS_MAX: Final = 400_000  # what goes on longer than this does not come to an end


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a world."""

    seed: int
    violations: tuple[Violation, ...]
    reached: dict[str, int]
    commits: int
    runs: int
    digest: str
    story: tuple[str, ...]


class World:
    """One seed's world. ``play`` lets it happen."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.chance = Random(f"chance {plan.seed}")
        self.loop = VirtualLoop(order=Random(f"order {plan.seed}"), inline=True, rounds_max=_ROUNDS_MAX)
        self.loop.set_task_factory(owned)
        self.loop.set_exception_handler(self._unhandled)
        self.clock = VirtualClock(self.loop, START_MS)
        inline = SqliteStore.inline(hook=self, shards=plan.shards)
        chance = Random(f"overlap {plan.seed}")
        self.overlapping = OverlappingStore(inline, chance, NODE.get) if plan.shards > 1 else None
        self.store = CheckingStore(self.overlapping or inline)
        self.tables = Tables(inline)
        alone = any(spec.rules.singleton for spec in plan.functions)
        self.guard = Guard(self.tables, self.clock.now_ms, alone=alone)
        self.shards = ShardGuard(self.tables, plan.shards, self.clock.now_ms) if plan.shards > 1 else None
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
        self._jumped_ms = 0  # by how much the clock has jumped under decisions that were under way
        self._events = 0  # the last that was written
        self._changes = 0  # of rows, so far
        self._pressures: dict[str, tuple[int, float, Process | None]] = {}
        self._excused: set[Violation] = set()
        self.cancelled: set[str] = set()
        self.healthy = False
        self.processes = self._make_processes()
        self.clients = Clients(self)

    def _make_processes(self) -> Processes:
        return Processes(self)

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
        await self.processes.lead()
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
        leader = self.processes.leader
        if action.kind == "jump":
            self.clock.jump(action.delay_ms)
            if self.overlapping is not None and self.overlapping.under_way:
                self._jumped_ms += action.delay_ms
        elif action.kind not in ("crash", "depose"):
            self.clients.act(action)
        elif leader is None:
            return
        elif action.kind == "crash":
            self.processes.crash(leader, action.delay_ms)
        else:
            self.processes.depose(leader, action.delay_ms)

    async def _heal(self) -> None:
        """No more faults: everything that can end has to."""
        self.healthy = True
        self.tell("healed")
        for client in self.clients.all:  # may grow meanwhile
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
            await self.clients.withdraw(StandingKind(kind), target)
        for (function_id,) in self.tables.ask("SELECT id FROM functions WHERE pause IS NOT NULL ORDER BY id"):
            await self.clients.resume(function_id)

    def _end(self) -> None:
        for process in self.processes.all:
            self.processes.vanish(process)
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
        if rule == "ADR 30" and (self.reached["limit taken away"] or self.reached["keys changed"]):
            return  # a queue is what a limit has a key for: without it the runs are in that of their function
        violation = Violation(rule, what)
        if violation not in self.violations:
            self.violations.append(violation)
            self.tell(f"VIOLATION {violation}")

    def called(self, call: Call) -> None:
        """A call goes out."""
        self.tell(f"call {call.request_id} of {call.function_id}, attempt {call.attempt}")
        failed = self.tables.failed_code(call.run_id, call.attempt - 1)
        if failed is not None:
            again = call.run_id, "the function's own code", *failed, self.clock.now_ms()
            self.ledger.calls_again.append(again)
        if self._hears_late():
            return
        if call.run_id in self.cancelled and self.tables.ended(call.run_id):
            self.fail("I18", f"run {call.run_id} was called after its cancellation had been acknowledged")

    def _hears_late(self) -> bool:
        """One that was deposed may hear late that it held a lease; what its call does is refused."""
        return sum(process.node.door.open for process in self.processes.all) > 1

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
            busy, limit = sum(slot in slots[run_id] for run_id in working), self.guard.allowed(slot)
            if limit is not None and busy > limit:
                self.fail("I12", f"{busy} bodies are at work under {slot}, whose limit is {limit}")
            if limit is not None and busy == limit:
                self.reach("as many at work as may be")

    def before_commit(self, work: object) -> None:
        pass

    def after_commit(self, work: object) -> None:
        if self.tables.changes() != self._changes:
            for process in self.processes.all:
                if process is not NODE.get() and process.node.door.open:
                    process.look_soon()
        for number, event_id in self.tables.events_since(self._events):
            self._events, self.written[event_id] = number, self.clock.now_ms()
        for key, until in self.tables.pressures():
            if key not in self._pressures or self._pressures[key][0] != until:
                self._pressures[key] = until, self.loop.time(), NODE.get()
        for violation in self.guard.check():
            if violation in self._excused:
                continue  # the guard goes on telling of it
            if violation.rule == "ADR 30" and not self._heard_of_all_pressure():
                self.reach("pressure not heard of")
                self._excused.add(violation)
                continue
            self.fail(violation.rule, violation.what)
        for violation in self.shards.check() if self.shards is not None else ():
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
        known = process.node.engine.pressed.known if process is not None else {}
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
    def overlap_ms(self) -> int:
        """How far apart the times of two decisions have to be for the tables to tell which was first.

        Where decisions overlap each has the time at which it began, and then waits for its shards while others pass it,
        and while the clock may be set forward.
        """
        return _OVERLAP_MS_MAX + self._jumped_ms if self.overlapping is not None else 0

    @property
    def decided_again(self) -> bool:
        """Whether decisions may have been made again, after later ones: what operators decide about functions, and what
        is deployed, is known to none that is under way."""
        return any(self.reached[f"action {kind}"] for kind in ("pause", "archive", "drain", "deploy", "limit"))

    def may_be_archived(self, function_id: str, event_id: str, received_at: int) -> bool:
        """Whether this event may have matched nothing, as far as clients can know: it is decided by what holds when it
        is written, which may be much later than it came."""
        spans = [one for one in self.archived if one.target == of_function(function_id)]
        decided_at = self.written.get(event_id, received_at)
        return any(one.since <= decided_at and received_at <= one.until for one in spans) or (
            bool(spans) and self.reached["two at once"] > 0
        )

    @property
    def messages(self) -> LocalMessages:
        """The same for messages."""
        process = NODE.get()
        assert process is not None, "messages are published by steps"
        return LocalMessages(process.node.engine.realtime, self.clock)

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "handle" in context and not isinstance(context.get("exception"), StorageError):
            self.fail("error", f"{context.get('message')}: {context.get('exception')!r}")


def play(seed: int, shards: int = 1) -> Report:
    """The world of a seed, in a store with so many shards."""
    return World(make_plan(seed, shards)).play()
