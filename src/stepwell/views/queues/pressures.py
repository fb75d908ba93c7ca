"""Which queues of a function are to be left alone for a while, and who said so (``engine/pressure.py``)."""

from __future__ import annotations

from typing import Literal, cast

from stepwell.engine.pressure import PREFIX, decode
from stepwell.engine.registry import Registry
from stepwell.model.event import rfc3339
from stepwell.model.history import Cell
from stepwell.model.questions import ListCells
from stepwell.views.nouns import Reader
from stepwell.views.queues.names import limit_of, named, ranges
from stepwell.views.queues.shapes import PressureView


async def pressures(reader: Reader, registry: Registry, function_id: str, now: int, limit: int) -> list[PressureView]:
    """The first ``limit`` of them, by queue."""
    function = registry.of_run(function_id)
    found: list[PressureView] = []
    for first, last in ranges(function_id, function):
        if first.startswith(PREFIX) and len(found) < limit:
            cells: list[Cell] = await reader.read(ListCells(first, last, now, limit - len(found)))
            for cell in cells:
                control = limit_of(cell.key, function)
                keyed = control is not None and control.key is not None
                said = decode(cell.value.encode())
                found.append(
                    PressureView(
                        control=_control(cell.key) if keyed else None,
                        value=named(cell.key).value if keyed else None,
                        until=rfc3339(cell.expires_at),
                        run_id=said.run_id,
                        step=said.step,
                        message=said.message,
                    )
                )
    return found


def _control(key: str) -> Literal["concurrency", "run-concurrency", "throttle"]:
    return cast('Literal["concurrency", "run-concurrency", "throttle"]', named(key.removeprefix(PREFIX)).by)
