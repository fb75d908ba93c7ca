"""Where a store talks to PostgreSQL: on the event loop of the application, or on a thread with a loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from threading import Thread, get_ident
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Home(Protocol):
    """A running loop, for those who run on any."""

    def call(self, function: Callable[..., object], *args: Any) -> None:
        """Call it soon, there. From any thread."""
        ...

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and wait for it here. If whoever waits goes away, it goes on."""
        ...

    async def stop(self) -> None:
        """What is still under way is cancelled: whoever asked for it has gone away, and a connection that it has must
        not stay behind."""
        ...


class LoopHere:
    """The loop that is running where this is made. Two threads that want the interpreter cost each other a third of it
    (ADR 0055)."""

    def __init__(self) -> None:
        self._loop, self._thread = asyncio.get_running_loop(), get_ident()
        self._under_way: set[asyncio.Task[Any]] = set()

    def call(self, function: Callable[..., object], *args: Any) -> None:
        # In a context of its own: whose code happens to ask first is nothing to what is done for all.
        if self._is_here():
            self._loop.call_soon(function, *args, context=Context())
        else:
            self._loop.call_soon_threadsafe(function, *args, context=Context())

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._is_here():
            return await asyncio.shield(self._begin(work))
        running = asyncio.run_coroutine_threadsafe(self._joined(work), self._loop)
        return await asyncio.shield(asyncio.wrap_future(running))

    async def stop(self) -> None:
        await (self._cancel() if self._is_here() else self.run(self._cancel()))

    async def _cancel(self) -> None:
        under_way = self._under_way - {asyncio.current_task()}
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    def _is_here(self) -> bool:
        return get_ident() == self._thread

    async def _joined(self, work: Coroutine[Any, Any, T]) -> T:
        return await self._begin(work)

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = self._loop.create_task(work, context=Context())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task


class LoopThread:
    """A loop that runs in a thread of its own: it turns whatever keeps the application's, and outlives that."""

    def __init__(self) -> None:
        self._loop = _new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="stepwell-postgres", daemon=True)
        self._thread.start()

    def call(self, function: Callable[..., object], *args: Any) -> None:
        self._loop.call_soon_threadsafe(function, *args)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.shield(asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop)))

    async def stop(self) -> None:
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        with suppress(RuntimeError):
            self._loop.close()


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
