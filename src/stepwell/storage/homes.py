"""In which shards a row belongs that is copied from a store with another number of them (ADR 0044, 0047)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from stepwell.model.place import EVERYWHERE, place_of, place_of_holder
from stepwell.storage.moving import Row
from stepwell.storage.tables import BY_NAME, Table

Keyed = Callable[[str, str], int]
"""The place of what is named by a key and belongs to no run: of a cell (``""`` and its key), or of an item (its kind
and id). ``EVERYWHERE`` for what each shard has one of."""

_ITEMS: Final = BY_NAME["items"]
_CELLS: Final = BY_NAME["cells"]
_SLOTS: Final = BY_NAME["slots"]
_ITEM_ID, _ITEM_KIND, _ITEM_RUN = (_ITEMS.columns.index(name) for name in ("id", "kind", "run_id"))
_HOLDER: Final = _SLOTS.columns.index("holder")
_HOME: Final = {name: table.columns.index(table.home) for name, table in BY_NAME.items() if table.home is not None}


def shards_of(table: Table, row: Row, shards: int, keyed: Keyed) -> Sequence[int]:
    """The shards, of so many, in which a row is: one, or each."""
    place = _place(table, row, keyed)
    return range(shards) if place == EVERYWHERE else (place & (shards - 1),)


def _place(table: Table, row: Row, keyed: Keyed) -> int:
    at = _HOME.get(table.name)
    if at is not None:
        return place_of(row[at])
    if table is _SLOTS:
        return place_of_holder(row[_HOLDER])
    if table is _CELLS:
        return keyed("", row[0])
    assert table is _ITEMS, table.name
    run_id = row[_ITEM_RUN]
    return place_of(run_id) if run_id is not None else keyed(row[_ITEM_KIND], row[_ITEM_ID])
