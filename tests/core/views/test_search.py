"""The search of the list of runs: what it finds, and how little it looks at."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.expressions import compile_expression
from stepwell.ids import ulid
from stepwell.limits import SEARCH_ROWS_MAX
from stepwell.model.event import Event
from stepwell.model.questions import EventNames, EventsOfRuns, ListRuns
from stepwell.model.run import Run, RunStatus
from stepwell.views.search import Found, Wanted, search

COUNT = 5_000


class Store:
    """Answers from a list; counts the rows that it gives away."""

    def __init__(self) -> None:
        self.read_rows = 0
        self.read_names = 0
        self.runs = [
            Run(
                id=ulid(number, number),
                function_id=f"shop-{number % 7}",
                event_id=ulid(number, number + 1),
                queued_at=number,
                scheduled_at=number,
                status=RunStatus.FAILED if number % 100 == 0 else RunStatus.COMPLETED,
            )
            for number in range(COUNT)
        ][::-1]

    async def read(self, question: Any) -> Any:
        if isinstance(question, ListRuns):
            found = [
                run
                for run in self.runs
                if (question.before is None or run.id < question.before)
                and question.status in (None, run.status)
                and question.function_id in (None, run.function_id)
            ][: question.limit]
            self.read_rows += len(found)
            return found
        if isinstance(question, EventNames):
            self.read_names += len(question.pairs)
            return {event_id: "shop/ordered" for _, event_id in question.pairs}
        assert isinstance(question, EventsOfRuns)
        ids = {event_id for _, event_id in question.pairs}
        return {id: Event(id=id, name="shop/ordered", ts=0, received_at=0, data=b'{"odd": true}') for id in ids}


@pytest.fixture
def store() -> Store:
    return Store()


async def everything(store: Store, wanted: Wanted) -> tuple[list[str], int]:
    """All that is found by going on until there is no more, and in how many requests."""
    ids, before, requests = [], None, 0
    while True:
        found: Found = await search(store, wanted, before=before, limit=20)
        ids += [run.id for run in found.runs]
        requests += 1
        if found.after is None:
            return ids, requests
        before = found.after


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (Wanted(status=RunStatus.FAILED), lambda run: run.status == RunStatus.FAILED),
        (Wanted(status=RunStatus.FAILED, function_id="shop-3"), lambda run: run.queued_at % 700 == 500),
        (Wanted(since=4_990), lambda run: run.queued_at >= 4_990),
        (Wanted(text="shop-5", status=RunStatus.COMPLETED, since=4_000), lambda run: run.queued_at % 7 == 5),
        (Wanted(app=frozenset({"shop-1"}), since=4_900), lambda run: run.function_id == "shop-1"),
    ],
)
async def test_what_is_wanted_is_found_page_by_page_once_and_in_order(store: Store, wanted: Wanted, fits: Any):
    asked = [run for run in store.runs if fits(run) and run.queued_at >= (wanted.since or 0)]
    asked = [run for run in asked if wanted.status in (None, run.status)]

    ids, _ = await everything(store, wanted)

    assert ids == [run.id for run in asked]


async def test_what_an_index_finds_costs_a_page(store: Store):
    await search(store, Wanted(status=RunStatus.FAILED), before=None, limit=20)

    assert store.read_rows == 21


async def test_a_search_for_what_is_not_there_ends_and_says_where(store: Store):
    found = await search(store, Wanted(text="no such thing"), before=None, limit=20)

    assert (found.runs, found.stopped, found.looked) == ([], True, SEARCH_ROWS_MAX)
    assert store.read_rows <= SEARCH_ROWS_MAX
    assert found.after == store.runs[SEARCH_ROWS_MAX - 1].id


async def test_events_are_asked_for_their_names_only_where_those_are_searched_or_shown(store: Store):
    found = await search(store, Wanted(app=frozenset({"shop-1"})), before=None, limit=20)

    assert store.read_names == len(found.runs) == 20
    assert found.names == {run.event_id: "shop/ordered" for run in found.runs}
    assert not (await search(store, Wanted(app=frozenset()), before=None, limit=20)).names
    assert store.read_names == 20


async def test_a_condition_is_about_the_event(store: Store):
    odd, none = compile_expression("event.data.odd", boolean=True), compile_expression("event.data.even", boolean=True)

    assert len((await search(store, Wanted(condition=odd), before=None, limit=20)).runs) == 20
    assert (await search(store, Wanted(condition=none), before=None, limit=20)).stopped
