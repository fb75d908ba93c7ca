"""The examples in virtual time, each test in a folder of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepwell.testing import Harness, harness

os.environ.pop("DEMO_SPEED", None)  # virtual days are as long as real ones; examples.base reads this when it is loaded


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the examples write to."""
    monkeypatch.setenv("DEMO_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def t(home: Path) -> Iterator[Harness]:
    from examples.app import app

    with harness(app) as t:
        yield t
