"""Somebody whom a function calls wants to be left alone for a while: all that would call them waits (ADR 0030).

The step that was told so is tried again when the time is over, and until then nothing begins of what shares its queue:
the runs with the same keys of its limits, or all runs of its function if these have no key. What comes due meanwhile
is put out of sight, and one timer for each queue brings it back, so that a deep backlog costs nothing but its rows.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, Final

import msgspec

from stepwell.engine.draft import Draft
from stepwell.engine.releasing import ITEMS_PER_DECISION_MAX, let_go
from stepwell.flow import GRANT, Throttle
from stepwell.flow.keys import owner
from stepwell.flow.limit import pairs
from stepwell.lifecycle.retry import retry_at
from stepwell.model.changes import Drop, PutCell, Schedule
from stepwell.model.failure import Failure
from stepwell.model.function import Function
from stepwell.model.history import Cell
from stepwell.model.item import Item, ItemKind
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import GetCell, ask
from stepwell.model.run import Run

PREFIX: Final = "pressure/"
LAST: Final = "pressure0"
"""Cells of pressure are between these: 0 is the character after the slash."""


class Pressure(msgspec.Struct, frozen=True):
    """Who was told to wait, and in which words: a step of a run, or its function's own code."""

    run_id: str
    step: str | None
    message: str


_encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(Pressure).decode


def queues(run: Run, function: Function) -> tuple[str, ...]:
    """What the run waits in together with others: the keys of its limits that have one, else its whole function."""
    limits = [control for control in function.controls if isinstance(control, GRANT)]
    found = [slot for slot, control in pairs(run.slots, limits, function.id) if control.key is not None]
    if run.throttle is not None and any(isinstance(c, Throttle) and c.key is not None for c in function.controls):
        found.append(run.throttle)
    return tuple(found) or (whole(function.id),)


def whole(function_id: str) -> str:
    """The queue of all runs of a function."""
    return f"function/{owner(function_id)}"


def backlog(queue: str) -> str:
    """Where runs of this queue wait for the moment; the cell that knows why has the same name, and so has the timer."""
    return PREFIX + queue


def heard(cells: Iterable[Cell]) -> dict[str, int]:
    """The moments of queues of which such cells were found."""
    return {cell.key.removeprefix(PREFIX): cell.expires_at for cell in cells}


def press(
    draft: Draft,
    run: Run,
    function: Function,
    failure: Failure,
    step: str | None,
    *,
    due: int | None,
    requested_at: int | None,
) -> Generator[Any, Any, None]:
    """An attempt has failed with these words. ``due`` is its next one, if it has one left; then that is the moment."""
    until = due if due is not None or requested_at is None else retry_at(draft.now, requested_at)
    if until is None or not failure.presses:
        return
    said = _encode(Pressure(run.id, step, failure.message)).decode()
    for queue in queues(run, function):
        key = backlog(queue)
        known = yield from _cell(draft, key, run.place)
        if known is not None and known.expires_at >= until:
            draft.press(queue, known.expires_at)  # it may be written by an earlier try of this decision, unheard
            continue
        cell = Cell(key=key, value=said, expires_at=until)
        draft.cells[key] = cell
        place = _place(draft, run, function, queue)
        timer = Item(id=key, kind=ItemKind.PRESSURE, function_id=function.id, at=until, place=place, queued_at=until)
        draft.add(PutCell(cell, place), Schedule(timer))
        draft.due(until)
        draft.press(queue, until)


def pressed(draft: Draft, run: Run, function: Function) -> Generator[Any, Any, str | None]:
    """The queue of this run that is to be left alone now, if one is."""
    for queue in queues(run, function):
        if (yield from _cell(draft, backlog(queue), run.place)) is not None:
            return queue
    return None


def shares(queue: str, key: str, function_id: str) -> bool:
    """Whether all who wait for room under this key are in the queue, too: to give it to them would be in vain."""
    return key in _rooms(queue, function_id)


def relieve(draft: Draft, item: Item) -> Generator[Any, Any, None]:
    """The time is over: whoever waited goes on, as far as the limits let them."""
    queue = item.id.removeprefix(PREFIX)
    # Over for all: a process whose clock is behind would still put runs aside here, and nobody would let them go.
    draft.add(Drop(item.id, item.place), PutCell(Cell(key=item.id, value="", expires_at=0), item.home))
    draft.due(draft.now)
    yield from let_go(draft, item.id, item.home)
    # Room that became free meanwhile was offered to nobody. Those for whom there is none are put aside again.
    for key in _rooms(queue, item.function_id):
        draft.add(draft.room(key, ITEMS_PER_DECISION_MAX, item.home))


def _place(draft: Draft, run: Run, function: Function, queue: str) -> int:
    """Where runs are that wait in this queue. Those of a whole function are everywhere, unless its rules keep them
    together."""
    placement = draft.registry.placements.get(function.id)
    together = placement is not None and placement.key is None
    return run.place if together or queue != whole(function.id) else EVERYWHERE


def _rooms(queue: str, function_id: str) -> tuple[str, ...]:
    """The backlogs of limits in which nobody waits but those of this queue."""
    if queue != whole(function_id):
        return (queue,)
    return (f"fn/{owner(function_id)}", f"run/fn/{owner(function_id)}")


def _cell(draft: Draft, key: str, place: int) -> Generator[Any, Any, Cell | None]:
    own = draft.cells.get(key)
    if own is not None:
        return own if own.expires_at > draft.now else None
    return (yield from ask(GetCell(key, draft.now, place)))
