"""Which functions exist, ready to be asked: triggers by event name, conditions compiled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

import msgspec

from stepwell.expressions import EvaluationError, Expression, compile_expression
from stepwell.flow.placement import Placement, placements
from stepwell.model.event import Event
from stepwell.model.function import Function
from stepwell.model.schedule import Schedule
from stepwell.model.standing import Orders, StandingKind
from stepwell.model.trigger import CronTrigger, EventTrigger


def under_orders(function: Function, orders: Orders) -> Function:
    """The function with what people have decided for its app, or for all there is. Its own pause goes before that of
    its app. A durable endpoint is left alone: its own clients call it."""
    if function.endpoint is not None:
        return function
    pause = orders.find(StandingKind.PAUSE, function.id, function.app_id) if function.pause is None else None
    drain = orders.find(StandingKind.DRAIN, function.id, function.app_id)
    if pause is None and drain is None:
        return function
    return msgspec.structs.replace(function, pause=pause.pause if pause is not None else function.pause, drain=drain)


class Match:
    """A trigger of a function, with its condition compiled."""

    __slots__ = ("condition", "function", "trigger")

    def __init__(self, function: Function, trigger: EventTrigger) -> None:
        self.function = function
        self.trigger = trigger
        self.condition: Expression | None = (
            compile_expression(trigger.expression, boolean=True) if trigger.expression else None
        )

    def fits(self, env: Mapping[str, object], now: int) -> bool:
        """Does the condition hold? One that cannot be evaluated does not."""
        try:
            return self.condition is None or self.condition.matches(env, now_ms=now)
        except EvaluationError:
            return False


class Registry:
    """An immutable picture of the registered functions. A change of configuration makes a new one.

    ``departed`` are those that an app no longer lists, while it is still served: nothing starts them, and the runs that
    they have go on as long as the app has the code (semantics §9.6). So are those that a person has archived.
    ``paused`` is whether any of all these is. ``placements`` says of those that have rules where their runs are.
    """

    def __init__(self, functions: Iterable[Function] = (), departed: Iterable[Function] = ()) -> None:
        self.functions: dict[str, Function] = {function.id: function for function in functions}
        self.departed: dict[str, Function] = {function.id: function for function in departed}
        self.paused = any(one.pause is not None for one in (*self.functions.values(), *self.departed.values()))
        self.placements = placements((*self.departed.values(), *self.functions.values()))
        self._exact: dict[str, list[Match]] = {}
        self._prefix: dict[str, list[Match]] = {}
        for function in self.functions.values():
            for trigger in function.triggers:
                if isinstance(trigger, EventTrigger):
                    match = Match(function, trigger)
                    if trigger.event.endswith("*"):
                        self._prefix.setdefault(trigger.event[:-1], []).append(match)
                    else:
                        self._exact.setdefault(trigger.event, []).append(match)

    def get(self, function_id: str) -> Function | None:
        return self.functions.get(function_id)

    def of_run(self, function_id: str) -> Function | None:
        """The function of a run that exists: it may have left the list of its app by now."""
        return self.functions.get(function_id) or self.departed.get(function_id)

    def listens(self, function_id: str, event_name: str) -> bool:
        """Does this event start this function?"""
        return any(match.function.id == function_id for match in self.matches(event_name))

    def matches(self, event_name: str) -> list[Match]:
        """The triggers this name satisfies, in the order in which each function declares them (semantics §2.1)."""
        exact = self._exact.get(event_name)
        if not self._prefix:
            return exact or []
        found = list(exact or ())
        for prefix in _prefixes(event_name):
            found += self._prefix.get(prefix, ())
        if len(found) > 1:
            found.sort(key=lambda match: match.function.triggers.index(match.trigger))
        return found

    def place(self, event: Event, now: int) -> int | None:
        """Where an event is beside the runs that it starts: at the place of the first of them, if all are of functions
        with rules. ``None`` if it starts none, or one that will be where the event is: that is not to be drawn to where
        others are counted. It only saves work if it is right: what is decided does not rely on it."""
        if not self.placements:
            return None
        matches = self.matches(event.name)
        if not any(match.function.id in self.placements for match in matches):
            return None
        env = {"event": event.fields()}
        first: Placement | None = None
        for match in matches:
            function = match.function
            if function.pause is not None or function.drain is not None or not match.fits(env, now):
                continue
            placement = self.placements.get(function.id)
            if placement is None:
                return None
            first = first or placement
        return first.of(env, now) if first is not None else None

    def place_of_run(self, function_id: str, event: Event, now: int) -> int | None:
        """Where a run of this function is counted that is started by the event; ``None`` if it has no rules."""
        placement = self.placements.get(function_id)
        return placement.of({"event": event.fields()}, now) if placement is not None else None


def matches_name(trigger: str, name: str) -> bool:
    """Is this the event name that a trigger is about, or one of those?"""
    return trigger == name or (trigger.endswith("*") and trigger[:-1] in _prefixes(name))


def _prefixes(name: str) -> Iterator[str]:
    """``a/b.c`` is matched by ``a/*`` and ``a/b.*``: every prefix that ends in a separator."""
    for index, char in enumerate(name):
        if char in "/." and index + 1 < len(name):
            yield name[: index + 1]


_calendar = lru_cache(maxsize=1024)(Schedule.parse)  # kept: it remembers where in the calendar the last tick was


def cron_triggers(function: Function) -> dict[str, tuple[CronTrigger, Schedule]]:
    """The cron triggers of a function by their text."""
    return {
        trigger.cron: (trigger, _calendar(trigger.cron))
        for trigger in function.triggers
        if isinstance(trigger, CronTrigger)
    }
