"""``/events/{event_id}/flow``: what an event led to, for the module that draws it."""

from __future__ import annotations

from typing import Final

import msgspec

from stepwell.dashboard.flow import event_flow
from stepwell.dashboard.page import Data, Page, Visit
from stepwell.dashboard.pages.event import find_event

_encode: Final = msgspec.json.Encoder().encode


async def show(visit: Visit) -> Data:
    event = await find_event(visit)
    return Data(_encode(await event_flow(visit.source.reader, visit.source.registry(), event, visit.now)))


PAGE: Final = Page(path="/events/{event_id}/flow", show=show, section="events")
