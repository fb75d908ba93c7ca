"""Windows of events that are open: what a debounce or a batch holds back, and until when."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from stepwell.engine.registry import Registry
from stepwell.flow import BatchEvents, Debounce
from stepwell.flow.keys import owned, owner, within
from stepwell.flow.window import Window
from stepwell.model.duration import to_ms
from stepwell.model.event import rfc3339
from stepwell.model.function import Function
from stepwell.model.history import Cell
from stepwell.model.questions import HeldIds, ListCells
from stepwell.views.nouns import Reader, moment
from stepwell.views.queues.shapes import WindowView

By = Literal["debounce", "batch"]

_KEYWORDS: Final[dict[By, str]] = {"debounce": Debounce.keyword, "batch": BatchEvents.keyword}

_read_window: Final = msgspec.json.Decoder(Window).decode


async def cells(
    reader: Reader,
    control: By,
    now: int,
    limit: int,
    *,
    function_id: str | None = None,
    value: str | None = None,
    after: str | None = None,
) -> list[Cell]:
    """The cells of the windows of a kind, by key: of one function, or of one value of its key, after that of a page."""
    prefix = f"{_KEYWORDS[control]}/" + (f"{owner(function_id)}/" if function_id is not None else "")
    first, last = within(prefix) if value is None else (f"{prefix}{value}", f"{prefix}{value}\x01")
    if after is not None:
        first = max(first, f"{after}\x01")
    return await reader.read(ListCells(first, last, now, limit))


async def window_view(reader: Reader, registry: Registry, control: By, cell: Cell) -> WindowView:
    window = _read_window(cell.value)
    _, function, value = cell.key.split("/", 2)
    function_id = owned(function)
    found = _control(registry.of_run(function_id), control)
    latest = None
    if isinstance(found, Debounce) and found.timeout is not None:
        latest = window.opened_at + to_ms(found.timeout)
    return WindowView(
        function_id=function_id,
        control=control,
        value=value if found is None or found.key is not None else None,
        expression=found.key if found is not None else None,
        run_id=window.run_id,
        opened_at=rfc3339(window.opened_at),
        fires_at=rfc3339(window.at),
        latest_at=moment(latest),
        count=window.count,
        size_max=found.max_size if isinstance(found, BatchEvents) else None,
        held=await reader.read(HeldIds(window.run_id)),
    )


def _control(function: Function | None, control: By) -> Debounce | BatchEvents | None:
    kind = Debounce if control == "debounce" else BatchEvents
    for each in function.controls if function is not None else ():
        if isinstance(each, kind):
            return each
    return None
