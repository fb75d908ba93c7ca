"""What people are shown of an order to cancel many runs: the shape of REST v2."""

from __future__ import annotations

import msgspec

from stepwell.model.event import rfc3339
from stepwell.model.order import Order
from stepwell.views.nouns import View, moment


class CancellationView(View, frozen=True):
    """An order to cancel many runs, by whoever is called ``who`` in the audit log. It is done when it has ended, or
    somebody has stopped it: ``status`` says which. ``examined`` and ``cancelled`` are numbers of runs.

    For what was only counted there is no ``id``, and ``cancelled`` is how many would be.
    """

    id: str | None
    function_id: str
    created_at: str | None
    started_before: str | None
    started_after: str | None
    condition: str | None = msgspec.field(name="if")
    status: str | None
    who: str
    examined: int
    cancelled: int
    ended_at: str | None


def cancellation_view(found: Order) -> CancellationView:
    what = found.what
    return CancellationView(
        id=found.id,
        function_id=what.functions[0],
        created_at=rfc3339(found.created_at),
        started_before=rfc3339(what.created_before),
        started_after=moment(what.created_after),
        condition=what.condition,
        status=found.status,
        who=what.who,
        examined=found.examined,
        cancelled=found.done,
        ended_at=moment(found.ended_at),
    )
