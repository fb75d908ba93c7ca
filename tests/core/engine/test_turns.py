"""The turns of runs that are throttled: how many are brought back, and when the next."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.engine.draft import Draft, Moment
from stepwell.engine.ending import cancel
from stepwell.engine.registry import Registry
from stepwell.engine.turns import take_turns
from stepwell.model.changes import Drop, Plan, Release, ReleaseItem, Schedule
from stepwell.model.item import Item, ItemKind
from stepwell.model.questions import Backlog, GetItem, GetRun
from stepwell.model.run import RunStatus
from stepwell.protocol.config import parse_function
from tests.core.engine.plans import decide, draft, run

NOW = 1_000_000
KEY = "throttle/w-f/"
PLACE = 3
FUNCTION = parse_function({"id": "w-f", "throttle": {"limit": 1, "period": "1m", "burst": 1}}, "w")


def changes(registry: Registry, waiting: int) -> list[Any]:
    draft = Draft(registry, Moment(NOW, lambda _: "x"))
    plan = take_turns(draft, Item(id=KEY, kind=ItemKind.THROTTLE, function_id="w-f", at=NOW, place=PLACE))
    try:
        question = next(plan)
        while True:
            known = [(n, str(n)) for n in range(waiting)] if isinstance(question, Backlog) else None
            question = plan.send(known[: question.limit] if known is not None else None)
    except StopIteration:
        return draft.changes


@pytest.mark.parametrize("registry", [Registry([FUNCTION]), Registry([], [FUNCTION])], ids=["listed", "departed"])
def test_as_many_are_brought_back_as_may_start_also_if_the_app_no_longer_lists_the_function(registry: Registry) -> None:
    released, scheduled = changes(registry, 10)

    assert released == Release(KEY, NOW, 2, PLACE)
    assert isinstance(scheduled, Schedule)
    assert scheduled.item.at == NOW + 60_000


def test_the_last_ones_leave_no_timer_behind() -> None:
    assert changes(Registry([FUNCTION]), 2) == [Release(KEY, NOW, 2, PLACE), Drop(KEY, PLACE)]


def test_all_are_brought_back_if_nothing_throttles_them_any_more() -> None:
    assert changes(Registry(), 3) == [Drop(KEY, PLACE), *(ReleaseItem(str(n), NOW) for n in range(3))]


@pytest.mark.parametrize(("backlog", "asked"), [(None, True), (KEY, False), ("fn/w-f/k", False)])
def test_whoever_is_next_is_asked_when_one_is_cancelled_whose_turn_may_have_come(
    backlog: str | None, asked: bool
) -> None:
    waiting = run(id="r", function_id="w-f", status=RunStatus.QUEUED, started_at=None, throttle=KEY)
    item = Item(id="r", kind=ItemKind.RUN, function_id="w-f", at=None if backlog else NOW, backlog=backlog)
    into = draft(FUNCTION, now=NOW)

    def plan() -> Plan:
        yield from cancel(into, "r", "somebody said so")
        return into.decision()

    decide(plan(), {GetRun: waiting, GetItem: item})

    found = [change.item for change in into.changes if isinstance(change, Schedule)]
    assert [(timer.id, timer.kind, timer.at) for timer in found] == ([(KEY, ItemKind.THROTTLE, NOW)] if asked else [])
