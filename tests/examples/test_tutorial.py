"""The tutorial does what it says: each of its programs is run, and one of them is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stepwell.testing import harness
from tests.meta.sources import ROOT

STEPWELL = str(Path(sys.executable).with_name("stepwell"))
TUTORIAL = (ROOT / "docs" / "tutorial" / "index.md").read_text()
PROGRAMS = re.findall(r"^```python\n# app\.py\n(.*?)^```", TUTORIAL, flags=re.MULTILINE | re.DOTALL)
GREET, REPORT, CLIMB, TRIP = PROGRAMS


def load(program: str) -> Any:
    names: dict[str, Any] = {"__name__": "tutorial"}
    exec(program, names)
    return names["app"]


def test_a_first_function():
    with harness(load(GREET)) as t:
        t.send("tutorial/visited", {"name": "Ada"})

        t.assert_completed(t.run("greet"), "Hello, Ada!")


def test_a_step_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with harness(load(REPORT)) as t:
        t.send("tutorial/report.wanted")
        t.advance("5s")
        Path("ready").touch()
        t.advance("1s")

        run = t.run("report")
        t.assert_completed(run, "report.txt")
        assert [step.attempts for step in run.steps.values()] == [1, 4, 1]
        assert Path("report.txt").read_text() == "12\n"


@pytest.mark.slow
def test_kill_it(tmp_path: Path):
    (tmp_path / "app.py").write_text(CLIMB.replace("time.sleep(1)", "time.sleep(0.2)"))
    first = dev(tmp_path)
    tell(tmp_path, "send", "tutorial/climb")
    seen = read_until(first, "stair 3 ")
    first.send_signal(signal.SIGKILL)
    first.communicate()

    second = dev(tmp_path)
    seen += read_until(second, "completed")
    second.terminate()
    second.communicate()

    climbed = re.findall(r"✓ tutorial-climb +\w+ +stair (\d+)", seen)
    assert climbed[:3] == ["1", "2", "3"]
    assert sorted(climbed, key=int) == climbed  # no stair that was climbed is climbed again
    assert climbed[-1] == "10"
    assert "the process that ran it died" in seen


def test_sleep_and_wait_for_somebody():
    with harness(load(TRIP)) as t:
        t.send("tutorial/trip.planned", {"place": "Lisbon"})
        t.advance("10s")
        t.crash()
        t.send("tutorial/trip.answered", {"place": "Rome", "answer": "no"})
        t.assert_waiting(t.run("trip"), "answer")
        t.send("tutorial/trip.answered", {"place": "Lisbon", "answer": "yes"})

        t.assert_completed(t.run("trip"), "Lisbon: yes")


def dev(folder: Path) -> subprocess.Popen[str]:
    """``stepwell dev app.py``, once it listens."""
    process = subprocess.Popen(
        [STEPWELL, "dev", "app.py", "--port", "0", "--no-reload"],
        cwd=folder,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    read_until(process, "try  ")
    return process


def tell(folder: Path, *arguments: str) -> None:
    subprocess.run([STEPWELL, *arguments], cwd=folder, capture_output=True, text=True, timeout=30, check=True)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What the process writes, up to the line that has this text."""
    assert process.stdout is not None
    seen: list[str] = []
    for line in process.stdout:
        seen.append(line)
        if text in line:
            return "".join(seen)
    raise AssertionError(f"{text!r} was never written:\n{''.join(seen)}")
