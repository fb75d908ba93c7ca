"""A person does not want to wait: what one decision writes of it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from stepwell.engine.operator import Tried, retry_now, skip_sleep
from stepwell.errors import ConfigurationError, NotFound
from stepwell.model.changes import SaveNote, SaveStep, Schedule, SettleStep, Wake
from stepwell.model.item import Item, ItemKind
from stepwell.model.questions import GetItem, GetRun, GetSteps
from stepwell.model.run import RunStatus
from stepwell.model.step import Step, StepStatus
from tests.core.engine.plans import NOW, decide, draft, function, only, run

LATER = NOW + 60_000
FAILED = Step(run_id="r1", id="s1", name="pay", kind="run", status=StepStatus.ERRORED, attempt=1, due=LATER)
ASLEEP = Step(run_id="r1", id="s2", name="rest", kind="sleep", status=StepStatus.SLEEPING, due=LATER)
BACKING_OFF = Item(id="r1", kind=ItemKind.RUN, function_id="shop-bill", run_id="r1", at=LATER, attempt=1)


def decided(act: Any, *steps: Step, step: str | None = None, item: Item | None = None, **more: Any) -> Any:
    found = {GetRun: run(**more), GetSteps: list(steps), GetItem: item}
    return decide(act(draft(function()), "r1", step), found)


@pytest.mark.parametrize("step", [None, "pay", "s1"])
def test_a_step_is_due_at_once_and_its_run_is_woken(step: str | None) -> None:
    decision = decided(retry_now, FAILED, ASLEEP, step=step)

    assert only(decision, SaveStep).step == replace(FAILED, due=NOW)
    assert only(decision, Wake) == Wake("r1", NOW)
    assert only(decision, SaveNote).note.kind == "retried-now"
    assert decision.result.value == Tried(["pay"])
    assert (decision.result.touched, decision.result.wake) == (("r1",), NOW)


def test_code_that_backs_off_is_due_at_once_and_keeps_its_number() -> None:
    decision = decided(retry_now, ASLEEP, item=BACKING_OFF)

    assert only(decision, Schedule).item == replace(BACKING_OFF, at=NOW)
    assert decision.result.value == Tried([], code=True)


@pytest.mark.parametrize(
    "item",
    [
        None,
        replace(BACKING_OFF, lease=7),  # its attempt is being made
        replace(BACKING_OFF, attempt=0),  # it sleeps, or begins later
        replace(BACKING_OFF, at=None, backlog="fn/x"),  # a limit holds it
        replace(BACKING_OFF, at=NOW),
    ],
)
def test_a_run_that_waits_for_no_attempt_is_left_alone(item: Item | None) -> None:
    due = replace(FAILED, due=NOW)
    decision = decided(retry_now, ASLEEP, due, item=item)

    assert (decision.changes, decision.result.value) == ((), Tried([]))


@pytest.mark.parametrize("step", [None, "rest", "s2"])
def test_a_sleep_is_over_at_once(step: str | None) -> None:
    decision = decided(skip_sleep, FAILED, ASLEEP, step=step)

    assert only(decision, SettleStep) == SettleStep("r1", "s2", StepStatus.COMPLETED, NOW, b"null", None)
    assert only(decision, Wake) == Wake("r1", NOW)
    assert only(decision, SaveNote).note.kind == "sleep-skipped"
    assert decision.result.value == ["rest"]
    assert decision.result.touched == ("r1",)


def test_a_sleep_that_is_over_is_left_alone() -> None:
    over = replace(ASLEEP, status=StepStatus.COMPLETED, ended_at=NOW)
    decision = decided(skip_sleep, over, step="rest")

    assert (decision.changes, decision.result.value) == ((), [])


def test_what_is_no_sleep_cannot_be_skipped() -> None:
    with pytest.raises(ConfigurationError, match="'pay' cannot be skipped"):
        decided(skip_sleep, FAILED, step="pay")


@pytest.mark.parametrize("act", [retry_now, skip_sleep])
def test_a_step_that_is_not_there_is_not_found(act: Any) -> None:
    with pytest.raises(NotFound, match="no step 'other'"):
        decided(act, FAILED, ASLEEP, step="other")


@pytest.mark.parametrize("act", [retry_now, skip_sleep])
def test_nothing_of_a_run_that_has_ended_is_moved(act: Any) -> None:
    ended = decided(act, FAILED, ASLEEP, item=BACKING_OFF, status=RunStatus.CANCELLED, ended_at=NOW)
    unknown = decide(act(draft(), "r1", None), {})

    assert ended.changes == ()
    assert ended.result.value in ([], Tried([]))
    assert (unknown.changes, unknown.result.value) == ((), None)
