"""Runs end."""

from __future__ import annotations

import pytest

from stepwell.engine.operator import cancel_run
from stepwell.model.changes import FinishRun
from stepwell.model.questions import GetEvent, GetRun
from stepwell.model.run import Run, RunStatus
from tests.core.engine.plans import NOW, decide, draft, event, only, run


@pytest.mark.parametrize(
    ("of", "ended_at"),
    [
        (run(status=RunStatus.QUEUED, queued_at=NOW + 20, started_at=None), NOW + 20),
        (run(queued_at=NOW + 20, started_at=NOW + 30), NOW + 30),
        (run(queued_at=NOW - 20, started_at=NOW - 10), NOW),
    ],
)
def test_no_run_ends_before_it_was_there(of: Run, ended_at: int) -> None:
    """Who cancels it took the time, and then waited for the decision that began it."""
    decision = decide(cancel_run(draft(), of.id, "enough"), {GetRun: of, GetEvent: event()})

    assert only(decision, FinishRun).ended_at == ended_at
