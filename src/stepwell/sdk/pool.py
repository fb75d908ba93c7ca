"""Threads for code that blocks. They are daemons: a body that hangs does not keep the process from ending."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from threading import Lock, Thread
from typing import Any, Final

THREADS_MAX: Final = 64  # what waits for the network or a disk at one moment; more of it queues


class Pool:
    """At most ``threads_max`` threads, started when needed and kept."""

    def __init__(self, threads_max: int = THREADS_MAX) -> None:
        self._threads_max = threads_max
        self._lock = Lock()
        self._jobs: deque[Callable[[], None]] = deque()
        self._idle: deque[Lock] = deque()
        self._started = 0

    def submit(self, job: Callable[[], None]) -> None:
        """Run it as soon as a thread is free. It must not raise."""
        with self._lock:
            self._jobs.append(job)
            if self._idle:
                self._idle.pop().release()
            elif self._started < self._threads_max:
                self._started += 1
                Thread(target=self._work, name=f"stepwell-{self._started}", daemon=True).start()

    async def run(self, context: Context, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call it in a thread. When the one who waits is cancelled, a call that has begun goes on and its result is
        dropped; one that has not does not begin."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def job() -> None:
            if future.cancelled():
                return
            try:
                result = context.run(fn, *args, **kwargs)
            except BaseException as error:
                _tell(loop, future, None, error)
            else:
                _tell(loop, future, result, None)

        self.submit(job)
        return await future

    async def run_now(self, context: Context, fn: Callable[[], Any]) -> Any:
        """Like ``run``, in a thread that is there for it: whoever waits for this may hold a thread of the pool."""
        return await _Single().run(context, fn)

    def _work(self) -> None:
        wake = Lock()
        wake.acquire()
        while True:
            with self._lock:
                job = self._jobs.popleft() if self._jobs else None
                if job is None:
                    self._idle.append(wake)
            if job is None:
                wake.acquire()
                continue
            job()
            del job  # an idle thread must not keep the last run alive


class _Single(Pool):
    """A thread for one job."""

    def submit(self, job: Callable[[], None]) -> None:
        Thread(target=job, name="stepwell-branch", daemon=True).start()


def _tell(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], result: Any, error: BaseException | None
) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(_settle, future, result, error)


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration | SystemExit):
        # No future takes the first, and the second would end the process although it was meant for a thread.
        future.set_exception(RuntimeError(f"the function raised {error!r}"))
    else:
        future.set_exception(error)
