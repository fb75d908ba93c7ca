"""A moment came that is not a run's own: a timeout of a run, a tick of a cron."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import islice
from typing import Any

import msgspec

from stepwell.engine import bulk, releasing
from stepwell.engine.admission import admit
from stepwell.engine.draft import Draft
from stepwell.engine.intake import publish
from stepwell.engine.pressure import relieve
from stepwell.engine.registry import cron_triggers
from stepwell.engine.timeouts import expire
from stepwell.engine.turns import take_turns
from stepwell.engine.windows import close
from stepwell.flow.keys import owner
from stepwell.flow.placement import function_place
from stepwell.model.changes import CloseWait, Drop, Enqueue, SaveEvent, SaveNote, SaveOutcome, Schedule, SettleStep
from stepwell.model.event import TIMER, Event, rfc3339
from stepwell.model.failure import invoke_timed_out
from stepwell.model.function import Function
from stepwell.model.history import Note, Outcome, OutcomeKind
from stepwell.model.item import Item, ItemKind
from stepwell.model.run import Run
from stepwell.model.schedule import Schedule as Calendar
from stepwell.model.step import TO_RUN, Step, StepStatus
from stepwell.model.trigger import CronTrigger

_TICK_LATE_MS = 60_000  # a tick this late was missed, which matters to those who asked for missed="skip"
_FOREIGN_MS = 60_000  # so long an item is left to others by a process that does not know what to do about it
_COUNTED_MAX = 1_000

_encode = msgspec.json.Encoder().encode


def fire(draft: Draft, item: Item) -> Generator[Any, Any, None]:
    """Do what this item was owed for."""
    if item.kind == ItemKind.CRON:
        yield from _tick(draft, item)
        return
    if item.kind == ItemKind.ORDER:
        yield from bulk.go_on(draft, item)
        return
    if item.kind == ItemKind.WINDOW:
        yield from close(draft, item)
        return
    if item.kind == ItemKind.PRESSURE:
        yield from relieve(draft, item)
        return
    if item.kind == ItemKind.RELEASE:
        yield from releasing.go_on(draft, item)
        return
    if item.kind == ItemKind.REVIEW:
        yield from releasing.review_more(draft, item)
        return
    if item.kind == ItemKind.THROTTLE:
        yield from take_turns(draft, item)
        return
    if item.kind in (ItemKind.START_TIMEOUT, ItemKind.FINISH_TIMEOUT):
        yield from expire(draft, item)
        return
    # Only a newer version knows this kind, and a process of that version may be running beside this one (ADR 0045).
    later = draft.now + _FOREIGN_MS
    draft.add(Schedule(msgspec.structs.replace(item, at=later)))
    draft.due(later)


def settle_due(draft: Draft, steps: Sequence[Step]) -> list[Step]:
    """All steps of a run as they are now: sleeps that are over, and waits and invokes that are too late, are settled.

    Each gets the next position, so they are settled in the order in which they became due.
    """
    position = max((step.position for step in steps), default=0)
    settled: dict[str, Step] = {}
    for step in sorted(steps, key=lambda step: step.due or 0):
        if step.due is None or step.due > draft.now or not step.open or step.status in TO_RUN:
            continue
        position += 1
        settled[step.id] = _settle(draft, step, position)
    return [settled.get(step.id, step) for step in steps]


def _settle(draft: Draft, step: Step, position: int) -> Step:
    output, status = b"null", StepStatus.COMPLETED
    if step.status == StepStatus.WAITING:
        status = StepStatus.TIMED_OUT
        draft.add(CloseWait(step.run_id, step.id))
    elif step.status == StepStatus.INVOKING:
        status = StepStatus.FAILED
        output = invoke_timed_out().json()
    draft.add(SettleStep(step.run_id, step.id, status, draft.now, output, None, position))
    return msgspec.structs.replace(step, status=status, position=position, ended_at=draft.now, output=output)


def arm(function: Function, trigger: CronTrigger, calendar: Calendar, after: int) -> Item | None:
    """The item of the first tick after this moment. ``None`` if there will never be one."""
    tick = calendar.next_after(after)
    if tick is None:
        return None
    item_id = cron_item_id(function.id, trigger.cron)
    return Item(
        id=item_id,
        kind=ItemKind.CRON,
        function_id=function.id,
        at=tick + calendar.jitter(tick, item_id, trigger.jitter_ms),
        place=function_place(function.id),
        queued_at=tick,
    )


def arm_crons(draft: Draft, function: Function) -> None:
    """Owe the first tick of each of its schedules from now. One that is armed keeps its tick."""
    for trigger, calendar in cron_triggers(function).values():
        following = arm(function, trigger, calendar, draft.now)
        if following is not None:
            draft.add(Enqueue(following))
            draft.due(following.at)


def cron_item_id(function_id: str, cron: str) -> str:
    return f"cron/{owner(function_id)}/{cron}"


def _tick(draft: Draft, item: Item) -> Generator[Any, Any, None]:
    """One tick, or what is left of those that passed while nothing ran (design D10).

    Ticks that come are counted from the one that was, not from now; the row moves on in the transaction that starts
    the run, so each tick happens once (I23).
    """
    function = draft.registry.get(item.function_id)
    cron = item.id.removeprefix(cron_item_id(item.function_id, ""))
    found = cron_triggers(function).get(cron) if function else None
    if function is None or found is None:
        draft.add(Drop(item.id, item.place))  # the function or this schedule is gone (semantics §2.2)
        return
    trigger, calendar = found
    tick = item.queued_at
    if trigger.missed != "all" and draft.now - (item.at or 0) >= _TICK_LATE_MS:
        tick = _latest(calendar, trigger, item, draft.now)
    late = draft.now - tick > _TICK_LATE_MS + trigger.jitter_ms
    passed = _passed_over(calendar, item.queued_at, tick)
    if late and trigger.missed == "skip":
        _miss(draft, function, trigger, tick, passed)
    else:
        yield from _start(draft, function, trigger, tick, passed)
    following = arm(function, trigger, calendar, tick)
    if following is None:
        draft.add(Drop(item.id, item.place))
        return
    # With a jitter longer than the pause between two ticks, the next may be due before this one was. It is not late.
    following = msgspec.structs.replace(following, at=max(following.at or 0, draft.now))
    draft.add(Schedule(following))
    draft.due(following.at)


def _latest(calendar: Calendar, trigger: CronTrigger, item: Item, now: int) -> int:
    """The latest tick whose moment has come, each with its own jitter."""
    tick = calendar.latest_at_or_before(now - trigger.jitter_ms, item.queued_at) or item.queued_at
    for later in calendar.between(tick, now):
        if later + calendar.jitter(later, item.id, trigger.jitter_ms) <= now:
            tick = later
    return tick


def _passed_over(calendar: Calendar, first: int, tick: int) -> str:
    """How many ticks there were from the first to before this one, in words; empty if none."""
    if first >= tick:
        return ""
    count = sum(1 for _ in islice(calendar.between(first - 1, tick - 1), _COUNTED_MAX))
    return f"{count:,}{' or more' if count == _COUNTED_MAX else ''} since {rfc3339(first)}"


def _miss(draft: Draft, function: Function, trigger: CronTrigger, tick: int, passed: str) -> None:
    """Nothing starts for this tick, which is on record all the same. Nobody else hears of it: it did not happen."""
    event = _event(draft, function, trigger, tick)
    before = f", nor at {passed} before it" if passed else ""
    reason = f"nothing ran at its moment{before}, and ticks that are missed are skipped"
    outcome = Outcome(event_id=event.id, function_id=function.id, kind=OutcomeKind.MISSED, at=draft.now, reason=reason)
    draft.add(SaveEvent(event), SaveOutcome(outcome))


def _start(draft: Draft, function: Function, trigger: CronTrigger, tick: int, passed: str) -> Generator[Any, Any, None]:
    event = _event(draft, function, trigger, tick)
    yield from publish(draft, event, besides=function.id)
    started = yield from admit(draft, function, event, event.fields(), cron=trigger.cron)
    if passed and isinstance(started, Run):
        text = f"of the ticks that were missed only the latest starts a run; left out were {passed}"
        draft.add(SaveNote(Note(run_id=started.id, at=draft.now, kind="ticks-missed", text=text)))


def _event(draft: Draft, function: Function, trigger: CronTrigger, tick: int) -> Event:
    scheduled = rfc3339(tick)
    fired = scheduled if draft.now == tick else rfc3339(draft.now)
    return Event(
        id=draft.moment.new_id(function_place(function.id)),
        name=TIMER,
        ts=draft.now,
        received_at=draft.now,
        data=_encode({"cron": trigger.cron, "scheduledAt": scheduled, "fireAt": fired}),
        key=scheduled,
        source="cron",
    )
