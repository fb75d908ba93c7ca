"""A function as its app knows it: the code, what starts it, and the configuration the engine is told."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, cast, get_args, get_origin

from stepwell.errors import ConfigurationError
from stepwell.flow import BatchEvents, Concurrency, Debounce, Priority, RateLimit, RunConcurrency, Singleton, Throttle
from stepwell.limits import RETRIES_DEFAULT
from stepwell.model.event import INVOKED
from stepwell.sdk.bodies import body, hints
from stepwell.sdk.codec import Decode, decode_any, decoder
from stepwell.sdk.context import Context
from stepwell.sdk.events import RunFailed
from stepwell.sdk.options import Backoff, Cancel, Timeouts, check_retries
from stepwell.sdk.triggers import Trigger, TriggerEvent, decoders

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    E_contra = TypeVar("E_contra", default=Any, contravariant=True)
    R_co = TypeVar("R_co", default=Any, covariant=True)
else:
    from typing import TypeVar

    E_contra = TypeVar("E_contra", contravariant=True)
    R_co = TypeVar("R_co", covariant=True)


FAILURE: Final = "-failure"
"""What the id of a handler of failures ends in."""

# What an option is called on the wire where it is called something else in Python.
_OPTIONS: Final = {
    "triggers": "trigger",
    "rateLimit": "rate_limit",
    "batchEvents": "batch_events",
    "steps.step.retries.attempts": "retries",
    "expression": "if_",
    "if": "if_",
}
_PLACE: Final = re.compile(r"(?P<option>\w+)\[(?P<index>\d+)\](?:\.(?P<member>\w+))?")


class Function(Generic[E_contra, R_co]):
    """Durable code: what ``@app.create_function`` gives. Other functions start it with ``ctx.step.invoke``.

    ``id`` is the id by which the engine knows it, ``<app>-<function>``; ``handler`` is your own callable.
    """

    def __init__(
        self,
        app_id: str,
        id: str,
        handler: Callable[..., Any],
        *,
        name: str | None = None,
        triggers: Sequence[Trigger] = (),
        retries: int = RETRIES_DEFAULT,
        backoff: Backoff | None = None,
        concurrency: int | Concurrency | Sequence[Concurrency] | None = None,
        run_concurrency: int | RunConcurrency | Sequence[RunConcurrency] | None = None,
        idempotency: str | None = None,
        rate_limit: RateLimit | None = None,
        throttle: Throttle | None = None,
        debounce: Debounce | None = None,
        batch_events: BatchEvents | None = None,
        priority: Priority | None = None,
        singleton: Singleton | None = None,
        cancel: Cancel | Sequence[Cancel] | None = None,
        timeouts: Timeouts | None = None,
        strict: bool = False,
    ) -> None:
        check_retries(retries)
        _check_type("strict", strict, bool, "True")
        about = body(handler)
        _check_takes_context(id, handler)
        self.id = f"{app_id}-{id}"
        self.name = name or id
        self.handler = handler
        self.is_async = about.is_async
        self.strict = strict
        self._returns = about.decode
        self._decoders = decoders(triggers)
        self._invoked = self._decoder_of_invokes()
        self._config: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "triggers": [trigger.config() for trigger in triggers],
            "steps": {"step": {"id": "step", "name": "step", "retries": {"attempts": retries}}},
        }
        if backoff is not None:
            _check_type("backoff", backoff, Backoff, 'Backoff.table("1s", "10s", "1m")')
            self._config["backoff"] = {"delays_ms": list(backoff.delays_ms), "jitter_ms": backoff.jitter_ms}
        if concurrency is not None:
            limits = [one if isinstance(one, Concurrency) else Concurrency(one) for one in _several(concurrency)]
            self._config["concurrency"] = [limit.config() for limit in limits]
        if run_concurrency is not None:
            places = [
                one if isinstance(one, RunConcurrency) else RunConcurrency(one) for one in _several(run_concurrency)
            ]
            self._config["concurrency"] = {
                "fn": [place.config() for place in places],
                "step": self._config.get("concurrency", []),
            }
        if idempotency is not None:
            self._config["idempotency"] = idempotency
        for option, control, kind, example in (
            ("rate_limit", rate_limit, RateLimit, 'RateLimit(10, period="1m")'),
            ("throttle", throttle, Throttle, 'Throttle(10, period="1m")'),
            ("debounce", debounce, Debounce, 'Debounce("10s", key="event.data.user_id")'),
            ("batch_events", batch_events, BatchEvents, 'BatchEvents(100, timeout="5s")'),
            ("priority", priority, Priority, 'Priority(run="event.data.urgent ? 60 : 0")'),
            ("singleton", singleton, Singleton, 'Singleton("skip", key="event.data.user_id")'),
        ):
            if control is not None:
                _check_type(option, control, kind, example)
                self._config[kind.keyword] = control.config()
        if cancel is not None:
            for one in _several(cancel):
                _check_type("cancel", one, Cancel, 'Cancel("order/cancelled", match="data.order_id")')
            self._config["cancel"] = [one.config() for one in _several(cancel)]
        if timeouts is not None:
            _check_type("timeouts", timeouts, Timeouts, 'Timeouts(start="1h", finish="1d")')
            self._config["timeouts"] = timeouts.config()

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration as the wire has it (protocol §4.5)."""
        return self._config

    @property
    def returns(self) -> Decode:
        """Reads the JSON of a result into the type the function returns."""
        return self._returns

    def decode(self, event_name: str) -> Decode:
        """How to read the data of an event that starts it."""
        found = self._decoders.get(event_name)
        if found is None and event_name == INVOKED:
            found = self._invoked
        return found or decode_any

    def _decoder_of_invokes(self) -> Decode:
        """An invoke brings what the function is made for: by the class of its one trigger, or of its ``Context``."""
        if len(self._decoders) == 1:
            return next(iter(self._decoders.values()))
        return decoder(event_type(self.handler))

    def __repr__(self) -> str:
        return f"<Function {self.id}>"


