"""``/``: how it is right now: health, what ended in the last hour, what failed, what waits, what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from stepwell.dashboard.page import Page, Shown, Visit
from stepwell.dashboard.source import Pulse
from stepwell.engine.registry import Registry
from stepwell.model.questions import BacklogDepths, CountRuns, ListRuns
from stepwell.model.run import Run, RunStatus
from stepwell.views.crons import Tick, Timetable, next_of_all
from stepwell.views.nouns import ErrorView, Reader, error_view
from stepwell.views.queues.names import ALL, By, named
from stepwell.views.queues.shapes import COUNT_MAX
from stepwell.views.throughput import Minute

_FAILURES: Final = 6
_QUEUES: Final = 6
_QUEUES_LOOKED: Final = 100
_DEPTH_MAX: Final = 1_000
_TICKS: Final = 6
_WORDS: Final[dict[By, str]] = {
    "concurrency": "for a concurrency limit",
    "run-concurrency": "for a limit of runs",
    "throttle": "for their turn of a throttle",
    "back-pressure": "because a step asked for it",
    "paused": "because they are paused",
    "unserved": "for a process that serves them",
    "room": "for room in a process",
    "other": "for a limit that is no more",
}
_encode: Final = msgspec.json.Encoder().encode


class Failure(NamedTuple):
    """A run that failed, and with what."""

    run: Run
    name: str
    error: ErrorView | None


class Waiting(NamedTuple):
    """Runs that wait for the same thing: how many, or with ``more`` at least. ``function_id`` is ``None`` if
    functions share what they wait for."""

    why: str
    function_id: str | None
    value: str | None
    runs: int
    more: bool


class OverviewView(NamedTuple):
    """``series`` are the minutes for the charts: JSON. ``queues_more`` says that there are more queues than were looked
    at."""

    pulse: Pulse
    empty: bool
    running: str
    queued: str
    minutes: Sequence[Minute]
    series: str
    failures: Sequence[Failure]
    queues: Sequence[Waiting]
    queues_more: bool
    ticks: Sequence[tuple[Tick, Timetable]]
    calls: int
    calls_max: int
    paused: int
    drained: int

    @property
    def ended(self) -> int:
        return sum(minute.ended for minute in self.minutes)

    @property
    def failed(self) -> int:
        return sum(minute.failed for minute in self.minutes)

    @property
    def exact(self) -> bool:
        """Whether no minute is an estimate."""
        return all(minute.exact for minute in self.minutes)

    @property
    def rate(self) -> str:
        """The part of the runs that ended by themselves which failed."""
        ended = sum(minute.completed + minute.failed for minute in self.minutes)
        return f"{100 * self.failed / ended:.3g} %" if ended else "—"


async def show(visit: Visit) -> Shown:
    source = visit.source
    reader, registry, situation = source.reader, source.registry(), source.situation()
    minutes = await source.throughput.last_hour(reader, visit.now)
    failures = await _failures(reader, registry)
    queues, queues_more = await _queues(reader)
    known = registry.functions.values()
    view = OverviewView(
        pulse=await source.here.health(),
        empty=not known and not registry.departed,
        running=await _count(reader, RunStatus.RUNNING),
        queued=await _count(reader, RunStatus.QUEUED),
        minutes=minutes,
        series=_encode(minutes).decode(),
        failures=failures,
        queues=queues,
        queues_more=queues_more,
        ticks=next_of_all(registry, visit.now, _TICKS),
        calls=situation.calls,
        calls_max=situation.calls_max,
        paused=sum(each.pause is not None for each in known),
        drained=sum(each.drain is not None for each in known),
    )
    return Shown(title="Overview", view=view, topics=("runs", "functions"))


async def _count(reader: Reader, status: str) -> str:
    count = await reader.read(CountRuns(status, COUNT_MAX))
    return f"{count:,}{'+' if count == COUNT_MAX else ''}"


async def _failures(reader: Reader, registry: Registry) -> list[Failure]:
    found: list[Failure] = []
    for run in await reader.read(ListRuns(_FAILURES, status=RunStatus.FAILED, output=True)):
        function = registry.of_run(run.function_id)
        app = function.app_id if function is not None else ""
        error = error_view(run.output) if run.output is not None else None
        found.append(Failure(run, run.function_id.removeprefix(f"{app}-") if app else run.function_id, error))
    return found


async def _queues(reader: Reader) -> tuple[list[Waiting], bool]:
    """The longest queues of those that are looked at, and whether there are others."""
    depths = await reader.read(BacklogDepths(*ALL, _QUEUES_LOOKED, _DEPTH_MAX))
    found: list[Waiting] = []
    for name, count, _ in sorted(depths, key=lambda each: (-each[1], each[2], each[0]))[:_QUEUES]:
        said = named(name)
        found.append(Waiting(_WORDS[said.by], said.function_id, said.value or None, count, count >= _DEPTH_MAX))
    return found, len(depths) == _QUEUES_LOOKED


PAGE: Final = Page(path="/", show=show, section="overview", template="overview.html", parts=("now",))
