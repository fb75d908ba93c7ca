"""``/events``: what was accepted, newest first, and what each event started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from stepwell.dashboard.page import Page, Shown, Visit, address
from stepwell.dashboard.pages.runs import AGES
from stepwell.engine.registry import Registry
from stepwell.ids import is_ulid
from stepwell.model.event import INTERNAL_PREFIX, Event
from stepwell.model.history import Outcome
from stepwell.model.questions import GetEvent, ListEvents, OutcomesOfEvents, RunsOfEvents
from stepwell.model.run import Run
from stepwell.model.trigger import EventTrigger
from stepwell.views.nouns import Reader

_ROWS: Final = 30
_CAUSED: Final = 4


class Row(NamedTuple):
    """An event with the first of what it caused. ``further`` is how much more that is; ``heard`` whether any function
    has a trigger of this name."""

    event: Event
    runs: Sequence[Run]
    outcomes: Sequence[Outcome]
    further: int
    heard: bool


class EventsView(NamedTuple):
    """The list and what it was asked for. ``names`` are those that start something; ``more`` is where it goes on.
    ``known`` is whether what was asked for is a name, of which more is known elsewhere."""

    rows: Sequence[Row]
    names: Sequence[str]
    ages: dict[str, tuple[str, int]]
    name: str
    known: bool
    age: str
    internal: bool
    first: bool
    filtered: bool
    more: str | None


async def show(visit: Visit) -> Shown:
    query, reader, registry = visit.query, visit.source.reader, visit.source.registry()
    name = query.get("name", "").strip()
    age = query.get("age", "") if query.get("age", "") in AGES else ""
    internal = "internal" in query
    before = query.get("before", "")
    if is_ulid(name.upper()):
        event = await reader.read(GetEvent(name.upper()))
        found = [event] if event is not None else []
    else:
        question = ListEvents(
            _ROWS + 1,
            before=before if is_ulid(before) else None,
            name=name or None,
            received_after=visit.now - AGES[age][1] if age else None,
            internal=internal or name.startswith(INTERNAL_PREFIX),
        )
        found = await reader.read(question)
    said = {"name": name, "age": age, "internal": "1" if internal else ""}
    shown = found[:_ROWS]
    view = EventsView(
        rows=await rows(reader, registry, shown),
        names=_names(registry),
        ages=AGES,
        name=name,
        known=bool(name) and not is_ulid(name.upper()),
        age=age,
        internal=internal,
        first="before" not in query,
        filtered=any(said.values()),
        more=address(visit.address, {**said, "before": shown[-1].id}) if len(found) > _ROWS else None,
    )
    return Shown(title="Events", view=view, topics=("events", "runs"), address=address(visit.address, said))


async def rows(reader: Reader, registry: Registry, events: Sequence[Event]) -> list[Row]:
    """Events with what became of each so far."""
    ids = tuple(event.id for event in events)
    runs: dict[str, list[Run]] = await reader.read(RunsOfEvents(ids))
    outcomes: dict[str, list[Outcome]] = await reader.read(OutcomesOfEvents(ids))
    return [_row(registry, event, runs.get(event.id, []), outcomes.get(event.id, [])) for event in events]


def _row(registry: Registry, event: Event, runs: Sequence[Run], outcomes: Sequence[Outcome]) -> Row:
    left = max(0, _CAUSED - len(runs))
    further = len(runs) + len(outcomes) - len(runs[:_CAUSED]) - len(outcomes[:left])
    return Row(event, runs[:_CAUSED], outcomes[:left], further, bool(registry.matches(event.name)))


def _names(registry: Registry) -> list[str]:
    triggers = (trigger for function in registry.functions.values() for trigger in function.triggers)
    return sorted({each.event for each in triggers if isinstance(each, EventTrigger) and "*" not in each.event})


PAGE: Final = Page(path="/events", show=show, section="events", template="events.html", parts=("results",))
