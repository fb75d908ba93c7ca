"""In which shards a row belongs that is copied from a store with another number of them (ADR 0035, 0038)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from stepwell.model.place import place_of, place_of_holder
from stepwell.storage.moving import Row
from stepwell.storage.tables import BY_NAME, Table

_ITEMS: Final = BY_NAME["items"]
_CELLS: Final = BY_NAME["cells"]
_SLOTS: Final = BY_NAME["slots"]
_ITEM: Final = tuple(_ITEMS.columns.index(name) for name in ("id", "kind", "function_id", "run_id"))
_HOLDER: Final = _SLOTS.columns.index("holder")
_HOME: Final = {name: table.columns.index(table.home) for name, table in BY_NAME.items() if table.home is not None}


class Keyed(NamedTuple):
    """The places of what is named by a key and not after a run, which only the engine knows.

    ``cell`` is given key and value, ``timer`` kind, id and function of an item; ``None`` is where the cell of its name
    is, and ``EVERYWHERE`` for what each shard has one of.
    """

    cell: Callable[[str, str], int]
    timer: Callable[[str, str, str], int | None]


def place_of_row(table: Table, row: Row, keyed: Keyed) -> int | None:
    """The place of a row, ``EVERYWHERE``, or ``None`` for an item that is where the cell of its name is."""
    at = _HOME.get(table.name)
    if at is not None:
        return place_of(row[at])
    if table is _SLOTS:
        return place_of_holder(row[_HOLDER])
    if table is _CELLS:
        return keyed.cell(row[0], row[1])
    assert table is _ITEMS, table.name
    id, kind, function_id, run_id = (row[n] for n in _ITEM)
    return place_of(run_id) if run_id is not None else keyed.timer(kind, id, function_id)
