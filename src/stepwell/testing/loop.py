"""An event loop whose time is virtual: it stands still while anything runs, and jumps when nothing does.

Pure asyncio only: tasks, futures, timers, queues, locks, threads through ``run_in_executor`` and ``asyncio.to_thread``.
Sockets, pipes and child processes have a time of their own and are refused; blocking I/O in a thread works, and the
loop waits for it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Any, Final, NoReturn, TypeVar, TypeVarTuple, Unpack

from stepwell.runtime.loop import Timer

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

PATIENCE_S: Final = 30.0
_ROUNDS_MAX: Final = 1_000_000  # rounds without time passing, before that is called an endless loop
_THREADS_MAX: Final = 256  # every thread may wait for another one, so none may wait for a free worker
_CANCELLED_MAX: Final = 256  # cancelled timers are thrown away when they are more than this and more than half


class Stuck(AssertionError):
    """Nothing can go on: everything waits for something that will never come, or a thread does not return."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An asyncio event loop with virtual time in seconds, starting at 0.

    ``order`` permutes the callbacks that are ready at one moment, as a seeded source of surprise; without it they run
    first come, first served. While a function runs in a thread time does not move: the loop really waits for it, up
    to ``patience_s`` real seconds without any sign of life, then raises ``Stuck``. ``inline`` runs such functions in
    the loop itself instead of a thread, so that nothing depends on the machine's scheduler.

    When nothing is ready, time jumps to the next timer. When there is none, and after ``rounds_max`` rounds, ``Stuck``
    is raised.
    """

    _ready: deque[asyncio.Handle]
    _stopping: bool
    _closed: bool

    def __init__(
        self,
        *,
        order: Random | None = None,
        patience_s: float = PATIENCE_S,
        inline: bool = False,
        rounds_max: int | None = None,
    ) -> None:
        super().__init__()
        self.patience_s = patience_s
        self.rounds = 0
        self.numbers = itertools.count()
        self._order = order
        self._inline = inline
        self._rounds_max = rounds_max
        self._now = 0.0
        self._following: Callable[[], float | None] | None = None
        self._halted = False
        self.holds: Callable[[asyncio.Handle], bool] | None = None  # takes what is not to run now, to run it later
        self._still = 0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._armed = 0
        self._cancelled = 0
        self._working: dict[int, str] = {}
        self._works = itertools.count()
        self._doorbell = threading.Event()
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None

    def create_future(self) -> asyncio.Future[Any]:
        return NumberedFuture(loop=self) if self._order is not None else super().create_future()

    # Time -------------------------------------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def timers(self) -> Iterator[asyncio.TimerHandle]:
        """All that will call back at some moment, in no order."""
        return (handle for _, _, handle in self._timers if not handle.cancelled())

    def next_timer(self) -> float | None:
        """The moment of the next timer."""
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
            self._cancelled -= 1
        return timers[0][0] if timers else None

    def jump(self, to: float) -> None:
        """Move time forward; what became due by it runs with the next ``run_ready``."""
        assert to >= self._now, "virtual time does not go back"
        self._now = to
        self._still = 0

    def run_ready(self, following: Callable[[], float | None] = lambda: None) -> None:
        """Run what is ready, and what that makes ready, until nothing is and no thread works.

        Time stands still until then. ``following`` may name the moment to go on at, instead of to return.
        """
        self._following = following
        try:
            with apart():
                self.run_forever()
        finally:
            self._following = None

    def abandon(self) -> None:
        """Cancel all tasks, and wait for no thread any more: what they worked for is gone."""
        self._working.clear()
        self._rounds_max = None
        for task in asyncio.all_tasks(self):
            task.cancel()
        self.run_ready()

    def halt(self) -> None:
        """Run nothing more of this round, and stop: for whoever sees the process die in the middle of it."""
        self._halted = True
        self.stop()

    def run_apart(self, future: asyncio.Future[T]) -> T:
        """``run_until_complete`` that may be called while another event loop runs in this thread."""
        with apart():
            return self.run_until_complete(future)

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        if self._closed:
            raise RuntimeError("Event loop is closed")
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._armed += 1
        heapq.heappush(self._timers, (when, self._armed, handle))
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self._cancelled += 1
        if self._cancelled > _CANCELLED_MAX and self._cancelled * 2 > len(self._timers):
            self._timers = [timer for timer in self._timers if not timer[2].cancelled()]
            heapq.heapify(self._timers)
            self._cancelled = 0

    # Rounds -----------------------------------------------------------------------------------------------------------

    def _run_once(self) -> None:
        timers, ready = self._timers, self._ready
        while timers and timers[0][0] <= self._now:
            timer = heapq.heappop(timers)[2]
            if timer.cancelled():
                self._cancelled -= 1
            else:
                ready.append(timer)
        if not ready:
            if not self._stopping:
                self._idle()
            return
        self.rounds += 1
        self._still += 1
        if self._still > _ROUNDS_MAX:
            raise Stuck(f"{_ROUNDS_MAX:,} rounds went by and no time: something loops without end{self._tasks_text()}")
        if self._rounds_max is not None and self.rounds > self._rounds_max:
            raise Stuck(f"{self._rounds_max:,} rounds went by and there is no end{self._tasks_text()}")
        if self._order is None:
            for _ in range(len(ready)):
                handle = ready.popleft()
                if not handle.cancelled():
                    handle._run()  # pyright: ignore[reportPrivateUsage]
                    if self._halted:
                        break
            self._halted = False
            return
        batch = list(ready)
        ready.clear()
        self._order.shuffle(batch)
        for handle in batch:
            if not handle.cancelled() and (self.holds is None or not self.holds(handle)):
                handle._run()  # pyright: ignore[reportPrivateUsage]

    def run_later(self, handles: Iterable[asyncio.Handle]) -> None:
        """What ``holds`` has taken may run now."""
        self._ready.extend(handles)

    def _idle(self) -> None:
        if self._working:
            self._wait_for_threads()
            return
        if self._following is not None:
            when = self._following()
            if when is None:
                self.stop()
            else:
                self.jump(when)
            return
        when = self.next_timer()
        if when is None:
            raise Stuck(f"everything waits and nothing is due any more{self._tasks_text()}")
        self.jump(when)

    def _tasks_text(self) -> str:
        names = sorted(f"{task.get_name()} ({_place(task)})" for task in asyncio.all_tasks(self))
        return ": " + ", ".join(names) if names else ""

    # Threads ----------------------------------------------------------------------------------------------------------

    def run_in_executor(
        self, executor: concurrent.futures.Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        if self._inline:
            return self._run_inline(partial(func, *args))
        if executor is None:
            if self._pool is None:
                self._pool = concurrent.futures.ThreadPoolExecutor(_THREADS_MAX, thread_name_prefix="stepwell-test")
            executor = self._pool
        work = executor.submit(func, *args)
        future = asyncio.wrap_future(work, loop=self)
        key = next(self._works)
        self._working[key] = _name(func, args)
        # After the future's own callback, so that the result is on its way when the thread no longer counts. To cancel
        # the future does not end the thread.
        work.add_done_callback(lambda _: self._ring(key))
        return future

    def _run_inline(self, work: Callable[[], T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()

        def run() -> None:
            if future.cancelled():
                return
            try:
                future.set_result(work())
            except Exception as error:
                future.set_exception(error)

        self.call_soon(run)
        return future

    @contextmanager
    def working(self, name: str) -> Generator[None]:
        """Time stands still meanwhile: whoever is at it has a time of its own, and will ring."""
        key = next(self._works)
        self._working[key] = name
        try:
            yield
        finally:
            self._working.pop(key, None)

    def wait_for(self, future: asyncio.Future[Any], name: str) -> None:
        """Time stands still until this is done, by somebody with a time of its own."""
        key = next(self._works)
        self._working[key] = name
        future.add_done_callback(lambda _: self._working.pop(key, None))

    def _ring(self, key: int) -> None:
        if not self.is_closed():
            self.call_soon_threadsafe(self._working.pop, key, None)

    def _write_to_self(self) -> None:
        self._doorbell.set()

    def _process_events(self, event_list: Any) -> None:
        """There is no selector, so there are no events."""

    def _wait_for_threads(self) -> None:
        if not self._doorbell.wait(self.patience_s):
            names = ", ".join(sorted(set(self._working.values())))
            raise Stuck(f"a thread gave no sign of life for {self.patience_s:g} s of real time: {names}")
        self._doorbell.clear()

    def close(self) -> None:
        super().close()
        self._timers.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    # What has a time of its own ---------------------------------------------------------------------------------------

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise Stuck(
            "sockets, pipes and child processes do not work under virtual time: stub the step that uses them "
            "(t.stub), or do blocking I/O in a plain function, which runs in a thread"
        )

    add_reader = add_writer = _refuse  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    sock_connect = sock_accept = sock_recv = sock_recv_into = sock_sendall = _refuse
    create_connection = create_server = create_datagram_endpoint = _refuse
    create_unix_connection = create_unix_server = _refuse
    connect_read_pipe = connect_write_pipe = subprocess_exec = subprocess_shell = _refuse


class NumberedFuture(asyncio.Future[Any]):
    """A future whose place in a set is the same each time a seed is played, because it is not that of its memory."""

    def __init__(self, *, loop: VirtualLoop) -> None:
        super().__init__(loop=loop)
        self._number = next(loop.numbers)

    def __hash__(self) -> int:
        return self._number


class NumberedTask(asyncio.Task[Any]):
    """A task of the same kind."""

    def __init__(self, work: Coroutine[Any, Any, Any], *, loop: VirtualLoop, **named: Any) -> None:
        self._number = next(loop.numbers)
        super().__init__(work, loop=loop, **named)

    def __hash__(self) -> int:
        return self._number


class VirtualClock:
    """The wall clock of a virtual loop. ``jump`` sets it forward against the loop, as an operator might."""

    def __init__(self, loop: VirtualLoop, start_ms: int) -> None:
        self._loop = loop
        self._start_ms = start_ms

    def now_ms(self) -> int:
        return self._start_ms + int(self._loop.time() * 1000 + 0.001)

    def jump(self, ms: int) -> None:
        assert ms >= 0, "a Stepwell clock does not go back"
        self._start_ms += ms

    def loop_time(self, at: int) -> float:
        """When, in the time of the loop, this clock will show ``at``."""
        return (at - self._start_ms) / 1000


class VirtualTimers:
    """Timers of a virtual clock. Remembers which of the loop's timers are its own."""

    def __init__(self, loop: VirtualLoop, clock: VirtualClock) -> None:
        self.armed: set[asyncio.TimerHandle] = set()
        self._loop = loop
        self._clock = clock

    def call_at(self, at: int, callback: Callable[[], None]) -> Timer:
        def fire() -> None:
            self.armed.discard(handle)
            callback()

        handle = self._loop.call_at(max(self._clock.loop_time(at), self._loop.time()), fire)
        self.armed.add(handle)
        return _Armed(self.armed, handle)


