"""Events that are held back: until no more of them come, or until there are enough for one run (semantics §7.7, §7.9).

The run that will start has its id from the beginning, so that whoever is left out can say for which run.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec

from stepwell.engine.admission import Hold, admit, consider, remember, remembered
from stepwell.engine.draft import Draft
from stepwell.flow.window import ALWAYS, Window
from stepwell.model.changes import Drop, DropHeld, HoldEvent, SaveOutcome, Schedule
from stepwell.model.event import Event
from stepwell.model.function import Function
from stepwell.model.history import Cell, Outcome, OutcomeKind
from stepwell.model.item import Item, ItemKind
from stepwell.model.place import place_of
from stepwell.model.questions import GetEvent, HeldIds, ask
from stepwell.model.run import Run

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Window).decode


def arrive(draft: Draft, function: Function, event: Event, fields: dict[str, object]) -> Generator[Any, Any, None]:
    """The event matches the function: a run starts, or none does, or the event waits for others."""
    found = yield from consider(draft, function, event, fields, may_hold=True)
    if isinstance(found, Hold):
        yield from _hold(draft, function, found, event)


def close(draft: Draft, item: Item) -> Generator[Any, Any, None]:
    """The moment of a window has come."""
    draft.add(Drop(item.id, item.place))
    cell = yield from remembered(draft, item.id, item.home)
    if cell is not None:
        window = read_window(cell)
        forget(draft, item.id, item.home)
        yield from begin(draft, item.function_id, window)


def read_window(cell: Cell) -> Window:
    """What a cell says of the events that are held back under its key."""
    return _decode(cell.value)


def _hold(draft: Draft, function: Function, found: Hold, event: Event) -> Generator[Any, Any, None]:
    place = found.place
    cell = yield from remembered(draft, found.key, place)
    if cell is None:
        window = Window(run_id=draft.moment.new_id(place), opened_at=draft.now, at=draft.now)
    else:
        window = read_window(cell)
    held = found.control.hold(window, event.id, event.ts, len(event.data), draft.now)
    if held.left_out is not None:
        draft.add(SaveOutcome(_left_out(draft, held.left_out, function.id, window.run_id)))
    if held.position is not None:
        draft.copy(event, place)
        draft.add(HoldEvent(window.run_id, held.position, event.id))
        draft.held[event.id] = event
    if held.full:
        draft.add(Drop(found.key, place))
        forget(draft, found.key, place)
        yield from begin(draft, function.id, held.window)
        return
    remember(draft, Cell(key=found.key, value=_encode(held.window).decode(), expires_at=ALWAYS), place)
    if held.window.at != window.at or cell is None:
        at = held.window.at
        draft.add(
            Schedule(
                Item(
                    id=found.key,
                    kind=ItemKind.WINDOW,
                    function_id=function.id,
                    at=at,
                    place=place,
                    queued_at=held.window.opened_at,
                )
            )
        )
        draft.due(at)


def begin(draft: Draft, function_id: str, window: Window) -> Generator[Any, Any, Run | Outcome | None]:
    """Start the run of a window that is closed, or say why not."""
    function = draft.registry.get(function_id)
    event = draft.held.get(window.event_id) or (yield from ask(GetEvent(window.event_id, place_of(window.run_id))))
    if function is None:
        reason = "the function was removed while the event was held back for it"
        gone = Outcome(
            event_id="", function_id=function_id, kind=OutcomeKind.FUNCTION_GONE, at=draft.now, reason=reason
        )
        yield from tell_all(draft, window, gone)
    started: Run | Outcome | None = None
    if function is not None and event is not None:
        started = yield from admit(draft, function, event, event.fields(), window=window)
    if window.batch and isinstance(started, Outcome):
        yield from tell_all(draft, window, started)  # of its first event that is known, and is not said twice
    if not window.batch or started is None or isinstance(started, Outcome):
        draft.add(DropHeld(window.run_id))
    return started


def tell_all(draft: Draft, window: Window, outcome: Outcome) -> Generator[Any, Any, None]:
    """The same became of every event that was held back."""
    stored = yield from ask(HeldIds(window.run_id))
    new = [each.event_id for each in draft.changes if isinstance(each, HoldEvent) and each.run_id == window.run_id]
    for event_id in dict.fromkeys((*stored, *new)):
        draft.add(SaveOutcome(msgspec.structs.replace(outcome, event_id=event_id)))


def _left_out(draft: Draft, event_id: str, function_id: str, run_id: str) -> Outcome:
    return Outcome(
        event_id=event_id,
        function_id=function_id,
        kind=OutcomeKind.DEBOUNCED,
        at=draft.now,
        reason="a newer event came while it was held back, and stands for it",
        run_id=run_id,
    )


def forget(draft: Draft, key: str, place: int) -> None:
    """The window of this key is closed."""
    remember(draft, Cell(key=key, value="", expires_at=0), place)
