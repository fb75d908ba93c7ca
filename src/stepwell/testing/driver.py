"""Processes in virtual time, one after the other, on one store: what the harness acts on and looks at."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import Context
from datetime import datetime
from functools import partial, wraps
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar

from stepwell.clock import to_ms
from stepwell.embedded import send_payloads, signal_to
from stepwell.ids import RandomIds
from stepwell.limits import CALLS_MAX
from stepwell.model.duration import format_duration
from stepwell.model.event import rfc3339 as iso
from stepwell.model.settings import Settings
from stepwell.protocol.messages import Answer, Call, Reports
from stepwell.runtime.engine import Engine
from stepwell.sdk.client import EventPayload
from stepwell.sdk.pool import THREADS_MAX, Pool
from stepwell.sdk.transport import InProcess
from stepwell.storage.interface import Store
from stepwell.storage.sqlite import SqliteStore
from stepwell.testing.answers import Answers
from stepwell.testing.database import AwaitedStore, open_database
from stepwell.testing.loop import Stuck, VirtualClock, VirtualLoop, VirtualTimers
from stepwell.testing.node import Door, Node
from stepwell.testing.published import Published
from stepwell.testing.stubs import Stubs

if TYPE_CHECKING:
    from stepwell.sdk.app import Stepwell

A = TypeVar("A")

Dies = Callable[[bool, object], bool]
"""Does the process die before (``True``) or after (``False``) this commit takes effect?"""

_CALL_S_MAX: Final = 7200.0  # a call that takes longer than this in virtual time is not going to end
_SILENCE_S_MAX: Final = 10.0  # and one that waits longer than this for nothing in particular is not either


class Driver:
    """Runs coroutines and timers of the engine that is up at present, in no time at all or while time goes by.

    Used in a ``with`` statement, outside of which there is no engine. ``_shards`` is how many its store has: our
    own tests try that it makes no difference.
    """

    _shards: ClassVar[int | None] = None
    _nearby_max: ClassVar[int] = 1

    def __init__(
        self,
        apps: Sequence[Stepwell],
        start: datetime,
        seed: int,
        patience: float,
        settings: Settings,
        concurrency: int = CALLS_MAX,
        store: str | None = None,
    ) -> None:
        start_ms = to_ms(start)
        self._apps = apps
        self._loop = VirtualLoop(patience_s=patience)
        self._clock = VirtualClock(self._loop, start_ms)
        self._timers = VirtualTimers(self._loop, self._clock)
        self._ids = RandomIds(seed)
        self._settings = settings
        self._concurrency = concurrency
        self._stubs = Stubs()
        self._published = Published(lambda: self.engine, self._clock)
        self._answers = Answers(self._clock.now_ms)
        self._dies: Dies | None = None
        self._sent = 0
        self._url = store
        self._store: Store | None = None
        self._node: Node | None = None

    def __enter__(self) -> Self:
        try:
            self._store = self._finish(self._open())
            self._boot()
            self._finish(self._bind())
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for app in self._apps:
            app.bind(None)
        self._end_node()
        if self._store is not None:
            self._finish(self._store.close())
        self._loop.close()
        if error is None:
            self._answers.raise_unanswered()
            self._stubs.check_all_asked()
            self._answers.check_all_asked()

    @property
    def store(self) -> Store:
        """The database, which outlives the processes."""
        assert self._store is not None, "the harness is used outside of its 'with' statement"
        return self._store

    @property
    def engine(self) -> Engine:
        """The engine that runs at present; a crash replaces it."""
        assert self._node is not None, "the harness is used outside of its 'with' statement"
        return self._node.engine

    async def _open(self) -> Store:
        if self._url is None:
            return SqliteStore.inline(shards=self._shards or 1)
        return await open_database(self._url, self._shards, self._loop)

    async def _bind(self) -> None:
        for app in self._apps:
            app.bind(_Sender(self))

    def _boot(self) -> None:
        transports: list[InProcess] = []
        for app in self._apps:
            one = InProcess(app, self._clock, THREADS_MAX)
            one.pool, one.drive = _LoopPool(), self._stubs.drive
            transports.append(one)
        self._node = Node(
            Door(self.store, self._watch if self._dies is not None else None),
            transports[0] if len(transports) == 1 else _Transports(transports),
            self._clock,
            self._timers,
            self._ids,
            {app.app_id: app.configs() for app in self._apps},
            settings=self._settings,
            calls_max=self._concurrency,
            tidies=False,  # a test sees all that it did
            outbound=self._answers,
            nearby_max=self._nearby_max,
        )
        with suppress(Died):  # then another one has been started meanwhile
            self._finish(self._node.start())

    def _watch(self, before: bool, work: object) -> bool:
        assert self._dies is not None
        died = self._dies(before, work)
        if died:
            self._loop.halt()
        return died

    def _next_seed(self) -> str:
        self._sent += 1
        seed = self._sent << 32  # the events of one request count up from it
        return f"{self._clock.now_ms()},{b64encode(seed.to_bytes(10)).decode()}"

    def _end_node(self) -> None:
        if self._node is None:
            return
        self._node.vanish()
        self._loop.abandon()
        self._node = None
        if isinstance(self._store, AwaitedStore):
            self._finish(self._store.settle())
        self._stubs.under_way.clear()

    def _do(self, make: Callable[[], Coroutine[Any, Any, A]]) -> A:
        """Run a coroutine to its end; if the process dies meanwhile, another one in the next process."""
        while True:
            with suppress(Died):
                return self._finish(make())

    def _finish(self, work: Coroutine[Any, Any, A]) -> A:
        """Run a coroutine to its end, at this moment. Raises ``Died`` if its process did not live to see it."""
        node = self._node
        task = self._loop.create_task(work)
        self._run_ready()
        if node is not None:
            self._answers.raise_unanswered()
        if self._node is not node:
            raise Died
        if not task.done():
            task.cancel()
            raise Stuck(f"{work!r} waits for something{self._busy_text()}")
        return task.result()

    def _run_ready(self, following: Callable[[], float | None] = lambda: None) -> None:
        try:
            self._loop.run_ready(following)
        except Stuck as stuck:
            raise Stuck(f"{stuck}{self._busy_text()}") from None
        if self._node is not None and not self._node.door.open:
            self._end_node()
            self._boot()

    def _settle(self, until: float | None) -> None:
        """Let calls in flight go on, through the time that they wait for themselves, up to ``until`` if it is given."""
        began, silent_since = self._loop.time(), None
        while True:
            self._run_ready()
            self._answers.raise_unanswered()
            if not self.engine.caller.live:
                return
            now, when = self._loop.time(), self._loop.next_timer()
            theirs = min((t.when() for t in self._loop.timers() if t not in self._timers.armed), default=None)
            if theirs is not None:
                silent_since = None
            elif silent_since is None:
                silent_since = now  # the engine itself may be at it, as when the disk fails for a moment
            elif now - silent_since > _SILENCE_S_MAX:
                raise Stuck(f"a call waits for something that will never come{self._busy_text()}")
            if now - began > _CALL_S_MAX:
                raise Stuck(f"a call did not end within {format_duration(int(_CALL_S_MAX) * 1000)}{self._busy_text()}")
            assert when is not None, "whoever calls holds leases, and looks after them"
            if until is not None and when > until:
                return
            self._loop.jump(when)

    def _advance_to(self, at: int) -> None:
        target = self._clock.loop_time(at)

        def following() -> float | None:
            when = self._loop.next_timer()
            return when if when is not None and when <= target else None

        def unless_called() -> float | None:
            """The next moment, where nobody is called and so there is nothing to watch over."""
            node = self._node
            return following() if node is not None and node.door.open and not node.engine.caller.live else None

        self._settle(target)
        while (when := following()) is not None:
            self._loop.jump(when)
            self._run_ready(unless_called)
            self._settle(target)
        self._jump(target)
        self._settle(target)

    def _jump(self, target: float) -> None:
        # The code of functions may have waited for less than a millisecond.
        self._loop.jump(max(target, self._loop.time()))

    def _busy_text(self) -> str:
        """Who is being called, since when, and at which step."""
        if self._node is None:
            return ""
        lines: list[str] = []
        for run_id, call in self._node.engine.caller.live.items():
            run = call.leased.run
            steps = [f"in step {name}, since {iso(at)}" for name, at in self._stubs.under_way[run_id].items()]
            names = [step.name for step in call.leased.steps.values()]
            after = f"after step {names[-1]}" if names else "before its first step"
            where = ", ".join(steps) or f"{after}, started {iso(run.started_at or run.queued_at)}"
            lines.append(f"\n  {run.function_id}, run {run_id}, {where}")
        return "; busy:" + "".join(lines) if lines else ""


class Died(Exception):
    """The process in which something was to happen is gone."""


class _Sender:
    """What ``app.send`` and ``ctx.step.send_event`` talk to."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def send(self, payloads: Sequence[EventPayload], *, seed: str | None = None) -> list[str]:
        return await send_payloads(self._driver.engine, payloads, seed)

    async def signal(self, name: str, data: bytes) -> str | None:
        return await signal_to(self._driver.engine, name, data)

    @property
    def messages(self) -> Published:
        return self._driver._published  # pyright: ignore[reportPrivateUsage]


class _LoopPool(Pool):
    """Threads that the virtual loop knows of, so that time does not move while they work."""

    async def run(self, context: Context, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        @wraps(fn)
        def work() -> Any:
            try:
                return fn(*args, **kwargs)
            except (StopIteration, SystemExit) as error:  # as in the pool that this one stands for
                raise RuntimeError(f"the function raised {error!r}") from error

        return await asyncio.get_running_loop().run_in_executor(None, partial(context.run, work))


class _Transports:
    """The functions of several apps behind one transport."""

    def __init__(self, transports: Sequence[InProcess]) -> None:
        self._transports = transports

    async def call(self, call: Call, progress: Reports) -> Answer:
        transport = next(t for t in self._transports if t.serves(call.function_id))
        return await transport.call(call, progress)

    def serves(self, function_id: str) -> bool:
        return any(transport.serves(function_id) for transport in self._transports)
