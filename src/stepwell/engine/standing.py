"""A person archives, drains or pauses, for a function, an app or all there is, and takes it back (semantics §9.5,
§9.6, §9.9).

What is decided is a row of its own, so that every process on the file knows it, a sync does not undo it, and it holds
for functions that an app gets later.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import msgspec

from stepwell.engine.admission import paused
from stepwell.engine.bulk import live_runs
from stepwell.engine.bulk import order as cancel_all
from stepwell.engine.draft import Draft
from stepwell.engine.due import arm_crons
from stepwell.engine.releasing import let_go
from stepwell.model.changes import Drop, GiveOrder, Plan, SaveFunction, WithdrawOrder
from stepwell.model.item import ItemKind
from stepwell.model.order import OrderKind
from stepwell.model.pause import PausedRuns
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import FunctionItems, ListFunctions, ListStandingOrders, Lock, StoredFunction, ask
from stepwell.model.standing import EVERYTHING, Orders, StandingKind, StandingOrder, of_app, of_function


def give(draft: Draft, order: StandingOrder) -> Plan:
    """Let this hold from now on. The value is the order, ``None`` if there is nothing of that name.

    One of this kind that holds already keeps its moment, and its reason unless another is given.
    """
    yield from ask(Lock((EVERYWHERE,)))
    meant = yield from _meant(order.target)
    if not meant and order.target != EVERYTHING:
        return draft.decision(None)
    standing = {(each.kind, each.target): each for each in (yield from ask(ListStandingOrders()))}
    before = standing.get((order.kind, order.target))
    if before is not None:
        reason = order.reason or before.reason
        pause = order.pause and msgspec.structs.replace(order.pause, since=before.since, reason=reason)
        order = msgspec.structs.replace(order, since=before.since, reason=reason, pause=pause)
    if order == before and (order.pause is None or order.pause.runs != PausedRuns.CANCEL):
        return draft.decision(order)  # who is not answered asks again: nobody else is to begin anew because of that
    draft.add(GiveOrder(order))
    if order.kind == StandingKind.ARCHIVE:
        for function in meant:
            yield from _disarm(draft, function.id)
    elif order.pause is not None:
        if order.pause.runs == PausedRuns.CANCEL:
            for function in meant:
                wanted = live_runs(function.app_id, function.id, draft.now)
                cancel_all(draft, OrderKind.CANCEL, wanted)
        yield from _let_go(draft, meant)  # those that the new choices let wait are put aside again
    return draft.decision(order)


def withdraw(draft: Draft, kind: StandingKind, target: str) -> Plan:
    """Take it back. The value is the order that held, ``None`` if there was none. Crons of functions that come back
    are armed from now."""
    yield from ask(Lock((EVERYWHERE,)))
    standing = list((yield from ask(ListStandingOrders())))
    found = next((each for each in standing if (each.kind, each.target) == (kind, target)), None)
    if found is None:
        return draft.decision(None)
    draft.add(WithdrawOrder(kind, target))
    meant = yield from _meant(target)
    if kind == StandingKind.PAUSE:
        yield from _let_go(draft, meant)
    elif kind == StandingKind.ARCHIVE:
        left = Orders(each for each in standing if each is not found)
        for stored in meant:
            back = stored.archived_at is None and left.find(StandingKind.ARCHIVE, stored.id, stored.app_id) is None
            function = draft.registry.of_run(stored.id)
            if back and function is not None:
                # As of now it is what it was: no event and no tick of before could have started it.
                draft.add(SaveFunction(msgspec.structs.replace(function, version=stored.version), draft.now))
                arm_crons(draft, function)
    draft.due(draft.now)
    return draft.decision(found)


def _meant(target: str) -> Generator[Any, Any, list[StoredFunction]]:
    """The functions that there are now which an order of this target is about."""
    stored = yield from ask(ListFunctions(archived=True))
    return [each for each in stored if target in (of_function(each.id), of_app(each.app_id), EVERYTHING)]


def _disarm(draft: Draft, function_id: str) -> Generator[Any, Any, None]:
    items = yield from ask(FunctionItems(function_id))
    draft.add(*(Drop(item.id, item.place) for item in items if item.kind == ItemKind.CRON))


def _let_go(draft: Draft, functions: Sequence[StoredFunction]) -> Generator[Any, Any, None]:
    for function in functions:
        yield from let_go(draft, paused(function.id))
    draft.due(draft.now)
