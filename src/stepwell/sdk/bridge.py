"""Lets plain functions use the async driver. Such a function runs in a thread, and each step blocks it.

There is one driver, so a step means the same in both colours. While a thread waits for a step it also runs that step's
body, if the body is a plain function: a run needs one thread, and none while it sleeps.
"""

from __future__ import annotations

import asyncio
from asyncio import CancelledError, Task
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context as Variables
from contextvars import ContextVar, copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, TypeVar

from stepwell.sdk.drive import CLEANUP_S, NOT_NOW, STOP_S, AsyncDrive
from stepwell.sdk.pool import Pool
from stepwell.sdk.replay import Suspend

T = TypeVar("T")


class _Over(NamedTuple):
    result: Any
    error: BaseException | None


class Seat:
    """Where a thread waits for the result of a step, and does what is handed to it meanwhile."""

    __slots__ = ("_jobs",)

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | _Over] = SimpleQueue()

    def submit(self, job: Callable[[], None]) -> None:
        """Let the waiting thread do this."""
        self._jobs.put(job)

    def leave(self, result: Any, error: BaseException | None) -> None:
        """End the waiting."""
        self._jobs.put(_Over(result, error))

    def wait(self) -> Any:
        """Wait here, in the thread. Returns what ``leave`` was given, or raises it."""
        while True:
            job = self._jobs.get()
            if isinstance(job, _Over):
                if job.error is not None:
                    raise job.error
                return job.result
            job()


_SEAT: Final[ContextVar[Seat | None]] = ContextVar("stepwell_seat", default=None)


class SeatedPool(Pool):
    """Runs the body of a step in the thread that waits for the step; other work in the threads of ``pool``."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(0)
        self._pool = pool

    def submit(self, job: Callable[[], None]) -> None:
        """Hand the job to the thread that waits for the present step."""
        seat = _SEAT.get()
        (seat or self._pool).submit(job)

    async def run(self, context: Variables, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call it in the thread that waits for the present step, if one does."""
        if _SEAT.get() is None:
            return await self._pool.run(context, fn, *args, **kwargs)
        return await super().run(context, fn, *args, **kwargs)


class Bridge:
    """One call of a plain function: its threads on one side, the driver in the event loop on the other.

    To the driver each step of a thread is a branch. It is told when a thread runs code of its own, so that it does not
    take a call for finished in which a thread is between two steps.
    """

    def __init__(self, drive: AsyncDrive, pool: Pool) -> None:
        self._drive = drive
        self._pool = pool
        self._loop = asyncio.get_running_loop()

    async def run(self, handler: Callable[..., Any], ctx: object) -> Any:
        """Call the function in a thread, to its end or until the call ends."""
        drive = self._drive
        drive.hold()
        working = asyncio.ensure_future(self._begin_in_thread(handler, ctx))
        try:
            return await asyncio.shield(working)
        except CancelledError:
            # The call ends: each blocked step raises, which unwinds the function. The next call must find it gone.
            drive.cancel_branches()
            await asyncio.wait({working}, timeout=STOP_S if drive.progress.stopping and not drive.ended else CLEANUP_S)
            raise
        finally:
            drive.release()

    async def _begin_in_thread(self, handler: Callable[..., Any], ctx: object) -> Any:
        while (result := await self._pool.run(copy_context(), self._drive.begin, handler, ctx)) is NOT_NOW:
            await self._drive.may_begin()
        return result

    def call(self, step: Coroutine[Any, Any, T]) -> T:
        """In a thread: run this in the event loop and wait for what comes of it."""
        seat, variables = Seat(), copy_context()
        try:
            self._loop.call_soon_threadsafe(self._begin, step, seat, variables)
        except RuntimeError:  # the loop is closed: nobody will remember anything any more
            step.close()
            raise Suspend from None
        found: T = seat.wait()
        return found

    async def branches(self, fns: Sequence[Callable[[], T]]) -> list[T | BaseException]:
        """Call each in a thread of its own; the results or errors of all, in their order."""
        return await asyncio.gather(*(self._branch(fn) for fn in fns), return_exceptions=True)

    async def all_or_first_error(self, fns: Sequence[Callable[[], T]]) -> list[T]:
        """Call each in a thread of its own; the results of all in their order, or the error that comes first."""
        self._drive.order.races += 1
        try:
            return await asyncio.gather(*(self._branch(fn) for fn in fns))
        finally:
            self._drive.order.races -= 1

    async def first(self, fns: Sequence[Callable[[], T]]) -> T:
        """Call each in a thread of its own; the result or error of the one that ends first."""
        self._drive.order.races += 1
        try:
            tasks = [self._loop.create_task(self._branch(fn)) for fn in fns]
            done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._drive.order.races -= 1
        for task in others:
            task.add_done_callback(_ignored)
        return next(task for task in tasks if task in done).result()

    async def _branch(self, fn: Callable[[], T]) -> T:
        self._drive.hold()
        try:
            found: T = await self._pool.run_now(copy_context(), fn)
            return found
        finally:
            self._drive.release()

    def _begin(self, step: Coroutine[Any, Any, Any], seat: Seat, variables: Variables) -> None:
        self._drive.release()
        variables.run(_SEAT.set, seat)
        task = self._loop.create_task(step, context=variables)
        task.add_done_callback(partial(self._over, seat))

    def _over(self, seat: Seat, task: Task[Any]) -> None:
        self._drive.hold()  # before the thread goes on
        if task.cancelled():
            seat.leave(None, Suspend())
        elif (error := task.exception()) is not None:
            seat.leave(None, error)
        else:
            seat.leave(task.result(), None)


def _ignored(task: Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # nobody will ask for the error of a loser
