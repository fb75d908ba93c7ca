"""What is counted of the steps of a run while a call of it goes on."""

from __future__ import annotations

from stepwell.model.step import Step, StepStatus
from tests.core.engine.plans import NOW, leased


def _step(step_id: str, output: bytes = b"12345") -> Step:
    return Step(
        run_id="r1",
        id=step_id,
        name=step_id,
        kind="run",
        status=StepStatus.COMPLETED,
        output=output,
        started_at=NOW,
        ended_at=NOW,
    )


def test_a_step_on_its_way_counts_but_for_itself() -> None:
    one = leased(steps=[_step("a")])
    one.promised["b"] = 5

    assert one.steps_besides("c") == 2
    assert one.steps_besides("b") == 1


def test_a_step_that_was_read_before_its_save_was_answered_counts_once() -> None:
    one = leased()
    one.promised |= {"a": 5, "b": 5}
    one.learn(_step("a"))  # from the store, where it is already

    assert one.steps_besides("c") == 2
    assert one.steps_besides("b") == 1
    assert one.bytes_besides("c") == 10
    assert one.bytes_besides("b") == 5
