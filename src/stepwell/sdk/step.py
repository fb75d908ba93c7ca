"""What a function can ask for: ``ctx.step``, in its two colours. The async one here is awaited, ``Sync`` blocks."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, overload

from stepwell.errors import NotRunning
from stepwell.protocol.messages import INVOKE_FUNCTION, SLEEP, WAIT_FOR_EVENT, WAIT_FOR_SIGNAL
from stepwell.sdk import execution as kinds
from stepwell.sdk.bodies import Body
from stepwell.sdk.codec import Decode, decode_any
from stepwell.sdk.events import ReceivedEvent, event_decoder, payloads, remembered, stamped
from stepwell.sdk.execution import Execution, StepOptions
from stepwell.sdk.group import Awaited
from stepwell.sdk.instructions import (
    invoke_opts,
    seed,
    signal_opts,
    sleep_opts,
    sleep_until_opts,
    target,
    target_by_id,
    wait_opts,
)
from stepwell.sdk.metadata import add, metadata_entry, score_entry
from stepwell.sdk.names import no_such_step
from stepwell.sdk.options import Backoff, Duration, step_options
from stepwell.sdk.realtime import RunRealtime, StepRealtime, SyncRunRealtime

if TYPE_CHECKING:
    from stepwell.sdk.app import Stepwell
    from stepwell.sdk.drive import AsyncDrive
    from stepwell.sdk.function import Function

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E")

_SEND: Body = Body(True, decode_any)


class Step:
    """The steps of an ``async def`` function. Every id is chosen by you and is what the step is remembered by.

    In a loop an id may be used again: repetitions are told apart by their turn. In parallel branches it may not.
    All of them raise ``ConfigurationError`` for what cannot work.
    """

    __slots__ = ("_app", "_drive")

    def __init__(self, drive: AsyncDrive, app: Stepwell) -> None:
        self._drive = drive
        self._app = app

    @overload
    def run(
        self, id: str, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Awaited[T]: ...
    @overload
    def run(self, id: str, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Awaited[T]: ...
    def run(self, id: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Awaited[Any]:
        """Call ``fn`` once and remember its result as JSON; its return annotation decides how that is read back.

        A plain function runs in a thread. When ``fn`` raises it is tried again later, as often as the function's
        ``retries`` say; then ``StepError`` is raised here, which may be caught. The body may have run more than once,
        so give ``idempotency_key`` to whatever it pays or sends.
        """
        return self._drive.body(id, fn, args, kwargs)

    def options(
        self,
        id: str,
        /,
        *,
        retries: int | None = None,
        timeout: Duration | None = None,
        backoff: Backoff | None = None,
        **unknown: Any,
    ) -> StepWithOptions:
        """The options of one step: ``await ctx.step.options("charge", retries=10, timeout="30s").run(charge, …)``.

        ``retries`` and ``backoff`` replace those of the function. ``timeout`` bounds one attempt; a body that runs in a
        thread cannot be stopped, so its result is dropped when it comes late.
        """
        return StepWithOptions(self._drive, id, step_options(retries, timeout, backoff, unknown))

    def sleep(self, id: str, /, duration: Duration) -> Awaited[None]:
        """Rest for ``"1h"``, a ``timedelta`` or milliseconds, at most 366 days. The run holds no process meanwhile."""
        return self._sleep(id, sleep_opts(duration))

    def sleep_until(self, id: str, /, moment: datetime) -> Awaited[None]:
        """Rest until a moment, at most 366 days away; a naive one is UTC. One that is past does not rest."""
        return self._sleep(id, sleep_until_opts(moment))

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
    ) -> Awaited[ReceivedEvent[E] | None]: ...
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
    ) -> Awaited[ReceivedEvent[dict[str, Any]] | None]: ...
    def wait_for_event(
        self,
        id: str,
        /,
        event: type | str,
        *,
        timeout: Duration | datetime,
        match: str | None = None,
        if_: str | None = None,
        lookback: Duration | None = None,
    ) -> Awaited[ReceivedEvent[Any] | None]:
        """The first event of this class or name that arrives from now on, or ``None`` after ``timeout``.

        ``match`` names a path that must be equal in the run's event and in the new one, ``if_`` is an expression over
        ``event`` (the run's) and ``async`` (the new one); give one of them or none. ``lookback`` also takes an event
        that arrived up to that long ago, or since the run was made (``"run"``). Raises ``InvalidEvent`` if the event's
        data are not what its class says.
        """
        return self._wait(id, event, wait_opts(event, match, if_, timeout, lookback))

    def wait_for_signal(
        self,
        id: str,
        /,
        signal: str,
        *,
        timeout: Duration | datetime,
        on_conflict: Literal["fail", "replace"] = "fail",
    ) -> Awaited[dict[str, Any] | None]:
        """``{"signal": …, "data": …}`` once somebody sends this signal, or ``None`` after ``timeout``.

        One step waits for a name at a time. If another one does already, this run fails; with ``"replace"`` it takes
        the name over instead, and the other waits for its timeout.
        """
        return self._signal(id, signal_opts(signal, timeout, on_conflict))

    def send_signal(self, id: str, /, signal: str, data: object = None) -> Awaited[str | None]:
        """Give ``data`` to the run that waits for this signal, and remember its id, or that nobody waited (``None``).

        If the process dies in the very moment, it is sent again, and finds nobody or the next who waits.
        """
        return self._drive.body(id, self._app.send_signal, (signal, data), {}, None, kinds.SEND_SIGNAL, _SEND)

    def invoke(
        self,
        id: str,
        /,
        function: Function[E, T],
        *,
        data: E | None = None,
        timeout: Duration | None = None,
        cancel_child: bool = False,
    ) -> Awaited[T]:
        """Start one run of another function and take its result.

        Raises ``StepError`` if that run fails, is cancelled, could not start, or takes longer than ``timeout`` (default
        one year), after which it still runs on. ``cancel_child`` cancels it when this run is cancelled.
        """
        opts = invoke_opts(target(function), data, timeout, cancel_child, self._drive.sessions)
        return self._invoke(id, function.returns, opts)

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
    ) -> Awaited[Any]:
        """``invoke`` for a function that this program cannot import: one of another app, or in another language.

        ``function_id`` is the function's own id, ``app_id`` that of its app, if it is not this one. The result is plain
        JSON. Raises ``StepError`` as ``invoke`` does, and if nobody has registered such a function.
        """
        function = target_by_id(self._app.app_id if app_id is None else app_id, function_id)
        opts = invoke_opts(function, data, timeout, cancel_child, self._drive.sessions)
        return self._invoke(id, decode_any, opts)

    def send_event(self, id: str, /, events: object) -> Awaited[list[str]]:
        """Send an event or a sequence of them, once however often this is tried, and give their internal ids.

        Raises ``InvalidEvent`` at once for an event that is not valid.
        """
        return self._send(id, events)

    def metadata(self, id: str, /, values: Mapping[str, Any], *, kind: str = "default") -> Awaited[None]:
        """Say something about this run, once, that people see beside it: JSON values by name.

        It takes the place of what was said of this ``kind`` before. Up to 64 KiB each and 1 MiB for a run are kept;
        what is larger is noted on the run, which goes on. ``ctx.metadata`` says something of a step. Raises
        ``ConfigurationError``.
        """
        entry = metadata_entry(values, kind, "run")
        return self._drive.body(id, add, (self._drive, entry), {}, None, kinds.RUN, _SEND)

    def score(self, id: str, /, name: str, value: float | bool) -> Awaited[None]:
        """Say how well this run did, once: a finite number, or whether it did. Raises ``ConfigurationError``."""
        entry = score_entry(name, value)
        return self._drive.body(id, add, (self._drive, entry), {}, None, kinds.RUN, _SEND)

    @property
    def realtime(self) -> StepRealtime:
        """Messages to whoever listens, as steps: ``await ctx.step.realtime.publish(id, channel, topic, data)``."""
        return StepRealtime(self._drive, self._app.realtime)

    @property
    def idempotency_key(self) -> str:
        """Inside the body of a step: text that is the same in all attempts at it, and differs from all other steps."""
        return idempotency_key(self._drive)

    def _outside(self) -> RunRealtime:
        """``ctx.realtime``, for which the context has nothing of its own."""
        return RunRealtime(self._app.realtime, self._drive.call.run_id)

    def _outside_sync(self) -> SyncRunRealtime:
        return SyncRunRealtime(self._app.realtime, self._drive.call.run_id)

    async def _send(self, id: str, events: object) -> list[str]:
        drive = self._drive

        async def send() -> list[str]:
            found = [stamped(payload, drive.sessions) for payload in payloads(events)]
            await drive.registered()
            running = drive.running
            assert running is not None, "this is the body of a step"
            return await self._app.deliver(found, seed(drive.call, running.step.id))

        ids: list[str] = await drive.body(id, send, (), {}, None, kinds.SEND_EVENT, _SEND)
        return ids

    async def _sleep(self, id: str, opts: bytes) -> None:
        await self._drive.rest(id, kinds.SLEEP, SLEEP, opts)

    async def _wait(self, id: str, event: type | str, opts: bytes) -> ReceivedEvent[Any] | None:
        memo = await self._drive.rest(id, kinds.WAIT, WAIT_FOR_EVENT, opts)
        return remembered(self._drive.value(memo, bytes, id), event_decoder(event))

    async def _signal(self, id: str, opts: bytes) -> dict[str, Any] | None:
        memo = await self._drive.rest(id, kinds.WAIT_FOR_SIGNAL, WAIT_FOR_SIGNAL, opts)
        found: dict[str, Any] | None = self._drive.value(memo, decode_any, id)
        return found

    async def _invoke(self, id: str, decode: Decode, opts: bytes) -> Any:
        memo = await self._drive.rest(id, kinds.INVOKE, INVOKE_FUNCTION, opts)
        return self._drive.value(memo, decode, id)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise no_such_step(name)


class StepWithOptions:
    """A step id and the options of that step. Call ``run`` on it."""

    __slots__ = ("_drive", "_id", "_options")

    def __init__(self, drive: AsyncDrive, id: str, options: StepOptions) -> None:
        self._drive = drive
        self._id = id
        self._options = options

    @overload
    def run(self, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> Awaited[T]: ...
    @overload
    def run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Awaited[T]: ...
    def run(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Awaited[Any]:
        """As ``ctx.step.run``, with these options."""
        return self._drive.body(self._id, fn, args, kwargs, self._options)


def idempotency_key(execution: Execution) -> str:
    running = execution.running
    if running is None:
        raise NotRunning(
            what="there is no idempotency key here",
            why="it belongs to a step, and no step body is running",
            fix="read ctx.step.idempotency_key inside the function you give to ctx.step.run",
        )
    return f"{execution.call.run_id}-{running.step.id}"
