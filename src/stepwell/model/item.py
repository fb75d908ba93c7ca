"""An item: one unit of owed work, its earliest moment, and the lease of whoever does it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from stepwell.model.place import place_of, place_of_item


class ItemKind(StrEnum):
    RUN = "run"  # call the function; the item's id is the run's id
    START_TIMEOUT = "start-timeout"
    FINISH_TIMEOUT = "finish-timeout"
    CRON = "cron"
    ORDER = "order"  # go on with what is to be done about many runs (model/order.py)
    WINDOW = "window"  # events that are held back start a run; the item's id is their key
    PRESSURE = "pressure"  # the moment until which a queue is left alone; the item's id is that of its backlog
    RELEASE = "release"  # all that waits in a backlog goes on; the item's id ends in its name
    REVIEW = "review"  # whoever waits by the limits of an app is asked anew; the item's id ends in the app's
    THROTTLE = "throttle"  # the moment at which the next run of a key may start; the item's id is the key


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One unit of owed work.

    ``at`` alone decides visibility (hot-path.md §3.4): the due moment; while leased, the end of the lease, so that an
    expired lease is simply due again; ``None`` while ``backlog`` is full. ``lease`` is 0 or the token of the
    holder, which is new for each claim. ``poked`` is set when something happened to the run while it was leased, so
    that parking it makes it due at once. ``attempt`` counts the tries at the function's own code. ``losses`` counts the
    leases that ran out in a row without progress; ``mark`` is the number of steps known at the last of them.
    ``queued_at`` is the order in a backlog, the earliest first: a priority moves it. ``place`` is where an item is that
    belongs to no run; one of a run is where the run is.
    """

    id: str
    kind: str
    function_id: str
    at: int | None
    place: int | None = None
    run_id: str | None = None
    lease: int = 0
    attempt: int = 0
    backlog: str | None = None
    queued_at: int = 0
    poked: bool = False
    losses: int = 0
    mark: int = 0

    @property
    def home(self) -> int:
        """Where it is, whatever it is named after (``model/place.py``)."""
        if self.place is not None:
            return self.place
        return place_of(self.run_id) if self.run_id is not None else place_of_item(self.id)


class Lease(msgspec.Struct, frozen=True):
    """A fenced claim on an item: whoever holds ``token`` may decide about it (invariants I7)."""

    item_id: str
    token: int
