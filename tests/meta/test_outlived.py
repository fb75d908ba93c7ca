"""What tests start and nobody stops: a PostgreSQL whose test run was killed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.edge.conftest import PATIENCE_S, eventually
from tests.meta.sources import ROOT

pytestmark = pytest.mark.slow

START_S_MAX = 120.0  # of a pytest, a worker of it and a PostgreSQL, on a busy machine

STARTS = """
from pathlib import Path
from threading import Event

from tests.postgres import ask, server


def test_it_waits():
    ((folder,),) = ask(server(), "SELECT current_setting('data_directory')")
    told = Path(__file__).with_suffix(".told")
    told.with_suffix(".new").write_text(folder)
    told.with_suffix(".new").rename(told)
    Event().wait()


if __name__ == "__main__":
    test_it_waits()
"""


@pytest.mark.parametrize(
    "command",
    [
        pytest.param((), id="a process"),
        pytest.param(("-m", "pytest", "-p", "no:cacheprovider", "--rootdir=."), id="pytest"),
        pytest.param(("-m", "pytest", "-p", "no:cacheprovider", "--rootdir=.", "-n", "1"), id="pytest-xdist"),
    ],
)
def test_a_postgresql_ends_with_whoever_started_it_also_if_they_are_killed(
    tmp_path: Path, command: Sequence[str]
) -> None:
    file = tmp_path / "test_starts.py"
    file.write_text(STARTS)
    variables = {name: text for name, text in os.environ.items() if name != "STEPWELL_TEST_POSTGRES"}
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    starter = subprocess.Popen(
        [sys.executable, *command, file.name],
        cwd=tmp_path,
        env={**variables, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(file.with_suffix(".told").exists, within=START_S_MAX)
        folder = Path(file.with_suffix(".told").read_text())
        running = os.pidfd_open(int((folder / "postmaster.pid").read_text().split()[0]))
        assert not select.select([running], [], [], 0)[0]
    finally:
        starter.send_signal(signal.SIGKILL)
        starter.wait()

    assert select.select([running], [], [], PATIENCE_S)[0], "it still runs"
    eventually(lambda: not folder.exists())
