"""Where that is which is named by a key and not after a run, said of a row alone: for copies into another database.

Whoever writes such a row knows the place from what it is about. A copy has only the row, and rules may have changed
since it was written. Where nothing in it tells, each shard gets one: what a timer or a cell is about is then in one of
them, and in the others it finds nothing to do and goes away.
"""

from __future__ import annotations

from typing import Final

from stepwell.engine.pressure import PREFIX as PRESSURE
from stepwell.engine.windows import read_window
from stepwell.flow import HOLD
from stepwell.flow.placement import cell_place, function_place
from stepwell.flow.throttle import Throttle
from stepwell.model.history import Cell
from stepwell.model.item import ItemKind
from stepwell.model.place import EVERYWHERE, place_for, place_of, place_of_item

_WINDOWS: Final = frozenset(control.keyword for control in HOLD)
_EVERYWHERE: Final = frozenset({Throttle.keyword, PRESSURE.removesuffix("/"), "release", "review"})


def place_of_cell(key: str, value: str) -> int:
    """The place of a cell, or ``EVERYWHERE``."""
    kind, _, rest = key.partition("/")
    if kind in _WINDOWS and value:  # one that is forgotten is empty until it is swept
        return place_of(read_window(Cell(key=key, value=value, expires_at=0)).run_id)
    if kind in _EVERYWHERE:
        return EVERYWHERE
    if kind == "event":
        return place_for(rest.partition("/")[2])
    if kind == "rerun":
        return place_of(rest.partition("/")[0])
    if kind == "reset":
        return cell_place(rest.partition("/")[2])
    if kind in ("order", "secret"):
        return place_for(key)
    return cell_place(key)


def place_of_timer(kind: str, id: str, function_id: str) -> int | None:
    """The place of an item that belongs to no run, or ``EVERYWHERE``; ``None`` if it is beside the cell of its name."""
    match ItemKind(kind):
        case ItemKind.CRON:
            return function_place(function_id)
        case ItemKind.WINDOW:
            return None
        case ItemKind.ORDER:
            return place_of(id.partition("/")[2])
        case ItemKind.THROTTLE | ItemKind.PRESSURE | ItemKind.RELEASE | ItemKind.REVIEW:
            return EVERYWHERE
        case ItemKind.RUN | ItemKind.START_TIMEOUT | ItemKind.FINISH_TIMEOUT:
            return place_of_item(id)
