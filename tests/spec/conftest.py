"""What the sentences about behaviour share: an app to declare functions on, and stores with one shard or several."""

from __future__ import annotations

from typing import Final

import pytest

from stepwell import Stepwell
from stepwell.testing.driver import Driver

SPREAD: Final = frozenset(
    {
        "test_batch_events",
        "test_cancel",
        "test_debounce",
        "test_event_ids",
        "test_fairness",
        "test_idempotency",
        "test_invoke",
        "test_priority",
        "test_rate_limit",
        "test_rules_together",
        "test_shared_limits",
        "test_signals",
        "test_singleton",
        "test_throttle",
        "test_wait_for_event",
    }
)
"""What counts together or finds one another must do so in any number of shards. ``pytest --shards 4`` tries all."""


@pytest.fixture
def app() -> Stepwell:
    return Stepwell("shop")


@pytest.fixture(autouse=True)
def shards(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many shards the stores of harnesses have."""
    monkeypatch.setattr(Driver, "_shards", getattr(request, "param", request.config.getoption("--shards")))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    on_file = metafunc.config.getoption("--store") == "sqlite"
    if on_file and metafunc.module.__name__.rpartition(".")[2] in SPREAD:
        metafunc.parametrize("shards", [1, 4], indirect=True, ids=["one-shard", "four-shards"])
