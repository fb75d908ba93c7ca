"""``/functions/{function_id}``: one function: its rules with what is in use of each, its last runs, its next ticks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final, NamedTuple

from stepwell.dashboard.page import Missing, Page, Shown, Visit
from stepwell.dashboard.pages import functions, runs
from stepwell.engine.registry import cron_triggers
from stepwell.model.function import Function
from stepwell.model.questions import ListRuns
from stepwell.model.run import Run, RunStatus
from stepwell.views import search
from stepwell.views.queues.controls import limits
from stepwell.views.queues.shapes import LimitView

_LAST: Final = 200  # runs, of which rates and durations are told
_LISTED: Final = 12
_TICKS: Final = 5
_YEAR_MS: Final = 366 * 86_400_000
_KEYS: Final = 12


class Lately(NamedTuple):
    """Of the last runs: how many they are, how many of them failed or completed, and how long those took."""

    runs: int
    ended: int
    failed: int
    p50: int | None
    p95: int | None

    @property
    def rate(self) -> str:
        """The part of them that failed."""
        return f"{100 * self.failed / self.ended:.3g} %" if self.ended else "—"


class FunctionView(NamedTuple):
    """A function. ``strip`` are its last runs, the oldest first."""

    function: Function
    row: functions.Row
    rows: Sequence[runs.Row]
    strip: Sequence[Run]
    lately: Lately
    limits: Sequence[LimitView]
    ticks: Sequence[int]
    config: bytes


async def show(visit: Visit) -> Shown:
    reader, registry = visit.source.reader, visit.source.registry()
    function = registry.of_run(visit.path["function_id"])
    if function is None:
        raise Missing("There is no such function", "No app that is known has it, or has had it lately.")
    last: list[Run] = await reader.read(ListRuns(_LAST, function_id=function.id))
    listed = last[:_LISTED]
    names = await search.event_names(reader, listed)
    departed = function.id not in registry.functions
    in_use = await limits(reader, function, visit.source.situation(), limit=_KEYS)
    view = FunctionView(
        function=function,
        row=functions.row(function, visit.now, departed=departed),
        rows=runs.rows(listed, names, registry),
        strip=last[:60][::-1],
        lately=_lately(last),
        limits=in_use.limits,
        ticks=[] if departed else _ticks(function, visit.now),
        config=function.config,
    )
    return Shown(title=view.row.name, view=view, topics=("runs", "functions"))


def _lately(last: Sequence[Run]) -> Lately:
    ended = [run for run in last if run.status in (RunStatus.COMPLETED, RunStatus.FAILED)]
    took = sorted(run.ended_at - run.started_at for run in ended if run.ended_at and run.started_at)
    return Lately(
        runs=len(last),
        ended=len(ended),
        failed=sum(run.status == RunStatus.FAILED for run in ended),
        p50=took[len(took) // 2] if took else None,
        p95=took[min(len(took) - 1, len(took) * 95 // 100)] if took else None,
    )


def _ticks(function: Function, now: int) -> list[int]:
    found: set[int] = set()
    for _, schedule in cron_triggers(function).values():
        found.update(islice(schedule.between(now, now + _YEAR_MS), _TICKS))
    return sorted(found)[:_TICKS]


PAGE: Final = Page(
    path="/functions/{function_id}",
    show=show,
    section="functions",
    template="function.html",
    parts=("summary", "detail"),
)
