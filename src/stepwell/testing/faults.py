"""What goes wrong in an imagined world, each kind by chance from the seed: commits, answers, processes, clocks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, Final

import msgspec

from stepwell.clock import monotonic_s
from stepwell.errors import StorageUnavailable
from stepwell.protocol.messages import Answer, Call, Reports, Transport
from stepwell.storage.interface import Changed
from stepwell.testing.node import Door, Work

if TYPE_CHECKING:
    from stepwell.testing.world import World


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """How likely each fault is, per occasion. A world has a random part of them (swarm testing): bugs that need one
    fault are not hidden by others."""

    commit_fails: float = 0.0  # nothing is written, and so it is said
    commit_unsure: float = 0.0  # it is written, and said not to be
    read_fails: float = 0.0
    crash_before: float = 0.0  # the process dies before its commit takes effect
    crash_after: float = 0.0  # … and after, so that nobody hears of it
    slow_disk: float = 0.0
    call_refused: float = 0.0  # the app cannot be reached
    answer_lost: float = 0.0  # the app did all of it, and nobody hears of it
    answer_late: float = 0.0
    call_doubled: float = 0.0


_LIKELY: Final = {
    "commit_fails": 0.04,
    "commit_unsure": 0.04,
    "read_fails": 0.04,
    "crash_before": 0.012,
    "crash_after": 0.012,
    "slow_disk": 0.08,
    "call_refused": 0.08,
    "answer_lost": 0.08,
    "answer_late": 0.15,
    "call_doubled": 0.08,
}


def swarm(random: Random) -> Faults:
    """A random part of all faults, each at its usual rate."""
    return Faults(**{name: rate if random.random() < 0.4 else 0.0 for name, rate in _LIKELY.items()})


async def pause(ms: float) -> None:
    """Let virtual time go by."""
    over = asyncio.Event()
    timer = asyncio.get_running_loop().call_later(ms / 1000, over.set)
    try:
        await over.wait()
    finally:
        timer.cancel()


class FaultyDoor(Door):
    """A process's way to the store, where commits fail before or after they take effect, and where it may die."""

    def __init__(self, world: World, crash: Callable[[], None]) -> None:
        super().__init__(world.store)
        self._world = world
        self._crash = crash
        self._slow_until = 0.0
        self._queue: list[Callable[[], None]] = []

    def commit(self, work: Work) -> asyncio.Future[Any]:
        return self._commit(work, super().commit)

    async def sweep(self, before: int, limit: int, *, now: int = 0) -> Any:
        return await self._commit(None, lambda _: asyncio.ensure_future(self._store.sweep(before, limit, now=now)))

    async def new_epoch(self) -> int:
        found: int = await self._commit(None, lambda _: asyncio.ensure_future(self._store.new_epoch()))
        return found

    async def changed(self) -> Changed:
        return Changed(True, monotonic_s())  # who asks was told to, because another process has written

    async def read(self, question: Any) -> Any:
        world = self._world
        if world.strikes("read_fails"):
            raise StorageUnavailable("the disk fails", "so decided the seed")
        return await super().read(question)

    def _commit(self, work: Any, commit: Callable[[Any], asyncio.Future[Any]]) -> asyncio.Future[Any]:
        world = self._world
        loop = asyncio.get_running_loop()
        if not self.open:
            return loop.create_future()
        if world.strikes("crash_before"):
            self._crash()
            return loop.create_future()
        if world.strikes("commit_fails"):
            return _failed(loop, "nothing was written")
        future = commit(work)
        if world.strikes("crash_after"):
            self._crash()
            return loop.create_future()
        if world.strikes("commit_unsure"):
            return _unsure(loop, future)
        return self._in_order(future)

    def _in_order(self, future: asyncio.Future[Any]) -> asyncio.Future[Any]:
        """While the disk is slow answers come late, but in the order of the commits."""
        loop = asyncio.get_running_loop()
        if self._world.strikes("slow_disk"):
            self._slow_until = max(self._slow_until, loop.time() + self._world.chance.choice((0.05, 2.0, 25.0)))
        if self._slow_until <= loop.time():
            return future
        late: asyncio.Future[Any] = loop.create_future()

        def answer() -> None:
            if not future.done():
                future.add_done_callback(lambda _: answer())
            elif not late.done() and self.open:
                error = future.exception()
                if error is None:
                    late.set_result(future.result())
                else:
                    late.set_exception(error)

        loop.call_at(self._slow_until, answer)
        return late


def _failed(loop: asyncio.AbstractEventLoop, why: str) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = loop.create_future()

    def fail() -> None:
        if not future.done():
            future.set_exception(StorageUnavailable("the disk fails", why))

    loop.call_soon(fail)
    return future


def _unsure(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any]) -> asyncio.Future[Any]:
    """Whoever asked is told when it is over: a store does not answer while it is still at work."""
    answer: asyncio.Future[Any] = loop.create_future()

    def fail(done: asyncio.Future[Any]) -> None:
        if not done.cancelled():
            done.exception()
        if not answer.done():
            answer.set_exception(StorageUnavailable("the disk fails", "who knows whether it was written"))

    future.add_done_callback(fail)
    return answer


def _ignore(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


class FaultyTransport:
    """A way to call functions on which calls and answers get lost, come late or come twice."""

    def __init__(self, world: World, inner: Transport) -> None:
        self._world = world
        self._inner = inner

    async def call(self, call: Call, progress: Reports) -> Answer:
        world = self._world
        world.called(call)
        if world.strikes("call_refused"):
            raise ConnectionError("the app cannot be reached")
        if world.strikes("call_doubled"):
            world.doubled.add(call.run_id)
            answer = await self._twice(call, progress)
        else:
            answer = await self._inner.call(call, progress)
        if world.strikes("answer_late"):
            await pause(world.chance.choice((100, 5_000, 45_000)))
        if world.strikes("answer_lost"):
            raise ConnectionError("the answer got lost")
        return answer

    async def _twice(self, call: Call, progress: Reports) -> Answer:
        """Both copies of the request are carried out; the answer of the first to end counts."""
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(_answer(self._inner, call, progress)) for _ in range(2)]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.add_done_callback(_ignore)
        return done.pop().result()

    def serves(self, function_id: str) -> bool:
        return self._inner.serves(function_id)


async def _answer(transport: Transport, call: Call, progress: Reports) -> Answer:
    return await transport.call(call, progress)
