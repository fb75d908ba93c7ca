"""A doctor has found rows that do not fit together: what can surely be set right is.

Each repair looks again under the locks of its decision, because what was found may have been a moment of a busy system,
and does nothing where all is well. Its value says whether it did something.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from stepwell.flow.keys import owned
from stepwell.flow.limit import is_shared
from stepwell.model.changes import (
    Change,
    CloseWait,
    CloseWaits,
    Decision,
    DropRunItems,
    Enqueue,
    FreeSlots,
    Plan,
    Release,
    ReleaseShared,
    Schedule,
)
from stepwell.model.item import Item, ItemKind
from stepwell.model.questions import CountSlots, GetItem, GetRun, GetStep, GetSteps, ask

_LOCK: Final = "run:"  # a run that holds a slot for as long as it lives says so


def repair(kind: str, who: Sequence[str], place: int, now: int) -> Plan:
    """Set a finding right (``storage/checkup.py``): its kind, whom it names, the place where it is."""
    return REPAIRS[kind](who, place, now)


def _call(who: Sequence[str], place: int, now: int) -> Plan:
    """A run that nothing wakes is called."""
    run = yield from ask(GetRun(who[0]))
    if run is None or run.ended_at is not None:
        return Decision(result=False)
    item = yield from ask(GetItem(run.id))
    if item is None:
        new = Item(
            id=run.id, kind=ItemKind.RUN, function_id=run.function_id, at=now, run_id=run.id, queued_at=run.queued_at
        )
        return Decision((Enqueue(new),), result=True)
    if item.at is not None or item.backlog is not None:
        return Decision(result=False)
    return Decision((Schedule(msgspec.structs.replace(item, at=now)),), result=True)


def _hurry(who: Sequence[str], place: int, now: int) -> Plan:
    """A run that rests for longer than its steps do is called."""
    item = yield from ask(GetItem(who[0]))
    steps = yield from ask(GetSteps(who[0]))
    moves = [step.due for step in steps if step.ended_at is None and step.due is not None]
    if item is None or item.lease or item.at is None or not moves or item.at <= max(now, min(moves)):
        return Decision(result=False)
    return Decision((Schedule(msgspec.structs.replace(item, at=now)),), result=True)


def _forget_items(who: Sequence[str], place: int, now: int) -> Plan:
    run = yield from ask(GetRun(who[0]))
    if run is not None and run.ended_at is None:
        return Decision(result=False)
    return Decision((DropRunItems(who[0]),), result=True)


def _close_waits(who: Sequence[str], place: int, now: int) -> Plan:
    run = yield from ask(GetRun(who[0]))
    if run is not None and run.ended_at is None:
        return Decision(result=False)
    return Decision((CloseWaits(who[0]),), result=True)


def _close_wait(who: Sequence[str], place: int, now: int) -> Plan:
    step = yield from ask(GetStep(who[0], who[1]))
    if step is None or step.ended_at is None:
        return Decision(result=False)
    return Decision((CloseWait(who[0], who[1]),), result=True)


def _give_back(who: Sequence[str], place: int, now: int) -> Plan:
    """A slot that nobody is called with. ``who`` are its holder, a call or a branch of one, and its key."""
    holder, key = who
    item = yield from ask(GetItem(holder.partition("/")[0]))
    if item is not None and item.lease:
        return Decision(result=False)
    return Decision((FreeSlots(holder), _room(key, place, now)), result=True)


def _unlock(who: Sequence[str], place: int, now: int) -> Plan:
    run_id, key = who
    run = yield from ask(GetRun(run_id))
    if run is not None and run.ended_at is None:
        return Decision(result=False)
    return Decision((FreeSlots(f"{_LOCK}{run_id}"), _room(key, place, now)), result=True)


def _let_go(who: Sequence[str], place: int, now: int) -> Plan:
    """All that waits in a backlog is asked again, a part at a time (``engine/releasing.py``)."""
    backlog = who[0]
    item_id = f"release/{backlog}"
    for timer in (backlog, item_id):
        found = yield from ask(GetItem(timer, place))
        if found is not None and found.at is not None:
            return Decision(result=False)
    if (yield from ask(CountSlots(backlog, place))):
        return Decision(result=False)  # whoever has one lets the next go
    item = Item(id=item_id, kind=ItemKind.RELEASE, function_id="", at=now, place=place, queued_at=now)
    return Decision((Schedule(item),), result=True)


def _close_window(who: Sequence[str], place: int, now: int) -> Plan:
    """Events that are held back start their run now. The key of a window is ``<control>/<function>/…``."""
    key = who[0]
    item = yield from ask(GetItem(key, place))
    if item is not None and item.at is not None:
        return Decision(result=False)
    function_id = owned(key.split("/")[1])
    window = Item(id=key, kind=ItemKind.WINDOW, function_id=function_id, at=now, place=place, queued_at=now)
    return Decision((Schedule(window),), result=True)


def _room(key: str, place: int, now: int) -> Change:
    return ReleaseShared(key, now, 1, place) if is_shared(key) else Release(key, now, 1, place)


REPAIRS: Final[Mapping[str, Callable[[Sequence[str], int, int], Plan]]] = {
    "run-without-waker": _call,
    "run-rests-too-long": _hurry,
    "item-of-ended-run": _forget_items,
    "item-without-run": _forget_items,
    "wait-of-ended-run": _close_waits,
    "wait-of-settled-step": _close_wait,
    "slot-without-call": _give_back,
    "lock-of-ended-run": _unlock,
    "stuck-backlog": _let_go,
    "stuck-window": _close_window,
}
"""By the kind of a finding."""
