"""The examples in TypeScript are what the types of the official SDK allow. Node runs them without a look at that."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.edge.conftest import Done, environment
from tests.edge.official.conftest import NODE, installed
from tests.meta.sources import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """The examples beside the packages that they name."""
    folder = tmp_path / "typescript"
    shutil.copytree(ROOT / "examples" / "typescript", folder, ignore=shutil.ignore_patterns("node_modules"))
    (folder / "node_modules").symlink_to(installed("v4"))
    return folder


def checked(folder: Path) -> Done:
    compiler = installed("types") / "typescript" / "bin" / "tsc"
    done = subprocess.run(
        [NODE, compiler, "--project", folder],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_the_examples_have_the_types_of_the_sdk(examples: Path) -> None:
    done = checked(examples)

    assert (done.code, done.out) == (0, "")


def test_an_option_that_the_sdk_does_not_know_would_be_found(examples: Path) -> None:
    order = examples / "order.ts"
    order.write_text(order.read_text().replace("retries: 2", "retrys: 2"))

    done = checked(examples)

    assert done.code != 0
    assert "order.ts" in done.out
    assert "'retrys'" in done.out
