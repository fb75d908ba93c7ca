"""Every scenario dies at each of its commits, before and after it takes effect (testing.md (a), exhaustive mode)."""

from __future__ import annotations

from collections import Counter

import pytest

from stepwell.testing import Harness, harness
from stepwell.testing.sweep import sweep
from tests.simulation.whole_or_not import SCENARIOS, Scenario


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_crash_at_any_commit_changes_nothing_about_how_things_end(name: str) -> None:
    """K44."""
    scenario = SCENARIOS[name]()
    with harness(scenario.app, retry_interval="1s") as t:
        wanted = _played(t, scenario)

    def play(t: Harness) -> None:
        assert _played(t, scenario) == wanted
        twice = [body for body, count in Counter(scenario.bodies).items() if count > _tries(body) + 1]
        assert not twice, f"bodies that ran more than once more than without a crash: {twice}"

    found = sweep(scenario.app, play, judged=True, retry_interval="1s", patience=0.3)

    assert not found.failures, str(found)
    assert found.points >= 2
    assert len(found.places) == found.points
    assert scenario.writes is None or any(scenario.writes in place.split(", ") for place in found.places)


def test_there_are_at_least_twenty_five_scenarios() -> None:
    assert len(SCENARIOS) >= 25


def _played(t: Harness, scenario: Scenario) -> dict[str, list[str]]:
    """How the runs of each function have ended."""
    scenario.bodies.clear()
    for action in scenario.actions:
        action(t)
    found: dict[str, list[str]] = {}
    for run in t.runs():
        assert run.ended, f"{run} has not ended"
        found.setdefault(run.function_id, []).append(f"{run.status} {run.output!r}")
    return {function: sorted(ends) for function, ends in found.items()}


def _tries(body: tuple[str, str]) -> int:
    """How often a body runs without the death of the mode: three times if its step is named ``flaky-3``, for it fails
    or the scenario kills it twice."""
    number = body[1].partition("-")[2]
    return int(number) if number.isdigit() else 1
