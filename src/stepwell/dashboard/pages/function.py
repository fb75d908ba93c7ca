"""``/functions/{function_id}``: one function: its rules with what is in use of each, its last runs, its next ticks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from typing import Final, NamedTuple
from urllib.parse import quote

from stepwell.dashboard.json_diff import Difference, json_diff
from stepwell.dashboard.lately import Lately, lately
from stepwell.dashboard.page import Missing, Page, Shown, Visit, address
from stepwell.dashboard.pages import functions, runs
from stepwell.dashboard.rules import Rule, rules
from stepwell.engine.registry import cron_triggers
from stepwell.lifecycle.retry import DEFAULT
from stepwell.limits import FUNCTION_VERSIONS_KEPT
from stepwell.model.duration import format_duration
from stepwell.model.function import Function, FunctionVersion
from stepwell.model.questions import ListRuns
from stepwell.model.run import Run
from stepwell.views import search
from stepwell.views.queues.backlogs import waiting
from stepwell.views.queues.controls import limits
from stepwell.views.queues.pressures import pressures
from stepwell.views.queues.shapes import PressureView, ResetView
from stepwell.views.versions import before, changes, said, versions

_LAST: Final = 200  # runs, of which rates and durations are told
_LISTED: Final = 12
_STRIP: Final = 60
_TICKS: Final = 5
_YEAR_MS: Final = 366 * 86_400_000
_KEYS: Final = 12
_PRESSURES: Final = 5
VERSIONS_SHOWN: Final = 10
"""Unless all of them are asked for, by ``?versions=all``."""
ALL: Final = "all"


class Option(NamedTuple):
    """Something that its configuration says."""

    name: str
    value: str


class Version(NamedTuple):
    """A configuration that it has had. ``difference`` is what is otherwise than in the one before, if that is kept;
    ``runs`` are how many of its last runs began with it."""

    kept: FunctionVersion
    says: Sequence[str]
    difference: Difference | None
    runs: int


class Versions(NamedTuple):
    """Those that are on the page. ``total`` is how many there are, ``lost`` the newest of those that are not, or 0."""

    rows: Sequence[Version]
    total: int
    lost: int


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
    versions: Versions | None


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
        versions=None if visit.part or function.version == 1 else await _versions(visit, function, last),
    )
    return Shown(title=view.row.name, view=view, topics=("runs", "functions", "queue"))


def version_address(function: Function, version: int) -> str:
    """Where one sees what has changed since this version; empty if nothing has."""
    if version >= function.version:
        return ""
    shown = {"versions": ALL} if version <= function.version - VERSIONS_SHOWN else {}
    kept = version > function.version - FUNCTION_VERSIONS_KEPT
    place = f"version-{version}" if kept else "versions-lost"
    return f"{address('/functions/' + quote(function.id, safe=''), shown)}#{place}"


def _ticks(function: Function, now: int) -> list[int]:
    found: set[int] = set()
    for _, schedule in cron_triggers(function).values():
        found.update(islice(schedule.between(now, now + _YEAR_MS), _TICKS))
    return sorted(found)[:_TICKS]


async def _versions(visit: Visit, function: Function, last: Sequence[Run]) -> Versions:
    """Not asked for when something has changed: what is about runs has, and a page is not told of what."""
    kept = await versions(visit.source.reader, function.id, function.version)
    runs = Counter(run.function_version for run in last)
    found: list[Version] = []
    for place, each in enumerate(kept if visit.query.get("versions") == ALL else kept[:VERSIONS_SHOWN]):
        older = before(kept, place)
        said_of_it = said(each.version, None if older is None else changes(older.config, each.config))
        difference = None if older is None else _difference(older.config, each.config)
        found.append(Version(each, said_of_it, difference, runs[each.version]))
    return Versions(found, len(kept), kept[-1].version - 1 if kept else 0)


_difference = lru_cache(maxsize=2 * FUNCTION_VERSIONS_KEPT)(json_diff)  # it is the same for whoever looks


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
