"""Which shards a question or a change is about: what a transaction has to lock before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from stepwell.model import changes as c
from stepwell.model import questions as q

EVERYWHERE: Final = -1
"""A change of what every plan may rely upon: it is made under the locks of all shards, so that no plan misses it."""
_REALTIME: Final = 0
"""Realtime is the same for all shards; who writes it takes turns by the lock of one."""

_IN_NOUN: Final[Mapping[type, Callable[[Any], int]]] = {
    c.SaveOutcome: lambda x: x.outcome.shard,
    c.CreateRun: lambda x: x.run.shard,
    c.SaveStep: lambda x: x.step.shard,
    c.SaveAttempt: lambda x: x.attempt.shard,
    c.SaveNote: lambda x: x.note.shard,
    c.SaveMetadata: lambda x: x.metadata.shard,
    c.Enqueue: lambda x: x.item.shard,
    c.Schedule: lambda x: x.item.shard,
    c.Park: lambda x: x.lease.shard,
    c.Extend: lambda x: x.lease.shard,
    c.Retry: lambda x: x.lease.shard,
    c.OpenWait: lambda x: x.wait.shard,
    c.SaveRequest: lambda x: x.request.shard,
    c.PutCell: lambda x: x.cell.shard,
    c.SaveOrder: lambda x: x.order.shard,
    c.SaveApp: lambda x: EVERYWHERE,
    c.DropApp: lambda x: EVERYWHERE,
    c.SaveFunction: lambda x: EVERYWHERE,
    c.ArchiveFunction: lambda x: EVERYWHERE,
    c.PauseFunction: lambda x: EVERYWHERE,
    c.GiveOrder: lambda x: EVERYWHERE,
    c.WithdrawOrder: lambda x: EVERYWHERE,
    c.Listen: lambda x: _REALTIME,
    c.Unlisten: lambda x: _REALTIME,
    c.Post: lambda x: _REALTIME,
}


def shard_of(change: c.Change) -> int:
    """The shard of a change, or ``EVERYWHERE``."""
    known = _IN_NOUN.get(type(change))
    return int(change.shard if known is None else known(change))  # type: ignore[union-attr]


def home_of(decision: c.Decision) -> int:
    """The shard in whose turn a decision is written."""
    if decision.holds is not None:
        return decision.holds.shard
    return max(shard_of(decision.changes[0]), 0) if decision.changes else 0


def shards_of(decision: c.Decision, count: int) -> set[int]:
    """All shards of which a decision writes, where there are so many."""
    found = {shard_of(change) for change in decision.changes}
    if decision.holds is not None:
        found.add(decision.holds.shard)
    return set(range(count)) if EVERYWHERE in found else found


def shard_asked(question: q.Question[Any]) -> int | None:
    """The shard that a question is about; ``None`` for one about all shards, or about what is the same for all."""
    return getattr(question, "shard", None)
