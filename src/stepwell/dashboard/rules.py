"""The rules of a function as people read them: a sentence for each, and the keys of it that are in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from stepwell.flow import (
    BatchEvents,
    Concurrency,
    Debounce,
    Idempotency,
    Priority,
    RateLimit,
    RunConcurrency,
    Singleton,
    Throttle,
)
from stepwell.flow.options import length_ms
from stepwell.limits import DEDUPE_WINDOW
from stepwell.model.duration import format_duration, to_ms
from stepwell.model.function import Function
from stepwell.views.queues.shapes import AmountView, LimitKeyView, LimitView
from stepwell.views.wording import count

_SHARED = {"fn": "", "env": ", together with all functions of the environment", "account": ", with all of the account"}


class KeyRow(NamedTuple):
    """A key in use. ``waiting`` are the runs that wait for it, ``most`` how much of it there is."""

    key: LimitKeyView
    waiting: AmountView | None
    most: int | None


class Rule(NamedTuple):
    """A control. ``kind`` says how what is in use of it looks: ``slots``, ``starts``, ``window``, ``seen``, ``lock`` or
    ``none``."""

    name: str
    kind: str
    sentence: str
    expression: str | None
    condition: str | None
    rows: Sequence[KeyRow]
    more: bool


_KINDS: dict[type, str] = {
    Concurrency: "slots",
    RunConcurrency: "slots",
    Throttle: "starts",
    RateLimit: "starts",
    Idempotency: "seen",
    Singleton: "lock",
    Debounce: "window",
    BatchEvents: "window",
    Priority: "none",
}


def rules(function: Function, found: Sequence[LimitView], waiting: Mapping[str, AmountView]) -> list[Rule]:
    """The controls of a function, each with what is ``found`` of it, in their order; ``waiting`` by backlog."""
    return [_rule(function, control, limit, waiting) for control, limit in zip(function.controls, found, strict=True)]


def _rule(function: Function, control: Any, limit: LimitView, waiting: Mapping[str, AmountView]) -> Rule:
    return Rule(
        name=limit.control,
        kind=_KINDS[type(control)],
        sentence=sentence(control),
        expression=limit.expression,
        condition=control.if_ if isinstance(control, BatchEvents) else None,
        rows=[KeyRow(key, _waits(function, control, key, waiting), _most(control)) for key in limit.keys],
        more=limit.more,
    )


def sentence(control: Any) -> str:
    """What a control does, in a sentence. Its key stands beside it."""
    if isinstance(control, Concurrency):
        return f"At most {count(control.limit, 'step')} at a time{_SHARED[control.scope]}." if control.limit else _OPEN
    if isinstance(control, RunConcurrency):
        if not control.limit:
            return _OPEN
        return f"At most {count(control.limit, 'run')} under way at a time{_SHARED[control.scope]}."
    if isinstance(control, Throttle):
        burst = f", {control.burst:,} more at once" if control.burst else ""
        return f"Starts {count(control.limit, 'run')} in {_length(control.period)}{burst}; the others wait their turn."
    if isinstance(control, RateLimit):
        return f"Starts {count(control.limit, 'run')} in {_length(control.period)}; the others never start."
    if isinstance(control, Idempotency):
        return f"Starts one run in {format_duration(to_ms(DEDUPE_WINDOW))} for each key."
    if isinstance(control, Singleton):
        then = "is not started" if control.mode == "skip" else "cancels the first"
        return f"One run at a time, from its creation to its end; a second one {then}."
    if isinstance(control, Debounce):
        latest = f", for {_length(control.timeout)} at most" if control.timeout is not None else ""
        return f"Waits until no event has come for {_length(control.period)}{latest}, and starts with the newest."
    if isinstance(control, BatchEvents):
        return f"Collects up to {count(control.max_size, 'event')} for one run, for {_length(control.timeout)} at most."
    assert isinstance(control, Priority), control
    return "Moves a run forward among those that wait, by so many seconds."


_OPEN = "No limit."


def _length(value: Any) -> str:
    return format_duration(length_ms(value))


def _most(control: Any) -> int | None:
    if isinstance(control, Concurrency | RunConcurrency):
        return control.limit
    return control.max_size if isinstance(control, BatchEvents) else None


def _waits(function: Function, control: Any, key: LimitKeyView, waiting: Mapping[str, AmountView]) -> AmountView | None:
    if not isinstance(control, Concurrency | RunConcurrency | Throttle):
        return None
    return waiting.get(f"{control.prefix(function.id)}{key.value or ''}")
