"""Finds runs for a list: asks by the index that serves best, and looks at no more rows than one page is worth.

Whatever has no index (a function's runs of one state, an app, a text, a condition on the event) is looked for row by
row, and only in so many: the answer says how far it looked, and the next request goes on there. So no page costs more
with what has happened since the beginning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from stepwell.expressions import EvaluationError, Expression
from stepwell.limits import SEARCH_ROWS_MAX
from stepwell.model.event import Event
from stepwell.model.questions import EventNames, EventsOfRuns, GetRun, ListRuns
from stepwell.model.run import Run, RunStatus
from stepwell.views.nouns import Reader

_PAGE: Final = 250  # rows of one read, when most of them may not be wanted
_CONDITIONS_MAX: Final = 500  # events that are read for a condition
_EVENTS: Final = 25  # of them together, because each may be of half a megabyte

_decode: Final = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which runs. ``text`` is part of the id, of the name of the function or of that of the event, or the whole id;
    ``condition`` is about ``event`` and ``output``."""

    status: str | None = None
    function_id: str | None = None
    app: frozenset[str] | None = None
    since: int | None = None
    text: str = ""
    condition: Expression | None = None

    @property
    def by_index(self) -> bool:
        """Whether every row that the question finds is one of these."""
        status = self.status is None or (self.status != RunStatus.COMPLETED and self.function_id is None)
        return status and self.app is None and not self.text and self.condition is None


@dataclass(frozen=True, slots=True)
class Found:
    """Runs, newest first, and the names of their events by the ids of those. With ``after`` there may be more: it is
    the last that was looked at. ``looked`` is how many that were, ``stopped`` whether there were too many."""

    runs: Sequence[Run]
    names: Mapping[str, str]
    after: str | None
    looked: int
    stopped: bool = False


async def search(reader: Reader, wanted: Wanted, *, before: str | None, limit: int) -> Found:
    """Up to ``limit`` runs that are wanted, from the one after ``before`` on."""
    most = SEARCH_ROWS_MAX if wanted.condition is None else _CONDITIONS_MAX
    runs: list[Run] = []
    looked, size = 0, limit + 1 if wanted.by_index else _PAGE
    while looked < most:
        page = await reader.read(_question(wanted, size, before))
        found = await event_names(reader, page) if wanted.text else {}
        together = len(page) if wanted.condition is None else _EVENTS
        for first in range(0, len(page), together or 1):
            some = page[first : first + together]
            fitting = await _fitting(reader, some, found, wanted)
            for run in some:
                if wanted.since is not None and run.queued_at < wanted.since:
                    return await _found(reader, runs, None, looked)
                if run.id in fitting:
                    if len(runs) == limit:
                        return await _found(reader, runs, before, looked)
                    runs.append(run)
                before, looked = run.id, looked + 1
        if len(page) < size:
            return await _found(reader, runs, None, looked)
    return await _found(reader, runs, before, looked, stopped=True)


async def exact(reader: Reader, run_id: str) -> Found:
    """The one run with this id, if it is there."""
    run = await reader.read(GetRun(run_id))
    if run is None:
        return Found((), {}, None, 1)
    return await _found(reader, (run,), None, 1)


async def _found(
    reader: Reader, runs: Sequence[Run], after: str | None, looked: int, *, stopped: bool = False
) -> Found:
    return Found(runs, await event_names(reader, runs) if runs else {}, after, looked, stopped)


async def event_names(reader: Reader, runs: Sequence[Run]) -> dict[str, str]:
    """The names of the events that started these runs, by the ids of the events."""
    names: dict[str, str] = await reader.read(EventNames(tuple((run.id, run.event_id) for run in runs)))
    return names


def _question(wanted: Wanted, limit: int, before: str | None) -> ListRuns:
    output = wanted.condition is not None
    if wanted.status is not None and wanted.status != RunStatus.COMPLETED:
        return ListRuns(limit, before=before, status=wanted.status, output=output)
    return ListRuns(limit, before=before, function_id=wanted.function_id, output=output)


async def _fitting(reader: Reader, runs: Sequence[Run], names: Mapping[str, str], wanted: Wanted) -> set[str]:
    """The ids of those of the runs that are wanted, but for their age."""
    fitting = [run for run in runs if _fits(run, names.get(run.event_id, ""), wanted)]
    condition = wanted.condition
    if condition is None or not fitting:
        return {run.id for run in fitting}
    events = await reader.read(EventsOfRuns(tuple((run.id, run.event_id) for run in fitting)))
    return {run.id for run in fitting if _is_true(run, events.get(run.event_id), condition)}


def _fits(run: Run, event_name: str, wanted: Wanted) -> bool:
    """Whether it is wanted, as far as its own row and the name of its event tell."""
    if wanted.status is not None and run.status != wanted.status:
        return False
    if wanted.function_id is not None and run.function_id != wanted.function_id:
        return False
    if wanted.app is not None and run.function_id not in wanted.app:
        return False
    text = wanted.text
    return not text or any(text in each.lower() for each in (run.function_id, event_name, run.id, run.reason or ""))


def _is_true(run: Run, event: Event | None, condition: Expression) -> bool:
    fields = event.fields() if event is not None else {}
    try:
        output = _decode(run.output) if run.output else None
        return condition.matches({"event": fields, "output": output}, now_ms=run.queued_at)
    except (EvaluationError, msgspec.MsgspecError):
        return False  # what cannot be worked out for one run is not true of it
