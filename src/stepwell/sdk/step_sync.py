"""``ctx.step`` and ``ctx.group`` of plain functions: the same steps, which block instead of being awaited."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, overload

from stepwell.errors import ConfigurationError
from stepwell.sdk.bridge import Bridge
from stepwell.sdk.events import ReceivedEvent
from stepwell.sdk.group import ParallelMode, fails_at_once, members
from stepwell.sdk.names import no_such_step
from stepwell.sdk.options import Backoff, Duration
from stepwell.sdk.realtime import SyncRunRealtime, SyncStepRealtime
from stepwell.sdk.replay import Suspend
from stepwell.sdk.step import Step, StepWithOptions

if TYPE_CHECKING:
    from stepwell.sdk.function import Function

P = ParamSpec("P")
T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
E = TypeVar("E")

Branch = Callable[[], T]

_FIX = 'give a list of callables, as in [lambda: ctx.step.run("a", a), lambda: ctx.step.run("b", b)]'


class SyncStep:
    """The steps of a ``def`` function. What each does, and what it raises, is said at ``Step``."""

    __slots__ = ("_bridge", "_step")

    def __init__(self, step: Step, bridge: Bridge) -> None:
        self._step = step
        self._bridge = bridge

    @overload
    def run(self, id: str, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def run(self, id: str, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    def run(self, id: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call ``fn`` once and remember its result. A plain one runs in the present thread."""
        return self._bridge.call(self._step.run(id, fn, *args, **kwargs))

    def options(
        self,
        id: str,
        /,
        *,
        retries: int | None = None,
        timeout: Duration | None = None,
        backoff: Backoff | None = None,
        **unknown: Any,
    ) -> SyncStepWithOptions:
        """The options of one step: ``ctx.step.options("charge", retries=10).run(charge, …)``.

        ``timeout`` bounds one attempt of a body that is ``async def``. A plain body cannot be stopped: it is waited
        for, and what it returns too late counts as failed.
        """
        chosen = self._step.options(id, retries=retries, timeout=timeout, backoff=backoff, **unknown)
        return SyncStepWithOptions(chosen, self._bridge)

    def sleep(self, id: str, /, duration: Duration) -> None:
        """Rest for ``"1h"``, a ``timedelta`` or milliseconds. The run holds no thread meanwhile."""
        self._bridge.call(self._step.sleep(id, duration))

    def sleep_until(self, id: str, /, moment: datetime) -> None:
        """Rest until a moment; a naive one is UTC."""
        self._bridge.call(self._step.sleep_until(id, moment))

    @overload
    def wait_for_event(
        self,
        id: str,
        /,
        event: type[E],
        *,
        timeout: Duration | datetime,
        match: str | None = None,
        if_: str | None = None,
        lookback: Duration | Literal["run"] | None = None,
    ) -> ReceivedEvent[E] | None: ...
    @overload
    def wait_for_event(
        self,
        id: str,
        /,
        event: str,
        *,
        timeout: Duration | datetime,
        match: str | None = None,
        if_: str | None = None,
        lookback: Duration | Literal["run"] | None = None,
    ) -> ReceivedEvent[dict[str, Any]] | None: ...
    def wait_for_event(self, id: str, /, event: Any, **how: Any) -> ReceivedEvent[Any] | None:
        """The first matching event from now on, or ``None`` after ``timeout``."""
        found: ReceivedEvent[Any] | None = self._bridge.call(self._step.wait_for_event(id, event, **how))
        return found

    def wait_for_signal(
        self,
        id: str,
        /,
        signal: str,
        *,
        timeout: Duration | datetime,
        on_conflict: Literal["fail", "replace"] = "fail",
    ) -> dict[str, Any] | None:
        """``{"signal": …, "data": …}`` once somebody sends this signal, or ``None`` after ``timeout``."""
        return self._bridge.call(self._step.wait_for_signal(id, signal, timeout=timeout, on_conflict=on_conflict))

    def send_signal(self, id: str, /, signal: str, data: object = None) -> str | None:
        """Give ``data`` to the run that waits for this signal: its id, or ``None`` if nobody waited."""
        return self._bridge.call(self._step.send_signal(id, signal, data))

    def invoke(
        self,
        id: str,
        /,
        function: Function[E, T],
        *,
        data: E | None = None,
        timeout: Duration | None = None,
        cancel_child: bool = False,
    ) -> T:
        """Start one run of another function and take its result. Raises ``StepError``."""
        return self._bridge.call(self._step.invoke(id, function, data=data, timeout=timeout, cancel_child=cancel_child))

    def invoke_by_id(
        self,
        id: str,
        /,
        function_id: str,
        *,
        app_id: str | None = None,
        data: object = None,
        timeout: Duration | None = None,
        cancel_child: bool = False,
    ) -> Any:
        """``invoke`` for a function that this program cannot import, by its own id and its app's. Plain JSON."""
        how: dict[str, Any] = {"app_id": app_id, "data": data, "timeout": timeout, "cancel_child": cancel_child}
        return self._bridge.call(self._step.invoke_by_id(id, function_id, **how))

    def send_event(self, id: str, /, events: object) -> list[str]:
        """Send an event or a sequence of them, once however often this is tried; their internal ids."""
        return self._bridge.call(self._step.send_event(id, events))

    def metadata(self, id: str, /, values: Mapping[str, Any], *, kind: str = "default") -> None:
        """Say something about this run, once, in place of what was said of this ``kind`` before."""
        self._bridge.call(self._step.metadata(id, values, kind=kind))

    def score(self, id: str, /, name: str, value: float | bool) -> None:
        """Say how well this run did, once: a finite number, or whether it did."""
        self._bridge.call(self._step.score(id, name, value))

    @property
    def realtime(self) -> SyncStepRealtime:
        """Messages to whoever listens, as steps: ``ctx.step.realtime.publish(id, channel, topic, data)``."""
        return SyncStepRealtime(self._step.realtime, self._bridge)

    def _outside(self) -> SyncRunRealtime:
        """``ctx.realtime``, for which the context has nothing of its own."""
        return self._step._outside_sync()  # pyright: ignore[reportPrivateUsage]

    @property
    def idempotency_key(self) -> str:
        """Inside the body of a step: text that is the same in all attempts at it, and differs from all other steps."""
        return self._step.idempotency_key

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise no_such_step(name)


