"""A cancellation: an order to cancel all runs of a function that were created before a moment."""

from __future__ import annotations

import msgspec

from stepwell.model.run import RunStatus


class Cancellation(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be cancelled, and how far that has come (semantics §8.3). Moments are milliseconds.

    Runs of ``function_id`` are cancelled that were created at ``started_before`` or earlier, at ``started_after`` or
    later if that is given, and for whose event ``condition`` is true if there is one. A run created after the
    cancellation is never touched: it is later, or its id is greater than that of the cancellation.

    ``status`` and ``position`` say how far it has come: first the runs that have not begun are gone through by their
    ids, then those that have, because a run goes from the one to the other and never back. ``examined`` counts the live
    runs of the function that were looked at, ``cancelled`` those that it ended; ``ended_at`` is when it was done.
    """

    id: str
    app_id: str
    function_id: str
    created_at: int
    started_before: int
    started_after: int | None = None
    condition: str | None = None
    status: str = RunStatus.QUEUED
    position: str = ""
    examined: int = 0
    cancelled: int = 0
    ended_at: int | None = None
    shard: int = 0
