"""``/functions/{function_id}``: one function: its rules with what is in use of each, its last runs, its next ticks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final, NamedTuple

from stepwell.dashboard.lately import Lately, lately
from stepwell.dashboard.page import Missing, Page, Shown, Visit
from stepwell.dashboard.pages import functions, runs
from stepwell.dashboard.rules import Rule, rules
from stepwell.engine.registry import cron_triggers
from stepwell.lifecycle.retry import DEFAULT
from stepwell.model.duration import format_duration
from stepwell.model.function import Function
from stepwell.model.questions import ListRuns
from stepwell.model.run import Run
from stepwell.views import search
from stepwell.views.queues.backlogs import waiting
from stepwell.views.queues.controls import limits
from stepwell.views.queues.pressures import pressures
from stepwell.views.queues.shapes import PressureView, ResetView

_LAST: Final = 200  # runs, of which rates and durations are told
_LISTED: Final = 12
_STRIP: Final = 60
_TICKS: Final = 5
_YEAR_MS: Final = 366 * 86_400_000
_KEYS: Final = 12
_PRESSURES: Final = 5


class Option(NamedTuple):
    """Something that its configuration says."""

    name: str
    value: str


class FunctionView(NamedTuple):
    """A function. ``strip`` are its last runs, the oldest first."""

    function: Function
    row: functions.Row
    rows: Sequence[runs.Row]
    strip: Sequence[Run]
    lately: Lately
    rules: Sequence[Rule]
    pressures: Sequence[PressureView]
    resets: Sequence[ResetView]
    ticks: Sequence[int]
    options: Sequence[Option]
    config: bytes


async def show(visit: Visit) -> Shown:
    reader, registry = visit.source.reader, visit.source.registry()
    function = registry.of_run(visit.path["function_id"])
    if function is None:
        raise Missing("There is no such function", "No app that is known has it, or has had it lately.")
    last: list[Run] = await reader.read(ListRuns(_LAST, function_id=function.id))
    listed = last[:_LISTED]
    departed = function.id not in registry.functions
    in_use = await limits(reader, function, visit.source.situation(), limit=_KEYS)
    waits = await waiting(reader, function.id, function, _KEYS)
    view = FunctionView(
        function=function,
        row=functions.row(function, visit.now, departed=departed),
        rows=runs.rows(listed, await search.event_names(reader, listed), registry),
        strip=last[:_STRIP][::-1],
        lately=lately(last, visit.now, _LAST),
        rules=rules(function, in_use.limits, waits),
        pressures=await pressures(reader, registry, function.id, visit.now, _PRESSURES),
        resets=in_use.resets,
        ticks=[] if departed else _ticks(function, visit.now),
        options=_options(function),
        config=function.config,
    )
    return Shown(title=view.row.name, view=view, topics=("runs", "functions", "queue"))


def _ticks(function: Function, now: int) -> list[int]:
    found: set[int] = set()
    for _, schedule in cron_triggers(function).values():
        found.update(islice(schedule.between(now, now + _YEAR_MS), _TICKS))
    return sorted(found)[:_TICKS]


def _options(function: Function) -> list[Option]:
    delays = (function.backoff or DEFAULT).delays_ms[: max(1, function.retries)]
    found = [Option("Retries", f"{function.retries:,}")]
    if function.retries:
        found.append(Option("After", ", ".join(format_duration(each) for each in delays)))
    if function.start_timeout_ms is not None:
        found.append(Option("Cancelled unless it starts within", format_duration(function.start_timeout_ms)))
    if function.finish_timeout_ms is not None:
        found.append(Option("Cancelled unless it ends within", format_duration(function.finish_timeout_ms)))
    if function.endpoint is not None:
        found.append(Option("Kind", "durable endpoint"))
    if function.name not in (function.id, function.id.removeprefix(f"{function.app_id}-")):
        found.append(Option("Name", function.name))
    found.append(Option("Version", f"{function.version:,}"))
    return found


PAGE: Final = Page(
    path="/functions/{function_id}",
    show=show,
    section="functions",
    template="function.html",
    parts=("summary", "detail"),
)
