"""A person closes windows, deletes them, and has keys forgotten: what one decision writes of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from stepwell.engine.held import Reset, discard, record_key, reset, run_now
from stepwell.flow import BatchEvents, Debounce
from stepwell.flow.window import ALWAYS, Window
from stepwell.model.changes import CreateRun, Drop, DropHeld, PutCell, SaveNote, SaveOutcome, Schedule
from stepwell.model.history import Cell
from stepwell.model.item import Item, ItemKind
from stepwell.model.pause import Pause
from stepwell.model.questions import GetCell, GetEvent, GetItem, HeldIds
from tests.core.engine.plans import NOW, decide, draft, event, function, only

KEY = "batchEvents/shop-bill/"
PLACE = 7
BATCH = Window(run_id="r9", opened_at=NOW - 5, at=NOW + 60_000, event_id="e1", count=2, batch=True)
CALM = msgspec.structs.replace(BATCH, batch=False, event_id="e2")
CONTROLS: dict[bool, Any] = {True: BatchEvents(5), False: Debounce("1m")}


def known(window: Window | None, *, timer: str = ItemKind.WINDOW) -> dict[Any, Any]:
    value = msgspec.json.encode(window).decode()
    cell = Cell(key=KEY, value=value, expires_at=ALWAYS) if window is not None else None
    return {
        GetCell: lambda question: cell if question.key == KEY else None,
        GetItem: Item(id=KEY, kind=timer, function_id="shop-bill", at=NOW + 60_000, place=PLACE),
        GetEvent: lambda question: event(id=question.event_id),
        HeldIds: ["e1", "e2"] if window is BATCH else ["e2"],
    }


@pytest.mark.parametrize("window", [BATCH, CALM], ids=["batch", "debounce"])
def test_a_window_that_is_closed_starts_the_run_that_it_was_to_start_and_the_run_says_why(window: Window) -> None:
    bill = function(controls=(CONTROLS[window.batch],))

    decision = decide(run_now(draft(bill), KEY), known(window))

    run = only(decision, CreateRun).run
    assert (run.id, run.event_id, run.batch) == ("r9", window.event_id, 2 if window.batch else None)
    assert only(decision, SaveNote).note.kind == "started-early"
    assert only(decision, Drop).item_id == KEY
    assert PutCell(Cell(key=KEY, value="", expires_at=0), PLACE) in decision.changes
    assert decision.result.value == run


def test_a_window_that_is_closed_while_its_function_is_paused_tells_each_event_so() -> None:
    bill = function(controls=(BatchEvents(5),), pause=Pause(since=NOW))

    decision = decide(run_now(draft(bill), KEY), known(BATCH))

    told = [change.outcome for change in decision.changes if isinstance(change, SaveOutcome)]
    assert {(each.event_id, each.kind) for each in told} == {("e1", "paused"), ("e2", "paused")}
    assert not any(isinstance(change, CreateRun | SaveNote) for change in decision.changes)
    assert decision.result.value.kind == "paused"


@pytest.mark.parametrize("window", [BATCH, CALM], ids=["batch", "debounce"])
def test_what_a_window_that_is_deleted_held_is_told_of_and_let_go_in_one_decision(window: Window) -> None:
    decision = decide(discard(draft(function(controls=(CONTROLS[window.batch],))), KEY), known(window))

    told = [change.outcome for change in decision.changes if isinstance(change, SaveOutcome)]
    assert [(each.event_id, each.function_id, each.kind) for each in told] == [
        (event_id, "shop-bill", "discarded") for event_id in known(window)[HeldIds]
    ]
    assert only(decision, DropHeld).run_id == "r9"
    assert only(decision, Drop).item_id == KEY
    assert PutCell(Cell(key=KEY, value="", expires_at=0), PLACE) in decision.changes


@pytest.mark.parametrize("act", [run_now, discard])
@pytest.mark.parametrize("there", [{"window": None}, {"window": BATCH, "timer": ItemKind.THROTTLE}])
def test_a_window_that_there_is_not_is_left_alone(act: Any, there: dict[str, Any]) -> None:
    decision = decide(act(draft(function()), KEY), known(**there))

    assert (decision.changes, decision.result.value) == ((), None)


def test_a_key_that_is_forgotten_leaves_a_record_and_calls_who_waits_for_its_turn() -> None:
    keys = ["throttle/shop-bill/ann", "rate/shop-bill/ann"]
    cell = Cell(key=keys[0], value="1/1", expires_at=NOW + 5)
    timer = Item(id=keys[0], kind=ItemKind.THROTTLE, function_id="shop-bill", at=NOW + 60_000, place=PLACE)
    answers = {
        GetCell: lambda question: cell if question.key == keys[0] else None,
        GetItem: lambda question: timer if question.item_id == keys[0] else None,
    }

    decision = decide(reset(draft(function()), "shop-bill", keys), answers)

    assert decision.result.value == keys[:1]
    assert only(decision, Schedule).item.at == NOW
    assert decision.result.wake == NOW
    forgotten, record = (change.cell for change in decision.changes if isinstance(change, PutCell))
    assert (forgotten.key, forgotten.expires_at) == (keys[0], 0)
    assert (record.key, record.expires_at) == (record_key("shop-bill", keys[0]), NOW + 30 * 86_400_000)
    assert msgspec.json.decode(record.value, type=Reset) == Reset(keys[0], NOW)
