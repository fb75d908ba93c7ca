"""What starts a function: events and the clock (semantics §2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, cast

from stepwell.errors import ConfigurationError
from stepwell.model.duration import format_duration
from stepwell.sdk.codec import Decode, decode_any
from stepwell.sdk.events import event_decoder, event_name
from stepwell.sdk.options import Duration, check_condition, length_ms

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    E_co = TypeVar("E_co", default=dict[str, Any], covariant=True)
else:
    from typing import TypeVar

    E_co = TypeVar("E_co", covariant=True)


class TriggerEvent(Generic[E_co]):
    """Start on events of a class or name. A name may end in ``/*`` or ``.*``; ``if_`` is an expression over ``event``.

    Raises ``ConfigurationError``.
    """

    __slots__ = ("event", "if_", "type")

    def __init__(self, event: str | type[E_co], *, if_: str | None = None) -> None:
        self.event = event_name(event)
        self.type = None if isinstance(event, str) else event
        if if_ is not None:
            check_condition(if_)
        self.if_ = if_

    def config(self) -> dict[str, Any]:
        return {"event": self.event} if self.if_ is None else {"event": self.event, "expression": self.if_}


class TriggerCron:
    """Start by the clock: five fields (minute, hour, day, month, weekday) in the time zone ``tz``.

    ``jitter``, 1 s to 5 min, delays each start by a fixed chance, so that not everything starts at once. ``missed``
    says what happens to moments that passed while nothing ran: the ``"latest"`` of them starts a run, or ``"all"``,
    or none (``"skip"``). Raises ``ConfigurationError``, and ``create_function`` raises ``InvalidCron``.
    """

    __slots__ = ("cron", "jitter", "missed")

    def __init__(
        self,
        cron: str,
        *,
        tz: str = "UTC",
        jitter: Duration | None = None,
        missed: Literal["latest", "skip", "all"] = "latest",
    ) -> None:
        if missed not in ("latest", "skip", "all"):
            raise ConfigurationError(
                what=f"missed is {missed!r}",
                why="it says what happens to moments that passed while nothing ran",
                fix='choose "latest", "skip" or "all"',
            )
        self.cron = cron if tz == "UTC" else f"TZ={tz} {cron}"
        self.jitter = jitter
        self.missed = missed

    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = {"cron": self.cron}
        if self.jitter is not None:
            found["jitter"] = format_duration(length_ms("jitter", self.jitter))
        if self.missed != "latest":
            found["missed"] = self.missed
        return found


Trigger = TriggerEvent[Any] | TriggerCron


def triggers(given: object) -> list[Trigger]:
    """The triggers for whatever users give: an event class, a name, a trigger, a list of these, or nothing."""
    if given is None:
        return []
    if isinstance(given, Sequence) and not isinstance(given, str):
        several = cast("Sequence[object]", given)
        if not several:
            raise ConfigurationError(
                what="the list of triggers is empty",
                why="nothing would start the function",
                fix="name what starts it; for a function that is only invoked leave trigger out",
            )
        return [_trigger(one) for one in several]
    return [_trigger(given)]


def decoders(given: Sequence[Trigger]) -> dict[str, Decode]:
    """How to read the data of each event name. Names that match a wildcard, or nothing here, stay plain JSON."""
    found: dict[str, Decode] = {}
    for trigger in given:
        if isinstance(trigger, TriggerEvent):
            found[trigger.event] = decode_any if trigger.type is None else event_decoder(trigger.type)
    return found


def _trigger(given: object) -> Trigger:
    if isinstance(given, TriggerEvent | TriggerCron):
        return given  # pyright: ignore[reportUnknownVariableType]
    if isinstance(given, str | type):
        return TriggerEvent(cast("str | type[Any]", given))
    raise ConfigurationError(
        what=f"{given!r:.80} is not a trigger",
        why="a trigger says which events or which clock start the function",
        fix='give an event class, "app/thing.happened", TriggerEvent(…), TriggerCron(…) or a list of these',
    )
