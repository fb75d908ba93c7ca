"""A backlog that goes as a whole: what one decision does of it, and when the next comes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from stepwell.engine.draft import Draft
from stepwell.engine.releasing import ITEMS_PER_DECISION_MAX, go_on, let_go, let_go_all, review_more
from stepwell.flow import Concurrency
from stepwell.model.changes import Drop, PutCell, Release, ReleaseItem, Schedule
from stepwell.model.history import Cell
from stepwell.model.item import Item, ItemKind
from stepwell.model.questions import (
    Backlog,
    BacklogItems,
    CountSlots,
    DueItems,
    GetCell,
    GetItem,
    GetRun,
    NextBacklog,
    Question,
)
from tests.core.engine.plans import NOW, Answers, decide, draft, function, run

BACKLOG = "paused/shop-bill"
PLACE = 3
OWED = Item(id=f"release/{BACKLOG}", kind=ItemKind.RELEASE, function_id="", at=NOW, place=PLACE)
REVIEW = Item(id="review/shop", kind=ItemKind.REVIEW, function_id="", at=NOW, place=PLACE)


def waiting(count: int) -> Any:
    """So many items wait in each backlog, numbered from 1."""

    def answer(question: Backlog) -> list[tuple[int, str]]:
        first = question.after[0] + 1 if question.after else 1
        return [(n, f"r{n}") for n in range(first, count + 1)][: question.limit]

    return answer


def done(plan: Any, into: Draft, answers: Answers) -> list[Any]:
    def whole() -> Any:
        yield from plan
        return into.decision()

    return list(decide(whole(), answers).changes)


def released(changes: list[Any]) -> list[str]:
    return [change.item_id for change in changes if isinstance(change, ReleaseItem)]


def due(kind: str, count: int = ITEMS_PER_DECISION_MAX) -> Any:
    return [Item(id=f"i{n}", kind=kind, function_id="", at=NOW) for n in range(count)]


def test_what_one_decision_can_do_leaves_nothing_owed() -> None:
    into = draft()

    changes = done(let_go(into, BACKLOG, PLACE), into, {Backlog: waiting(ITEMS_PER_DECISION_MAX)})

    assert released(changes) == [f"r{n + 1}" for n in range(ITEMS_PER_DECISION_MAX)]
    assert len(changes) == ITEMS_PER_DECISION_MAX


def test_of_many_backlogs_those_go_in_which_anything_waits_and_no_others() -> None:
    there = [f"unserved/{name}" for name in ("a", "other", "shop-1", "shop-12", "shop-13", "shop-2b", "zoo")]
    asked: list[NextBacklog] = []

    def following(question: NextBacklog) -> str | None:
        asked.append(question)
        return next((name for name in there if name > question.after), None)

    def those(question: Backlog) -> list[tuple[int, str]]:
        return [(1, question.key)] if question.key in there else []

    into = draft()
    wanted = [f"unserved/shop-{number}" for number in range(1, 30)]
    changes = done(let_go_all(into, wanted), into, {NextBacklog: following, Backlog: those})

    assert released(changes) == ["unserved/shop-1", "unserved/shop-12", "unserved/shop-13"]
    assert len(asked) <= len(there) + 1


def test_the_rest_is_owed_from_the_place_that_was_reached() -> None:
    into = draft()

    changes = done(let_go(into, BACKLOG, PLACE), into, {Backlog: waiting(ITEMS_PER_DECISION_MAX + 1)})

    cell, owed = changes[-2:]
    assert isinstance(cell, PutCell)
    assert (cell.cell.key, cell.cell.value) == (OWED.id, '[100,"r100"]')
    assert isinstance(owed, Schedule)
    assert (owed.item.id, owed.item.at) == (OWED.id, NOW + 10)


def test_it_goes_on_behind_that_place_and_ends() -> None:
    into = draft()
    cell = Cell(key=OWED.id, value='[100,"r100"]', expires_at=NOW + 1)

    changes = done(go_on(into, OWED), into, {Backlog: waiting(103), GetCell: cell})

    assert released(changes) == ["r101", "r102", "r103"]
    assert Drop(OWED.id, PLACE) in changes


def test_all_backlogs_that_one_decision_lets_go_share_what_it_may_do() -> None:
    into = draft()

    def both() -> Any:
        yield from let_go(into, "unserved/a", PLACE)
        yield from let_go(into, "unserved/b", PLACE)

    changes = done(both(), into, {Backlog: waiting(60)})

    assert len(released(changes)) == ITEMS_PER_DECISION_MAX
    assert [change.item.id for change in changes if isinstance(change, Schedule)] == ["release/unserved/b"]


@pytest.mark.parametrize(("kind", "waits"), [(ItemKind.RUN, True), (ItemKind.RELEASE, False)])
def test_it_waits_for_runs_that_are_due_and_not_for_others_of_its_kind(kind: str, waits: bool) -> None:
    into = draft()

    changes = done(go_on(into, OWED), into, {Backlog: waiting(9), DueItems: due(kind)})

    assert (released(changes) == []) is waits
    assert any(isinstance(change, Schedule) for change in changes) is waits


def test_it_looks_less_often_the_longer_nobody_takes_them_and_at_once_when_they_are_taken() -> None:
    item, pauses = OWED, []
    for _ in range(6):
        into = draft()
        (change,) = done(go_on(into, item), into, {DueItems: due(ItemKind.RUN)})
        assert isinstance(change, Schedule)
        item = change.item
        assert item.at is not None
        pauses.append(item.at - NOW)

    into = draft()
    changes = done(go_on(into, item), into, {Backlog: waiting(ITEMS_PER_DECISION_MAX + 1), DueItems: []})
    again = next(change.item for change in changes if isinstance(change, Schedule))

    assert pauses == [100, 200, 400, 800, 1000, 1000]
    assert (again.at, again.attempt) == (NOW + 10, 0)


@pytest.mark.parametrize(("used", "count"), [(1, 4), (5, 0), (7, 0)])
def test_a_review_releases_as_many_as_there_is_room_for(used: int, count: int) -> None:
    slot = "fn/shop-bill"
    limited = msgspec.structs.replace(function(), controls=(Concurrency(5),))
    into = draft(limited)
    held = Item(id="r1", kind=ItemKind.RUN, function_id=limited.id, at=None, backlog=slot)

    changes = done(
        review_more(into, REVIEW),
        into,
        {
            NextBacklog: lambda question: slot if not question.after else None,
            BacklogItems: [held],
            GetRun: run(slots=(slot,)),
            CountSlots: used,
        },
    )

    assert [change for change in changes if isinstance(change, Release)] == [Release(slot, NOW, count, PLACE)] * bool(
        count
    )
    assert Drop(REVIEW.id, PLACE) in changes


def test_a_review_waits_until_a_backlog_that_goes_as_a_whole_has_gone() -> None:
    into = draft()
    asked: list[type[Question[Any]]] = []
    cell = Cell(key=REVIEW.id, value=BACKLOG, expires_at=NOW + 1)

    changes = done(review_more(into, REVIEW), into, {GetCell: cell, GetItem: OWED, NextBacklog: asked.append})

    assert [type(change) for change in changes] == [Schedule]
    assert asked == []
