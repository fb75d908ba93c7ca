"""The only ``while True`` and the only sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from stepwell.clock import Clock
from stepwell.errors import StorageError
from stepwell.runtime.logs import log

_BACKOFF_MS_MIN, _BACKOFF_MS_MAX, _STORAGE_BACKOFF_MS_MAX = 100, 5_000, 1_000
_WAIT_MS_MAX = 3_600_000  # event loops lose precision far out; waking once an hour costs nothing


Tick = Callable[[int], Awaitable[int | None]]


class Timer(Protocol):
    def cancel(self) -> None: ...


class Timers(Protocol):
    """Calls back at moments of a clock. The event loop's in production; under virtual time a test moves them."""

    def call_at(self, at: int, callback: Callable[[], None]) -> Timer: ...


class LoopTimers:
    """Timers of the running event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def call_at(self, at: int, callback: Callable[[], None]) -> Timer:
        delay = min(max(at - self._clock.now_ms(), 0), _WAIT_MS_MAX)
        return asyncio.get_running_loop().call_later(delay / 1000, callback)


async def rest(ms: int, clock: Clock, timers: Timers) -> None:
    """Let some time of the clock go by."""
    over = asyncio.Event()
    timer = timers.call_at(clock.now_ms() + ms, over.set)
    try:
        await over.wait()
    finally:
        timer.cancel()


class Loop:
    """Runs one tick after the other: ``tick(now)`` does what is due and says when to be called next.

    A tick that fails is logged, and run again after a pause that doubles; nothing else depends on its having succeeded.
    """

    def __init__(self, name: str, tick: Tick, clock: Clock, timers: Timers) -> None:
        self.name = name
        self.failures = 0
        self._tick = tick
        self._clock = clock
        self._timers = timers
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._due: int | None = 0

    @property
    def started(self) -> bool:
        return self._task is not None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"stepwell {self.name}")

    def wake(self, at: int = 0) -> None:
        """Something is due at this moment: tick then at the latest."""
        if self._due is None or at < self._due:
            self._due = at
            self._woken.set()
        elif self._due <= self._clock.now_ms():
            self._woken.set()  # the clock was set forward, as after a computer slept: the timer knows nothing of that

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            now = self._clock.now_ms()
            self._due = None
            try:
                at = await self._tick(now)
                self.failures = 0
            except Exception as error:
                # A disk that is full says so itself, and what it holds up is to go on soon after there is room again.
                known = isinstance(error, StorageError)
                longest = _STORAGE_BACKOFF_MS_MAX if known else _BACKOFF_MS_MAX
                at = now + min(_BACKOFF_MS_MIN << min(self.failures, 10), longest)
                self.failures += 1
                text = error.what if isinstance(error, StorageError) else str(error)
                log.warning("tick failed", loop=self.name, error=text, again_in_ms=at - now, exc_info=not known)
                self._due = None
            if at is not None and (self._due is None or at < self._due):
                self._due = at
            await self._rest()

    async def _rest(self) -> None:
        while self._due is None or self._due > self._clock.now_ms():
            self._woken.clear()
            timer = None if self._due is None else self._timers.call_at(self._due, self._woken.set)
            await self._woken.wait()
            if timer is not None:
                timer.cancel()
