"""``/events/{event_id}``: one event, and what became of it for each function that it could have started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from stepwell.dashboard.linking import with_links
from stepwell.dashboard.page import Missing, Page, Shown, Visit
from stepwell.ids import is_ulid
from stepwell.model.event import Event
from stepwell.model.questions import GetEvent
from stepwell.views.why import EventWhy, why_event


class EventView(NamedTuple):
    """An event; ``became`` says the same as the sentences of ``why``, function by function."""

    event: Event
    became: EventWhy
    why: Sequence[Markup]


async def find_event(visit: Visit) -> Event:
    """The event in the address. Raises ``Missing``."""
    event_id = visit.path["event_id"]
    event = await visit.source.reader.read(GetEvent(event_id)) if is_ulid(event_id) else None
    if event is None:
        raise Missing("There is no such event")
    return event


async def show(visit: Visit) -> Shown:
    reader, event = visit.source.reader, await find_event(visit)
    became = await why_event(reader, visit.source.registry(), event, visit.now)
    view = EventView(event, became, [with_links(sentence) for sentence in became.text[1:]])
    return Shown(title=event.name, view=view, topics=(f"event:{event.id}", "runs"))


PAGE: Final = Page(path="/events/{event_id}", show=show, section="events", template="event.html", parts=("became",))
