"""The app: the functions of one program under one name, and the door through which it sends events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, TypeVar, Unpack, overload

import msgspec

from stepwell.clock import Clock
from stepwell.errors import ConfigurationError, NotRunning
from stepwell.flow import BatchEvents, Concurrency, Debounce, Priority, RateLimit, RunConcurrency, Singleton, Throttle
from stepwell.protocol.messages import Transport
from stepwell.sdk.bodies import is_async
from stepwell.sdk.client import EventPayload, Sender
from stepwell.sdk.codec import encode
from stepwell.sdk.context import Context, Sync
from stepwell.sdk.events import RunFailed, payloads
from stepwell.sdk.execution import RUNNING
from stepwell.sdk.function import FAILURE, DeferredFunction, Function, failure_handler, option
from stepwell.sdk.names import check_id, no_such_app_name, wrong_keywords
from stepwell.sdk.options import Backoff, Cancel, Timeouts
from stepwell.sdk.pool import THREADS_MAX
from stepwell.sdk.realtime import Realtime
from stepwell.sdk.transport import InProcess
from stepwell.sdk.triggers import TriggerCron, TriggerEvent, triggers

if TYPE_CHECKING:
    import os

    from stepwell.embedded import Embedded
    from stepwell.sdk.serve import Endpoint

E = TypeVar("E")
R = TypeVar("R")


class DeferOptions(TypedDict, total=False):
    """What ``create_defer`` takes besides ``id``; the docstring of ``create_function`` says what each means."""

    name: str | None
    retries: int
    backoff: Backoff | None
    concurrency: int | Concurrency | Sequence[Concurrency] | None
    run_concurrency: int | RunConcurrency | Sequence[RunConcurrency] | None
    idempotency: str | None
    rate_limit: RateLimit | None
    throttle: Throttle | None
    debounce: Debounce | None
    priority: Priority | None
    singleton: Singleton | None
    cancel: Cancel | Sequence[Cancel] | None
    timeouts: Timeouts | None
    strict: bool
    checkpointing: bool | None


class FunctionOptions(DeferOptions, total=False):
    """What ``create_function`` takes besides ``id`` and ``trigger``; its docstring says what each means."""

    batch_events: BatchEvents | None
    on_failure: (
        Callable[[Context[RunFailed]], Coroutine[Any, Any, Any]] | Callable[[Context[RunFailed, Sync]], Any] | None
    )


class ServeOptions(TypedDict, total=False):
    """What ``serve`` takes; ``Endpoint`` says what each means."""

    server: str
    dev: bool
    signing_key: str
    signing_key_fallback: str
    event_key: str
    url: str
    checkpointing: bool


class EmbeddedOptions(TypedDict, total=False):
    """What ``embedded`` takes besides the path; ``Embedded`` says what each means."""

    durability: Literal["full", "normal"]
    pool: int
    shards: int | None
    concurrency: int
    retention: timedelta | str | int | None
    retry_interval: timedelta | str | int | None
    grace: timedelta | str | int
    max_event_bytes: int
    max_steps: int
    max_chain: int


_OPTIONS = ("id", "trigger", *FunctionOptions.__annotations__)


class Define(Protocol[E]):
    """Makes a function of a callable that is given events of one type."""

    @overload
    def __call__(self, handler: Callable[[Context[E]], Coroutine[Any, Any, R]], /) -> Function[E, R]: ...
    @overload
    def __call__(self, handler: Callable[[Context[E, Sync]], R], /) -> Function[E, R]: ...


class DefineAny(Protocol):
    """Makes a function of a callable that says itself what events it is given."""

    @overload
    def __call__(self, handler: Callable[[Context[E]], Coroutine[Any, Any, R]], /) -> Function[E, R]: ...
    @overload
    def __call__(self, handler: Callable[[Context[E, Sync]], R], /) -> Function[E, R]: ...


class DefineDeferred(Protocol):
    """Makes a function that runs put off, of a callable that says itself what data it is given."""

    @overload
    def __call__(self, handler: Callable[[Context[E]], Coroutine[Any, Any, R]], /) -> DeferredFunction[E, R]: ...
    @overload
    def __call__(self, handler: Callable[[Context[E, Sync]], R], /) -> DeferredFunction[E, R]: ...


class Stepwell:
    """Functions and events under one name.

    ``app_id`` is the first part of every function's id, and should never change. ``logger`` is what ``ctx.logger``
    writes to, by default the standard library's logger ``stepwell.<app_id>``. Raises ``ConfigurationError``.
    """

    def __init__(self, app_id: str, *, logger: logging.Logger | None = None) -> None:
        if not isinstance(app_id, str) or not app_id.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                what="the app has no id",
                why="the ids of its functions begin with it",
                fix='name it, as in Stepwell("shop")',
            )
        check_id("the id of an app", app_id)
        self.app_id = app_id
        self.logger = logger or logging.getLogger(f"stepwell.{app_id}")
        self._functions: dict[str, Function[Any, Any]] = {}
        self._sender: Sender | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._served: Endpoint | None = None
        self.realtime = Realtime(lambda: self._reached().messages, self._blocking)

    @overload
    def create_function(self, *, id: str, trigger: type[E], **options: Unpack[FunctionOptions]) -> Define[E]: ...
    @overload
    def create_function(
        self, *, id: str, trigger: TriggerEvent[E], **options: Unpack[FunctionOptions]
    ) -> Define[E]: ...
    @overload
    def create_function(
        self, *, id: str, trigger: str | TriggerCron, **options: Unpack[FunctionOptions]
    ) -> Define[dict[str, Any]]: ...
    @overload
    def create_function(
        self,
        *,
        id: str,
        trigger: (
            list[str | type[Any] | TriggerEvent[Any] | TriggerCron]
            | tuple[str | type[Any] | TriggerEvent[Any] | TriggerCron, ...]
            | None
        ) = None,
        **options: Unpack[FunctionOptions],
    ) -> DefineAny: ...
    def create_function(self, *given: object, id: str = "", trigger: object = None, **options: Any) -> Any:
        """Declare durable code: ``@app.create_function(id="bill", trigger=Ordered)`` before ``async def`` or ``def``.

        ``id`` is what its runs are filed under and should never change. ``trigger`` is an event class, an event name, a
        ``TriggerEvent``, a ``TriggerCron`` or a list of up to 10; without one the function can only be invoked.

        - ``name``: what people see; default ``id``.
        - ``retries``: attempts after the first, 0 to 20, default 4; for each step, and for the code between steps.
        - ``backoff``: the pauses before the retries.
        - ``concurrency``: how many calls may be in flight, in all or per key; a list of up to 2.
        - ``run_concurrency``: a number, a ``RunConcurrency`` or two; so many runs under way, from first call to end.
        - ``idempotency``: an expression over ``event``; one run per value in 24 hours.
        - ``rate_limit``: a ``RateLimit``; starts beyond it are dropped, and recorded with their events.
        - ``throttle``: a ``Throttle``; starts beyond it wait their turn.
        - ``debounce``: a ``Debounce``; one start for events that come in a row, with the newest.
        - ``batch_events``: a ``BatchEvents``; one start for many events, which ``ctx.events`` holds.
        - ``priority``: a ``Priority``; which runs that wait go first.
        - ``singleton``: a ``Singleton``; one run at a time, a second one is dropped or takes its place.
        - ``cancel``: events that cancel a run; a list of up to 5.
        - ``timeouts``: cancel a run that starts or finishes too late.
        - ``strict``: a run that finds other steps in the code than it remembers fails with ``CodeChanged``, where
          otherwise it goes on and notes it; only code that does one thing at a time can be compared.
        - ``checkpointing``: where the app is served, whether steps are reported while a call goes on, or each has its
          own call; by default as ``serve`` has it.
        - ``on_failure``: called once when a run has failed for good, with ``RunFailed`` as its event.

        Raises ``ConfigurationError`` and its kin for everything that is wrong with the declaration.
        """
        if given:
            raise _not_by_name(given[0], "create_function")
        unknown = options.keys() - FunctionOptions.__annotations__.keys()
        if unknown:
            raise wrong_keywords(f"create_function(id={id!r})", unknown, _OPTIONS)
        _check_named(id, "create_function")
        on_failure = options.pop("on_failure", None)
        check_id("the id of a function", id, before=f"{self.app_id}-", after=FAILURE if on_failure else "")
        started_by = triggers(trigger)

        def define(handler: Callable[..., Any]) -> Function[Any, Any]:
            function = Function[Any, Any](self.app_id, id, handler, triggers=started_by, **options)
            if on_failure is None:
                self._add(function)
                return function
            if is_async(on_failure) != function.is_async:
                raise ConfigurationError(
                    what=f"on_failure of function {id!r} is {_colour(on_failure)}, the function {_colour(handler)}",
                    why="both are run in the same way",
                    fix="write both with def or both with async def",
                )
            self._add(function, failure_handler(self.app_id, id, function.name, on_failure))
            return function

        return define

    def create_defer(self, *given: object, id: str = "", **options: Unpack[DeferOptions]) -> DefineDeferred:
        """Declare code that other functions put off until their runs end: ``ctx.defer("receipt", function=…, data=…)``.

        It is a function like those of ``create_function``, and takes the same options, but for a trigger,
        ``batch_events`` and ``on_failure``. The class in its ``Context[…]`` says what data it takes. Raises
        ``ConfigurationError``.
        """
        if given:
            raise _not_by_name(given[0], "create_defer")
        unknown = options.keys() - DeferOptions.__annotations__.keys()
        if unknown:
            raise wrong_keywords(f"create_defer(id={id!r})", unknown, ("id", *DeferOptions.__annotations__))
        _check_named(id, "create_defer")
        check_id("the id of a function", id, before=f"{self.app_id}-")

        def define(handler: Callable[..., Any]) -> DeferredFunction[Any, Any]:
            function = DeferredFunction[Any, Any](self.app_id, id, handler, **options)
            self._add(function)
            return function

        return define

    @property
    def functions(self) -> Mapping[str, Function[Any, Any]]:
        """All functions by their full ids, handlers of ``on_failure`` among them."""
        return MappingProxyType(self._functions)

    def configs(self) -> list[dict[str, Any]]:
        """What the engine must be told of the functions (protocol §4.5)."""
        return [dict(function.config) for function in self._functions.values()]

    def transport(self, clock: Clock, *, threads_max: int = THREADS_MAX) -> Transport:
        """Runs the functions in this process. Code that blocks has at most ``threads_max`` threads."""
        return InProcess(self, clock, threads_max)

    def bind(self, sender: Sender | None) -> None:
        """Say where ``send`` sends to; ``None`` for nowhere. Call it where the sender's event loop runs.

        Raises ``ConfigurationError`` if it sends somewhere else already.
        """
        if sender is not None and self._sender is not None and self._sender is not sender:
            raise ConfigurationError(
                what=f"app {self.app_id!r} is connected to an engine already",
                why="what it sends goes to one engine, so a second one would take the events away from the first",
                fix="end the first one before, or make a second app with the same functions",
            )
        self._sender = sender
        self._loop = asyncio.get_running_loop() if sender is not None else None

    def embedded(self, path: str | os.PathLike[str], **options: Unpack[EmbeddedOptions]) -> Embedded:
        """An engine inside this process, on one SQLite file: ``async with app.embedded("shop.db"): …``. Or on a
        PostgreSQL database, of which ``path`` is the URL.

        ``Embedded`` says what the options mean. Raises ``ConfigurationError`` for one that does not exist and for a
        value that cannot be used.
        """
        from stepwell.embedded import Embedded

        unknown = options.keys() - EmbeddedOptions.__annotations__.keys()
        if unknown:
            raise wrong_keywords("embedded()", unknown, EmbeddedOptions.__annotations__)

        return Embedded(self, path, **options)

    def serve(self, **options: Unpack[ServeOptions]) -> Endpoint:
        """The functions of this app at an address of your web application, for a Stepwell server to call.

        It is an ASGI application, to be mounted; its ``wsgi`` is a WSGI one. ``Endpoint`` says what the options mean.
        What the app sends goes to that server from now on. Raises ``ConfigurationError``.
        """
        from stepwell.sdk.serve import Endpoint

        unknown = options.keys() - ServeOptions.__annotations__.keys()
        if unknown:
            raise wrong_keywords("serve()", unknown, ServeOptions.__annotations__)
        endpoint = Endpoint(self, **options)
        self._served = endpoint
        return endpoint

    async def send(self, events: object) -> list[str]:
        """Send an event, or a list of up to 5,000: an ``Event``, or an instance of an event class.

        They are durable, all or none, when this returns their internal ids in the same order. Inside a function prefer
        ``ctx.step.send_event``, which sends once however often the function is called. Raises ``InvalidEvent`` naming
        the field that is wrong, ``EventTooLarge``, ``NotRunning`` or ``StorageUnavailable``.
        """
        return await self.deliver(payloads(events))

    async def send_signal(self, signal: str, data: object = None) -> str | None:
        """Give ``data`` to the run that waits for this signal: its id, or ``None`` if nobody waits.

        When this returns an id, the run goes on with it. A signal is not kept for those who come later. Raises
        ``InvalidSignal``, ``InvalidOutput``, ``NotRunning`` or ``StorageUnavailable``.
        """
        return await self._reached().signal(signal, encode(data, "data"))

    def send_sync(self, events: object) -> list[str]:
        """As ``send``, for code that runs in another thread than the event loop. It blocks until all is durable."""
        found = payloads(events)
        return self._blocking(lambda: self.deliver(found), "send_sync", "send")

    def _blocking(self, work: Callable[[], Coroutine[Any, Any, R]], name: str, instead: str) -> R:
        loop = self._loop
        if loop is None and self._served is not None:
            loop = self._served.background()
        if loop is None:
            raise self._unbound()
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is loop:
            raise NotRunning(
                what=f"{name} was called in the thread of the event loop",
                why="it would wait for the very loop it blocks",
                fix=f"write await app.{instead}(…) there",
            )
        return asyncio.run_coroutine_threadsafe(work(), loop).result()

    async def deliver(self, events: Sequence[EventPayload], seed: str | None = None) -> list[str]:
        """Hand over events that are written out already."""
        running = RUNNING.get()
        if running is not None:  # a chain of runs that start one another is to be seen (invariants S41)
            run_id = running.execution.call.run_id
            events = [msgspec.structs.replace(event, run_id=run_id) for event in events]
        return await self._reached().send(events, seed=seed)

    def _reached(self) -> Sender:
        """Whom the app sends to: an engine in this process, or the server that calls it."""
        if self._sender is not None:
            return self._sender
        if self._served is None:
            raise self._unbound()
        return self._served.server

    def _add(self, *functions: Function[Any, Any]) -> None:
        from stepwell.protocol.config import parse_function  # compiles expressions: not needed to import the SDK

        for function in functions:
            if function.id in self._functions:
                raise ConfigurationError(
                    what=f"there are two functions with the id {function.id!r}",
                    why="runs are filed under the id of their function",
                    fix="give one of them another id",
                )
            parse_function(dict(function.config), self.app_id, called=partial(option, function.config))
        self._functions.update((function.id, function) for function in functions)

    def _unbound(self) -> NotRunning:
        return NotRunning(
            what=f"app {self.app_id!r} is not connected to an engine",
            why="an event is only sent when something has stored it",
            fix='send it inside `async with app.embedded("app.db"):`, or bind the app to a sender',
        )

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise no_such_app_name(name, dir(type(self)))


def _check_named(id: object, declared: str) -> None:
    if not isinstance(id, str) or not id.strip():
        raise ConfigurationError(
            what="a function has no id",
            why="its runs are found by it, also by the next version of the program",
            fix=f'name it, as in @app.{declared}(id="bill")',
        )


def _not_by_name(given: object, declared: str) -> ConfigurationError:
    trigger = ", trigger=…" if declared == "create_function" else ""
    if callable(given):
        name = getattr(given, "__name__", "work")
        mostly = ", and mostly a trigger" if trigger else ""
        return ConfigurationError(
            what=f"@app.{declared} stands before {name} without its parentheses",
            why=f"what it declares has an id, under which its runs are filed{mostly}",
            fix=f'write @app.{declared}(id="{name.replace("_", "-")}"{trigger})',
        )
    return ConfigurationError(
        what=f"{declared} got {given!r:.80} without saying what it is",
        why="all that it takes is given by name",
        fix=f'write @app.{declared}(id="{given}"{trigger})' if isinstance(given, str) else "write id=… before it",
    )


def _colour(handler: Callable[..., Any]) -> str:
    return "async" if is_async(handler) else "not async"
