"""The processes of an imagined world: one leads, dies, is taken over from, and leaves nothing behind but its store."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeVar

from stepwell.errors import StorageError
from stepwell.ids import RandomIds
from stepwell.runtime.loop import LoopTimers
from stepwell.testing.faults import FaultyDoor, FaultyTransport, pause
from stepwell.testing.loop import NumberedTask, VirtualLoop
from stepwell.testing.node import Node
from stepwell.testing.plans import APP

if TYPE_CHECKING:
    from stepwell.testing.world import World

T = TypeVar("T")

_LOOK_MS: Final = 50  # how soon a process looks at what another has written
_LOOK_PAUSE_MS: Final = 500  # … and again, if it could not

NODE: ContextVar[Process | None] = ContextVar("stepwell_world_node", default=None)


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
        self.node = self._make_node()

    def _make_node(self) -> Node:
        world = self.world
        return Node(
            FaultyDoor(world, lambda: world.processes.crash(self, 1_000)),
            FaultyTransport(world, world.app.transport(world.clock)),
            world.clock,
            LoopTimers(world.clock),
            RandomIds(world.plan.seed * 1_000 + self.number),
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


class Processes:
    """All that a world has started, and which of them leads."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.all: list[Process] = []
        self.leader: Process | None = None

    async def lead(self) -> None:
        """Start a process that takes over. If it dies or fails at that, another one is started."""
        while True:
            process = Process(self._world, len(self.all) + 1)
            self.all.append(process)
            self._world.tell(f"process {process.number} starts")
            start = process.do(process.node.start())
            await asyncio.wait((start,))
            if process.node.door.open and not start.cancelled() and start.exception() is None:
                self.leader = process
                return
            self._world.reach("start failed")
            self.vanish(process)
            await pause(1_000)

    def crash(self, process: Process, after_ms: int) -> None:
        """A process dies; another one is started some time later."""
        if not process.node.door.open:
            return
        self._world.reach("crash")
        self._world.tell(f"process {process.number} dies")
        self.vanish(process)
        if process is self.leader:
            self.leader = None
            self._later(after_ms)

    def depose(self, process: Process, outlives_ms: int) -> None:
        """Another process takes over from one that does not know it yet, and goes on for a while."""
        self._world.reach("two at once")
        self._world.tell(f"process {process.number} is deposed")
        self.leader = None
        self._later(0)
        self._world.loop.call_later(outlives_ms / 1000, self.crash, process, 0)

    def _later(self, ms: int) -> None:
        async def restart() -> None:
            await pause(ms)
            await self.lead()

        self._world.clients.begin(restart())

    def vanish(self, process: Process) -> None:
        process.node.vanish()
        for task in list(process.tasks):
            task.cancel()


def owned(
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
