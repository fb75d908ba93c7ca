"""What became of an event, function by function."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Final, Literal

from stepwell.engine.registry import Registry
from stepwell.expressions import EvaluationError
from stepwell.model.event import Event, rfc3339
from stepwell.model.questions import ListFunctions, Outcomes, RunsOfEvent
from stepwell.model.trigger import EventTrigger
from stepwell.server.views import Reader, outcome_view
from stepwell.server.why.shapes import EventWhy, StartedRun, Unstarted

_NEAREST_MAX: Final = 3
_ALIKE: Final = 0.7
_NEXT_BEST: Final = 0.05


async def explain_event(reader: Reader, registry: Registry, event: Event) -> EventWhy:
    """A run, an outcome or a reason for every function that this event could have started."""
    runs = await reader.read(RunsOfEvent(event.id))
    outcomes = await reader.read(Outcomes(event.id))
    told = {run.function_id for run in runs} | {outcome.function_id for outcome in outcomes}
    registered = {function.id: function.updated_at for function in await reader.read(ListFunctions())}
    unstarted: dict[str, Unstarted] = {}
    fields = event.fields()
    for match in registry.matches(event.name):
        function_id = match.function.id
        if function_id in told:
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
    nothing = not told and not unstarted
    return EventWhy(
        id=event.id,
        name=event.name,
        received_at=rfc3339(event.received_at),
        runs=[StartedRun(id=run.id, function_id=run.function_id, status=run.status) for run in runs],
        outcomes=[outcome_view(outcome) for outcome in outcomes],
        unstarted=list(unstarted.values()),
        nearest=nearest(event.name, trigger_names(registry)) if nothing else [],
    )


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
