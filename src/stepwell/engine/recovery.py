"""A process is gone: what it held is given back."""

from __future__ import annotations

from stepwell.model.changes import Decision, LapseLeases

_EPOCH_BITS = 40  # a process would have to claim a trillion items to run out of tokens


def first_token(epoch: int) -> int:
    """Tokens of an epoch are counted up from here, so they are higher than those of all epochs before."""
    return epoch << _EPOCH_BITS


def lapse(epoch: int, now: int) -> Decision:
    """The leader of this epoch knows that those before it have ended: nobody waits for their leases to run out."""
    return Decision(changes=(LapseLeases(first_token(epoch), now),))
