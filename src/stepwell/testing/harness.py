"""Engine and functions in virtual time: what ``from stepwell.testing import harness`` gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

from stepwell.clock import to_datetime, to_ms
from stepwell.embedded import begin_with
from stepwell.errors import ConfigurationError
from stepwell.limits import CALLS_MAX, EVENT_BYTES_MAX, RUN_CHAIN_MAX, STEPS_PER_RUN_MAX
from stepwell.model.duration import to_ms as duration_ms
from stepwell.model.event import rfc3339 as iso
from stepwell.model.order import Order
from stepwell.model.questions import ListRuns, Question
from stepwell.model.run import Run, RunStatus
from stepwell.model.settings import Settings
from stepwell.model.standing import EVERYTHING, StandingKind, of_app, of_function
from stepwell.runtime import standing
from stepwell.runtime.operator import pause, rerun, resume
from stepwell.runtime.orders import (
    Replay,
    Selection,
    cancel_many,
    find_cancellation,
    find_replay,
    replay_many,
)
from stepwell.sdk.codec import encode
from stepwell.sdk.events import Event, payloads
from stepwell.sdk.options import length_ms
from stepwell.sdk.realtime import RealtimeMessage, Topic
from stepwell.testing.answers import FetchRequest
from stepwell.testing.driver import Dies, Driver
from stepwell.testing.loop import PATIENCE_S
from stepwell.testing.views import RunView, short

if TYPE_CHECKING:
    from stepwell.sdk.app import Stepwell

A = TypeVar("A")

START: Final = datetime(2026, 1, 1, tzinfo=UTC)  # a Thursday
_RUNS_MAX: Final = 100_000


def harness(
    app: Stepwell | Sequence[Stepwell],
    *,
    start: datetime | str = START,
    seed: int = 0,
    patience: float = PATIENCE_S,
    retry_interval: timedelta | str | int | None = None,
    max_event_bytes: int = EVENT_BYTES_MAX,
    max_steps: int = STEPS_PER_RUN_MAX,
    max_chain: int = RUN_CHAIN_MAX,
    concurrency: int = CALLS_MAX,
    store: str | None = None,
) -> Harness:
    """An engine for these apps on a virtual clock, with a store in memory; use it in a ``with`` statement.

    Time starts at ``start`` and moves only by ``advance`` and ``advance_to``, and as far as the functions' own code
    waits in ``run_until_idle``. ``seed`` decides ids and jitter. ``patience`` is how many real seconds a function that
    runs in a thread may give no sign of life. ``retry_interval`` replaces the back-off table by one fixed pause.
    ``max_event_bytes``, ``max_steps``, ``max_chain`` and ``concurrency`` are those of ``app.embedded``.

    ``store`` is the URL of a PostgreSQL database for tests, ``postgresql://user@host/name``, in place of memory. Each
    harness makes its tables there or empties them, and one at a time has it. Raises ``ConfigurationError``; on entry
    also if another harness is using that database, or its tables were not made by one, and ``StorageError``.
    """
    settings = Settings(
        retry_ms=None if retry_interval is None else length_ms("retry_interval", retry_interval),
        event_bytes_max=max_event_bytes,
        steps_max=max_steps,
        chain_max=max_chain,
    )
    return Harness(_apps(app), _moment(start), seed, patience, settings, concurrency, store)


class Harness(Driver):
    """Drives functions in virtual time. All methods are synchronous; they work inside of ``async def`` tests too."""

    # Acting -----------------------------------------------------------------------------------------------------------

    def send(
        self, event: Any, data: Any = None, *, id: str | None = None, ts: datetime | int | None = None
    ) -> list[str]:
        """Send an event: ``"name", data``, an ``Event``, an instance of an event class, or a list of events.

        Returns their ids. What needs no time happens at once: functions start and run up to their first pause.
        """
        if isinstance(event, str):
            event = Event(event, data, id=id, ts=ts)
        found = payloads(event)
        # Where processes die, a client sends again what was not acknowledged, and it must not count twice.
        seed = self._next_seed() if self._dies is not None else None
        return self._do(lambda: self._apps[0].deliver(found, seed))

    def send_signal(self, signal: str, data: Any = None) -> str | None:
        """Send a signal: the id of the run that it resumed, or ``None`` if nobody waits for it."""
        return self._do(lambda: self._apps[0].send_signal(signal, data))

    def stub(self, step_id: str, value: Any = None, *, function: Any = None) -> None:
        """Stand in for the step of this id, in all functions or in one: no body is run, nothing is waited for.

        ``value`` is the result; an exception to raise; a callable, which gets the arguments of the body; or
        ``TIMEOUT``. For a wait the result is the data of the event, for an invoke what the function would return. A
        stubbed step is remembered, and tried again after an exception, like any other. A stub that is never used fails
        the test at the end of the ``with`` statement.
        """
        self._stubs.add(step_id, value, self._function_id(function) if function is not None else None)

    def answer_fetch(
        self,
        url: str,
        *,
        body: Any = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        method: str | None = None,
        after: timedelta | str | int = 0,
    ) -> None:
        """Say what the requests to this address bring that ``step.fetch`` and ``step.ai.infer`` make: none is sent.

        ``url`` is the whole address, or what stands before its query; ``method`` the only one that is meant. ``body``
        is text, what is to be written as JSON, a callable that gets the request (``FetchRequest``) and gives either, or
        an exception: then nothing comes back. ``after`` is how long it takes. What is said last holds. A request that
        nobody answers fails the test, and so does an answer that is never asked for.
        """
        self._answers.add(url, method, status, body, headers or {}, length_ms("after", after))

    @property
    def fetches(self) -> list[FetchRequest]:
        """The requests that were made for steps so far."""
        return list(self._answers.requests)

    def cancel(self, run: RunView | str) -> bool:
        """Cancel a run as an operator would. False if it had ended already."""
        run_id = run if isinstance(run, str) else run.id
        return self._do(lambda: self.engine.cancel(run_id))

    def cancel_runs(self, function: Any, *, if_: str | None = None) -> int:
        """Cancel all runs of a function as an operator would, or those for whose event ``if_`` is true: how many.

        If there are many it takes a moment, as it does in production, and that time goes by.
        """
        function_id = self._function_id(function)
        app_id = next(app.app_id for app in self._apps if function_id in app.functions)
        selection = Selection(app_id=app_id, function_id=function_id, condition=if_)
        ordered = self._do(lambda: cancel_many(self.engine, selection))
        while (found := self._do(lambda: find_cancellation(self.engine, ordered.id))).ended_at is None:
            self.advance(10)
        return found.done

    def pause(
        self,
        function: Any,
        *,
        events: Literal["skip", "hold"] = "skip",
        runs: Literal["finish", "hold", "cancel"] = "finish",
        reason: str = "",
    ) -> None:
        """As ``pause()`` of an embedded engine does."""
        function_id = self._function_id(function)
        self._do(lambda: pause(self.engine, function_id, events=events, runs=runs, reason=reason))

    def resume(self, function: Any) -> bool:
        """End the pause of a function, and let what waited for that go on. Returns false if it was not paused."""
        function_id = self._function_id(function)
        return self._do(lambda: resume(self.engine, function_id)) is not None

    def pause_app(
        self,
        app_id: str,
        *,
        events: Literal["skip", "hold"] = "skip",
        runs: Literal["finish", "hold", "cancel"] = "finish",
        reason: str = "",
    ) -> None:
        """Pause all functions of an app, as an operator would."""
        target = of_app(app_id)
        self._do(lambda: standing.pause_all(self.engine, target, events=events, runs=runs, reason=reason))

    def resume_app(self, app_id: str) -> bool:
        """End the pause of an app. Returns false if it was not paused."""
        return self._do(lambda: standing.withdraw(self.engine, StandingKind.PAUSE, of_app(app_id))) is not None

    def archive(self, function: Any = None, *, app: str | None = None, reason: str = "") -> None:
        """Archive a function, or a whole app, as an operator would: no event starts it until that is taken back."""
        target = self._target(function, app)
        self._do(lambda: standing.give(self.engine, StandingKind.ARCHIVE, target, reason=reason))

    def unarchive(self, function: Any = None, *, app: str | None = None) -> bool:
        """Take that back. Returns false if no operator had archived it."""
        target = self._target(function, app)
        return self._do(lambda: standing.withdraw(self.engine, StandingKind.ARCHIVE, target)) is not None

    def drain(self, function: Any = None, *, app: str | None = None, reason: str = "") -> None:
        """Let nothing new begin, of a function, an app, or without either of all there is, as an operator would."""
        target = self._target(function, app)
        self._do(lambda: standing.give(self.engine, StandingKind.DRAIN, target, reason=reason))

    def undrain(self, function: Any = None, *, app: str | None = None) -> bool:
        """Take that back. Returns false if it was not drained."""
        target = self._target(function, app)
        return self._do(lambda: standing.withdraw(self.engine, StandingKind.DRAIN, target)) is not None

    def _target(self, function: Any, app: str | None) -> str:
        if app is not None:
            return of_app(app)
        return EVERYTHING if function is None else of_function(self._function_id(function))

    def rerun(
        self,
        run: RunView | str,
        *,
        from_step: str | None = None,
        input: Sequence[Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        merge: Mapping[str, Any] | None = None,
    ) -> RunView:
        """Start a run again as an operator would, and as ``rerun()`` of an embedded engine does."""
        run_id = run if isinstance(run, str) else run.id
        begin = begin_with(from_step, input, outputs)
        text, patch = (None if given is None else encode(given, "data") for given in (data, merge))
        started = self._do(lambda: rerun(self.engine, run_id, from_step=begin, data=text, merge=patch))
        return RunView(self.ask, started.id)

    def replay(
        self,
        function: Any = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        statuses: Sequence[str] = ("failed",),
        if_: str | None = None,
        rate: str | None = None,
        name: str = "",
        dry_run: bool = False,
    ) -> Order:
        """As ``replay()`` of an embedded engine does, and let all be started that has no rate. Returns the order as it
        then is: ``done`` is how many runs it has started, ``what.matched`` how many it is about."""
        function_id = None if function is None else self._function_id(function)
        of = (app.app_id for app in self._apps if function_id is None or function_id in app.functions)
        replay = Replay(
            app_id=next(of, self._apps[0].app_id),
            function_id=function_id,
            created_after=None if since is None else to_ms(since),
            created_before=None if until is None else to_ms(until),
            statuses=statuses,
            condition=if_,
            rate=rate,
            name=name,
        )
        ordered = self._do(lambda: replay_many(self.engine, replay, dry_run=dry_run))
        if dry_run:
            return ordered
        found = self._do(lambda: find_replay(self.engine, ordered.id))
        while rate is None and found.ended_at is None:
            self.advance(10)
            before, found = found, self._do(lambda: find_replay(self.engine, ordered.id))
            if found == before:
                break  # its function is paused
        return found

    def die_when(self, dies: Dies) -> None:
        """Let each process die at the first commit for which ``dies`` says so, from now on; see ``crash_sweep``."""
        self._dies = dies
        if self._node is not None:
            self._node.door.watch(self._watch)

    def run_until_idle(self) -> None:
        """Let everything happen that is due now, and let calls in flight end, which may take the time they wait for.

        Raises ``Stuck`` if a call does not come to an end: it names what is busy.
        """
        self._settle(None)

    def advance(self, by: timedelta | str | int) -> None:
        """Let time go by: ``"3d"``, a ``timedelta``, or milliseconds. All that comes due happens at its moment."""
        ms = duration_ms(by)
        if ms < 0:
            raise ValueError(f"time does not go back: advance({by!r})")
        self._advance_to(self._clock.now_ms() + ms)

    def advance_to(self, moment: datetime | str) -> None:
        """Let time go by until a moment: a ``datetime`` (naive means UTC) or ISO 8601 text."""
        at = to_ms(_moment(moment))
        if at < self._clock.now_ms():
            raise ValueError(f"time does not go back: it is {iso(self._clock.now_ms())} already")
        self._advance_to(at)

    def crash(self, *, down: timedelta | str | int = 0, app: Stepwell | Sequence[Stepwell] | None = None) -> None:
        """Kill the process and start it again on the same store: memory is lost, what was written stays.

        ``down`` is for how long nothing runs in between. ``app`` is the next version of the program, if it is another.
        """
        self._end_node()
        self._jump(self._clock.loop_time(self._clock.now_ms() + duration_ms(down)))
        if app is not None:
            for one in self._apps:
                one.bind(None)
            self._apps = _apps(app)
            self._finish(self._bind())
        self._boot()

    # Looking ----------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        return to_datetime(self._clock.now_ms())

    def run(self, function: Any = None, *, id: str | None = None) -> RunView:
        """The only run there is, of this function if one is given. Raises ``AssertionError`` naming those there are."""
        if id is not None:
            return RunView(self.ask, id)
        found = self.runs(function)
        if len(found) != 1:
            of = f" of {self._function_id(function)}" if function is not None else ""
            raise AssertionError(f"there is not one run{of} but {len(found)}{_listed(found or self.runs())}")
        return found[0]

    def runs(self, function: Any = None) -> list[RunView]:
        """All runs, of this function if one is given, oldest first."""
        wanted = self._function_id(function) if function is not None else None
        found: list[Run] = self.ask(ListRuns(_RUNS_MAX, function_id=wanted))
        return [RunView(self.ask, run.id) for run in reversed(found)]

    def published(
        self, channel: str | None = None, topic: str | Topic[Any] | None = None
    ) -> list[RealtimeMessage[Any]]:
        """The realtime messages that were published, of this channel and topic if they are given, oldest first."""
        return self._published.messages(channel, topic)

    def ask(self, question: Question[A]) -> A:
        """Put a question of ``stepwell.model.questions`` to the store."""
        if self._loop.is_closed():
            raise AssertionError("the harness is used outside of its 'with' statement")
        return self._do(lambda: self.store.read(question))

    # Asserting --------------------------------------------------------------------------------------------------------

    def assert_completed(self, run: RunView, output: Any = ...) -> None:
        """The run completed, with this output if one is given."""
        self._assert_status(run, RunStatus.COMPLETED)
        if output is not ... and run.output != output:
            _fail(run, f"it returned {run.output!r} instead of {output!r}")

    def assert_failed(self, run: RunView, containing: str = "") -> None:
        """The run failed, with an error whose name or message contains this text."""
        self._assert_status(run, RunStatus.FAILED)
        error = run.error
        if containing and (error is None or containing not in f"{error.name}: {error.message}"):
            _fail(run, f"its error does not contain {containing!r}")

    def assert_cancelled(self, run: RunView) -> None:
        self._assert_status(run, RunStatus.CANCELLED)

    def assert_waiting(self, run: RunView, step: str | None = None) -> None:
        """The run has not ended and waits: for this step, if one is given."""
        if run.ended:
            _fail(run, f"it does not wait: it is {run.status}")
        if step is not None and (step not in run.steps or not run.steps[step].record.open):
            _fail(run, f"it does not wait for step {step!r}")

    def assert_steps(self, run: RunView, *names: str) -> None:
        """The run has exactly these steps, first seen in this order."""
        found = list(run.steps)
        if found != list(names):
            _fail(run, f"its steps are {found}, not {list(names)}")

    def _assert_status(self, run: RunView, status: str) -> None:
        if run.status != status:
            _fail(run, f"it is {run.status}, not {status}")

    def _function_id(self, function: Any) -> str:
        found = function if isinstance(function, str) else str(function.id)
        known = {function_id for app in self._apps for function_id in app.functions}
        for candidate in (found, *(f"{app.app_id}-{found}" for app in self._apps)):
            if candidate in known:
                return candidate
        raise AssertionError(f"there is no function {found!r}; there are {', '.join(sorted(known))}")


def _apps(given: object) -> Sequence[Stepwell]:
    """The apps that are given, one or several. Raises ``ConfigurationError``."""
    from stepwell.sdk.app import Stepwell

    several = isinstance(given, Sequence) and not isinstance(given, str | bytes)
    apps: list[object] = list(cast("Sequence[object]", given)) if several else [given]
    wrong = [one for one in apps if not isinstance(one, Stepwell)]
    if wrong or not apps:
        file = isinstance(given, str) and given.endswith(".py")
        raise ConfigurationError(
            what=f"{wrong[0]!r:.80} is not an app" if wrong else "the list of apps is empty",
            why="a harness runs the functions of apps that are there, and imports none",
            fix=f"import the app from {given} and pass it"
            if file
            else "pass what Stepwell(…) gave, or a list of those",
        )
    return cast("list[Stepwell]", apps)


def _moment(value: datetime | str) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if not isinstance(moment, datetime):
        raise ConfigurationError(
            what=f"{value!r:.80} is not a moment",
            why="the virtual clock starts at one, and is moved to one",
            fix='give a datetime, or text such as "2026-01-01T09:00:00Z"',
        )
    return moment


def _listed(runs: list[RunView]) -> str:
    lines = [f"\n  {run.function_id} {run.id} {run.status}  {short(run.record.output)}" for run in runs[:20]]
    return "; there are:" + "".join(lines) if lines else "; there is none at all"


def _fail(run: RunView, what: str) -> None:
    __tracebackhide__ = True
    raise AssertionError(f"{what}\n{run.trace()}")
