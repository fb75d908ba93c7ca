"""A process is gone, or about to go: what it held is given back."""

from __future__ import annotations

from collections.abc import Iterable

from stepwell.engine.admission import unserved
from stepwell.engine.draft import Draft
from stepwell.engine.ending import release
from stepwell.engine.leased import Leased
from stepwell.engine.releasing import let_go
from stepwell.model.changes import LapseLeases, Park, Plan

_EPOCH_BITS = 40  # a process would have to claim a trillion items to run out of tokens


def first_token(epoch: int) -> int:
    """Tokens of an epoch are counted up from here, so they are higher than those of all epochs before."""
    return epoch << _EPOCH_BITS


def take_over(draft: Draft, epoch: int, served: Iterable[str]) -> Plan:
    """The leader of this epoch knows that those before it have ended: nobody waits for their leases to run out.

    Nor for functions which the last leader did not have, being an older version of the program: ``served`` are those
    that this one has.
    """
    draft.add(LapseLeases(first_token(epoch), draft.now))
    for function_id in served:
        yield from let_go(draft, unserved(function_id))
    return draft.decision()


def give_back(draft: Draft, leased: Leased) -> Plan:
    """A call was cut off because its process is stopping, or because nothing of its queue is to begin for a while. That
    is nobody's fault: no attempt and no loss is counted."""
    draft.add(Park(leased.lease, draft.now, draft.now, leased.attempt))
    draft.due(draft.now)
    if leased.run.slots:
        draft.add(*release(draft, leased.run, leased.width))
    return draft.decision(None, holds=leased.lease)
    yield
