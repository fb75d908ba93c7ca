"""What a function is given: its event, its steps, and services that give the same on every replay."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping, Sequence
from datetime import datetime
from random import Random
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Generic, Literal, cast, overload
from uuid import UUID

from stepwell import clock
from stepwell.sdk.defer import Deferred, defer
from stepwell.sdk.events import ReceivedEvent
from stepwell.sdk.execution import Execution
from stepwell.sdk.group import Group
from stepwell.sdk.logs import KEPT_LEVEL, keep, kept, told
from stepwell.sdk.metadata import say
from stepwell.sdk.names import no_such_context_name
from stepwell.sdk.realtime import RunRealtime, SyncRunRealtime
from stepwell.sdk.step import Step
from stepwell.sdk.step_sync import SyncGroup, SyncStep

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from stepwell.sdk.function import DeferredFunction

    D = TypeVar("D")
    E_co = TypeVar("E_co", default=dict[str, Any], covariant=True)
    S_co = TypeVar("S_co", bound="Async | Sync", default="Async", covariant=True)
else:
    from typing import TypeVar

    E_co = TypeVar("E_co", covariant=True)
    S_co = TypeVar("S_co", covariant=True)


class Async:
    """The colour of ``async def`` functions, which need not say it."""


class Sync:
    """The colour of ``def`` functions: in ``Context[Ordered, Sync]`` the steps block instead of being awaited."""


class _StepOf:
    """``ctx.step``: awaited in async functions, blocking in sync ones."""

    @overload
    def __get__(self, ctx: None, owner: object) -> _StepOf: ...
    @overload
    def __get__(self, ctx: Context[Any, Sync], owner: object) -> SyncStep: ...
    @overload
    def __get__(self, ctx: Context[Any, Async], owner: object) -> Step: ...
    def __get__(self, ctx: Context[Any, Any] | None, owner: object) -> Any:
        return self if ctx is None else ctx._step  # pyright: ignore[reportPrivateUsage]


class _GroupOf:
    """``ctx.group``: parallel branches."""

    @overload
    def __get__(self, ctx: None, owner: object) -> _GroupOf: ...
    @overload
    def __get__(self, ctx: Context[Any, Sync], owner: object) -> SyncGroup: ...
    @overload
    def __get__(self, ctx: Context[Any, Async], owner: object) -> Group: ...
    def __get__(self, ctx: Context[Any, Any] | None, owner: object) -> Any:
        return self if ctx is None else ctx._group  # pyright: ignore[reportPrivateUsage]


class _RealtimeOf:
    """``ctx.realtime``: messages that are no steps."""

    @overload
    def __get__(self, ctx: None, owner: object) -> _RealtimeOf: ...
    @overload
    def __get__(self, ctx: Context[Any, Sync], owner: object) -> SyncRunRealtime: ...
    @overload
    def __get__(self, ctx: Context[Any, Async], owner: object) -> RunRealtime: ...
    def __get__(self, ctx: Context[Any, Any] | None, owner: object) -> Any:
        return self if ctx is None else ctx._step._outside()  # pyright: ignore[reportPrivateUsage]


class Context(Generic[E_co, S_co]):
    """One call of a function.

    Write ``Context[Ordered]`` for an async function, ``Context[Ordered, Sync]`` for a sync one, plain ``Context`` where
    the event has no class.
    """

    step = _StepOf()
    group = _GroupOf()
    realtime = _RealtimeOf()

    def __init__(
        self,
        execution: Execution,
        events: Sequence[ReceivedEvent[Any]],
        step: Step | SyncStep,
        group: Group | SyncGroup,
        logger: logging.Logger,
    ) -> None:
        self._execution = execution
        self._events = events
        self._step = step
        self._group = group
        self._base_logger = logger
        self._logger: RunLogger | None = None
        self._random: Random | None = None

    @property
    def event(self) -> ReceivedEvent[E_co]:
        """The event that started the run; of a batch the first."""
        return cast("ReceivedEvent[E_co]", self._events[0])

    @property
    def events(self) -> Sequence[ReceivedEvent[E_co]]:
        """All events that started the run."""
        return cast("Sequence[ReceivedEvent[E_co]]", self._events)

    @property
    def run_id(self) -> str:
        """The id of the run: the same in every call of it."""
        return self._execution.call.run_id

    def defer(self, id: str, /, *, function: DeferredFunction[D, Any], data: D | None = None) -> Deferred:
        """Start a function of ``@app.create_defer`` when this run has ended, however it ends. Gives a handle that can
        ``abort()`` it.

        It is no step: it is not awaited, in neither colour, and may stand inside the body of a step. It is remembered
        with the next step, or with the end of the run. A run puts off up to 20, each under an ``id`` of its own, with
        at most 4 MiB of data in all. What cannot be taken, also because its data has not the declared type, is noted on
        the run, which goes on. Raises ``ConfigurationError`` for an id that is used twice and for any other function.
        """
        return defer(self._execution, id, function, data)

    def metadata(
        self,
        values: Mapping[str, Any],
        *,
        kind: str = "default",
        target: Literal["step", "attempt", "run"] = "step",
    ) -> None:
        """Inside the body of a step: say something about it that people see beside it, or about this attempt or run.

        ``values`` takes the place of what was said of this ``kind`` before, with up to 64 KiB each and 1 MiB for a
        run; what is larger is noted on the run and not kept. It is remembered with the step. Raises ``NotRunning``
        outside of a body, where ``ctx.step.metadata`` says something of the run, and ``ConfigurationError``.
        """
        say(self._execution, values, kind, target)

    @property
    def attempt(self) -> int:
        """Inside a step body the number of this attempt at it, else of the attempt at the code between; from 0."""
        execution = self._execution
        if execution.running is not None:
            return execution.running.attempt
        return 0 if execution.replay.gained else execution.call.attempt

    @property
    def max_attempts(self) -> int:
        """How often the function's own code is tried, and each of its steps that has no ``retries`` of its own."""
        return self._execution.call.max_attempts

    @property
    def logger(self) -> RunLogger:
        """A logger that knows run and function, and is silent where the code only repeats itself. What it is told is
        shown with the run."""
        if self._logger is None:
            self._logger = RunLogger(self._base_logger, self._execution)
        return self._logger

    @property
    def random(self) -> Random:
        """Random numbers that come out the same on every replay. Never use them for secrets."""
        running = self._execution.running
        if running is not None:  # a body is not replayed: it must not use up numbers of the code around it
            if running.random is None:
                running.random = self._execution.chance(running.step.id)
            return running.random
        if self._random is None:
            self._random = self._execution.chance("")
        return self._random

    def uuid4(self) -> UUID:
        """A UUID that comes out the same on every replay."""
        return UUID(int=self.random.getrandbits(128), version=4)

    def now(self) -> datetime:
        """The moment when the latest result that this code has seen became known; at first, when the run began.

        The same on every replay, and in UTC. Inside a step body it is when this attempt began.
        """
        running = self._execution.running
        return clock.to_datetime(running.started_at if running is not None else self._execution.replay.now)

    if not TYPE_CHECKING:

        def __class_getitem__(cls, parameters: Any) -> GenericAlias:
            # One parameter or two; typing's own would insist on two, as Python 3.11 knows no defaults.
            return GenericAlias(cls, parameters)

        def __getattr__(self, name: str) -> Any:
            raise no_such_context_name(name, dir(type(self)))


class RunLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds ``run_id`` and ``function_id`` to each record, and keeps silent while known ground is covered again.

    What it is told is kept for the run's page, from INFO on, also where the app shows less of its log.
    """

    def __init__(self, logger: logging.Logger, execution: Execution) -> None:
        super().__init__(logger, {"run_id": execution.call.run_id, "function_id": execution.call.function_id})
        self._execution = execution

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802
        """False while the code repeats what an earlier call has done, and below INFO unless the app's log has it."""
        if self._execution.replay.replaying and self._execution.running is None:
            return False
        return level >= KEPT_LEVEL or super().isEnabledFor(level)

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Keep it for the run's page, and write it to the app's log."""
        if not self.isEnabledFor(level):
            return
        msg, given = self.process(msg, kwargs)
        name = self.logger.name
        keep(self._execution, level, name, told(level, name, msg, args, given))
        if self.logger.isEnabledFor(level):
            given["stacklevel"] = given.get("stacklevel", 1) + 1  # whoever called us said it
            with kept():
                self.logger.log(level, msg, *args, **given)

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[object, MutableMapping[str, Any]]:
        """Merge our fields under those of the caller."""
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs
