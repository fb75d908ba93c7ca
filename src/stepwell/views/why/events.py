"""What became of an event, function by function."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Final, Literal

import msgspec

from stepwell.engine.registry import Registry, matches_name
from stepwell.expressions import EvaluationError
from stepwell.flow import HOLD
from stepwell.flow.window import Window
from stepwell.model.event import Event, rfc3339
from stepwell.model.function import Function
from stepwell.model.history import Outcome, OutcomeKind
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import GetCell, GetRun, HeldIds, ListFunctions, Outcomes, RunsOfEvent
from stepwell.model.trigger import EventTrigger
from stepwell.views.nouns import OutcomeView, Reader, outcome_view
from stepwell.views.why.shapes import EventWhy, HeldBack, StartedRun, Unstarted

_NEAREST_MAX: Final = 3
_ALIKE: Final = 0.7
_NEXT_BEST: Final = 0.05


async def explain_event(reader: Reader, registry: Registry, event: Event) -> EventWhy:
    """A run, an outcome or a reason for every function that this event could have started."""
    runs = await reader.read(RunsOfEvent(event.id))
    outcomes = await reader.read(Outcomes(event.id))
    told = {run.function_id for run in runs} | {outcome.function_id for outcome in outcomes}
    registered = {function.id: function.updated_at for function in await reader.read(ListFunctions())}
    held: dict[str, HeldBack] = {}
    unstarted: dict[str, Unstarted] = {}
    fields = event.fields()
    for match in registry.matches(event.name):
        function_id = match.function.id
        if function_id in told or function_id in held:
            continue
        waits = await _held(reader, match.function, event, fields)
        if waits is not None:
            held[function_id] = waits
            unstarted.pop(function_id, None)
            continue
        because: Literal["condition", "later", "unknown"] = "unknown"
        if registered.get(function_id, 0) > event.received_at:
            because = "later"
        elif match.condition is not None:
            try:
                because = (
                    "unknown" if match.condition.matches({"event": fields}, now_ms=event.received_at) else "condition"
                )
            except EvaluationError:
                because = "condition"
        unstarted[function_id] = Unstarted(
            function_id=function_id, because=because, expression=match.trigger.expression
        )
    for function in registry.departed.values():
        if function.id not in told and any(
            isinstance(trigger, EventTrigger) and matches_name(trigger.event, event.name)
            for trigger in function.triggers
        ):
            unstarted[function.id] = Unstarted(function_id=function.id, because="archived", expression=None)
    nothing = not told and not held and not unstarted
    return EventWhy(
        id=event.id,
        name=event.name,
        received_at=rfc3339(event.received_at),
        runs=[StartedRun(id=run.id, function_id=run.function_id, status=run.status) for run in runs],
        outcomes=[await _outcome(reader, outcome) for outcome in outcomes],
        unstarted=list(unstarted.values()),
        held=tuple(held.values()),
        nearest=nearest(event.name, trigger_names(registry)) if nothing else [],
    )


async def _outcome(reader: Reader, outcome: Outcome) -> OutcomeView:
    """An outcome. A run that a debounce had in mind may never have come."""
    view = outcome_view(outcome)
    if outcome.kind != OutcomeKind.DEBOUNCED or outcome.run_id is None:
        return view
    if await reader.read(GetRun(outcome.run_id)) is not None:
        return view
    later = "that run is still to come" if await reader.read(HeldIds(outcome.run_id)) else "that run was not started"
    return msgspec.structs.replace(view, reason=f"{view.reason}; {later}")


async def _held(reader: Reader, function: Function, event: Event, fields: dict[str, object]) -> HeldBack | None:
    """The window in which the event waits, if it does."""
    for control in function.controls:
        if not isinstance(control, HOLD):
            continue
        key = control.window(function.id, {"event": fields}, event.received_at)
        cell = await reader.read(GetCell(key, event.received_at, EVERYWHERE)) if key is not None else None
        if cell is None:
            continue
        window = msgspec.json.decode(cell.value, type=Window)
        if event.id in await reader.read(HeldIds(window.run_id)):
            return HeldBack(
                function_id=function.id,
                by="batch_events" if window.batch else "debounce",
                run_id=window.run_id,
                at=rfc3339(window.at),
                count=window.count,
            )
    return None


def trigger_names(registry: Registry) -> list[str]:
    """The event names that start something, sorted."""
    found = {
        trigger.event
        for function in registry.functions.values()
        for trigger in function.triggers
        if isinstance(trigger, EventTrigger)
    }
    return sorted(found)


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """The names most like one that does not exist; case and the kind of separator count little."""
    alike = SequenceMatcher(b=_plain(name))
    found: list[tuple[float, str]] = []
    for known in names:
        alike.set_seq1(_plain(known))
        found.append((alike.ratio(), known))
    best = max((ratio for ratio, _ in found), default=0.0)
    # A typing mistake has one name that is much nearer than the others.
    near = [(ratio, known) for ratio, known in found if ratio >= max(_ALIKE, best - _NEXT_BEST)]
    return [known for _, known in sorted(near, reverse=True)[:_NEAREST_MAX]]


def _plain(name: str) -> str:
    return name.lower().replace(".", "/").replace("-", "_")
