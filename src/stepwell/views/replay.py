"""What people are shown of an order to start many runs again: the shape of REST v2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from stepwell.model.duration import format_duration
from stepwell.model.event import rfc3339
from stepwell.model.order import Order, OrderStatus, Wanted
from stepwell.views.nouns import View, moment


class WaitedFor(View, frozen=True):
    """A function of which nothing can be started now, ``by`` a drain or a pause. ``argument`` is how the command that
    ends it names what was drained or paused: the function, its app, or everything."""

    function_id: str
    by: Literal["drain", "pause"]
    argument: str


class ReplayView(View, frozen=True):
    """An order to start many runs again, by whoever is called ``who`` in the audit log.

    ``matched`` is how many there were, of which ``started`` have been started, ``skipped`` could not be, and ``left``
    are still to come. ``rate`` is how many are started in which time. For what was only counted there is no ``id``.
    It waits with the runs of those functions that are ``held``, and all after these.
    """

    id: str | None
    name: str
    app_id: str
    function_ids: list[str]
    statuses: list[str]
    created_after: str | None
    created_before: str
    condition: str | None = msgspec.field(name="if")
    rate: str | None
    status: str | None
    created_at: str | None
    ended_at: str | None
    matched: int
    started: int
    skipped: int
    left: int
    who: str
    held: tuple[WaitedFor, ...] = ()


def replay_view(found: Order, held: Sequence[WaitedFor] = ()) -> ReplayView:
    what, written = found.what, bool(found.id)
    matched = what.matched or 0
    over = found.status is OrderStatus.COMPLETED  # what retention has removed meanwhile does not come any more
    return ReplayView(
        id=found.id or None,
        name=what.name,
        app_id=what.app_id,
        function_ids=list(what.functions),
        statuses=list(what.statuses),
        created_after=moment(what.created_after),
        created_before=rfc3339(what.created_before),
        condition=what.condition,
        rate=rate_text(what),
        status=found.status if written else None,
        created_at=rfc3339(found.created_at) if written else None,
        ended_at=moment(found.ended_at),
        matched=matched,
        started=found.done,
        skipped=found.skipped,
        left=0 if over else max(0, matched - found.done - found.skipped),
        who=what.who,
        held=tuple(held),
    )


def rate_text(what: Wanted) -> str | None:
    """How many are started in which time, as it is typed."""
    if what.limit is None or what.period_ms is None:
        return None
    period = format_duration(what.period_ms)
    return f"{what.limit}/{period[1:] if period in ('1s', '1m', '1h', '1d') else period}"
