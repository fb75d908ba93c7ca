"""An imagined world in which several processes lead on one store, as replicas do on a database (ADR 0037).

Each has its own clock, which may be behind; notices late what the others have written; serves not all functions in
some worlds; dies and comes back; and now and then stands still, for longer than its leases last, and then goes on as if
nothing had happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any, Final, TypeVar

from stepwell.clock import Clock
from stepwell.ids import RandomIds
from stepwell.model.questions import Question, ShardsWithCell
from stepwell.protocol.messages import Transport
from stepwell.runtime.loop import LoopTimers
from stepwell.storage.interface import Changed
from stepwell.testing.faults import FaultyDoor, FaultyTransport, pause
from stepwell.testing.node import Node
from stepwell.testing.plans import APP, Plan, make_plan
from stepwell.testing.processes import NODE, Process, Processes
from stepwell.testing.world import Report, World

A = TypeVar("A")

_BEHIND_MS: Final = (0, 2, 7, 60)
# By these the judge compares moments that different processes have written down, and cannot know which came first.
_BY_CLOCKS: Final = frozenset({"I2", "I15", "I17", "I21", "I22", "ADR 30", "F92", "F93", "F96"})
_NOTICED_S: Final = (0.0, 0.02, 0.05, 0.3, 0.7)  # after something was written, a peer notices it
_STARTS_MS: Final = (0, 5, 800, 40_000)
_CUT_SHORT: Final = """
CREATE TEMP TRIGGER cut_short AFTER UPDATE OF at ON items
WHEN new.lease <> 0 AND new.lease = old.lease AND new.at < old.at
BEGIN INSERT INTO violations VALUES ('I7', 'the lease of ' || new.id || ' ended before its time'); END;
"""
_AT_ONCE_S: Final = 0.2  # after it stood still a process does what it was about to do, without another look


class PeersWorld(World):
    """One seed's world of peers. ``seats`` is how many of them there are, when none is dead."""

    def __init__(self, plan: Plan) -> None:
        chance = Random(f"peers {plan.seed}")
        self.seats = chance.randint(2, 4)
        self.partly = chance.random() < 0.4  # each function is not served by every process
        self.clocks_differ = chance.random() < 0.25
        super().__init__(plan)
        self.loop.holds = self._holds
        self.tables.ask(_CUT_SHORT)

    def fail(self, rule: str, what: str) -> None:
        if not (self.clocks_differ and rule in _BY_CLOCKS):
            super().fail(rule, what)

    def _make_processes(self) -> Processes:
        return Peers(self)

    def _holds(self, handle: asyncio.Handle) -> bool:
        context = getattr(handle, "_context", None)
        process = context.get(NODE) if context is not None else None
        return isinstance(process, Peer) and process.hold(handle)

    def _hears_late(self) -> bool:
        process = NODE.get()
        return isinstance(process, Peer) and self.loop.time() - process.resumed < _AT_ONCE_S


class Peers(Processes):
    """All that have been started. Any of those that live may be asked, or die."""

    def __init__(self, world: PeersWorld) -> None:
        super().__init__(world)
        self._peers_world = world
        self._chance = Random(f"peers of {world.plan.seed}")

    @property
    def leader(self) -> Process | None:
        up = [process for process in self.all if isinstance(process, Peer) and process.up]
        return self._chance.choice(up) if up else None

    @leader.setter
    def leader(self, process: Process | None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride] - chosen anew each time
        """There is none."""

    async def lead(self) -> None:
        for seat in range(1, self._peers_world.seats):
            self._take(seat, self._chance.choice(_STARTS_MS))
        await self._start(0)

    def crash(self, process: Process, after_ms: int) -> None:
        if not process.node.door.open:
            return
        assert isinstance(process, Peer)
        self._world.reach("crash")
        self._world.tell(f"process {process.number} dies")
        self.vanish(process)
        if process.started:  # else whoever waits for its start begins again
            self._take(process.seat, after_ms)

    def depose(self, process: Process, outlives_ms: int) -> None:
        """It stands still for a while, and is none the wiser afterwards."""
        assert isinstance(process, Peer)
        if process.stalled:
            return
        self._world.reach("stalled")
        self._world.tell(f"process {process.number} stands still")
        process.stalled = True
        self._world.loop.call_later(outlives_ms / 1000, process.go_on)

    def vanish(self, process: Process) -> None:
        super().vanish(process)
        assert isinstance(process, Peer)
        process.go_on()

    def _take(self, seat: int, after_ms: int) -> None:
        async def take() -> None:
            await pause(after_ms)
            await self._start(seat)

        self._world.clients.begin(take())

    async def _start(self, seat: int) -> None:
        while True:
            behind_ms = self._chance.choice(_BEHIND_MS) if self._peers_world.clocks_differ else 0
            process = Peer(self._peers_world, len(self.all) + 1, seat, behind_ms)
            self.all.append(process)
            self._world.tell(f"process {process.number} starts, in seat {seat}")
            start = process.do(process.node.start())
            await asyncio.wait((start,))
            if process.node.door.open and not start.cancelled() and start.exception() is None:
                process.started = True
                return
            self._world.reach("start failed")
            self.vanish(process)
            await pause(1_000)


