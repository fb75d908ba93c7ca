"""The thread that talks to PostgreSQL, with an event loop of its own.

A transaction holds locks of shards that other replicas wait for. On the loop of the application, any code that keeps
that loop busy would keep the locks as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """A running loop."""

    def __init__(self) -> None:
        self._loop = _new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="stepwell-postgres", daemon=True)
        self._thread.start()

    def call(self, function: Callable[..., object], *args: Any) -> None:
        """Call it soon, there. From any thread."""
        self._loop.call_soon_threadsafe(function, *args)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and wait for it here. If whoever waits goes away, it goes on."""
        return await asyncio.shield(asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop)))

    def stop(self) -> None:
        """Blocks until the thread has ended. What is still under way is cancelled: whoever asked for it has gone away,
        and a connection that it has must not stay behind."""
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
