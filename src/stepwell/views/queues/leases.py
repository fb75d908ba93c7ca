"""Which runs somebody works at, and until when others leave them to whoever that is."""

from __future__ import annotations

from typing import Final

from stepwell.limits import CONNECT_LEASE, ENDPOINT_SILENCE
from stepwell.model.duration import to_ms
from stepwell.model.event import rfc3339
from stepwell.model.item import Item, ItemKind
from stepwell.model.questions import ComingItems, RunStates
from stepwell.model.run import Run
from stepwell.views.nouns import Reader, moment
from stepwell.views.queues.shapes import LeaseView
from stepwell.views.why.shapes import Situation

_LOOKED: Final = 500  # items: timers are among them, which end no sooner and no later than leases do
_LONGEST_MS: Final = to_ms(max(CONNECT_LEASE, ENDPOINT_SILENCE))


async def leases(
    reader: Reader, situation: Situation, limit: int, function_id: str | None = None
) -> tuple[list[LeaseView], bool]:
    """The leases that end first, ``limit`` at most, those that have lapsed before all others; and whether there may be
    more. Of one function, if that is said."""
    now = situation.now
    past: list[Item] = await reader.read(ComingItems(-1, now, _LOOKED))
    coming: list[Item] = await reader.read(ComingItems(now, now + _LONGEST_MS, _LOOKED))
    held = [
        item
        for item in (*past, *coming)
        if item.lease and item.kind == ItemKind.RUN and function_id in (None, item.function_id)
    ]
    runs: list[Run] = await reader.read(RunStates(tuple(item.id for item in held[:limit])))
    started = {run.id: run.started_at for run in runs}
    more = len(held) > limit or len(past) == _LOOKED or len(coming) == _LOOKED
    return [_lease(item, started.get(item.id), situation) for item in held[:limit]], more


def _lease(item: Item, started_at: int | None, situation: Situation) -> LeaseView:
    bodies = list(situation.bodies(item.id).values())
    until = item.at
    assert until is not None
    return LeaseView(
        run_id=item.id,
        function_id=item.function_id,
        steps=[body.name for body in bodies],
        since=moment(min((body.started_at for body in bodies), default=started_at)),
        until=rfc3339(until),
        lapsed=until <= situation.now,
    )
