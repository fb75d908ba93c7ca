"""What a process holds goes back when it ends."""

from __future__ import annotations

from stepwell.engine.recovery import give_back
from stepwell.model.changes import FreeSlots, Park, Release
from tests.core.engine.plans import NOW, decide, draft, kinds, leased, only, run


def test_a_call_that_is_cut_off_by_an_orderly_stop_is_due_at_once_and_keeps_its_attempt() -> None:
    held = leased(attempt=2)

    decision = decide(give_back(draft(), held))

    assert decision.holds == held.lease
    assert only(decision, Park) == Park(held.lease, NOW, NOW, 2)
    assert kinds(decision) == ["Park"]


def test_a_call_that_is_cut_off_makes_room_for_others_under_its_limit() -> None:
    held = leased(run(slots=("fn/shop-bill",)))

    decision = decide(give_back(draft(), held))

    assert only(decision, FreeSlots).holder == "r1"
    assert only(decision, Release).backlog == "fn/shop-bill"
