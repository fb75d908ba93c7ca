"""Engine and functions in one process, on a SQLite file or a database: what ``app.embedded()`` gives."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import msgspec

from stepwell.clock import SystemClock, to_ms
from stepwell.engine.again import FromStep
from stepwell.errors import ConfigurationError, NotFound, NotRunning, StepError
from stepwell.limits import (
    CALLS_MAX,
    EVENT_BYTES_MAX,
    POOL_DEFAULT,
    POOL_MIN,
    RETENTION_DEFAULT,
    RUN_CHAIN_MAX,
    STEPS_PER_RUN_MAX,
)
from stepwell.model.order import Order
from stepwell.model.questions import GetRun, RunsOfEvent
from stepwell.model.run import Run, RunStatus
from stepwell.model.settings import Settings
from stepwell.model.standing import EVERYTHING, StandingKind, of_function
from stepwell.protocol.events import Incoming, validate_incoming
from stepwell.protocol.signals import checked_signal
from stepwell.runtime import standing
from stepwell.runtime.engine import Engine
from stepwell.runtime.health import Health
from stepwell.runtime.interpreter import tune
from stepwell.runtime.local import LocalMessages
from stepwell.runtime.loop import rest
from stepwell.runtime.operator import pause, rerun, resume
from stepwell.runtime.orders import (
    Replay,
    Selection,
    abort_replay,
    cancel_many,
    find_cancellation,
    find_replay,
    replay_many,
)
from stepwell.runtime.stalls import StallWatch
from stepwell.sdk.client import EventPayload
from stepwell.sdk.codec import encode
from stepwell.sdk.doing import doing
from stepwell.sdk.failures import step_error
from stepwell.sdk.options import length_ms
from stepwell.server.wiring import Member, open_store

if TYPE_CHECKING:
    from stepwell.sdk.app import Stepwell
    from stepwell.sdk.function import Function

_DURABILITIES = ("full", "normal")
_LOOK_MS_MIN, _LOOK_MS_MAX = 5, 250


class Embedded:
    """A running engine with the functions of one app. An async context manager.

    ``path`` is the SQLite file; ``":memory:"`` keeps nothing. Or it is the URL of a PostgreSQL database,
    ``postgresql://user@host/name``, which any number of processes run together: ``pool`` is how many connections this
    one may have, from 3, and ``shards`` how many shards a new database gets, for ever. ``durability`` is ``"full"``
    (what was acknowledged survives a power failure) or ``"normal"`` (it survives a crash of the process, and a power
    failure may take the last moments). ``concurrency`` bounds the calls in flight. ``retention`` is how long ended runs
    and old events are kept; ``None`` keeps them for ever. ``retry_interval`` replaces the back-off table by one fixed
    pause. Durations are ``timedelta``, text such as ``"30d"``, or milliseconds. ``max_event_bytes`` bounds the JSON
    text of one event, up to 3 MiB; ``max_steps`` the steps of one run, up to 10,000; ``max_chain`` how many runs may
    start one another in a chain, by events and invokes, up to 10,000, or 0 for no limit.

    Several processes may open the same file, with the same app: one leads and runs the functions, the others send and
    read, and one of them takes over when the leader ends. On a database all of them run the functions. Raises
    ``ConfigurationError``, and ``StorageError`` on entry.
    """

    def __init__(
        self,
        app: Stepwell,
        path: str | os.PathLike[str],
        *,
        durability: Literal["full", "normal"] = "full",
        pool: int = POOL_DEFAULT,
        shards: int | None = None,
        concurrency: int = CALLS_MAX,
        retention: timedelta | str | int | None = RETENTION_DEFAULT,
        retry_interval: timedelta | str | int | None = None,
        grace: timedelta | str | int = "10s",
        max_event_bytes: int = EVENT_BYTES_MAX,
        max_steps: int = STEPS_PER_RUN_MAX,
        max_chain: int = RUN_CHAIN_MAX,
    ) -> None:
        if durability not in _DURABILITIES:
            raise ConfigurationError(
                what=f"the durability is {durability!r}",
                why="it says what the disk has to confirm before anything is acknowledged",
                fix=f"choose one of {', '.join(map(repr, _DURABILITIES))}",
            )
        if type(concurrency) is not int or concurrency < 1:
            raise ConfigurationError(
                what=f"the concurrency is {concurrency!r}",
                why="it is the number of calls that may be in flight in this process",
                fix="give a whole number of 1 or more, or leave it out",
            )
        if type(pool) is not int or pool < POOL_MIN:
            raise ConfigurationError(
                what=f"the pool is {pool!r}",
                why="it is the number of connections to the database, of which two only read",
                fix=f"give a whole number of {POOL_MIN} or more, or leave it out",
            )
        self.app = app
        self.path = _checked_path(path)
        self._durability: Literal["full", "normal"] = durability
        self._pool, self._shards = pool, shards
        self._concurrency = concurrency
        self._retention_ms = None if retention is None else _checked_retention(length_ms("retention", retention))
        self._settings = Settings(
            retry_ms=None if retry_interval is None else length_ms("retry_interval", retry_interval),
            event_bytes_max=max_event_bytes,
            steps_max=max_steps,
            chain_max=max_chain,
        )
        self._grace_ms = length_ms("grace", grace)
        self._member: Member | None = None
        self._stalls = StallWatch(doing)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the file, and run what is owed.

        Raises ``StorageError`` for a file that cannot be used, and ``ConfigurationError`` if the app has an engine.
        """
        if self._member is not None:
            raise ConfigurationError(
                "this engine is started already", "it would lead its file twice", "start it once, by 'async with'"
            )
        tune()
        self.app.bind(self)
        try:
            self._member = await open_store(
                self.path,
                self.app.transport(SystemClock()),
                {self.app.app_id: self.app.configs()},
                durability=self._durability,
                pool=self._pool,
                shards=self._shards,
                calls_max=self._concurrency,
                settings=self._settings,
                retention_ms=self._retention_ms,
            )
            await self._member.start()
        except BaseException:
            self._member = None
            self.app.bind(None)
            raise
        self._stalls.start()

    async def stop(self) -> None:
        """Let the calls in flight finish for the time of ``grace``, then close.

        What is unfinished goes on at the next start.
        """
        if self._member is not None:
            try:
                await self._member.stop(self._grace_ms)  # until then its calls may still send events
            finally:
                self._stalls.stop()
                self._member = None
                self.app.bind(None)

    @property
    def engine(self) -> Engine:
        if self._member is None:
            raise NotRunning(
                "the engine is not started",
                "it opens its file when it is entered",
                "use it inside 'async with app.embedded(...):'",
            )
        return self._member.engine

    @property
    def leads(self) -> bool:
        """Whether this process runs the functions, or only sends and reads."""
        return self._member is not None and self._member.leads

    async def send(self, payloads: Sequence[EventPayload], *, seed: str | None = None) -> list[str]:
        """Accept events; their ids once they are durable. ``app.send()`` ends here."""
        return await send_payloads(self.engine, payloads, seed)

    async def signal(self, name: str, data: bytes) -> str | None:
        """Give a signal to the run that waits for it. ``app.send_signal()`` ends here."""
        return await signal_to(self.engine, name, data)

    @property
    def messages(self) -> LocalMessages:
        """Where messages go. ``app.realtime`` ends here."""
        return LocalMessages(self.engine.realtime, self.engine.clock)

    async def cancel(self, run_id: str) -> bool:
        """Cancel a run. False if it had ended already. Raises ``NotFound``."""
        await self.run(run_id)
        return await self.engine.cancel(run_id)

    async def cancel_runs(
        self,
        function: Function[Any, Any] | str,
        *,
        if_: str | None = None,
        started_after: datetime | None = None,
        started_before: datetime | None = None,
    ) -> Order:
        """Order all runs of a function to be cancelled that were created until ``started_before``, by default now.

        ``if_`` is an expression over the event that started a run. The order is durable and worked off by the process
        that leads; ``cancellation`` tells how far it is. Runs created later are not touched. Raises
        ``ConfigurationError``.
        """
        selection = Selection(
            app_id=self.app.app_id,
            function_id=self._full_id(function),
            started_before=None if started_before is None else to_ms(started_before),
            started_after=None if started_after is None else to_ms(started_after),
            condition=if_,
        )
        return await cancel_many(self.engine, selection)

    async def cancellation(self, cancellation_id: str) -> Order:
        """How far such an order is: ``examined``, ``done``, and ``ended_at`` when it is done. Raises
        ``NotFound``."""
        return await find_cancellation(self.engine, cancellation_id)

    async def pause(
        self,
        function: Function[Any, Any] | str,
        *,
        events: Literal["skip", "hold"] = "skip",
        runs: Literal["finish", "hold", "cancel"] = "finish",
        reason: str = "",
    ) -> None:
        """Pause a function until somebody resumes it. It survives restarts and new code, and holds for all processes.

        ``events`` says what becomes of events that match it and of its ticks: they start no run, or their runs wait.
        Invokes fail at once. ``runs`` says what becomes of the runs that there are: they go on, they wait from their
        next rest on, or they are cancelled. ``reason`` is for people who ask why. One that is paused already gets these
        choices in place of those it had. Raises ``ConfigurationError`` and ``NotFound``.
        """
        await pause(self.engine, self._full_id(function), events=events, runs=runs, reason=reason)

    async def resume(self, function: Function[Any, Any] | str) -> bool:
        """End the pause of a function: what waited for that goes on, what was skipped stays skipped. False if it was
        not paused. Raises ``NotFound``."""
        return await resume(self.engine, self._full_id(function)) is not None

    async def archive(self, function: Function[Any, Any] | str, *, reason: str = "") -> None:
        """Let nothing start a function any more, whatever its app registers, until it is unarchived. Its runs go on,
        and all that is known of them stays. Raises ``ConfigurationError`` and ``NotFound``."""
        target = of_function(self._full_id(function))
        await standing.give(self.engine, StandingKind.ARCHIVE, target, reason=reason)

    async def unarchive(self, function: Function[Any, Any] | str) -> bool:
        """Take that back. False if no operator had archived it."""
        target = of_function(self._full_id(function))
        return await standing.withdraw(self.engine, StandingKind.ARCHIVE, target) is not None

    async def drain(self, function: Function[Any, Any] | str | None = None, *, reason: str = "") -> None:
        """Let nothing new begin, of a function, or of all that is on this file; what there is goes on to its end.

        Events are kept, and say that they were skipped. What runs bring with them still begins: what they invoke, what
        they put off, and who takes care of their failures. Raises ``ConfigurationError`` and ``NotFound``.
        """
        target = EVERYTHING if function is None else of_function(self._full_id(function))
        await standing.give(self.engine, StandingKind.DRAIN, target, reason=reason)

    async def undrain(self, function: Function[Any, Any] | str | None = None) -> bool:
        """Let new runs begin again. What was skipped stays skipped. False if it was not drained."""
        target = EVERYTHING if function is None else of_function(self._full_id(function))
        return await standing.withdraw(self.engine, StandingKind.DRAIN, target) is not None

    def _full_id(self, function: Function[Any, Any] | str) -> str:
        function_id = function if isinstance(function, str) else function.id
        prefix = f"{self.app.app_id}-"
        return function_id if function_id.startswith(prefix) else prefix + function_id

    async def rerun(
        self,
        run_id: str,
        *,
        from_step: str | None = None,
        input: Sequence[Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        merge: Mapping[str, Any] | None = None,
    ) -> Run:
        """Start a run again, ended or not: a new run for the same event, with the code as it is now.

        ``from_step`` is the id of the step that it begins with; the results of the steps before it are taken over.
        ``input`` are arguments for the body of that step in place of those that the code gives; for a request of
        ``ctx.step.ai.infer`` or ``ctx.step.fetch`` it is one object, with members of the body or of the request.
        ``outputs`` are results by step id, in place of those that earlier steps had, or for the step itself, which then
        does not run. ``data`` are the data of the event in place of those it had, ``merge`` a JSON merge patch of them.
        Raises ``NotFound``, ``ConfigurationError`` and ``InvalidEvent``.
        """
        return await rerun(
            self.engine,
            run_id,
            from_step=begin_with(from_step, input, outputs),
            data=None if data is None else encode(data, "data"),
            merge=None if merge is None else encode(merge, "merge"),
        )

    async def replay(
        self,
        function: Function[Any, Any] | str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        statuses: Sequence[str] = ("failed",),
        if_: str | None = None,
        rate: str | None = None,
        name: str = "",
        dry_run: bool = False,
    ) -> Order:
        """Order all runs of a function, or of all functions of the app, to be started again that were created from
        ``since`` until ``until``, by default until now, and that have ended.

        ``statuses`` are ``"completed"``, ``"failed"``, ``"cancelled"`` and ``"skipped"``: events that a pause kept from
        starting a run. ``if_`` is an expression over the event of a run. ``rate`` spreads the starts, as in ``"10/s"``
        or ``"100/m"``; ``name`` is for people. With ``dry_run`` they are only counted, in ``what.matched`` of an order
        that has no id. The order is durable, each of these runs is started again once, and ``replay_progress`` tells
        how far it is. Raises ``ConfigurationError`` and ``NotFound``.
        """
        replay = Replay(
            app_id=self.app.app_id,
            function_id=None if function is None else self._full_id(function),
            created_after=None if since is None else to_ms(since),
            created_before=None if until is None else to_ms(until),
            statuses=statuses,
            condition=if_,
            rate=rate,
            name=name,
        )
        return await replay_many(self.engine, replay, dry_run=dry_run)

    async def replay_progress(self, replay_id: str) -> Order:
        """How far such an order is: ``done`` (started), ``skipped``, ``what.matched`` in all, and ``ended_at`` when it
        is over. Raises ``NotFound``."""
        return await find_replay(self.engine, replay_id)

    async def abort_replay(self, replay_id: str) -> Order:
        """Start no more runs for such an order; those that it has started go on. Raises ``NotFound``."""
        return await abort_replay(self.engine, replay_id)

    async def run(self, run_id: str) -> Run:
        """A run as it now is. Raises ``NotFound``."""
        run = await self.engine.store.read(GetRun(run_id))
        if run is None:
            raise NotFound(
                f"there is no run {run_id}",
                f"{self.path} does not have it: it was never there, or retention has removed it",
                "'stepwell runs' lists those there are",
            )
        return run

    async def runs(self, event_id: str) -> list[Run]:
        """The runs that an event has started: there as soon as ``app.send`` has given its id."""
        return await self.engine.store.read(RunsOfEvent(event_id))

    async def wait(self, run_id: str) -> Any:
        """Wait until a run has ended, and give its output. Bound it with ``asyncio.timeout``.

        Raises ``StepError`` if the run failed or was cancelled, as ``ctx.step.invoke`` does, and ``NotFound``.
        """
        engine, pause = self.engine, _LOOK_MS_MIN
        while True:
            run = await self.run(run_id)
            if run.ended:
                return _output(run)
            await rest(pause, engine.clock, engine.timers)
            pause = min(pause * 2, _LOOK_MS_MAX)

    async def health(self, *, count: bool = True) -> Health:
        """Whether due work moves. To ``count`` what is live costs a look at all of it."""
        return await self.engine.health(count=count)


def begin_with(
    from_step: str | None, input: Sequence[Any] | None, outputs: Mapping[str, Any] | None
) -> FromStep | None:
    """Where a run is to begin that repeats another. Raises ``ConfigurationError``."""
    if from_step is None:
        if input is not None or outputs:
            raise ConfigurationError(
                what="an input or outputs are given, and no step",
                why="they are those of steps of the run that is started again",
                fix="say in from_step with which step it begins",
            )
        return None
    return FromStep(
        step=from_step,
        input=None if input is None else encode(list(input), "input"),
        outputs={name: encode(value, "output") for name, value in (outputs or {}).items()},
    )


def _checked_path(path: object) -> str:
    text = os.fspath(cast("os.PathLike[str]", path)) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise ConfigurationError(
            what=f"the path of the database is {path!r:.80}",
            why="runs and events are kept in one file, and this names none",
            fix='give the path of a file, as in app.embedded("shop.db"), or ":memory:" to keep nothing',
        )
    return text


def _checked_retention(ms: int) -> int:
    if ms == 0:
        raise ConfigurationError(
            what="the retention is 0",
            why="0 keeps nothing: a run would be gone before anybody can look at it",
            fix='give a length such as "30d", or None to keep everything',
        )
    return ms


def _output(run: Run) -> Any:
    if run.status == RunStatus.FAILED:
        raise step_error(run.output or b"{}")
    if run.status == RunStatus.CANCELLED:
        raise StepError(run.reason or "by an operator", name="Cancelled")
    return msgspec.json.decode(run.output) if run.output is not None else None


async def signal_to(engine: Engine, name: str, data: bytes) -> str | None:
    """Hand a signal of an app to the engine in its process; it passes the same checks as one from outside."""
    await engine.until_saved(None)
    return await engine.signal(checked_signal(name, data, bytes_max=engine.settings.event_bytes_max))


async def send_payloads(engine: Engine, payloads: Sequence[EventPayload], seed: str | None) -> list[str]:
    """Hand the events of an app to the engine in its process; they pass the same checks as those from outside."""
    events: list[Incoming] = [
        validate_incoming(
            Incoming(
                name=payload.name,
                data=payload.data,
                id=payload.id,
                ts=payload.ts,
                v=payload.v,
                user=payload.user,
                meta=payload.meta,
                run_id=payload.run_id,
            ),
            bytes_max=engine.settings.event_bytes_max,
        )
        for payload in payloads
    ]
    for run_id in {payload.run_id for payload in payloads if payload.run_id is not None}:
        await engine.until_saved(run_id)
    return await engine.send(events, seed=seed, source="sdk")
