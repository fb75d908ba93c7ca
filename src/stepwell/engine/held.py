"""A person acted upon what flow controls remember: events that are held back, and rates and keys that are used up."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import msgspec

from stepwell.engine.admission import remember, remembered
from stepwell.engine.draft import Draft
from stepwell.engine.intake import announce
from stepwell.engine.windows import begin, forget, read_window, tell_all
from stepwell.flow import Throttle
from stepwell.flow.keys import owner
from stepwell.flow.placement import cell_place, function_place
from stepwell.flow.window import Window
from stepwell.limits import RETENTION_DEFAULT
from stepwell.model.changes import Drop, DropHeld, Plan, SaveNote, Schedule
from stepwell.model.history import Cell, Note, Outcome, OutcomeKind
from stepwell.model.item import Item, ItemKind
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import GetItem, ask
from stepwell.model.run import Run

_KEPT_MS = RETENTION_DEFAULT // type(RETENTION_DEFAULT)(milliseconds=1)

_encode = msgspec.json.Encoder().encode


class Reset(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was forgotten of a control, when, and why: the key of its cell, which is that of the record as well."""

    key: str
    at: int
    reason: str = ""


def run_now(draft: Draft, key: str) -> Plan:
    """Close a window before its time: its run starts. The value is that run, or the outcome that says why there is
    none; ``None`` if there is no such window."""
    found = yield from _taken(draft, key)
    if found is None:
        return draft.decision(None)
    function_id, window = found
    started = yield from begin(draft, function_id, window)
    if isinstance(started, Run):
        text = "a person closed its window of events before its time"
        draft.add(SaveNote(Note(run_id=started.id, at=draft.now, kind="started-early", text=text)))
    yield from announce(draft)  # it may have taken the place of another run
    return draft.decision(started)


def discard(draft: Draft, key: str) -> Plan:
    """Drop what a window holds: no run starts, and each event says so. The value is the window, ``None`` if there is
    none."""
    found = yield from _taken(draft, key)
    if found is None:
        return draft.decision(None)
    function_id, window = found
    reason = "a person deleted the window in which it was held back"
    gone = Outcome(event_id="", function_id=function_id, kind=OutcomeKind.DISCARDED, at=draft.now, reason=reason)
    yield from tell_all(draft, window, gone)
    draft.add(DropHeld(window.run_id))
    return draft.decision(window)


def reset(draft: Draft, function_id: str, keys: Sequence[str], reason: str = "") -> Plan:
    """Forget what is remembered under these keys of cells: as if no run had ever started for them.

    Whoever waits for a turn of such a key is asked at once. The value are the keys under which there was something.
    """
    done: list[str] = []
    for key in keys:
        place = _place(draft, function_id, key)
        if (yield from remembered(draft, key, place)) is None:
            continue
        done.append(key)
        forget(draft, key, place)
        record = _encode(Reset(key, draft.now, reason)).decode()
        remember(draft, Cell(key=record_key(function_id, key), value=record, expires_at=draft.now + _KEPT_MS), place)
        timer = yield from ask(GetItem(key, place))
        if timer is not None and timer.kind == ItemKind.THROTTLE:
            draft.add(Schedule(msgspec.structs.replace(timer, at=draft.now)))
            draft.due(draft.now)
    return draft.decision(done)


def records(function_id: str) -> str:
    """What the keys of the records of resets begin with."""
    return f"reset/{owner(function_id)}/"


def record_key(function_id: str, key: str) -> str:
    return f"{records(function_id)}{key}"


def _taken(draft: Draft, key: str) -> Generator[Any, Any, tuple[str, Window] | None]:
    """The function of a window and what it holds, once it is closed and its timer gone."""
    found = yield from ask(GetItem(key, EVERYWHERE))  # where it is depends on the rules that held when it was opened
    if found is None or found.kind != ItemKind.WINDOW:
        return None
    cell = yield from remembered(draft, key, found.home)
    item: Item | None = yield from ask(GetItem(key, found.home))
    if cell is None or item is None:
        return None
    draft.add(Drop(key, item.place))
    forget(draft, key, item.home)
    return item.function_id, read_window(cell)


def _place(draft: Draft, function_id: str, key: str) -> int:
    """Where the cell of this key is: with the runs that wait for it, if any may."""
    if not key.startswith(f"{Throttle.keyword}/"):
        return cell_place(key)
    placement = draft.registry.placements.get(function_id)
    return function_place(function_id) if placement is None else placement.of_key(key)
