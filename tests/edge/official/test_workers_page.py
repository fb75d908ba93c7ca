"""The workers in ``docs/how-to/workers.md``, as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.edge.conftest import PATIENCE_S, Dev, environment, eventually
from tests.edge.official.conftest import NODE, installed
from tests.meta.sources import ROOT

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "how-to" / "workers.md"
_WITH_STANDINS = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
from tests.edge.official import standins
standins.install()
runpy.run_path("worker.py", run_name="__main__")
"""


def example(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), flags=re.M | re.S)
    return str(found)


def python(folder: Path) -> list[str]:
    (folder / "worker.py").write_text(example("python"))
    return [sys.executable, "-c", _WITH_STANDINS, str(ROOT)]


def javascript(folder: Path) -> list[str]:
    (folder / "worker.mjs").write_text(example("javascript"))
    (folder / "node_modules").symlink_to(installed("v4"))
    return [str(NODE), "worker.mjs"]


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(python, marks=pytest.mark.sdk("python")),
        pytest.param(javascript, marks=pytest.mark.sdk("javascript-4")),
    ],
)
def test_the_worker_on_the_page_works(
    start_dev: Callable[..., Dev], tmp_path: Path, write: Callable[[Path], list[str]]
) -> None:
    dev = start_dev("--no-discovery", "--no-poll", target=None)
    eventually(lambda: dev.http("GET", "/health").status == 200)
    command = write(tmp_path)
    with (tmp_path / "log").open("wb") as log:
        variables = {**environment(), "INNGEST_DEV": dev.url}
        worker = subprocess.Popen(command, cwd=tmp_path, env=variables, stdout=log, stderr=log)
    try:
        run_id = eventually(lambda: _started(dev, worker, tmp_path))
        assert dev.ended(run_id)["output"] == "paid 1200 cents"
    finally:
        worker.terminate()
        worker.wait(PATIENCE_S)


def _started(dev: Dev, worker: subprocess.Popen[bytes], folder: Path) -> str:
    assert worker.poll() is None, (folder / "log").read_text()
    return dev.start("shop/ordered", cents=1200) if dev.get("/v2/apps") else ""
