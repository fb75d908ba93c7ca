"""The controls of a function with what is in use of each, key by key."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from stepwell.engine.held import Reset, records
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
from stepwell.flow.keys import within
from stepwell.flow.window import Window
from stepwell.model.event import rfc3339
from stepwell.model.function import Function
from stepwell.model.history import Cell
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import GetCell, ListCells, SlotKeys
from stepwell.views.nouns import Reader
from stepwell.views.queues.holders import holders
from stepwell.views.queues.shapes import COUNT_MAX, LimitKeyView, LimitsView, LimitView, ResetView
from stepwell.views.why.shapes import Situation

NAMES: Final[dict[type, str]] = {
    Concurrency: "concurrency",
    RunConcurrency: "run-concurrency",
    Throttle: "throttle",
    RateLimit: "rate-limit",
    Idempotency: "idempotency",
    Singleton: "singleton",
    Debounce: "debounce",
    BatchEvents: "batch",
    Priority: "priority",
}
RESETTABLE: Final = (RateLimit, Idempotency, Throttle)
"""What a person can have forgotten: it is only memory. What is in use is given back by whoever uses it."""

_RESETS_SHOWN: Final = 20

_encode: Final = msgspec.json.Encoder().encode
_read_window: Final = msgspec.json.Decoder(Window).decode
_read_reset: Final = msgspec.json.Decoder(Reset).decode

Slotted = Concurrency | RunConcurrency | Singleton
Remembering = Throttle | RateLimit | Idempotency | Debounce | BatchEvents


async def limits(
    reader: Reader,
    function: Function,
    situation: Situation,
    *,
    limit: int,
    control: str | None = None,
    value: str | None = None,
    after: str | None = None,
) -> LimitsView:
    """Of each control, or of that one, up to ``limit`` keys in use: those after a value, or only that of one."""
    return LimitsView(
        function_id=function.id,
        limits=[
            await _limit(reader, function.id, each, situation, limit, value, after)
            for each in function.controls
            if control is None or NAMES[type(each)] == control
        ],
        resets=await _resets(reader, function, situation.now),
    )


async def resettable(
    reader: Reader, function: Function, value: str, now: int, control: str | None = None
) -> list[tuple[str, str]]:
    """The names of the controls of a function that remember something of this key, each with the key of its cell."""
    found: list[tuple[str, str]] = []
    for each in function.controls:
        if isinstance(each, RESETTABLE) and control in (None, NAMES[type(each)]):
            key = f"{each.prefix(function.id)}{value}"
            if await reader.read(GetCell(key, now, EVERYWHERE)) is not None:
                found.append((NAMES[type(each)], key))
    return found


async def _limit(
    reader: Reader,
    function_id: str,
    control: Any,
    situation: Situation,
    limit: int,
    value: str | None,
    after: str | None,
) -> LimitView:
    expression = None if isinstance(control, Priority) else control.key
    configuration = msgspec.Raw(_encode(control.config()))
    name = NAMES[type(control)]
    if isinstance(control, Priority):
        return LimitView(control=name, expression=control.run, configuration=configuration, keys=[])
    prefix = control.prefix(function_id)
    first, last = within(prefix)
    if value is not None:
        first, last = f"{prefix}{value}", f"{prefix}{value}\x01"
    elif after is not None:
        first = f"{prefix}{after}\x01"
    if isinstance(control, Slotted):
        keys = await _slots(reader, (first, last), limit + 1, situation, prefix)
    else:
        cells = await reader.read(ListCells(first, last, situation.now, limit + 1))
        keys = [_remembered(control, cell, prefix, situation.now) for cell in cells]
    if control.key is None:
        keys = [msgspec.structs.replace(key, value=None) for key in keys]
    more = len(keys) > limit
    return LimitView(
        control=name,
        expression=expression,
        configuration=configuration,
        keys=keys[:limit],
        more=more,
        after=keys[limit - 1].value if more else None,
    )


async def _slots(
    reader: Reader, where: tuple[str, str], limit: int, situation: Situation, prefix: str
) -> list[LimitKeyView]:
    return [
        LimitKeyView(
            value=key.removeprefix(prefix),
            used=used,
            held_by=tuple(await holders(reader, key, situation.bodies)),
        )
        for key, used in await reader.read(SlotKeys(*where, limit, COUNT_MAX))
    ]


def _remembered(control: Remembering, cell: Cell, prefix: str, now: int) -> LimitKeyView:
    value = cell.key.removeprefix(prefix)
    if isinstance(control, Throttle):
        free, at = control.turns(cell, now)
        return LimitKeyView(value=value, free=free, next_at=rfc3339(at))
    if isinstance(control, RateLimit):
        free, at = control.turns(cell, now)
        return LimitKeyView(value=value, free=free, next_at=rfc3339(at), run_id=cell.value.split("/")[2])
    if isinstance(control, Idempotency):
        return LimitKeyView(value=value, free=0, next_at=rfc3339(cell.expires_at), run_id=cell.value)
    window = _read_window(cell.value)
    return LimitKeyView(value=value, used=window.count, next_at=rfc3339(window.at), run_id=window.run_id)


async def _resets(reader: Reader, function: Function, now: int) -> list[ResetView]:
    prefix = records(function.id)
    found = [_read_reset(cell.value) for cell in await reader.read(ListCells(*within(prefix), now, _RESETS_SHOWN))]
    return [reset_view(function, each) for each in sorted(found, key=lambda each: each.at, reverse=True)]


def reset_view(function: Function, reset: Reset) -> ResetView:
    """What was forgotten, in words of the function as it is now."""
    key, at = reset.key, rfc3339(reset.at)
    for control in function.controls:
        if isinstance(control, RESETTABLE) and key.startswith(prefix := control.prefix(function.id)):
            value = key.removeprefix(prefix) if control.key is not None else None
            return ResetView(control=NAMES[type(control)], value=value, at=at, reason=reset.reason)
    name, _, value = key.split("/", 2)  # of a control that the function has no more
    return ResetView(control="rate-limit" if name == "rate" else name, value=value, at=at, reason=reset.reason)
