"""The backends that the conformance suite runs on. A new one is one more entry here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stepwell.storage.interface import Store
from stepwell.storage.sqlite import SqliteStore

# Followers, because a leader first writes its log to full size, which here would be most of the time.
BACKENDS: dict[str, Callable[[Path], Store]] = {
    "sqlite": lambda folder: SqliteStore.open(folder / "stepwell.db", leader=False),
    "sqlite-memory": lambda folder: SqliteStore.open(":memory:"),
    "sqlite-inline": lambda folder: SqliteStore.inline(),
}


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store of each backend in turn."""
    made = BACKENDS[request.param](tmp_path)
    yield made
    asyncio.run(made.close())
