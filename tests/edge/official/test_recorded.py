"""The official SDKs say what was recorded from them; see ``tests/protocol/test_recorded.py``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.edge.official.recording import record
from tests.protocol.exchanges import RECORDED, SDKS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("package", SDKS)
def test_a_new_recording_is_the_same(package: str, tmp_path: Path) -> None:
    """If it is not: ``python -m tests.edge.official.recording`` writes it, and the difference is for you to judge."""
    stored = json.loads(RECORDED[package].read_text())

    found = record(package, tmp_path)

    assert found.keys() == stored.keys()
    for name, exchange in found.items():
        assert exchange == stored[name], name