def failure_handler(app_id: str, id: str, name: str | None, handler: Callable[..., Any]) -> Function[RunFailed, Any]:
    """The companion that runs once when a run of ``id`` has failed for good (semantics §6.4)."""
    quoted = f"{app_id}-{id}".replace("\\", "\\\\").replace("'", "\\'")
    trigger = TriggerEvent(RunFailed, if_=f"event.data.function_id == '{quoted}'")
    return Function(app_id, f"{id}{FAILURE}", handler, name=f"{name or id} (failure)", triggers=[trigger], retries=0)


def option(config: Mapping[str, Any], place: str) -> str:
    """What people who write Python call a place in a configuration: ``cancel[0].if`` is ``if_ of cancel``."""
    found = _PLACE.fullmatch(place)
    if found is None:
        return _OPTIONS.get(place, place)
    name, member = found["option"], found["member"]
    index = f"[{found['index']}]" if len(config[name]) > 1 else ""
    of = f"{_OPTIONS.get(name, name)}{index}"
    return of if member in (None, "event", "cron") else f"{_OPTIONS.get(member, member)} of {of}"


def event_type(handler: Callable[..., Any]) -> object:
    """The event class that a handler's ``Context[…]`` names, if any."""
    for name, annotation in hints(handler).items():
        if name != "return" and get_origin(annotation) is Context:
            return get_args(annotation)[0]
    return None


def _check_type(option: str, value: object, wanted: type, example: str) -> None:
    if not isinstance(value, wanted):
        raise ConfigurationError(
            what=f"{option} is {value!r:.80}", why=f"it is made with {wanted.__name__}", fix=f"write {option}={example}"
        )


def _check_takes_context(id: str, handler: Callable[..., Any]) -> None:
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):
        return  # some callables of C do not say what they take
    try:
        signature.bind(None)
    except TypeError as error:
        raise ConfigurationError(
            what=f"function {id!r} cannot be called with its context alone: {error}",
            why="that is the one argument it gets",
            fix="write it as async def work(ctx: Context) or def work(ctx: Context[Any, Sync])",
        ) from None


def _several(given: Any) -> list[Any]:
    is_many = isinstance(given, Sequence) and not isinstance(given, str)
    return list(cast("Sequence[Any]", given)) if is_many else [given]
