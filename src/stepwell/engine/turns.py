"""A run starts when there is a place for it, and when its turn has come.

Runs whose starts are throttled take turns: one waits until its moment comes, the others behind it.

Those that wait are out of sight in a backlog, and one timer for each key brings the next of them back. So a deep
backlog costs nothing but its rows.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from stepwell.engine.draft import Draft
from stepwell.engine.ending import lock_holder, places
from stepwell.engine.pressure import PREFIX
from stepwell.engine.releasing import let_go
from stepwell.flow import Concurrency, RunConcurrency, Throttle
from stepwell.flow.limit import pairs
from stepwell.flow.verdicts import Blocked, Later
from stepwell.model.changes import Drop, PutCell, Schedule, TakeSlots
from stepwell.model.function import Function
from stepwell.model.history import Cell
from stepwell.model.item import Item, ItemKind
from stepwell.model.questions import Backlog, CountSlots, GetCell, ask
from stepwell.model.run import Run


def begin(draft: Draft, run: Run, function: Function, item: Item, passed: list[str]) -> Generator[Any, Any, str | None]:
    """A run is about to start: take what its start needs. Gives the backlog it has to wait in instead, if so; the
    places that there would have been for it are added to ``passed``."""
    full = yield from full_place(draft, run, function, passed)
    if full is not None:
        return full
    if run.throttle is not None:
        blocked = yield from _await_turn(draft, run.throttle, function, item)
        if blocked is not None:
            return blocked
    mine = places(run)
    if mine:
        draft.add(TakeSlots(mine, lock_holder(run.id)))
        draft.take(mine, 1)
    return None


def full_place(draft: Draft, run: Run, function: Function, passed: list[str]) -> Generator[Any, Any, str | None]:
    """The first of the places for which there is no room, of a run that has none yet. The others are ``passed``."""
    limits = [control for control in function.controls if isinstance(control, RunConcurrency)]
    return (yield from first_full(draft, places(run), limits, run, passed))


def first_full(
    draft: Draft, keys: Sequence[str], limits: Sequence[Concurrency | RunConcurrency], run: Run, passed: list[str]
) -> Generator[Any, Any, str | None]:
    """The first of these keys of a run under which there is no room, by the limits of its function.

    Those under which there is room are added to ``passed``, also behind that one: the run may have been woken for them.
    """
    full: str | None = None
    for key, control in pairs(keys, limits, run.function_id):
        if not isinstance(control.grant((yield from used(draft, key, run.place))), Blocked):
            passed.append(key)
        elif full is None:
            full = key
    return full


def used(draft: Draft, key: str, place: int) -> Generator[Any, Any, int]:
    """How many slots or places of this key are in use, with those that this plan takes or gives back.

    Counting costs what there are of them, and a claim may ask for many runs: each key is counted once.
    """
    if key not in draft.counted:
        draft.counted[key] = yield from ask(CountSlots(key, place))
    return draft.counted[key] + draft.slots.get(key, 0)


def _await_turn(draft: Draft, key: str, function: Function, item: Item) -> Generator[Any, Any, str | None]:
    """Take the turn of a run that is about to start. Gives the backlog it has to wait in instead, if so."""
    control = _throttle(function)
    if control is None:
        return None  # its function is not throttled any more
    cell = yield from _cell(draft, key, item.home)
    verdict = control.grant(key, cell, draft.now)
    if not isinstance(verdict, Later):
        # Whoever waits already goes first, unless this one is ahead of them: it may be the one whose turn has come.
        first = yield from ask(Backlog(key, 1, item.home))
        if not first or (item.queued_at, item.id) < first[0]:
            if verdict.remember is not None:
                draft.cells[key] = verdict.remember
                draft.add(PutCell(verdict.remember, item.home))
            return None
    _keep(draft, control, cell, item.home)
    _, at = control.turns(cell, draft.now) if not isinstance(verdict, Later) else (0, verdict.at)
    _call(draft, key, function.id, draft.now if not isinstance(verdict, Later) else at, item.home)
    return key


def pass_turn_on(draft: Draft, run: Run, function: Function, blocked: str) -> Generator[Any, Any, None]:
    """A run waits in this backlog though its turn may have come: the next who waits for that goes in its place.

    Nobody goes if what holds it up holds up all who wait for the same turns. To move all of them from one backlog to
    another, and back when a slot is free and no turn, would cost each start as much as there are of them.
    """
    key, control = run.throttle, _throttle(function)
    if key is None or control is None or not _is_of_few(run, function, control, blocked):
        return
    count, _ = control.turns((yield from _cell(draft, key, run.place)), draft.now)
    if count and (yield from ask(Backlog(key, 1, run.place))):
        draft.add(draft.room(key, 1, run.place))


def _is_of_few(run: Run, function: Function, throttle: Throttle, blocked: str) -> bool:
    """Whether runs may wait for a turn with this one that this backlog does not concern."""
    held = blocked.removeprefix(PREFIX)
    for keys, kind in ((run.slots, Concurrency), (places(run), RunConcurrency)):
        limits = [control for control in function.controls if isinstance(control, kind)]
        control = dict(pairs(keys, limits, function.id)).get(held)
        if control is not None:
            return control.key is not None and control.key != throttle.key
    return False


def take_turns(draft: Draft, item: Item) -> Generator[Any, Any, None]:
    """The moment of the next start of a key: as many as may start now are due, and the next moment is set."""
    key = item.id
    function = draft.registry.of_run(item.function_id)
    control = _throttle(function) if function is not None else None
    if control is None:
        draft.add(Drop(key, item.place))
        yield from let_go(draft, key, item.home)
        return
    cell = yield from _cell(draft, key, item.home)
    _keep(draft, control, cell, item.home)
    count, after = control.turns(cell, draft.now)
    waiting = yield from ask(Backlog(key, count + 1, item.home))
    if count and waiting:
        draft.add(draft.room(key, count, item.home))
    if len(waiting) > count:
        _call(draft, key, item.function_id, after, item.home)
    else:
        draft.add(Drop(key, item.place))


def _call(draft: Draft, key: str, function_id: str, at: int, place: int) -> None:
    draft.add(Schedule(Item(id=key, kind=ItemKind.THROTTLE, function_id=function_id, at=at, place=place, queued_at=at)))
    draft.due(at)


def _keep(draft: Draft, control: Throttle, cell: Cell | None, place: int) -> None:
    kept = control.kept(cell)
    if kept is not None:
        draft.cells[kept.key] = kept
        draft.add(PutCell(kept, place))


def _throttle(function: Function) -> Throttle | None:
    return next((control for control in function.controls if isinstance(control, Throttle)), None)


def _cell(draft: Draft, key: str, place: int) -> Generator[Any, Any, Cell | None]:
    own = draft.cells.get(key)
    return own if own is not None else (yield from ask(GetCell(key, draft.now, place)))