class SyncStepWithOptions:
    """A step id and the options of that step. Call ``run`` on it."""

    __slots__ = ("_bridge", "_step")

    def __init__(self, step: StepWithOptions, bridge: Bridge) -> None:
        self._step = step
        self._bridge = bridge

    @overload
    def run(self, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    def run(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """As ``ctx.step.run``, with these options."""
        return self._bridge.call(self._step.run(fn, *args, **kwargs))


class SyncGroup:
    """Parallel branches of a plain function: each is a callable, and runs in a thread of its own."""

    __slots__ = ("_bridge",)

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    @overload
    def parallel(
        self, branches: tuple[Branch[T1], Branch[T2]], /, parallel_mode: ParallelMode | None = None
    ) -> tuple[T1, T2]: ...
    @overload
    def parallel(
        self, branches: tuple[Branch[T1], Branch[T2], Branch[T3]], /, parallel_mode: ParallelMode | None = None
    ) -> tuple[T1, T2, T3]: ...
    @overload
    def parallel(
        self,
        branches: tuple[Branch[T1], Branch[T2], Branch[T3], Branch[T4]],
        /,
        parallel_mode: ParallelMode | None = None,
    ) -> tuple[T1, T2, T3, T4]: ...
    @overload
    def parallel(
        self, branches: Iterable[Branch[T]], /, parallel_mode: ParallelMode | None = None
    ) -> tuple[T, ...]: ...
    def parallel(
        self, branches: Iterable[Branch[Any]], /, parallel_mode: ParallelMode | None = None
    ) -> tuple[Any, ...]:
        """The results of all branches, in their order.

        When branches fail in mode ``"wait"``, the default, the first of them (in their order) is raised after all
        others have come to their end; in mode ``"race"`` the first to fail is raised at once. The modes differ in
        nothing else. Raises ``ConfigurationError``.
        """
        fns = members(branches, callable, _FIX)
        if fails_at_once(parallel_mode, fns):
            return tuple(self._bridge.call(self._bridge.all_or_first_error(fns)))
        found = self._bridge.call(self._bridge.branches(fns))
        errors = [result for result in found if isinstance(result, BaseException)]
        for error in errors:
            raise next((one for one in errors if isinstance(one, Suspend)), error)
        return tuple(result for result in found if not isinstance(result, BaseException))

    def race(self, branches: Iterable[Branch[T]], /) -> T:
        """The result of the branch that ends first, or its error. The others go on and are ignored."""
        fns: list[Branch[T]] = members(branches, callable, _FIX)
        if not fns:
            raise ConfigurationError(
                what="a race without branches", why="nobody could win it", fix="give it at least one"
            )
        return self._bridge.call(self._bridge.first(fns))
