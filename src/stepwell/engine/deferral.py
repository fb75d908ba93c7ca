"""What a run has put off until its end: remembered meanwhile, started in the transaction that ends it (ADR 0017).

The start is an event (protocol §6.6), so whatever holds for events holds for it: flow control, waits, what people see.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import msgspec

from stepwell.engine.draft import Draft, Ending
from stepwell.engine.leased import Leased
from stepwell.limits import DEFERS_PER_RUN_MAX
from stepwell.model.changes import Change, CreateRun, SaveNote, SaveStep, SettleStep
from stepwell.model.event import DEFERRED, Event, routed
from stepwell.model.function import app_uuid, function_uuid
from stepwell.model.history import Note
from stepwell.model.questions import GetStep, OpenSteps, ask
from stepwell.model.run import Run
from stepwell.model.step import DEFER, Step, StepStatus
from stepwell.ops import DeferAbort, DeferAdd, Turn
from stepwell.ops.defer import row_id

_REMEMBERED_MAX = 2 * DEFERS_PER_RUN_MAX  # with those that were rejected: an app may go on for ever


class _Details(msgspec.Struct):
    function_id: str = ""
    meta: msgspec.Raw = msgspec.Raw()


_decode_details = msgspec.json.Decoder(_Details).decode
_encode = msgspec.json.Encoder().encode


def put_off(draft: Draft, op: DeferAdd | DeferAbort, turn: Turn) -> Generator[Any, Any, Step]:
    """Remember it, or that it was aborted. Who comes first wins: code that is repeated says it again."""
    step_id = row_id(op.target if isinstance(op, DeferAbort) else op.id)
    known = turn.defers.get(step_id)
    if known is None:  # an earlier try of this very decision may have been written although nobody was told so
        known = yield from ask(GetStep(turn.run.id, step_id))
    if known is not None and (isinstance(op, DeferAdd) or not known.open):
        return known
    effect = op.decide(turn)
    assert effect.step is not None, "it is remembered in any case"
    if len(turn.defers) < _REMEMBERED_MAX or known is not None:
        draft.add(SaveStep(effect.step), *effect.changes)
        draft.put_off.setdefault(turn.run.id, {})[step_id] = effect.step
    return effect.step


def so_far(draft: Draft, leased: Leased) -> Mapping[str, Step]:
    """What the run has put off, and what this very answer has said of it so far."""
    said = draft.put_off.get(leased.run.id)
    return leased.defers | said if said else leased.defers


def deferred(draft: Draft, run: Run) -> Generator[Any, Any, list[Step]]:
    """What is to be started now that the run ends, in the order in which it was put off."""
    found = {step.id: step for step in (yield from ask(OpenSteps(run.id, DEFER)))}
    found |= draft.put_off.get(run.id, {})
    return [step for step in found.values() if step.open]


def schedule(draft: Draft, ending: Ending, step: Step) -> Event:
    """The event that starts it (protocol §6.6)."""
    run, details = ending.run, _decode_details(step.details or b"{}")
    parent = draft.registry.of_run(run.function_id)
    routing = {
        "fn_slug": details.function_id,
        "parent_app_id": app_uuid(parent.app_id) if parent is not None else "",
        "parent_fn_id": function_uuid(run.function_id),
        "parent_fn_slug": run.function_id,
        "parent_run_id": run.id,
    }
    if draft.registry.get(details.function_id) is None:
        text = f"{step.name!r} starts nothing: there is no function {details.function_id!r}"
        draft.add(SaveNote(Note(run_id=run.id, at=draft.now, kind="defer-unknown", text=text)))
    return Event(
        id=draft.moment.new_id(run.place),
        name=DEFERRED,
        ts=draft.now,
        received_at=draft.now,
        data=routed(step.output or b"{}", routing),
        meta=bytes(details.meta) or None,
        source="internal",
        depth=run.depth + 1,
        sent_by=run.id,
    )


def settle(draft: Draft, step: Step, event: Event, changes: Sequence[Change]) -> None:
    """It was started, by these changes: people find the run it became by the step, as they do of an invoke."""
    function_id = _decode_details(step.details or b"{}").function_id
    details = {"function_id": function_id, "event_id": event.id}
    for change in changes:
        if isinstance(change, CreateRun) and (change.run.event_id, change.run.function_id) == (event.id, function_id):
            details["run_id"] = change.run.id
    draft.add(SettleStep(step.run_id, step.id, StepStatus.COMPLETED, draft.now, None, _encode(details), 0))
