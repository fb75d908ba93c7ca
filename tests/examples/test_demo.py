"""``scripts/demo`` sets everything up, runs all examples and says what came of them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.meta.sources import ROOT


def demo(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "scripts" / "demo"), *arguments],
        cwd=home.parent,
        env=os.environ | {"DEMO_HOME": str(home), "DEMO_SPEED": "60000"} | environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_the_demo_runs_twice_with_the_same_result(tmp_path: Path):
    home = tmp_path / "out"
    for ends_by in ({"CI": "true"}, {"CI": ""}):
        done = demo(home, "--port", "0", *([] if ends_by["CI"] else ["--exit"]), **ends_by)

        assert done.returncode == 0, done.stderr + done.stdout
        told = " ".join(done.stdout.split())
        assert "39 runs ended" in told
        assert "36 completed, 2 failed and 1 was cancelled, as they should" in told
        assert "n-1 shipped, n-2 expired, n-3 cancelled, n-4 refunded" in told
        assert len(list((home / "outbox").glob("*.eml"))) == 8


@pytest.mark.slow
def test_the_demo_deletes_nothing_that_is_not_its_own(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("keep")

    done = demo(tmp_path, "--exit", "--port", "0")

    assert done.returncode == 1
    assert "holds something else; choose a new folder with DEMO_HOME" in done.stderr
    assert (tmp_path / "mine.txt").read_text() == "keep"
