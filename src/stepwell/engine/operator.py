"""A person acted."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from stepwell.engine.admission import admit
from stepwell.engine.draft import Draft
from stepwell.engine.ending import cancel
from stepwell.engine.intake import announce, publish
from stepwell.limits import DEDUPE_WINDOW
from stepwell.model.changes import HoldEvent, Plan, PutCell
from stepwell.model.event import Event
from stepwell.model.history import Cell, Outcome
from stepwell.model.questions import GetCell, GetEvent, GetRun, HeldEvents, Outcomes, RunsOfEvent, ask
from stepwell.model.run import Run

_DEDUPE_MS = DEDUPE_WINDOW // type(DEDUPE_WINDOW)(milliseconds=1)


def cancel_run(draft: Draft, run_id: str, reason: str) -> Plan:
    """Cancel one run. The value is false if it had ended, or does not exist (semantics §8.3)."""
    cancelled = yield from cancel(draft, run_id, reason)
    yield from announce(draft)
    return draft.decision(cancelled)


def invoke(draft: Draft, function_id: str, event: Event, *, seeded: bool = False) -> Plan:
    """Start one function for an event that names it. The value is the run, the outcome that says why there is none, or
    ``None`` if there is no such function. ``seeded`` events may have been accepted before: those change nothing."""
    function = draft.registry.get(function_id)
    if function is None:
        return draft.decision(None)
    started: Run | Outcome | None = None
    if seeded and (yield from ask(GetEvent(event.id))) is not None:
        started = yield from _what_came_of_it(event.id, function_id)
    if started is None:
        yield from publish(draft, event, besides=function.id)
        started = yield from admit(draft, function, event, event.fields())
    yield from announce(draft)
    return draft.decision(started)


def _what_came_of_it(event_id: str, function_id: str) -> Generator[Any, Any, Run | Outcome | None]:
    """What an event has started of this function, or why it has not. Others may have listened to it."""
    found: list[Run | Outcome] = [*(yield from ask(RunsOfEvent(event_id))), *(yield from ask(Outcomes(event_id)))]
    return next((one for one in found if one.function_id == function_id), None)


def rerun(draft: Draft, run_id: str, key: str | None = None) -> Plan:
    """Start a run again: a new one, for the same event, under the function as it is now (semantics §9.1).

    The value is the new run, the outcome that says why there is none, or ``None`` if the run, its event or its function
    is not there any more. With a ``key``
    the second request within 24 hours gets the run of the first.
    """
    cell = f"rerun/{run_id}/{key}"
    if key is not None:
        seen = yield from ask(GetCell(cell, draft.now))
        if seen is not None:
            return draft.decision((yield from ask(GetRun(seen.value))))
    run = yield from ask(GetRun(run_id))
    event = (yield from ask(GetEvent(run.event_id, run.shard))) if run is not None else None
    function = draft.registry.get(run.function_id) if run is not None else None
    if run is None or event is None or function is None:
        return draft.decision(None)
    started = yield from admit(draft, function, event, event.fields(), cron=run.cron, again=run)
    if isinstance(started, Outcome):
        draft.changes.clear()  # the event has had its outcome: the run that this one was to repeat
        return draft.decision(started)
    if run.batch:
        for place, one in enumerate((yield from ask(HeldEvents(run.id, run.shard)))):
            draft.add(HoldEvent(started.id, place, one.id, run.shard))
    if key is not None:
        draft.add(PutCell(Cell(key=cell, value=started.id, expires_at=draft.now + _DEDUPE_MS, shard=run.shard)))
    yield from announce(draft)  # it may have taken the place of another
    return draft.decision(started)
