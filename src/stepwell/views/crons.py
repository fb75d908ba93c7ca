"""What people are shown of schedules: when each comes next, and what became of its last tick.

When ticks come is worked out, so it costs no look into the store; a schedule is looked up by the last runs of its
function, and only where these do not have its last tick, by the newest ticks of all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, tzinfo
from heapq import nsmallest
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from stepwell.clock import to_datetime
from stepwell.engine.due import cron_item_id
from stepwell.engine.registry import Registry, cron_triggers
from stepwell.flow.placement import function_place
from stepwell.model.event import TIMER, Event
from stepwell.model.function import Function
from stepwell.model.history import Note, Outcome
from stepwell.model.item import Item
from stepwell.model.place import place_of
from stepwell.model.questions import FindEvents, FunctionItems, GetEvent, ListRuns, Notes, Outcomes, RunsOfEvent
from stepwell.model.run import Run
from stepwell.model.schedule import Schedule
from stepwell.model.trigger import CronTrigger
from stepwell.views.nouns import Reader
from stepwell.views.wording import parse_moment

RUNS_LOOKED: Final = 50
"""Of the newest runs of a function those in which one of a tick is looked for: events may start it as well."""
TICKS_LOOKED: Final = 500
"""Of the newest ticks of all functions those in which one is looked for that has no run."""

_MINUTE: Final = 60_000
_DAY: Final = 86_400_000
_YEARS: Final = 8 * 366 * _DAY  # a 29 February is further away than this only around 2100
_BACK: Final = (60 * _MINUTE, _DAY, 8 * _DAY, 32 * _DAY, 400 * _DAY)  # the closer a tick is, the sooner it is found
_LATE: Final = _MINUTE  # a tick that starts later than this was missed, and made up for
MISSED_NOTE: Final = "ticks-missed"


class Tick(NamedTuple):
    """A moment of a schedule. It fires ``at`` then, which a jitter may put off; ``local`` is that by the clock of its
    zone."""

    at: int
    local: str


class Timetable(NamedTuple):
    """One schedule of a function. ``zone`` is the name of that, and ``fields`` the expression without it."""

    function: Function
    trigger: CronTrigger
    schedule: Schedule

    @property
    def zone(self) -> str:
        return _split(self.trigger.cron)[0]

    @property
    def fields(self) -> str:
        return _split(self.trigger.cron)[1]

    @property
    def held(self) -> bool:
        """Whether a person keeps its ticks from starting anything."""
        pause = self.function.pause
        return self.function.drain is not None or (pause is not None and pause.events == "skip")

    def next_ticks(self, now: int, count: int) -> list[Tick]:
        """The next of its ticks, as far as there are any."""
        clock, found = _clock(self.zone), list[Tick]()
        for tick in self.schedule.between(now - self.trigger.jitter_ms - 1, now + _YEARS):
            at = self._fires(tick)
            if at > now:
                found.append(Tick(at, _written(at, now, clock)))
                if len(found) == count:
                    break
        return sorted(found)

    def last_tick(self, now: int) -> int | None:
        """The last moment by the schedule that has fired, or should have; ``None`` if that is long ago."""
        for back in _BACK:
            tick = self.schedule.latest_at_or_before(now, now - back)
            while tick is not None and self._fires(tick) > now:
                tick = self.schedule.latest_at_or_before(tick - 1, now - back)
            if tick is not None:
                return tick
        return None

    def _fires(self, tick: int) -> int:
        seed = cron_item_id(self.function.id, self.trigger.cron)
        return tick + self.schedule.jitter(tick, seed, self.trigger.jitter_ms)


class LastTick(NamedTuple):
    """What became of the last tick: the ``run`` that it started ``late`` ms after its moment, or the ``outcome`` that
    says why there is none. ``missed`` says what was done about those that were missed before it. ``due`` is set if it
    is still owed."""

    scheduled: int
    run: Run | None = None
    outcome: Outcome | None = None
    missed: str = ""
    late: int = 0
    due: bool = False


def timetables(registry: Registry, *, departed: bool = False) -> Iterator[Timetable]:
    """All schedules, by the ids of their functions; with ``departed`` those whose functions have left."""
    known = registry.departed if departed else registry.functions
    for function in sorted(known.values(), key=lambda each: each.id):
        for trigger, schedule in cron_triggers(function).values():
            yield Timetable(function, trigger, schedule)


def next_of_all(registry: Registry, now: int, count: int) -> list[tuple[Tick, Timetable]]:
    """The next ticks of all that is registered, each schedule's first one, the soonest first."""
    firsts = ((tick, each) for each in timetables(registry) for tick in each.next_ticks(now, 1))
    return nsmallest(count, firsts, key=lambda found: found[0].at)


