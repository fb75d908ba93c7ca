"""An event arrived: runs start, waits are resumed, runs are cancelled. All of it in the transaction that saves it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any

import msgspec

from stepwell.engine.deferral import deferred, schedule, settle
from stepwell.engine.draft import Draft
from stepwell.engine.ending import announcements, cancel
from stepwell.engine.windows import arrive
from stepwell.expressions import EvaluationError, compile_expression, probe_value
from stepwell.model.changes import CloseWait, Plan, SaveEvent, SaveOutcome, SettleStep, Wake
from stepwell.model.event import CANCELLED, FAILED, FINISHED, Event
from stepwell.model.history import Outcome, OutcomeKind
from stepwell.model.place import EVERYWHERE, place_of
from stepwell.model.questions import FindWaits, GetEvent, GetRun, HeldEvents, Lock, WaitPaths, ask
from stepwell.model.run import RunStatus
from stepwell.model.step import StepStatus
from stepwell.model.wait import Wait, WaitKind
from stepwell.ops.wait_for_event import event_memo

_encode = msgspec.json.Encoder().encode

_NAMES: dict[str, tuple[str, ...]] = {
    RunStatus.COMPLETED: (FINISHED,),
    RunStatus.FAILED: (FAILED, FINISHED),
    RunStatus.CANCELLED: (CANCELLED, FINISHED),
}


def accept(draft: Draft, events: Sequence[Event], *, seeded: bool = False) -> Plan:
    """Accept events that were validated. ``seeded`` events may have been accepted before: those change nothing."""
    if not draft.one_shard:  # at once: one after the other may be in the wrong order, and the plan would begin again
        ids = (id for event in events for id in (event.id, event.sent_by) if id is not None)
        yield from _hold(draft, set(map(place_of, ids)))
    for event in events:
        if seeded and (yield from ask(GetEvent(event.id))) is not None:
            continue
        if event.sent_by is not None:
            run = yield from ask(GetRun(event.sent_by))
            depth, sent_by = (run.depth + 1, run.id) if run is not None else (0, None)
            event = msgspec.structs.replace(event, depth=depth, sent_by=sent_by)
        yield from publish(draft, event)
    yield from announce(draft)
    return draft.decision([event.id for event in events])


def publish(
    draft: Draft, event: Event, *, besides: str | None = None, starts: bool = True
) -> Generator[Any, Any, None]:
    """One event and all it causes, but for the start of one function, which whoever publishes it sees to.

    Without ``starts`` no function is started by it; it still resumes and cancels.
    """
    draft.add(SaveEvent(event))
    fields: dict[str, object] | None = None
    heard: list[Wait] = []
    if event.name in draft.listeners:
        fields = event.fields()
        heard = _heard(draft, event, fields)  # before this event starts runs: it never cancels those (semantics §8.1)
    matches = draft.registry.matches(event.name) if starts else []
    if matches:
        fields = fields or event.fields()
        started: set[str] = set()
        failed: dict[str, str] = {}
        for match in matches:
            function = match.function
            if function.id in started or function.id == besides:
                continue  # once per event, however many of its triggers match (semantics §2)
            if match.condition is not None:
                try:
                    if not match.condition.matches({"event": fields}, now_ms=draft.now):
                        continue
                except EvaluationError as error:
                    failed.setdefault(function.id, str(error))
                    continue
            started.add(function.id)
            yield from arrive(draft, function, event, fields)
        for function_id, reason in failed.items():
            if function_id not in started:  # another of its triggers may have matched: one outcome for each pair (I2)
                kind = OutcomeKind.EXPRESSION_FAILED
                outcome = Outcome(event_id=event.id, function_id=function_id, kind=kind, at=draft.now, reason=reason)
                draft.add(SaveOutcome(outcome))
    # Held where it is saved: a wait that looks back for it from now on, which holds everything, comes after it.
    if not draft.one_shard:
        yield from _hold(draft, {place_of(event.id)})
    paths = yield from ask(WaitPaths(event.name, EVERYWHERE))
    if paths or heard:
        fields = fields or event.fields()
        probes = tuple(_probes(fields, paths))
        waits = (yield from find_waits(draft, event.name, probes, draft.all_held)) if paths else []
        yield from _resume(draft, event, fields, waits, heard)


def _hold(draft: Draft, places: set[int]) -> Generator[Any, Any, None]:
    """Let nobody else write at these places, each of which is asked for once."""
    if not places <= draft.places:
        draft.places |= places
        draft.all_held = yield from ask(Lock(tuple(sorted(places))))


def announce(draft: Draft) -> Generator[Any, Any, None]:
    """Publish what this decision itself has to say: runs that ended, and what they had put off until then. Ends a plan
    that may have ended runs.

    That a run has finished can be read from the run, so that event is written down only if something could come of it;
    that one failed or was cancelled is rarer, and always is.
    """
    while draft.endings:
        ending = draft.endings.pop(0)
        if ending.deferred:
            for put_off in (yield from deferred(draft, ending.run)):
                event, before = schedule(draft, ending, put_off), len(draft.changes)
                yield from publish(draft, event)
                settle(draft, put_off, event, draft.changes[before:])
        if ending.quiet:
            continue
        names = _NAMES[ending.status]
        if ending.event.name == CANCELLED and names[0] == CANCELLED:
            names = names[1:]  # a clean-up that is cancelled must not start itself
        if not draft.registry.matches(FINISHED) and not (yield from ask(WaitPaths(FINISHED, EVERYWHERE))):
            names = names[:-1]
        if names:
            collected = (yield from ask(HeldEvents(ending.run.id))) if ending.run.batch else []
            for event in announcements(draft, ending, names, collected):
                yield from publish(draft, event)


def _heard(draft: Draft, event: Event, fields: dict[str, object]) -> list[Wait]:
    """The listeners of runs that this plan itself creates."""
    listeners = draft.listeners[event.name]
    found: list[Wait] = []
    for path, value in _probes(fields, listeners):
        found += listeners.get(path, {}).get(value, ())
    return [wait for wait in found if wait.expires_at > draft.now]


def _probes(fields: dict[str, object], paths: Iterable[str]) -> list[tuple[str, str]]:
    probes = [("", "")]
    for path in paths:
        value = probe_value(fields, path) if path else None
        if value is not None:
            probes.append((path, value))
    return probes


def find_waits(
    draft: Draft, name: str, probes: tuple[tuple[str, str], ...], all_held: bool
) -> Generator[Any, Any, list[Wait]]:
    """The open waits that these probes find, held until this is decided.

    They may be anywhere, so they are looked for without holding anything, and then once more where they were. One that
    is opened meanwhile may be missed: neither of the two was there before the other.
    """
    question = FindWaits(name, probes, draft.now, EVERYWHERE)
    waits = yield from ask(question)
    if all_held or not waits:
        return waits
    yield from ask(Lock(tuple(sorted({place_of(wait.run_id) for wait in waits}))))
    found = {(wait.run_id, wait.id) for wait in waits}
    return [wait for wait in (yield from ask(question)) if (wait.run_id, wait.id) in found]


def _resume(
    draft: Draft, event: Event, fields: dict[str, object], waits: Sequence[Wait], heard: Sequence[Wait]
) -> Generator[Any, Any, None]:
    memo: bytes | None = None
    env = {"async": fields}
    for wait in (*waits, *heard):
        if wait.run_id in draft.ended or not _satisfied(wait, env, draft.now):
            continue
        if wait.kind == WaitKind.CANCEL:
            condition = f" ({wait.condition})" if wait.condition else ""
            yield from cancel(draft, wait.run_id, f"event {event.name} {event.id}{condition}")
            continue
        memo = memo or event_memo(event)
        draft.add(
            SettleStep(
                wait.run_id,
                wait.id,
                StepStatus.COMPLETED,
                draft.now,
                memo,
                _details(wait, event),
            ),
            CloseWait(wait.run_id, wait.id),
            Wake(wait.run_id, draft.now),
        )
        draft.touched.append(wait.run_id)
        draft.due(draft.now)


def _satisfied(wait: Wait, env: dict[str, dict[str, object]], now: int) -> bool:
    if wait.condition is None:
        return True
    try:
        return compile_expression(wait.condition, variables=("async",)).matches(env, now_ms=now)
    except EvaluationError:
        return False


def _details(wait: Wait, event: Event) -> bytes:
    """What people see of a wait that is over: what it waited for, and what came."""
    details = {"event": event.name, "expires_at": wait.expires_at, "matched": event.id}
    return _encode(details | {"if": wait.condition} if wait.condition else details)
