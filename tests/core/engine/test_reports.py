"""Who holds a run of which an app reports."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.engine.draft import Draft, Moment
from stepwell.engine.leased import Leased
from stepwell.engine.registry import Registry
from stepwell.engine.reports import held
from stepwell.model.event import Event
from stepwell.model.item import Item, ItemKind
from stepwell.model.questions import CountHeld, GetEvent, GetItem
from stepwell.model.run import Run, RunStatus
from stepwell.protocol.config import parse_function

FUNCTION = parse_function({"id": "w-f", "concurrency": [{"limit": 5}]}, "w")
RUN = Run(
    id="r", function_id="w-f", event_id="e", queued_at=1, scheduled_at=1, status=RunStatus.RUNNING, slots=("fn/w-f",)
)
ANSWERS: dict[type, Any] = {
    GetItem: Item(id="r", kind=ItemKind.RUN, function_id="w-f", run_id="r", at=9, lease=7),
    GetEvent: Event(id="e", name="go", ts=1, received_at=1),
    CountHeld: 3,
}


def found(registry: Registry, token: int) -> Leased | None:
    plan = held(Draft(registry, Moment(5, lambda _: "x")), RUN, [], token)
    try:
        question = next(plan)
        while True:
            question = plan.send(ANSWERS[type(question)])
    except StopIteration as done:
        leased: Leased | None = done.value
        return leased


@pytest.mark.parametrize("registry", [Registry([FUNCTION]), Registry([], [FUNCTION])], ids=["listed", "departed"])
def test_the_run_is_held_also_if_its_app_no_longer_lists_the_function(registry: Registry) -> None:
    """Semantics §9.6: what is in flight goes on."""
    leased = found(registry, 7)

    assert leased is not None
    assert (leased.lease.token, leased.width) == (7, 3)


def test_a_stale_token_holds_nothing() -> None:
    assert found(Registry([FUNCTION]), 6) is None
