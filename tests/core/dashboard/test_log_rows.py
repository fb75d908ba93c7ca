"""Lines as pages show them: with the names of their steps, also of those that have no row yet (ADR 0053)."""

from __future__ import annotations

from typing import Any

from stepwell.dashboard.log_rows import log_of
from stepwell.model.log import Line, Logged, encode
from stepwell.model.run import Run
from stepwell.model.step import Step, StepStatus

RUN = Run(id="r", function_id="f", event_id="e", queued_at=10, scheduled_at=10)
DONE = Step(run_id="r", id="s1", name="charge", kind="run", status=StepStatus.COMPLETED)


def logged(at: int, step_id: str, name: str = "") -> Logged:
    lines = encode([Line(at, 20, "shop", f"at {at}")])
    return Logged(run_id="r", at=at, token=1, step_id=step_id, attempt=0, position=at, name=name, lines=lines)


def shown(**more: Any) -> list[tuple[int, str, bool]]:
    given = [logged(11, ""), logged(12, "s1", "charge"), logged(13, "s1"), logged(14, "s2", "ship")]
    return [(row.since, row.step, row.known) for row in log_of(RUN, given, [DONE], 10, **more).rows]


def test_a_step_of_another_process_that_still_runs_is_named_and_leads_nowhere():
    assert shown() == [(1, "", False), (2, "charge", True), (3, "charge", True), (4, "ship", False)]


def test_one_that_runs_here_can_be_opened():
    assert shown(bodies={"s2": object()})[-1] == (4, "ship", True)


def test_it_is_found_by_its_name_as_any_other():
    assert shown(step="ship") == [(4, "ship", False)]
    assert [since for since, *_ in shown(step="charge")] == [2, 3]
