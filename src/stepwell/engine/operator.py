"""A person acted."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec
from msgspec.structs import replace

from stepwell.engine.admission import admit
from stepwell.engine.again import find_step
from stepwell.engine.draft import Draft
from stepwell.engine.ending import cancel
from stepwell.engine.intake import announce, publish
from stepwell.errors import ConfigurationError
from stepwell.model.changes import Plan, SaveNote, SaveStep, Schedule, SettleStep, Wake
from stepwell.model.event import Event
from stepwell.model.history import Note, Outcome
from stepwell.model.item import Item
from stepwell.model.questions import GetEvent, GetItem, GetRun, GetSteps, Outcomes, RunsOfEvent, ask
from stepwell.model.run import Run
from stepwell.model.step import StepStatus


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


class Tried(msgspec.Struct, frozen=True):
    """What a person had tried again at once: steps, by name, and whether the function's own ``code``."""

    steps: list[str]
    code: bool = False

    @property
    def any(self) -> bool:
        """Whether anything waited for that."""
        return self.code or bool(self.steps)


def retry_now(draft: Draft, run_id: str, step: str | None = None) -> Plan:
    """Make the next attempts now for which the run waits: that at this step, or without one all of them, that at the
    function's own code among them. Limits hold as ever.

    The value is what is tried, ``None`` if there is no such run. Raises ``NotFound`` and ``ConfigurationError`` for a
    step that is not there once.
    """
    run = yield from ask(GetRun(run_id))
    if run is None or run.ended:
        return draft.decision(None if run is None else Tried([]))
    steps = yield from ask(GetSteps(run_id))
    meant = [find_step(run, steps, step)] if step is not None else steps
    waiting = [each for each in meant if each.status == StepStatus.ERRORED and (each.due or 0) > draft.now]
    draft.add(*(SaveStep(replace(each, due=draft.now)) for each in waiting))
    item: Item | None = (yield from ask(GetItem(run_id))) if step is None else None
    code = item is not None and _backs_off(item, draft.now)
    if item is not None and code:
        draft.add(Schedule(replace(item, at=draft.now)))
    tried = Tried([each.name for each in waiting], code)
    if tried.any:
        names = [f"step {name!r}" for name in tried.steps] + ["the function's own code"] * code
        _go_on(draft, run_id, "retried-now", f"a person had {' and '.join(names)} tried again before the time")
    return draft.decision(tried)


def skip_sleep(draft: Draft, run_id: str, step: str | None = None) -> Plan:
    """End a sleep before its time: that of this step, or without one all in which the run rests.

    The value is which, by name; nothing if it slept in none, and ``None`` if there is no such run. Raises ``NotFound``
    and ``ConfigurationError`` for a step that is not there once, or is no sleep.
    """
    run = yield from ask(GetRun(run_id))
    if run is None or run.ended:
        return draft.decision(None if run is None else [])
    steps = yield from ask(GetSteps(run_id))
    meant = [find_step(run, steps, step)] if step is not None else steps
    if step is not None and meant[0].kind != "sleep":
        raise ConfigurationError(
            f"step {meant[0].name!r} cannot be skipped",
            f"it is no sleep, but of the kind {meant[0].kind!r}",
            "start the run again from the step after it, and give its output",
        )
    asleep = [each for each in meant if each.status == StepStatus.SLEEPING]
    for each in asleep:
        draft.add(SettleStep(run_id, each.id, StepStatus.COMPLETED, draft.now, b"null", None))
    if asleep:
        names = " and ".join(repr(each.name) for each in asleep)
        _go_on(draft, run_id, "sleep-skipped", f"a person ended the sleep {names} before its time")
    return draft.decision([each.name for each in asleep])


def _backs_off(item: Item, now: int) -> bool:
    """Whether it waits for another attempt at the function's own code."""
    return item.lease == 0 and item.attempt > 0 and item.at is not None and item.at > now


def _go_on(draft: Draft, run_id: str, kind: str, text: str) -> None:
    draft.add(Wake(run_id, draft.now), SaveNote(Note(run_id=run_id, at=draft.now, kind=kind, text=text)))
    draft.touched.append(run_id)
    draft.due(draft.now)
