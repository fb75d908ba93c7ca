"""Which shards a transaction has to lock before a question or a decision.

What has no shard is the registry, users with their sessions, or realtime. The registry is what every plan relies upon,
so it is changed under the locks of all shards, and then no plan misses it; whoever writes the others takes turns by the
lock of shard 0.
"""

from __future__ import annotations

from typing import Any, Final

from stepwell.model import changes as c
from stepwell.model import questions as q
from stepwell.model.item import Lease
from stepwell.model.place import EVERYWHERE, shard_of
from stepwell.storage.places import NOWHERE, shard_of_change, shard_of_question

_BY_THE_FIRST: Final = frozenset(
    {
        *(c.Listen, c.Unlisten, c.Post),
        *(c.SaveUser, c.DropUser, c.BeginSession, c.SeeSession, c.EndSession, c.EndSessions),
    }
)


def lease_of(decision: c.Decision) -> Lease | None:
    """The lease on which a decision depends: a first change that names one is refused as if the decision held it."""
    if decision.holds is None and decision.changes and isinstance(decision.changes[0], c.Park | c.Extend | c.Retry):
        return decision.changes[0].lease
    return decision.holds


def shards_written(change: c.Change, shards: int) -> range:
    """Where the rows of a change are; what is the same for all shards counts as shard 0."""
    if shards == 1:
        return range(1)
    shard = shard_of_change(change, shards)
    if shard == EVERYWHERE:
        return range(shards)
    return range(max(shard, 0), max(shard, 0) + 1)


def shards_locked(decision: c.Decision, shards: int) -> set[int]:
    """What is to be locked before a decision is written."""
    if shards == 1:
        return {0} if decision.changes or decision.holds is not None else set()
    lease = lease_of(decision)
    found: set[int] = set() if lease is None else {shard_of(lease.item_id, shards)}
    for change in decision.changes:
        shard = shard_of_change(change, shards)
        if shard == EVERYWHERE or (shard == NOWHERE and type(change) not in _BY_THE_FIRST):
            return set(range(shards))
        found.add(max(shard, 0))
    return found


def shards_asked(question: q.Question[Any], shards: int) -> set[int]:
    """What is to be locked before a question of a plan; nothing for one about what has no shard, or about all: that is
    asked again, where it matters, when the shard is known, or a plan says by ``Lock`` that it is to be held."""
    if shards == 1:
        return {0}
    if isinstance(question, q.Lock):
        return (
            set(range(shards)) if EVERYWHERE in question.places else {each & (shards - 1) for each in question.places}
        )
    shard = shard_of_question(question, shards)
    return {shard} if shard >= 0 else set()
