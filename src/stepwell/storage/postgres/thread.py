"""Where a store talks to PostgreSQL: on the event loop of the application, or on a thread with a loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from threading import Thread
from typing import Any, Protocol, TypeVar

from stepwell.errors import NotRunning
from stepwell.storage.delivery import running_loop

T = TypeVar("T")


class WorkLoop(Protocol):
    """A running loop, for those who run on any."""

    def call(self, function: Callable[..., object], *args: Any) -> None:
        """Call it soon, there. From any thread."""
        ...

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and wait for it here. If whoever waits goes away, it goes on."""
        ...

    def refuse_stopped(self) -> None:
        """Raise ``NotRunning`` if nothing that is to be done there would ever be done."""
        ...

    async def stop(self) -> None:
        """What is still under way is cancelled: whoever asked for it has gone away, and a connection that it has must
        not stay behind."""
        ...


class LoopHere:
    """The loop that is running where this is made. Two threads that want the interpreter cost each other a third of it
    (ADR 0055).

    Whose code happens to ask first is nothing to what is done for all: so that has a context of its own. The
    application's task factory is not asked, but by another loop and by the driver.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._under_way: set[asyncio.Task[Any]] = set()

    def call(self, function: Callable[..., object], *args: Any) -> None:
        if running_loop() is self._loop:
            self._loop.call_soon(function, *args, context=Context())
        else:
            self._loop.call_soon_threadsafe(function, *args, context=Context())

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        if running_loop() is self._loop:
            return await asyncio.shield(self._begin(work))
        try:
            self.refuse_stopped()
        except NotRunning:
            work.close()
            raise
        return await asyncio.shield(_running(self._begun(work), self._loop))

    async def stop(self) -> None:
        await (self._cancel() if running_loop() is self._loop else self.run(self._cancel()))

    async def _cancel(self) -> None:
        under_way = self._under_way - {asyncio.current_task()}
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def _begun(self, work: Coroutine[Any, Any, T]) -> T:
        return await self._begin(work)

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.Task(work, loop=self._loop, context=Context())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    def refuse_stopped(self) -> None:
        if running_loop() is not self._loop and not self._loop.is_running():
            raise NotRunning(
                what="the event loop on which the engine was started does not run",
                why="its transactions and timers run there",
                fix="start the engine on the loop that uses it, or keep its loop running",
            )


class LoopThread:
    """A loop that runs in a thread of its own: it turns whatever keeps the application's, and outlives that."""

    def __init__(self) -> None:
        self._loop = _new_event_loop()
        self._thread = Thread(target=self._turn, name="stepwell-postgres", daemon=True)
        try:
            self._thread.start()
        except BaseException:
            self._loop.close()
            raise

    def call(self, function: Callable[..., object], *args: Any) -> None:
        self._loop.call_soon_threadsafe(function, *args, context=Context())

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.shield(_running(work, self._loop))

    def refuse_stopped(self) -> None:
        """It runs until it is stopped."""

    async def run_to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for it although this task is cancelled: only it knows what has become of it."""
        ending = _running(work, self._loop)
        while True:
            try:
                return await asyncio.shield(ending)
            except asyncio.CancelledError:
                if ending.cancelled():
                    raise

    async def stop(self) -> None:
        await asyncio.to_thread(self._stop)

    def leave(self) -> None:
        """Let the thread end by itself, after what it was asked to call. Nothing is to be under way."""
        # A turn later: sockets that were let go of are closed then.
        self._loop.call_soon_threadsafe(self._loop.call_soon, self._loop.stop)

    def _stop(self) -> None:
        asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop).result()
        self.leave()
        self._thread.join()

    def _turn(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            with suppress(RuntimeError):
                self._loop.close()


def _running(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> asyncio.Future[T]:
    return asyncio.wrap_future(Context().run(asyncio.run_coroutine_threadsafe, work, loop))


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # Windows, PyPy
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
