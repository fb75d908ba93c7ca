"""A person acted."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from stepwell.engine.admission import admit
from stepwell.engine.draft import Draft
from stepwell.engine.ending import cancel
from stepwell.engine.intake import announce, publish
from stepwell.model.changes import Plan
from stepwell.model.event import Event
from stepwell.model.history import Outcome
from stepwell.model.questions import GetEvent, Outcomes, RunsOfEvent, ask
from stepwell.model.run import Run


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
