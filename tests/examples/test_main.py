"""Each example runs as its docstring says, with a real engine on a real file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples.__main__ import NAMES
from examples.app import EXAMPLES
from tests.meta.sources import ROOT

SAYS = {
    "onboarding": "u1-nudge.eml",
    "document_pipeline": "scan-0042.txt            rejected: not a text in UTF-8",
    "batch_processing": "6 readings could not be used.",
    "order": "n-4 refunded",
    "ai_analysis": "It is about",
    "migration": "25000 of 25000 records",
    "weekly_report": "# Week 2026-W02",
    "fallback": "120.12 CHF (daily list)",
}


def test_all_examples_are_named_everywhere():
    assert [module.__name__ for module in EXAMPLES] == [f"examples.{name}" for name in NAMES]
    assert set(SAYS) == set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_by_itself(name: str, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "examples", name],
        cwd=ROOT,
        env=os.environ | {"DEMO_HOME": str(tmp_path / "new" / "home")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert SAYS[name] in done.stdout
