"""A run ends: once, and with everything that follows from it in the same transaction."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import msgspec

from stepwell.engine.draft import Draft, Ending
from stepwell.lifecycle.run import advance
from stepwell.limits import STEP_BYTES_MAX
from stepwell.model.changes import (
    Change,
    CloseWaits,
    Drop,
    DropRequests,
    DropRunItems,
    FinishRun,
    FreeSlots,
    SaveNote,
    Schedule,
    SettleStep,
    Wake,
)
from stepwell.model.event import FAILED, FINISHED, Event
from stepwell.model.failure import Failure, invoke_cancelled, output_too_large
from stepwell.model.history import Note
from stepwell.model.item import Item, ItemKind
from stepwell.model.questions import Children, CountHeld, GetEvent, GetItem, GetRun, GetSteps, ask
from stepwell.model.run import Run, RunStatus
from stepwell.model.step import StepStatus

_encode = msgspec.json.Encoder().encode


def finish(
    draft: Draft,
    run: Run,
    event: Event,
    status: str,
    *,
    output: bytes | None = None,
    failure: Failure | None = None,
    reason: str | None = None,
    tidy: bool = True,
    width: int = 1,
    parked: str | None = None,
    deferred: bool = True,
) -> None:
    """End a run. ``tidy`` is false if the holder of its lease knows that it has no waits and no timers, ``deferred`` if
    it knows that nothing was put off until now. One that is ``parked`` in a backlog was not woken for room there.

    The item goes first: for a holder that is the change which proves its lease.
    """
    changes: list[Change] = [DropRunItems(run.id) if tidy or run.guarded else Drop(run.id)]
    if failure is not None:
        output = failure.json()
    # A decision has the time at which it began, and where there are several shards another one, which began later, may
    # have been made first: no run ends before it was there.
    ended_at = max(draft.now, run.queued_at if run.started_at is None else run.started_at)
    changes.append(FinishRun(run.id, advance(run.status, status), ended_at, output, reason))
    if tidy or run.guarded:
        changes.append(CloseWaits(run.id))
    if tidy:
        changes.append(DropRequests(run.id))
    if run.slots:
        changes += release(draft, run, width, parked)
    if run.locks:
        changes += _give_up(draft, run, parked=parked)
    if run.parent and run.parent_step:
        changes += _tell_parent(run, status, output, ended_at)
        draft.touched.append(run.parent)
        draft.due(draft.now)
    draft.add(*changes)
    draft.ended.add(run.id)
    quiet = event.name in (FINISHED, FAILED)  # a function that watches the ends of runs must not watch its own
    if deferred or not quiet:
        draft.endings.append(Ending(run, event, status, output, quiet, deferred))


def _give_up(draft: Draft, run: Run, *, parked: str | None) -> list[Change]:
    """What the run itself held is free: another run may begin for each place."""
    changes: list[Change] = [FreeSlots(lock_holder(run.id))]
    for lock in run.locks:
        if lock not in places(run):
            draft.locks[lock] = None
        else:
            if run.started_at is not None:
                draft.take((lock,), -1)
            elif lock == parked:
                continue
            changes.append(draft.room(lock, 1, run.place))  # one that never began may have been woken for it
    return changes


def places(run: Run) -> tuple[str, ...]:
    """The keys of which so many runs may hold one."""
    return tuple(lock for lock in run.locks if lock.startswith("run/"))


def release(draft: Draft, run: Run, width: int, parked: str | None = None) -> list[Change]:
    """The run uses its slots no more, ``width`` of each key: as many of those who waited longest may go."""
    others = (slot for slot in run.slots if slot != parked)
    return [FreeSlots(run.id), *(draft.room(slot, width, run.place) for slot in others)]


def lock_holder(run_id: str) -> str:
    """Who holds what a run alone may hold: unlike the slots of its calls it is not given back before the run ends."""
    return f"run:{run_id}"


def lock_owner(holder: str) -> str:
    """The run that this holder stands for."""
    return holder.removeprefix("run:")


def cancel(draft: Draft, run_id: str, reason: str) -> Generator[Any, Any, bool]:
    """Stop a run for good. False if it had ended already, or does not exist."""
    if run_id in draft.ended:
        return False
    run, event = draft.guarded.get(run_id) or ((yield from ask(GetRun(run_id))), None)
    if run is None or run.ended:
        return False
    event = event or (yield from ask(GetEvent(run.event_id, run.place)))
    if event is None:
        event = Event(id=run.event_id, name="", ts=run.queued_at, received_at=run.queued_at)
    width, parked = 1, None
    turn = run.throttle if run.started_at is None else None
    if run.slots or run.locks or turn:
        item = yield from ask(GetItem(run.id))
        if item is not None and item.backlog not in draft.freed:
            parked = item.backlog  # else it may be the one that this decision has just woken
    if turn is not None and parked is None:  # its turn may have come: whoever is next is asked
        draft.add(
            Schedule(
                Item(
                    id=turn,
                    kind=ItemKind.THROTTLE,
                    function_id=run.function_id,
                    at=draft.now,
                    place=run.place,
                    queued_at=draft.now,
                )
            )
        )
        draft.due(draft.now)
    if run.slots:
        held = yield from ask(CountHeld(run.slots[0], run.id))
        draft.take(run.slots, -held)
        width = max(1, held)
    finish(draft, run, event, RunStatus.CANCELLED, reason=reason, width=width, parked=parked)
    draft.touched.append(run.id)
    draft.add(SaveNote(Note(run_id=run.id, at=draft.now, kind="cancelled", text=reason)))
    children = yield from ask(Children(run.id))
    if children:
        steps = {step.id: step for step in (yield from ask(GetSteps(run.id)))}
        for child in children:
            step = steps.get(child.parent_step or "")
            if step is not None and step.details and b'"cancel_child":true' in step.details:
                yield from cancel(draft, child.id, f"run {run.id}, which invoked it, was cancelled")
    return True


def announcements(draft: Draft, ending: Ending, names: tuple[str, ...], collected: Sequence[Event] = ()) -> list[Event]:
    """The internal events of a run's end (protocol §9.5). ``collected`` are its events if there were several."""
    run, event, status, output = ending.run, ending.event, ending.status, ending.output
    wire = event.fields()
    data: dict[str, Any] = {
        "function_id": run.function_id,
        "run_id": run.id,
        "event": wire,
        "events": [event.fields() for event in collected] or [wire],
        "_inngest": {"status": status.capitalize()},
    }
    if run.parent:
        data["correlation_id"] = f"{run.parent}.{run.parent_step}"
    if status == RunStatus.FAILED and output is not None:
        data["error"] = _standard_error(output)
    elif status == RunStatus.COMPLETED and output is not None:
        data["result"] = msgspec.Raw(output)
    text = _encode(data)
    return [
        Event(
            id=draft.moment.new_id(run.place),
            name=name,
            ts=draft.now,
            received_at=draft.now,
            data=text,
            key=None if name == FINISHED else run.id,
            meta=event.meta,
            source="internal",
            depth=run.depth,  # of a chain the last is reported to those who watch over failures
            sent_by=run.id,
        )
        for name in names
    ]


