"""Where a row lives: the place in an id, and the shard that a store makes of it (ADR 0035).

A place is a number from 0 to 1023, which is written in the last two characters of the ids of runs, events and orders.
A store with N shards keeps what is at a place in the shard ``place & (N - 1)``, so whoever has the id knows the shard,
without a look-up and for every N. What is named by a key has a place that whoever asks must know.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from typing import Final

PLACES: Final = 1024
"""How many places there are, and the most shards that a store can have."""
EVERYWHERE: Final = -1
"""In place of a place: ask all shards, and make one answer of theirs."""

_DIGITS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PLACE: Final = {a + b: i * 32 + j for i, a in enumerate(_DIGITS) for j, b in enumerate(_DIGITS)}
_ULID: Final = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_LOCK_HOLDER: Final = "run:"
_KEPT: Final = 1024  # a decision asks several times for the place of the same few ids and keys


@lru_cache(_KEPT)
def place_for(text: str) -> int:
    """The place of what is named by this text: a hash that is fixed for ever, because rows are found by it."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=2).digest()) % PLACES


@lru_cache(_KEPT)
def place_of(id: str) -> int:
    """The place in the id of a run, an event or an order, or in ``<id>/…``. A text that is no ULID hashes."""
    head = id if len(id) == 26 else id.partition("/")[0]
    return _PLACE[head[24:]] if _ULID.fullmatch(head) else place_for(head)


def place_of_item(item_id: str) -> int:
    """The place of an item that belongs to a run: the run's id, or ``<id>/…``. Raises ``ValueError`` for one that is
    named otherwise, as after a key: nothing in its name says where it is."""
    head, slash, _ = item_id.partition("/")
    if slash and not _ULID.fullmatch(head):
        raise ValueError(f"the item {item_id!r} is not named after a run, so its place has to be said")
    return place_of(item_id)


def place_of_holder(holder: str) -> int:
    """The place of whoever holds a slot: an item of a run, or ``run:<id>``, the run itself."""
    return place_of(holder.removeprefix(_LOCK_HOLDER))


def shard_of(id: str, shards: int) -> int:
    """In which of so many shards, a power of two, the row with this id is."""
    return place_of(id) & (shards - 1)