async def last_ticks(reader: Reader, tables: Sequence[Timetable], now: int) -> list[LastTick | None]:
    """What became of the last tick of each."""
    found: list[LastTick | None] = []
    open: dict[int, int] = {}
    for number, table in enumerate(tables):
        due, last = table.last_tick(now), await _by_runs(reader, table)
        found.append(last)
        if due is not None and (last is None or last.scheduled < due):
            open[number] = due
    if open:
        events = await reader.read(FindEvents(TIMER, min(open.values()), now + 1, TICKS_LOOKED))
        for number, due in open.items():
            found[number] = await _by_events(reader, tables[number], due, events) or found[number]
            last = found[number]
            if (last is None or last.scheduled < due) and await _is_owed(reader, tables[number], now):
                found[number] = LastTick(due, due=True)
    return found


async def _by_runs(reader: Reader, table: Timetable) -> LastTick | None:
    runs: list[Run] = await reader.read(ListRuns(RUNS_LOOKED, function_id=table.function.id))
    run = next((run for run in runs if run.cron == table.trigger.cron and run.original is None), None)
    if run is None:
        return None
    event = await reader.read(GetEvent(run.event_id))
    ticked = _ticked(event) if event is not None else None
    return await _of_run(reader, table, run, ticked[1] if ticked is not None else run.queued_at)


async def _of_run(reader: Reader, table: Timetable, run: Run, scheduled: int) -> LastTick:
    notes: list[Note] = await reader.read(Notes(run.id))
    missed = next((note.text for note in notes if note.kind == MISSED_NOTE), "")
    late = run.queued_at - scheduled
    return LastTick(scheduled, run, missed=missed, late=late if late > _LATE + table.trigger.jitter_ms else 0)


async def _by_events(reader: Reader, table: Timetable, due: int, events: Sequence[Event]) -> LastTick | None:
    """The last tick among those of all functions: an event does not say whose it is, but what became of it does."""
    place = function_place(table.function.id)
    for event in events:
        ticked = _ticked(event)
        if ticked is None or ticked[0] != table.trigger.cron or place_of(event.id) != place:
            continue
        outcomes: list[Outcome] = await reader.read(Outcomes(event.id))
        mine = next((each for each in outcomes if each.function_id == table.function.id), None)
        if mine is not None:
            return LastTick(ticked[1], outcome=mine)
        runs: list[Run] = await reader.read(RunsOfEvent(event.id))
        run = next((run for run in runs if run.function_id == table.function.id and run.original is None), None)
        if run is not None:
            return await _of_run(reader, table, run, ticked[1])
    return None


async def _is_owed(reader: Reader, table: Timetable, now: int) -> bool:
    items: list[Item] = await reader.read(FunctionItems(table.function.id))
    mine = cron_item_id(table.function.id, table.trigger.cron)
    return any(item.id == mine and item.at is not None and item.at < now - _LATE for item in items)


class _Ticked(msgspec.Struct):
    cron: str
    scheduled: str = msgspec.field(name="scheduledAt")


_decode: Final = msgspec.json.Decoder(_Ticked).decode


def _ticked(event: Event) -> tuple[str, int] | None:
    """The schedule and the moment of the tick that an event is."""
    try:
        found = _decode(event.data)
        return found.cron, parse_moment(found.scheduled)
    except (msgspec.MsgspecError, ValueError):
        return None


def _split(cron: str) -> tuple[str, str]:
    first, _, rest = cron.strip().partition(" ")
    return (first.partition("=")[2], rest.strip()) if "=" in first else ("UTC", cron.strip())


def _clock(zone: str) -> tzinfo:
    return UTC if zone == "UTC" else ZoneInfo(zone)


def _written(at: int, now: int, clock: tzinfo) -> str:
    moment, today = to_datetime(at).astimezone(clock), to_datetime(now).astimezone(clock)
    day = f"{moment:%a %d %b}" if moment.year == today.year else f"{moment:%a %d %b %Y}"
    return f"{day} {moment:%H:%M:%S}" if moment.second else f"{day} {moment:%H:%M}"
