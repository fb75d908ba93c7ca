"""``/event-types/{event_name}``: what is known of events of a name: what they start, what is in them, the newest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from stepwell.dashboard.lately import volume
from stepwell.dashboard.page import Page, Shown, Visit
from stepwell.dashboard.pages import events
from stepwell.dashboard.schema import Schema, schema, shape
from stepwell.engine.registry import Match
from stepwell.model.event import Event
from stepwell.model.questions import ListEvents
from stepwell.views.nouns import Reader
from stepwell.views.why.events import nearest, trigger_names

_SAMPLES: Final = 50
_READ: Final = 10  # at a time, because each may be of half a megabyte
_BYTES: Final = 1024 * 1024  # then there are samples enough
_LISTED: Final = 8
_SHAPES: Final = 3


class EventTypeView(NamedTuple):
    """Events of a name. ``sample`` are the newest, of which ``schema`` and ``volume`` are told: ``all`` that there are,
    or so many. ``shapes`` are the newest of those that have different members. ``nearest`` are names that do start
    something, if this one does not."""

    name: str
    listeners: Sequence[Match]
    sample: Sequence[Event]
    all: bool
    volume: str
    schema: Schema
    shapes: Sequence[Event]
    rows: Sequence[events.Row]
    nearest: Sequence[str]
    data: bytes


async def show(visit: Visit) -> Shown:
    reader, registry, name = visit.source.reader, visit.source.registry(), visit.path["event_name"]
    sample, complete = await _sample(reader, name)
    listeners = registry.matches(name)
    view = EventTypeView(
        name=name,
        listeners=listeners,
        sample=sample,
        all=complete,
        volume=volume(len(sample), visit.now - sample[-1].received_at) if sample else "—",
        schema=schema(event.data for event in sample),
        shapes=_shapes(sample),
        rows=await events.rows(reader, registry, sample[:_LISTED]),
        nearest=[] if listeners else nearest(name, trigger_names(registry)),
        data=sample[0].data if sample else b"{}",
    )
    return Shown(title=name, view=view, topics=("events", "functions"))


async def _sample(reader: Reader, name: str) -> tuple[list[Event], bool]:
    """The newest events of this name, and whether these are all."""
    found: list[Event] = []
    while len(found) < _SAMPLES and sum(len(event.data) for event in found) < _BYTES:
        before = found[-1].id if found else None
        page: list[Event] = await reader.read(ListEvents(_READ, before=before, name=name, internal=True))
        found += page
        if len(page) < _READ:
            return found, True
    return found, False


def _shapes(sample: Sequence[Event]) -> list[Event]:
    found: dict[frozenset[str], Event] = {}
    for event in sample:
        if len(found) < _SHAPES:
            found.setdefault(shape(event.data), event)
    return list(found.values())


PAGE: Final = Page(
    path="/event-types/{event_name:path}",
    show=show,
    section="events",
    template="event_type.html",
    parts=("summary",),
)