def _standard_error(output: bytes) -> dict[str, Any]:
    """``{error, name, message, stack?, cause?}``, without the SDK's own extras (protocol §5.6, §9.5)."""
    try:
        error = msgspec.json.decode(output, type=Failure)
    except msgspec.MsgspecError:
        error = Failure("Error", "Function execution error")
    found: dict[str, Any] = {"error": "invalid status code: 500", "name": error.name, "message": error.message}
    if error.stack:
        found["stack"] = error.stack
    if bytes(error.cause):
        found["cause"] = error.cause
    return found


def _tell_parent(run: Run, status: str, output: bytes | None, now: int) -> list[Change]:
    result: bytes | None
    if status == RunStatus.COMPLETED and output is not None and len(output) > STEP_BYTES_MAX:
        settled, result = StepStatus.FAILED, output_too_large(len(output), STEP_BYTES_MAX).json()
    elif status == RunStatus.COMPLETED:
        settled, result = StepStatus.COMPLETED, output
    elif status == RunStatus.FAILED:
        settled, result = StepStatus.FAILED, output
    else:
        settled, result = StepStatus.FAILED, invoke_cancelled(run.function_id).json()
    parent, step = run.parent or "", run.parent_step or ""
    return [
        SettleStep(parent, step, settled, now, result or b"null", None),
        Wake(parent, now),
    ]