class Peer(Process):
    """One of them. Whoever comes after it takes its seat."""

    def __init__(self, world: PeersWorld, number: int, seat: int, behind_ms: int) -> None:
        self.seat = seat
        self.started = False
        self.stalled = False
        self.resumed = -1.0
        self._peers_world = world
        self._behind_ms = behind_ms
        self._held: list[asyncio.Handle] = []
        super().__init__(world, number)

    def _make_node(self) -> Node:
        world = self._peers_world
        clock = _Behind(world.clock, self._behind_ms)
        self.door = PeerDoor(world, self)
        return Node(
            self.door,
            _Partly(world, world.app.transport(clock), self.seat),
            clock,
            LoopTimers(clock),
            RandomIds(world.plan.seed * 1_000 + self.number),
            {APP: world.configs},
            calls_max=world.plan.calls_max,
            tidies=False,
            peers=True,
            monotonic=world.loop.time,
        )

    @property
    def up(self) -> bool:
        return self.started and self.node.door.open

    def look_soon(self) -> None:
        self.door.news.set()

    def hold(self, handle: asyncio.Handle) -> bool:
        if self.stalled:
            self._held.append(handle)
        return self.stalled

    def go_on(self) -> None:
        if self.stalled:
            self.world.tell(f"process {self.number} goes on")
            self.stalled, self.resumed = False, self.world.loop.time()
            held, self._held = self._held, []
            self.world.loop.run_later(held)


class PeerDoor(FaultyDoor):
    """Waits until somebody else has written, where a replica would ask again and again."""

    def __init__(self, world: PeersWorld, process: Peer) -> None:
        super().__init__(world, lambda: world.processes.crash(process, 1_000))
        self.news = asyncio.Event()
        self._process = process

    async def changed(self) -> Changed:
        await self.news.wait()
        await pause(int(self._world.chance.choice(_NOTICED_S) * 1000))
        self.news.clear()
        return Changed(True, self._world.loop.time())

    async def read(self, question: Question[A]) -> A:
        began = self._world.loop.time()
        answer: A = await super().read(question)
        if isinstance(question, ShardsWithCell):
            self._process.heard = max(self._process.heard, began)
        return answer


class _Behind:
    """The clock of a world as one process knows it."""

    def __init__(self, clock: Clock, behind_ms: int) -> None:
        self._clock, self._behind_ms = clock, behind_ms

    def now_ms(self) -> int:
        return self._clock.now_ms() - self._behind_ms


class _Partly(FaultyTransport):
    """Functions that are served by some processes only, but each by one at least."""

    def __init__(self, world: PeersWorld, inner: Transport, seat: int) -> None:
        super().__init__(world, inner)
        ids: Sequence[Any] = [f"{APP}-{spec.id}" for spec in world.plan.functions]
        left_out = {id for place, id in enumerate(ids) if (place + seat) % world.seats == 0} if world.partly else ()
        self._left_out = frozenset(left_out)

    def serves(self, function_id: str) -> bool:
        return function_id not in self._left_out and super().serves(function_id)


def play(seed: int, shards: int = 1) -> Report:
    """The world of peers of a seed, in a store with so many shards."""
    return PeersWorld(make_plan(seed, shards)).play()
