"""``scripts/simulate``: what it prints, and how it makes a failing world small."""

from __future__ import annotations

import json

import pytest

from stepwell.testing.plans import make_plan
from stepwell.testing.shrink import shrink
from stepwell.testing.simulate import main
from stepwell.testing.world import World
from tests.simulation.mutants import MUTANTS


def test_a_failing_world_is_shrunk_to_what_the_failure_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS["slots are not given back"](monkeypatch)
    plan = next(plan for plan in map(make_plan, range(300)) if World(plan).play().violations)
    rules = {violation.rule for violation in World(plan).play().violations}

    small, report = shrink(plan)

    assert rules & {violation.rule for violation in report.violations}
    assert len(small.actions) <= 2 < len(plan.actions)
    assert sum(len(spec.program) for spec in small.functions) < sum(len(spec.program) for spec in plan.functions)
    assert not any(getattr(small.faults, name) for name in small.faults.__struct_fields__)


def test_clean_worlds_end_well_and_are_told_in_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "4", "--jobs", "1", "--json"]) == 0

    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (figures["seeds"], figures["violations"], figures["failing_seeds"]) == (4, 0, [])
    assert figures["reached"]["action send"] > 0


def test_one_seed_tells_its_story_and_that_it_is_the_same_twice(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "3"]) == 0

    told = capsys.readouterr().out
    assert "process 1 starts" in told
    assert "seed 3, story " in told.splitlines()[-1]
