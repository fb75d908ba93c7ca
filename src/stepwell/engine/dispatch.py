"""Which of the items that are due may go now? One claim: leases granted, the rest put out of sight until there is
room."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from stepwell.engine.admission import paused, ready, start, unserved
from stepwell.engine.draft import Draft
from stepwell.engine.due import fire, settle_due
from stepwell.engine.ending import cancel, finish, places
from stepwell.engine.intake import announce
from stepwell.engine.leased import Leased
from stepwell.engine.pressure import PREFIX, backlog, pressed, shares
from stepwell.engine.timeouts import overdue
from stepwell.engine.turns import begin, first_full, full_place, pass_turn_on
from stepwell.flow import GRANT
from stepwell.flow.limit import is_shared
from stepwell.lifecycle.losses import pause_ms
from stepwell.limits import LEASE_LOSSES_MAX
from stepwell.model.changes import (
    Block,
    Drop,
    Extend,
    FreeSlots,
    Grant,
    Plan,
    Postpone,
    SaveNote,
    StartRun,
    TakeSlots,
    Wake,
)
from stepwell.model.event import Event
from stepwell.model.failure import worker_lost
from stepwell.model.function import Function
from stepwell.model.history import Note
from stepwell.model.item import Item, ItemKind, Lease
from stepwell.model.questions import (
    AnyCell,
    BacklogItems,
    Backlogs,
    CountHeld,
    DueItems,
    Loaded,
    LoadRuns,
    NextDue,
    Occupied,
    ask,
)
from stepwell.model.run import Run, RunStatus
from stepwell.model.step import Step

ITEMS_PER_CLAIM_MAX = 256
CROWDS_PER_CLAIM_MAX = 64
READY = ready("")


def claim(
    draft: Draft,
    *,
    shard: int,
    room: int,
    new_token: Callable[[], int],
    serves: Callable[[str], bool],
    mine: Callable[[str], int] = lambda _: 0,
    crowded: bool = True,
    pressing: bool = True,
    waiting: Sequence[str] | None = None,
) -> Plan:
    """Take up to ``room`` calls of this shard, and do whatever else is due there. The value is when to come back to it:
    now if there may be more.

    That moment is asked for before anything is granted, so it is not the end of a lease granted here. Leases end only
    for calls that leave theirs behind, and whoever makes the calls knows which those are.

    It looks whether queues are to be left alone only while that may be (``pressing``).

    ``serves`` tells whether the functions of this process include one. ``mine`` is the token by which this process is
    calling a run right now, 0 if it is not: if that lease has run out it was not extended in time, and the run is not
    started a second time (I7). One that holds no lease any more has written its end, which its caller is about to hear
    of: its next call may begin. The lease of a peer that has run out is taken over, whatever is going on here: the call
    that had it before is fenced off.

    ``waiting`` are the backlogs of those who wait for a process, as far as this one may take them. Without it nobody
    else claims, and it is all who wait for room.
    """
    if pressing:
        draft.pressing = yield from ask(AnyCell(PREFIX, draft.now, shard))
    limit = min(room, ITEMS_PER_CLAIM_MAX) if room > 0 else ITEMS_PER_CLAIM_MAX
    crowds: Sequence[str] = ()
    if crowded and room > 0:
        crowds = yield from _crowds(draft, shard, waiting)
    if crowds:
        items = yield from _fair(draft, shard, limit, crowds)
        following: int | None = draft.now
    else:
        items = yield from ask(DueItems(draft.now, limit, shard, timers_only=room <= 0))
        following = draft.now if len(items) == limit else (yield from ask(NextDue(shard, draft.now)))
        if crowded and room > 0:
            draft.ready = False  # one that has not looked knows nothing: a run may have been put there just now
    kept = {item.id for item in items if item.lease and mine(item.id) == item.lease}
    taken = tuple(item.id for item in items if item.kind == ItemKind.RUN and item.id not in kept)
    loaded = (yield from ask(LoadRuns(taken))) if taken else {}
    # Timers first: a run whose time was over while nothing ran must not be called once more on the way to its end.
    # Then runs in their order, which a priority may have changed.
    for item in sorted(items, key=lambda item: (item.kind == ItemKind.RUN, item.queued_at, item.id)):
        if item.kind != ItemKind.RUN:
            yield from fire(draft, item)
        elif item.id in draft.touched:
            draft.due(draft.now)  # a timer has just settled one of its steps, which a question would not show yet
        elif item.id in kept:
            draft.add(Extend(Lease(item.id, item.lease), draft.until))
            draft.due(draft.until)  # the call that has it may end without a word
        else:
            yield from _take(draft, item, loaded.get(item.id), new_token, serves)
    yield from announce(draft)
    # Nor does a call know of what was settled after its steps were read: poke it.
    touched = set(draft.touched)
    draft.add(*(Wake(one.run.id, draft.now) for one in draft.leased if one.run.id in touched))
    return draft.decision(following)


def _crowds(draft: Draft, shard: int, waiting: Sequence[str] | None) -> Generator[Any, Any, Sequence[str]]:
    """The backlogs that are not empty of those who wait for a process."""
    if waiting is None:
        return (yield from ask(Backlogs(READY, CROWDS_PER_CLAIM_MAX, shard)))
    found = yield from ask(Occupied(tuple(waiting), shard))
    first = int(draft.moment.chance * len(found))
    return (*found[first:], *found[:first])[:CROWDS_PER_CLAIM_MAX]


def _fair(draft: Draft, shard: int, limit: int, crowds: Sequence[str]) -> Generator[Any, Any, list[Item]]:
    """As many as there is room for, of what is due and of each function whose runs wait for room: none takes what is
    another's share while that needs it (semantics §7.11)."""
    share = max(1, limit // (len(crowds) + 1))
    items = yield from ask(DueItems(draft.now, share, shard))
    if len(items) == share:  # what passes by itself is not to wait behind others
        known = {item.id for item in items}
        timers = yield from ask(DueItems(draft.now, share, shard, timers_only=True))
        items += [item for item in timers if item.id not in known]
    room = limit - sum(item.kind == ItemKind.RUN for item in items)
    first = int(draft.moment.chance * len(crowds))  # each in turn has what is left over
    for left, crowd in zip(range(len(crowds), 0, -1), (*crowds[first:], *crowds[:first]), strict=True):
        if room <= 0:
            break
        found = yield from ask(BacklogItems(crowd, -(-room // left), shard))
        items += found
        room -= len(found)
    return items


def _take(
    draft: Draft, item: Item, loaded: Loaded | None, new_token: Callable[[], int], serves: Callable[[str], bool]
) -> Generator[Any, Any, None]:
    if loaded is None or loaded.run.ended or loaded.run.id in draft.ended:
        draft.add(Drop(item.id, item.place))  # nothing is owed to a run that has ended
        return
    run, event, steps = loaded.run, loaded.event, loaded.steps
    function = draft.registry.of_run(run.function_id)
    late = overdue(run, function, draft.now) if function is not None else None
    if late is not None:
        yield from cancel(draft, run.id, late)
        return
    held = 0
    if item.lease and run.slots:
        # What a lapsed lease still holds, as many branches as it may have had, is given back before anything else.
        held = yield from ask(CountHeld(run.slots[0], item.id))
        draft.add(FreeSlots(item.id))
        draft.take(run.slots, -held)
    losses, mark = _losses(item, steps)
    if event is None:
        event = Event(id=run.event_id, name="", ts=run.queued_at, received_at=run.queued_at)
    if item.lease and losses >= LEASE_LOSSES_MAX:
        _give_back(draft, run, held - 1)
        finish(draft, run, event, RunStatus.FAILED, failure=worker_lost(losses), reason="worker lost")
        return
    pause = pause_ms(losses, run.id) if item.lease else 0
    passed: list[str] = []  # where there was room for it, which it may have been woken for
    if function is None or not serves(run.function_id):
        blocked: str | None = unserved(run.function_id)
        # What it was woken for is free until it is served, and its function has nobody else who could use that.
    elif function.pause is not None and function.pause.holds(run):
        blocked = paused(run.function_id)
        # Of a function whose runs are all held nobody else could use the room either, however many wait for it.
        passed += [key for key in (*run.slots, *places(run)) if not (function.pause.holds_all and not is_shared(key))]
    elif draft.pressing and (queue := (yield from pressed(draft, run, function))) is not None:
        blocked = backlog(queue)
        passed += [key for key in (*run.slots, *places(run)) if not shares(queue, key, function.id)]
    else:
        blocked = None if pause else (yield from _blocked(draft, run, function, passed))
    spare = held if blocked is not None or pause else held - 1
    _give_back(draft, run, spare)
    if item.lease:
        alone = f"; it is left alone for {pause / 1000:.1f} s" if pause and blocked is None else ""
        text = f"the process that ran it died or lost its lease{alone} ({losses} in a row)"
        draft.add(SaveNote(Note(run_id=run.id, at=draft.now, kind="lease-lost", text=text)))
    if blocked is None and not pause and run.started_at is None and (run.throttle or run.locks):
        assert function is not None, "what nobody serves is blocked"
        blocked = yield from begin(draft, run, function, item, passed)
    if blocked is not None:
        draft.add(Block(item.id, blocked, losses, mark))
        pass_on(draft, run, passed)
        if function is not None and run.throttle is not None and run.started_at is None:
            yield from pass_turn_on(draft, run, function, blocked)
        return
    assert function is not None, "what nobody serves is blocked"
    if pause:
        draft.add(Postpone(item.id, draft.now + pause, losses, mark))
        draft.due(draft.now + pause)
        return
    token = new_token()
    draft.add(Grant(item.id, token, draft.until, losses, mark))
    if run.slots:
        draft.add(TakeSlots(run.slots, item.id))
        draft.take(run.slots, 1)
    if run.started_at is None:
        run = start(draft, run, function)
        draft.add(StartRun(run.id, draft.now))
        if function.start_timeout_ms is not None:
            draft.add(Drop(f"{run.id}/start"))
    leased = Leased(
        run=run,
        lease=Lease(item.id, token),
        until=draft.until,
        attempt=item.attempt,
        function=function,
        events=tuple(loaded.events) or (event,),
        steps={},
        defers={},
    )
    for step in settle_due(draft, steps):
        leased.learn(step)
    draft.leased.append(leased)


def _give_back(draft: Draft, run: Run, slots: int) -> None:
    """As many of those who wait for room may go as the run needs no more."""
    if slots > 0:
        draft.add(*(draft.room(slot, slots, run.place) for slot in run.slots))


def _losses(item: Item, steps: Sequence[Step]) -> tuple[int, int]:
    """How many leases were lost in a row without progress, and how many steps were known at the last of them.

    A lost lease is not the function's fault: no attempt is spent. But a function that takes its process with it, time
    after time, must not do so for ever, nor take down all that are in flight beside it each time (ADR 0010).
    """
    if not item.lease:
        return item.losses, item.mark
    return item.losses + 1 if item.mark == len(steps) else 1, len(steps)


def _blocked(draft: Draft, run: Run, function: Function, passed: list[str]) -> Generator[Any, Any, str | None]:
    """The limit of steps that holds it up, if one does. What else there is room for is added to ``passed``."""
    if not run.slots:
        return None
    limits = [control for control in function.controls if isinstance(control, GRANT)]
    full = yield from first_full(draft, run.slots, limits, run, passed)
    if full is not None and run.started_at is None and run.locks:
        yield from full_place(draft, run, function, passed)  # it may have been woken for a place
    return full


def pass_on(draft: Draft, run: Run, passed: list[str]) -> None:
    """This run waits elsewhere, and the room that it leaves is for the next of its function who waits for that.

    Other functions that share it were asked when it was. To ask them again could go on for ever: two functions, each
    with room where the other has none, would call each other.
    """
    draft.add(*(draft.room(key, 1, run.place, run.function_id) for key in passed))
