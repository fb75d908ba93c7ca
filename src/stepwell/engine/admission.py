"""May this run start: now, later, instead of another, or never?"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec

from stepwell.engine.draft import Draft
from stepwell.engine.leased import Leased
from stepwell.expressions import EvaluationError, compile_expression
from stepwell.flow import ADMIT, GRANT
from stepwell.flow.keys import owner
from stepwell.flow.verdicts import Skip
from stepwell.lifecycle.run import advance
from stepwell.limits import DEDUPE_WINDOW, INVOKE_DEPTH_MAX, WAIT_DEFAULT
from stepwell.model.changes import CreateRun, Enqueue, OpenWait, PutCell, SaveNote, SaveOutcome
from stepwell.model.event import Event
from stepwell.model.function import Function
from stepwell.model.history import Cell, Note, Outcome, OutcomeKind
from stepwell.model.item import Item, ItemKind, Lease
from stepwell.model.questions import GetCell, ask
from stepwell.model.run import Run, RunStatus
from stepwell.model.trigger import CancelOn
from stepwell.model.wait import Wait, WaitKind

_MS = type(DEDUPE_WINDOW)(milliseconds=1)
_DEDUPE_MS = DEDUPE_WINDOW // _MS
_LISTEN_MS = WAIT_DEFAULT // _MS


def admit(
    draft: Draft,
    function: Function,
    event: Event,
    fields: dict[str, object],
    *,
    parent: tuple[Run, str] | None = None,
    cron: str | None = None,
    again: Run | None = None,
) -> Generator[Any, Any, Run | Outcome]:
    """Start a run of the function for the event, or say why not. Order of the checks: semantics §7.1.

    With ``again`` it is a run that somebody wants once more: whether it may start was decided then (semantics §9.1).
    """
    env = {"event": fields}
    depth = parent[0].depth + 1 if parent else 0
    if depth > INVOKE_DEPTH_MAX:
        reason = f"invoked more than {INVOKE_DEPTH_MAX} levels deep"
        return _skip(draft, function, event, Skip(OutcomeKind.TOO_DEEP, reason))
    run_id = draft.moment.new_id()
    remember: list[Cell] = []  # written only if the run does start
    for control in function.controls if again is None else ():
        if isinstance(control, ADMIT):
            key = control.cell(function.id, env, draft.now)
            if key is None:
                continue
            remembered = yield from _remembered(draft, key)
            verdict = control.admit(key, remembered, run_id, draft.now)
            if isinstance(verdict, Skip):
                return _skip(draft, function, event, verdict)
            if verdict.remember is not None:
                remember.append(verdict.remember)
    # The id of a tick is its moment, which several schedules may share; that each comes once is held by its item (I23).
    if event.key is not None and event.source != "cron" and parent is None and again is None:
        key = f"event/{owner(function.id)}/{event.key}"
        seen = yield from _remembered(draft, key)
        if seen is not None:
            verdict = Skip(OutcomeKind.DEDUPLICATED, f"event id {event.key!r} was seen before", seen.value)
            return _skip(draft, function, event, verdict)
        remember.append(Cell(key=key, value=run_id, expires_at=draft.now + _DEDUPE_MS))
    for cell in remember:
        draft.cells[cell.key] = cell
        draft.add(PutCell(cell))
    slots = tuple(
        slot
        for control in function.controls
        if isinstance(control, GRANT) and (slot := control.slot(function.id, env, draft.now)) is not None
    )
    at = max(draft.now, event.ts) if parent is None and cron is None and again is None else draft.now
    run = Run(
        id=run_id,
        function_id=function.id,
        function_version=function.version,
        event_id=event.id,
        queued_at=draft.now,
        scheduled_at=at,
        parent=parent[0].id if parent else None,
        parent_step=parent[1] if parent else None,
        depth=depth,
        slots=slots,
        guarded=bool(function.cancels or function.start_timeout_ms or function.finish_timeout_ms),
        cron=cron,
        original=again.id if again is not None else None,
    )
    run = _create(draft, run, function, event)
    if run.guarded:
        draft.guarded[run.id] = run, event
        _guard(draft, run, function, fields)
    return run


def start(draft: Draft, run: Run, function: Function) -> Run:
    """The first call of a run begins now."""
    if function.finish_timeout_ms is not None:
        item = Item(
            id=f"{run.id}/finish",
            kind=ItemKind.FINISH_TIMEOUT,
            function_id=function.id,
            run_id=run.id,
            at=draft.now + function.finish_timeout_ms,
            shard=run.shard,
            queued_at=draft.now,
        )
        draft.add(Enqueue(item))
        draft.due(item.at)
    return msgspec.structs.replace(run, status=advance(run.status, RunStatus.RUNNING), started_at=draft.now)


def _create(draft: Draft, run: Run, function: Function, event: Event) -> Run:
    # A run that nothing limits is born in the hands of the process that accepted it: one write less, and its start
    # does not wait for a claim (hot-path.md §2).
    token = draft.take_lease(function.id) if run.scheduled_at <= draft.now and not run.slots else None
    item = Item(
        id=run.id,
        kind=ItemKind.RUN,
        function_id=function.id,
        run_id=run.id,
        at=run.scheduled_at if token is None else draft.until,
        shard=run.shard,
        lease=token or 0,
        queued_at=run.scheduled_at,
    )
    if token is None:
        draft.add(CreateRun(run), Enqueue(item))
        draft.due(item.at)
        return run
    run = start(draft, run, function)
    draft.add(CreateRun(run), Enqueue(item))
    lease = Lease(run.id, token, run.shard)
    draft.leased.append(
        Leased(run=run, lease=lease, until=draft.until, attempt=0, function=function, events=(event,), steps={})
    )
    return run


def _guard(draft: Draft, run: Run, function: Function, fields: dict[str, object]) -> None:
    for number, cancel in enumerate(function.cancels):
        bound = None
        if cancel.expression:
            expression = compile_expression(cancel.expression, variables=("event", "async"), restricted=True)
            try:
                bound = expression.bind(fields)
            except EvaluationError as error:
                # The event puts more into the condition than one may hold. The run goes on, and people can see why
                # nothing of that name will cancel it.
                text = f"nothing listens for {cancel.event}: {error}"
                draft.add(SaveNote(Note(run_id=run.id, at=draft.now, kind="no-listener", text=text, shard=run.shard)))
                continue
            if bound.never:
                continue  # it can no longer become true, so nobody needs to listen (semantics §3.5)
        path, value = (bound.probe if bound else None) or ("", "")
        wait = Wait(
            run_id=run.id,
            id=f"cancel:{number}",
            kind=WaitKind.CANCEL,
            event_name=cancel.event,
            since=draft.now,
            expires_at=_listens_until(cancel, draft.now),
            shard=run.shard,
            condition=bound.text if bound else None,
            path=path,
            value=value,
        )
        draft.add(OpenWait(wait))
        draft.listen(wait)
    if function.start_timeout_ms is not None and run.started_at is None:
        item = Item(
            id=f"{run.id}/start",
            kind=ItemKind.START_TIMEOUT,
            function_id=function.id,
            run_id=run.id,
            at=draft.now + function.start_timeout_ms,
            shard=run.shard,
            queued_at=draft.now,
        )
        draft.add(Enqueue(item))
        draft.due(item.at)


def _listens_until(cancel: CancelOn, now: int) -> int:
    if cancel.expires_at is not None:
        return cancel.expires_at
    return now + (cancel.timeout_ms if cancel.timeout_ms is not None else _LISTEN_MS)


def _remembered(draft: Draft, key: str) -> Generator[Any, Any, Cell | None]:
    own = draft.cells.get(key)
    if own is not None:
        return own
    return (yield from ask(GetCell(key, draft.now)))


def _skip(draft: Draft, function: Function, event: Event, skip: Skip) -> Outcome:
    outcome = Outcome(
        event_id=event.id,
        function_id=function.id,
        kind=skip.kind,
        at=draft.now,
        reason=skip.reason,
        run_id=skip.run_id,
    )
    draft.add(SaveOutcome(outcome))
    return outcome
