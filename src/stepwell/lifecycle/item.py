"""The states of an item. They are not stored: due moment, lease and backlog say which it is (hot-path.md §3.4)."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from stepwell.lifecycle import table
from stepwell.model.item import Item


class ItemState(StrEnum):
    SCHEDULED = "SCHEDULED"  # visible from its moment on
    LEASED = "LEASED"  # somebody is at it, until the lease ends
    BLOCKED = "BLOCKED"  # its moment came, but its backlog has no free slot
    PARKED = "PARKED"  # owed nothing until something happens to its run
    DROPPED = "DROPPED"  # done with


ITEM: Final[dict[str, frozenset[str]]] = {
    ItemState.SCHEDULED: frozenset({ItemState.SCHEDULED, ItemState.LEASED, ItemState.BLOCKED, ItemState.DROPPED}),
    # A lease that ran out is granted again, or blocked if its slots were taken meanwhile.
    ItemState.LEASED: frozenset(ItemState),
    ItemState.BLOCKED: frozenset({ItemState.SCHEDULED, ItemState.DROPPED}),
    ItemState.PARKED: frozenset({ItemState.SCHEDULED, ItemState.DROPPED}),
    ItemState.DROPPED: frozenset(),
}

BORN: Final = frozenset({ItemState.SCHEDULED, ItemState.LEASED})
"""A run that nothing holds back is leased to the process that accepted its event (hot-path.md §2)."""


def state(item: Item | None) -> ItemState:
    """The state of a stored item; ``None`` is one that is gone."""
    if item is None:
        return ItemState.DROPPED
    if item.lease:
        return ItemState.LEASED
    if item.at is not None:
        return ItemState.SCHEDULED
    return ItemState.PARKED if item.backlog is None else ItemState.BLOCKED


def advance(old: str, new: str) -> str:
    """``new``, if an item that is ``old`` may become so; raises ``IllegalTransition``."""
    return table.advance(ITEM, old, new)
