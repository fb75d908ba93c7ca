"""A person pauses a function, and resumes it (semantics §9.5).

What is decided is part of the function's row, so that every process on the file knows it and a sync does not undo it.
Runs that wait for it are out of sight in a backlog of their own; the decision that resumes lets all of them go.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec

from stepwell.engine.admission import paused
from stepwell.engine.bulk import live_runs, order
from stepwell.engine.draft import Draft
from stepwell.engine.releasing import let_go
from stepwell.model.changes import PauseFunction, Plan
from stepwell.model.order import OrderKind
from stepwell.model.pause import Pause, PausedRuns
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import ListFunctions, Lock, StoredFunction, ask


def pause(draft: Draft, function_id: str, *, events: str, runs: str, reason: str = "") -> Plan:
    """Pause a function. The value is its pause, or ``None`` if there is no such function.

    One that is paused already gets these choices in place of those it had, from the same moment on.
    """
    yield from ask(Lock((EVERYWHERE,)))
    function = yield from _find(function_id)
    if function is None:
        return draft.decision(None)
    found = Pause(
        since=draft.now if function.pause is None else function.pause.since, events=events, runs=runs, reason=reason
    )
    if found == function.pause and runs != PausedRuns.CANCEL:
        return draft.decision(found)  # who is not answered asks again: nobody else is to begin anew because of that
    if runs == PausedRuns.CANCEL:
        wanted = live_runs(function.app_id, function.id, draft.now)
        cancellation = order(draft, OrderKind.CANCEL, wanted)
        found = msgspec.structs.replace(found, cancellation=cancellation.id)
    draft.add(PauseFunction(function.id, found))
    if function.pause is not None:
        yield from let_go(draft, paused(function.id))  # those that the new choices let wait are put aside again
    return draft.decision(found)


def resume(draft: Draft, function_id: str) -> Plan:
    """End the pause of a function: what waited for that goes on. The value is the pause, ``None`` if there was none."""
    yield from ask(Lock((EVERYWHERE,)))
    function = yield from _find(function_id)
    if function is None or function.pause is None:
        return draft.decision(None)
    draft.add(PauseFunction(function.id, None))
    yield from let_go(draft, paused(function.id))
    return draft.decision(function.pause)


def _find(function_id: str) -> Generator[Any, Any, StoredFunction | None]:
    stored = yield from ask(ListFunctions(archived=True))
    return next((each for each in stored if each.id == function_id), None)
