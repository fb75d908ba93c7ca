"""Names in all shards, in their order: of backlogs, and of keys of slots.

A name is in one shard nearly always, and the names of a page are spread over all of them. So each shard is asked for
its part of a page, and for more when that is used up: what is looked at is a page, however many shards there are.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from heapq import heapify, heappop, heapreplace
from typing import Any, Final, NamedTuple

from stepwell.model import questions as q
from stepwell.storage.postgres import queries as sql

Fetch = Callable[[str, tuple[Any, ...]], Awaitable[list[Any]]]

_BESIDE: Final = 8  # more than its part of a page, because parts are not equal


class Kind(NamedTuple):
    """The statements: the first name of each shard, the next ones of one, and what is told of names."""

    firsts: str
    following: str
    told: str


BACKLOGS: Final = Kind(sql.FIRST_BACKLOGS, sql.FOLLOWING_BACKLOGS, sql.DEPTHS_OF_SHARDS)
SLOTS: Final = Kind(sql.FIRST_SLOTS, sql.FOLLOWING_SLOTS, sql.SLOTS_OF_SHARDS)


async def told(fetch: Fetch, kind: Kind, x: q.BacklogDepths | q.SlotKeys, most: int, shards: int) -> list[Any]:
    """The rows of ``kind.told`` for the first ``x.limit`` names in [first, last), counted up to ``most``."""
    found = await _names(fetch, kind, x, shards)
    if not found:
        return []
    values = ",".join(str(shard) for _, shard in found), [name for name, _ in found], most
    return await fetch(kind.told, values)


async def _names(fetch: Fetch, kind: Kind, x: q.BacklogDepths | q.SlotKeys, shards: int) -> Sequence[tuple[str, int]]:
    """The first names of all, each with a shard that has it."""
    heads = [(name, shard) for shard, name in await fetch(kind.firsts, (x.first, x.last)) if name is not None]
    heapify(heads)
    ahead: defaultdict[int, deque[str]] = defaultdict(deque)
    found: list[tuple[str, int]] = []
    distinct, part = 0, x.limit // shards + _BESIDE
    while heads:
        name, shard = heads[0]
        if not found or found[-1][0] != name:
            if distinct == x.limit:
                break
            distinct += 1
        found.append((name, shard))
        waiting = ahead[shard]
        if not waiting and distinct < x.limit:  # or what comes next in this shard is one too many
            waiting.extend(row[0] for row in await fetch(kind.following, (shard, name, x.last, part)))
        if waiting:
            heapreplace(heads, (waiting.popleft(), shard))
        else:
            heappop(heads)
    return found
