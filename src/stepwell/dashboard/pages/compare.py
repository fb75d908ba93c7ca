"""``/runs/{run_id}/compare/{other_id}``: two runs beside one another: what they were given, their steps, what came of
them. In place of the id of the other one may stand ``previous``, or ``success`` for the last one that completed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from stepwell.dashboard.comparison import Pair, What, pairs
from stepwell.dashboard.json_diff import Difference, json_diff, text_diff
from stepwell.dashboard.page import Missing, Page, Shown, Visit
from stepwell.dashboard.pages.run import find_run, run_name
from stepwell.ids import is_ulid
from stepwell.model.event import Event
from stepwell.model.questions import GetEvent, GetRun, GetSteps, ListRuns
from stepwell.model.run import Run, RunStatus
from stepwell.views.nouns import ErrorView, error_view
from stepwell.views.search import Wanted, search
from stepwell.views.wording import span

PREVIOUS: Final = "previous"
SUCCESS: Final = "success"
_ROWS_MAX: Final = 500


class Fact(NamedTuple):
    """Something about both runs. A moment is in milliseconds, all else is text."""

    what: str
    left: str
    right: str


class CompareView(NamedTuple):
    """``left`` is the earlier of the two. ``rows`` are the steps that are shown, ``hidden`` how many are not; ``only``
    says that those are which are the same, ``counts`` how many there are of each kind."""

    left: Run
    right: Run
    names: tuple[str, str]
    facts: Sequence[Fact]
    given: Difference
    result: Difference
    error: tuple[ErrorView | None, ErrorView | None]
    stack: Difference
    rows: Sequence[Pair]
    counts: Sequence[tuple[What, int]]
    hidden: int
    only: bool
    address: str


async def show(visit: Visit) -> Shown:
    reader = visit.source.reader
    run = await find_run(visit)
    other = await _other(visit, run, visit.path.get("other_id") or visit.query.get("other", "").strip())
    left, right = sorted((run, other), key=lambda each: (each.queued_at, each.id))
    events: list[Event | None] = [await reader.read(GetEvent(each.event_id, each.place)) for each in (left, right)]
    steps = [await reader.read(GetSteps(each.id)) for each in (left, right)]
    found = pairs(left, steps[0], right, steps[1])
    every = visit.query.get("steps") == "all"
    rows = found if every else [each for each in found if each.what is not What.SAME]
    errors = tuple(_error(each) for each in (left, right))
    view = CompareView(
        left=left,
        right=right,
        names=(run_name(visit, left), run_name(visit, right)),
        facts=_facts(left, right, events, [len(each) for each in steps]),
        given=json_diff(*(each.data if each is not None else None for each in events)),
        result=json_diff(*(None if _failed(each) else each.output for each in (left, right))),
        error=(errors[0], errors[1]),
        stack=text_diff(*(_told(each) for each in errors)),
        rows=rows[:_ROWS_MAX],
        counts=[(what, count) for what in What if (count := sum(each.what is what for each in found))],
        hidden=len(found) - min(len(rows), _ROWS_MAX),
        only=not every,
        address=f"/runs/{left.id}/compare/{right.id}",
    )
    return Shown(
        title=f"{view.names[0]}: two runs", view=view, topics=tuple(f"run:{each.id}" for each in (left, right))
    )


async def _other(visit: Visit, run: Run, asked: str) -> Run:
    """The run to compare with. Raises ``Missing``."""
    reader = visit.source.reader
    if asked == PREVIOUS:
        before: list[Run] = await reader.read(ListRuns(1, before=run.id, function_id=run.function_id))
        if not before:
            raise Missing("There is no run before this one", f"It is the first of {run.function_id} that is kept.")
        asked = before[0].id
    elif asked == SUCCESS:
        wanted = Wanted(status=RunStatus.COMPLETED, function_id=run.function_id)
        earlier = await search(reader, wanted, before=run.id, limit=1)
        found = [*earlier.runs, *(await search(reader, wanted, before=None, limit=2)).runs]
        asked = next((each.id for each in found if each.id != run.id), "")
        if not asked:
            raise Missing("There is no other run that completed", f"None of the last runs of {run.function_id} did.")
    other = await reader.read(GetRun(asked)) if is_ulid(asked) else None
    if other is None:
        raise Missing(
            "There is no such run to compare with", "Give the whole id of a run. Retention may have removed it."
        )
    if other.id == run.id:
        raise Missing("That is the same run", "Choose another one to compare it with.")
    return other


def _facts(left: Run, right: Run, events: Sequence[Event | None], steps: Sequence[int]) -> list[Fact]:
    both = (left, right)
    found = [
        ("Function", *(each.function_id for each in both)),
        ("Version", *(str(each.function_version) for each in both)),
        (
            "Started by",
            *(each.cron or (event.name if event else "—") for each, event in zip(both, events, strict=True)),
        ),
        ("Waited to start", *(_length(each.queued_at, each.started_at) for each in both)),
        ("Took", *(_length(each.started_at, each.ended_at) for each in both)),
        ("Steps", *(f"{count:,}" for count in steps)),
    ]
    return [Fact(*each) for each in found]


def _length(start: int | None, end: int | None) -> str:
    return "—" if start is None or end is None else span(end - start)


def _failed(run: Run) -> bool:
    return run.status == RunStatus.FAILED


def _error(run: Run) -> ErrorView | None:
    return error_view(run.output) if _failed(run) and run.output is not None else None


def _told(error: ErrorView | None) -> str:
    return "" if error is None else f"{error.name}: {error.message}\n{error.stack or ''}"


_PARTS: Final = ("compared",)
PAGE: Final = Page(
    path="/runs/{run_id}/compare/{other_id}", show=show, section="runs", template="compare.html", parts=_PARTS
)
ASKED: Final = Page(path="/runs/{run_id}/compare", show=show, section="runs", template="compare.html", parts=_PARTS)
