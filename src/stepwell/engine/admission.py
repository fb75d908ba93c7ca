"""May this run start: now, later, instead of another, or never?"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from stepwell.engine.draft import Draft
from stepwell.engine.ending import cancel, lock_holder, lock_owner, places
from stepwell.engine.leased import Leased
from stepwell.expressions import EvaluationError, compile_expression
from stepwell.flow import (
    ADMIT,
    GRANT,
    HOLD,
    KEYED,
    RANK,
    BatchEvents,
    Debounce,
    Idempotency,
    RateLimit,
    RunConcurrency,
    Singleton,
    Throttle,
)
from stepwell.flow.keys import key_failure, owner
from stepwell.flow.placement import cell_place
from stepwell.flow.verdicts import Accept, Replace, Skip
from stepwell.flow.window import Window
from stepwell.lifecycle.run import advance
from stepwell.limits import DEDUPE_WINDOW, WAIT_DEFAULT
from stepwell.model.changes import CreateRun, Enqueue, OpenWait, PutCell, SaveNote, SaveOutcome, TakeSlots
from stepwell.model.event import Event, rfc3339
from stepwell.model.function import Function
from stepwell.model.history import Cell, Note, Outcome, OutcomeKind
from stepwell.model.item import Item, ItemKind, Lease
from stepwell.model.pause import PausedEvents
from stepwell.model.place import place_for, place_of
from stepwell.model.questions import GetCell, GetEvent, GetRun, SlotHolders, ask
from stepwell.model.run import Rerun, Run, RunStatus
from stepwell.model.standing import StandingOrder
from stepwell.model.trigger import CancelOn
from stepwell.model.wait import Wait, WaitKind

_MS = type(DEDUPE_WINDOW)(milliseconds=1)
_DEDUPE_MS = DEDUPE_WINDOW // _MS
_CHAIN_SHOWN = 5
_LISTEN_MS = WAIT_DEFAULT // _MS


class Again(msgspec.Struct, frozen=True, kw_only=True):
    """A run that somebody wants for an event that has had its chance: once more, or, without an ``original``, for the
    first time. ``record`` is what the run remembers about it."""

    original: Run | None = None
    record: Rerun | None = None


class Hold(msgspec.Struct, frozen=True):
    """The event is to be held back, under this key, where the run will be."""

    control: BatchEvents | Debounce
    key: str
    place: int


def admit(
    draft: Draft,
    function: Function,
    event: Event,
    fields: dict[str, object],
    *,
    parent: tuple[Run, str] | None = None,
    cron: str | None = None,
    window: Window | None = None,
    again: Again | None = None,
) -> Generator[Any, Any, Run | Outcome]:
    """Start a run of the function for the event, or say why not. It is not held back, whatever the function's rules:
    with a ``window`` it was, and its time has come, else somebody waits for this very run."""
    found = yield from consider(draft, function, event, fields, parent=parent, cron=cron, window=window, again=again)
    assert not isinstance(found, Hold), "only what may be held is"
    return found


def consider(
    draft: Draft,
    function: Function,
    event: Event,
    fields: dict[str, object],
    *,
    parent: tuple[Run, str] | None = None,
    cron: str | None = None,
    window: Window | None = None,
    again: Again | None = None,
    may_hold: bool = False,
) -> Generator[Any, Any, Run | Outcome | Hold]:
    """Start a run of the function for the event, or say why not, or that the event is to be held back if that may be.

    Order of the checks: semantics §7.1. With a ``window`` what was decided when the event came is not decided again.
    With ``again`` it is a run that somebody wants once more: what keeps an event from starting two does not count then
    (semantics §9.1), and that it was not started says nothing about the event.
    """
    env = {"event": fields}
    if function.drain is not None and parent is None and window is None and (again or event.source != "internal"):
        return skip(draft, function, event, _drained(function.drain), saved=again is None)
    depth = event.depth
    if depth > draft.moment.settings.chain_max > 0:
        return skip(draft, function, event, (yield from _loop(draft, function, event)), saved=again is None)
    told: list[tuple[str, str]] = []  # what people should know of the run, if it starts: kind and text
    home = place_of(window.run_id) if window is not None else _place(draft, function, event, env)
    if may_hold:
        for control in function.controls:
            if isinstance(control, BatchEvents):
                if (key := control.window(function.id, env, draft.now)) is not None:
                    return Hold(control, key, home)
                told.append(("not-collected", control.declined(env, draft.now)))
    run_id = window.run_id if window is not None else draft.moment.new_id(home)
    batch = window.count if window is not None and window.batch else None
    if again is not None and again.original is not None:
        batch = again.original.batch
    if_started: list[tuple[Cell, int]] = []  # with its place, written only then
    # The id of a tick is its moment, which several schedules may share; that each comes once is held by its item (I23).
    if event.key is not None and event.source != "cron" and parent is None and batch is None and again is None:
        key = f"event/{owner(function.id)}/{event.key}"
        seen = yield from remembered(draft, key, place_for(event.key))
        if seen is not None:
            verdict = Skip(OutcomeKind.DEDUPLICATED, f"event id {event.key!r} was seen before", seen.value)
            return skip(draft, function, event, verdict)
        cell = Cell(key=key, value=run_id, expires_at=draft.now + _DEDUPE_MS)
        if_started.append((cell, place_for(event.key)))
    lock: str | None = None
    blank = window is not None  # whether a key may have failed: it gives the empty text then
    barred = None
    if function.pause is not None:
        barred = _barred(function, awaited=not (may_hold or window or cron or again))
    for control in function.controls:
        if not isinstance(control, ADMIT) or (window is not None and isinstance(control, RateLimit)):
            continue
        if again is not None and isinstance(control, RateLimit | Idempotency):
            continue
        if isinstance(control, HOLD):
            held = control.window(function.id, env, draft.now) if may_hold else None
            if held is not None:
                return Hold(control, held, home)
            continue
        if isinstance(control, Singleton):
            if barred is not None:
                continue  # it would end a run to make room for none (semantics §7.1)
            lock = control.lock(function.id, env, draft.now)
            if lock is None:
                blank = True
                continue
            found = control.admit((yield from _holder(draft, lock, home)))
        else:
            key = control.cell(function.id, env, draft.now)
            if key is None:
                continue
            blank = blank or key.endswith("/")
            found = control.admit(key, (yield from remembered(draft, key, cell_place(key))), run_id, draft.now)
        match found:
            case Skip():
                if found.remember is not None:
                    remember(draft, found.remember, cell_place(found.remember.key))
                return skip(draft, function, event, found, saved=again is None)
            case Replace(holder, rule):
                yield from cancel(draft, holder, f"{rule}: run {run_id} took its place")
                told.append(("took-the-place", f"it took the place of run {holder}, which was cancelled ({rule})"))
            case Accept(kept, spent):
                if spent is not None:
                    remember(draft, spent, cell_place(spent.key))
                if kept is not None:
                    if_started.append((kept, cell_place(kept.key)))
    if barred is not None:
        return skip(draft, function, event, barred, saved=again is None)
    for cell, place in if_started:
        remember(draft, cell, place)
    draft.copy(event, home, kept=again is not None)
    slots = tuple(
        slot
        for control in function.controls
        if isinstance(control, GRANT) and (slot := control.slot(function.id, env, draft.now)) is not None
    )
    at = max(draft.now, event.ts) if parent is None and cron is None and batch is None and again is None else draft.now
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
        original=again.original.id if again is not None and again.original is not None else None,
        throttle=_queue(function, env, draft.now),
        locks=(*((lock,) if lock is not None else ()), *_places(function, env, draft.now)),
        batch=batch,
        rerun=again.record if again is not None else None,
    )
    run = _create(draft, run, function, event, _head_start(function, env, draft.now, told))
    if function.controls and (blank or _is_blank((*run.slots, *run.locks, run.throttle or ""))):
        told += _failed_keys(function, env, draft.now)
    if told:
        draft.add(*(SaveNote(Note(run_id=run_id, at=draft.now, kind=kind, text=text)) for kind, text in told))
    if lock is not None:
        draft.locks[lock] = run.id
        draft.add(TakeSlots((lock,), lock_holder(run.id)))
    if run.guarded or lock is not None:
        draft.guarded[run.id] = run, event
    if run.guarded:
        _guard(draft, run, function, fields)
    return run


def _place(draft: Draft, function: Function, event: Event, env: Mapping[str, object]) -> int:
    """Where its run will be: with all that it counts with, else with the event."""
    placement = draft.registry.placements.get(function.id)
    return place_of(event.id) if placement is None else placement.of(env, draft.now)


def _loop(draft: Draft, function: Function, event: Event) -> Generator[Any, Any, Skip]:
    """Why it is the end of a chain of runs that start one another, with the last of these (invariants S41)."""
    names, run_id, at = [function.id], None, event
    while at.sent_by is not None and len(names) < _CHAIN_SHOWN:
        run = yield from ask(GetRun(at.sent_by))
        before = (yield from ask(GetEvent(run.event_id, run.place))) if run is not None else None
        if run is None:
            break
        names.append(run.function_id)
        run_id = run_id or run.id
        if before is None:
            break
        at = before
    chain = " → ".join(reversed(names))
    most = draft.moment.settings.chain_max
    reason = (
        f"it would be one more than the {most} runs that may start one another: … {chain}; "
        "let one of them stop, or allow more with max_chain"
    )
    return Skip(OutcomeKind.LOOP, reason, run_id)


def _drained(order: StandingOrder) -> Skip:
    """Why nothing new begins. What the runs that there are bring with them does: what they invoke, what they put off,
    and who takes care of their failures; they could not end well without."""
    because = f": {order.reason}" if order.reason else ""
    return Skip(OutcomeKind.DRAINED, f"{order.about} has been drained since {rfc3339(order.since)}{because}")


def _barred(function: Function, *, awaited: bool) -> Skip | None:
    """Why a function that is paused starts no run. Whoever waits for one is told so at once, instead of being kept
    waiting until somebody resumes it."""
    pause = function.pause
    assert pause is not None, "it is paused"
    if pause.events == PausedEvents.HOLD and not awaited:
        return None
    because = f": {pause.reason}" if pause.reason else ""
    return Skip(OutcomeKind.PAUSED, f"the function has been paused since {rfc3339(pause.since)}{because}")


def _is_blank(keys: Iterable[str]) -> bool:
    """Whether one of these keys ends in no value, as it does if it could not be worked out."""
    return any(key.endswith("/") for key in keys)


def _failed_keys(function: Function, env: Mapping[str, object], now: int) -> Iterator[tuple[str, str]]:
    """What to tell of keys that could not be worked out: the run shares what is there for all such, or is exempt."""
    for control in function.controls:
        key = control.key if isinstance(control, KEYED) else None
        reason = key_failure(key, env, now) if key is not None else None
        if reason is not None:
            then = "it does not count" if isinstance(control, Singleton) else "it shares one with all such events"
            yield "key-failed", f"the key {key} of {control.keyword} failed for its event, so {then}: {reason}"


def _places(function: Function, env: Mapping[str, object], now: int) -> list[str]:
    """The keys of the limits of runs under way that it counts to."""
    found = [
        control.place(function.id, env, now) for control in function.controls if isinstance(control, RunConcurrency)
    ]
    return [place for place in found if place is not None]


def _queue(function: Function, env: Mapping[str, object], now: int) -> str | None:
    """The key under which its start waits its turn."""
    for control in function.controls:
        if isinstance(control, Throttle):
            return control.queue(function.id, env, now)
    return None


def _head_start(function: Function, env: Mapping[str, object], now: int, told: list[tuple[str, str]]) -> int:
    """By how much it is moved forward. Why a priority does not count is added to what is told."""
    found = 0
    for control in function.controls:
        if isinstance(control, RANK):
            ahead, ignored = control.head_start(env, now)
            found += ahead
            if ignored is not None:
                told.append(("priority-ignored", ignored))
    return found


def ready(function_id: str) -> str:
    """The backlog of runs that nothing holds up but a process without room (semantics §7.11). Each function has its
    own, so that none waits for all that another has to do."""
    return f"ready/{function_id}"


def paused(function_id: str) -> str:
    """The backlog of runs that wait until their function is resumed."""
    return f"paused/{function_id}"


def unserved(function_id: str) -> str:
    """The backlog of runs whose function no app serves at present. Registering the function releases it."""
    return f"unserved/{function_id}"


def start(draft: Draft, run: Run, function: Function) -> Run:
    """The first call of a run begins now."""
    if function.finish_timeout_ms is not None:
        item = Item(
            id=f"{run.id}/finish",
            kind=ItemKind.FINISH_TIMEOUT,
            function_id=function.id,
            run_id=run.id,
            at=draft.now + function.finish_timeout_ms,
            queued_at=draft.now,
        )
        draft.add(Enqueue(item))
        draft.due(item.at)
    return msgspec.structs.replace(run, status=advance(run.status, RunStatus.RUNNING), started_at=draft.now)


def _create(draft: Draft, run: Run, function: Function, event: Event, head_start: int) -> Run:
    # A run that nothing limits is born in the hands of the process that accepted it: one write less, and its start
    # does not wait for a claim (hot-path.md §2).
    parked = function.pause is not None and run.scheduled_at <= draft.now
    free = run.scheduled_at <= draft.now and not (
        run.slots or run.throttle or run.batch or places(run) or function.pause
    )
    token = draft.take_lease(function.id) if free else None
    waits = free and token is None and draft.is_full(function.id)
    item = Item(
        id=run.id,
        kind=ItemKind.RUN,
        function_id=function.id,
        run_id=run.id,
        at=None if waits or parked else run.scheduled_at if token is None else draft.until,
        backlog=ready(function.id) if waits else paused(function.id) if parked else None,
        lease=token or 0,
        queued_at=run.scheduled_at - head_start,
    )
    if token is None:
        draft.add(CreateRun(run), Enqueue(item))
        draft.due(item.at)
        draft.ready = draft.ready or waits or None
        return run
    run = start(draft, run, function)
    draft.add(CreateRun(run), Enqueue(item))
    lease = Lease(run.id, token)
    draft.leased.append(
        Leased(run=run, lease=lease, until=draft.until, attempt=0, function=function, events=(event,), steps={})
    )
    return run


def _guard(draft: Draft, run: Run, function: Function, fields: dict[str, object]) -> None:
    for number, listener in enumerate(function.cancels):
        bound = None
        if listener.expression:
            expression = compile_expression(listener.expression, variables=("event", "async"), restricted=True)
            try:
                bound = expression.bind(fields)
            except EvaluationError as error:
                # The event puts more into the condition than one may hold. The run goes on, and people can see why
                # nothing of that name will cancel it.
                text = f"nothing listens for {listener.event}: {error}"
                draft.add(SaveNote(Note(run_id=run.id, at=draft.now, kind="no-listener", text=text)))
                continue
            if bound.never:
                continue  # it can no longer become true, so nobody needs to listen (semantics §3.5)
        path, value = (bound.probe if bound else None) or ("", "")
        wait = Wait(
            run_id=run.id,
            id=f"cancel:{number}",
            kind=WaitKind.CANCEL,
            event_name=listener.event,
            since=draft.now,
            expires_at=_listens_until(listener, draft.now),
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
            queued_at=draft.now,
        )
        draft.add(Enqueue(item))
        draft.due(item.at)


def _listens_until(cancel: CancelOn, now: int) -> int:
    if cancel.expires_at is not None:
        return cancel.expires_at
    return now + (cancel.timeout_ms if cancel.timeout_ms is not None else _LISTEN_MS)


def remembered(draft: Draft, key: str, place: int) -> Generator[Any, Any, Cell | None]:
    """The keyed memory at this place, also if this plan has set it."""
    own = draft.cells.get(key)
    if own is not None:
        return own if own.expires_at > draft.now else None
    return (yield from ask(GetCell(key, draft.now, place)))


def remember(draft: Draft, cell: Cell, place: int) -> None:
    """Set a keyed memory at this place, and know it for the rest of this plan."""
    draft.cells[cell.key] = cell
    draft.add(PutCell(cell, place))


def _holder(draft: Draft, lock: str, place: int) -> Generator[Any, Any, str | None]:
    """The run that holds this key alone."""
    if lock in draft.locks:
        return draft.locks[lock]
    holders = yield from ask(SlotHolders(lock, 1, place))
    return lock_owner(holders[0]) if holders else None


def skip(draft: Draft, function: Function, event: Event, why: Skip, *, saved: bool = True) -> Outcome:
    """No run, and that is remembered, unless the event has had its outcome before."""
    outcome = Outcome(
        event_id=event.id,
        function_id=function.id,
        kind=why.kind,
        at=draft.now,
        reason=why.reason,
        run_id=why.run_id,
    )
    if saved:
        draft.add(SaveOutcome(outcome))
    return outcome