class _Armed:
    __slots__ = ("_armed", "_handle")

    def __init__(self, armed: set[asyncio.TimerHandle], handle: asyncio.TimerHandle) -> None:
        self._armed = armed
        self._handle = handle

    def cancel(self) -> None:
        self._armed.discard(self._handle)
        self._handle.cancel()


@contextmanager
def apart() -> Generator[None]:
    """Lets a virtual loop run inside a coroutine of another loop, which stands still meanwhile."""
    outer = asyncio._get_running_loop()
    if outer is None:
        yield
        return
    task = asyncio.current_task(outer)
    if task is not None:
        asyncio._leave_task(outer, task)
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(outer)
        if task is not None:
            asyncio._enter_task(outer, task)


def _place(task: asyncio.Task[Any]) -> str:
    """Where a task stands: the innermost line of its coroutine."""
    stack = task.get_stack(limit=1)
    if not stack:
        return "no frame"
    frame = stack[-1]
    return f"{frame.f_code.co_qualname} line {frame.f_lineno}"


def _name(func: Callable[..., Any], args: tuple[Any, ...]) -> str:
    """The user's function behind what asyncio puts around it."""
    if isinstance(func, partial):
        return _name(func.func, (*func.args, *args))  # pyright: ignore[reportUnknownMemberType]
    if getattr(func, "__name__", "") == "run" and args and callable(args[0]):  # Context.run(func, …)
        return _name(args[0], args[1:])
    return str(getattr(func, "__qualname__", repr(func)))
