"""The backends that the conformance suite runs on. A new one is one more entry here."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from stepwell.storage.interface import Store
from stepwell.storage.postgres.store import PostgresStore
from stepwell.storage.postgres.thread import LoopThread
from stepwell.storage.sqlite import SqliteStore

# Followers, because a leader first writes its log to full size, which here would be most of the time.
BACKENDS: dict[str, Callable[[Path], Store]] = {
    "sqlite": lambda folder: SqliteStore.open(folder / "stepwell.db", leader=False),
    "sqlite-memory": lambda folder: SqliteStore.open(":memory:"),
    "sqlite-inline": lambda folder: SqliteStore.inline(),
    "postgres": lambda folder: postgres(),
    "postgres-sharded": lambda folder: postgres(shards=4, here=True),
    "postgres-pooled": lambda folder: postgres(shards=4, pooled=True, here=True),
    "sqlite-sharded": lambda folder: SqliteStore.inline(shards=4),
}


def postgres(shards: int = 1, *, pooled: bool = False, here: bool = False, **options: Any) -> PostgresStore:
    """A store on an empty database, of a real server, for any loop.

    It has a thread of its own, or works ``here`` as that of a server: on a loop that goes on. A ``pooled`` one reaches
    the database through pgbouncer in transaction mode.
    """
    from tests.postgres import emptied

    def make() -> PostgresStore:
        url = emptied(shards)
        if pooled:
            from tests.pooler import pooler

            url = pooler().at(urlsplit(url).path[1:])
        opening = PostgresStore.open(url, here=here, shards=shards, **options)
        return asyncio.run(_loop().run(opening) if here else opening)

    with ThreadPoolExecutor(1) as thread:  # whoever asks may be on a loop already
        return thread.submit(make).result()


@cache
def _loop() -> LoopThread:
    return LoopThread()


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty store of each backend in turn."""
    with scratch() as folder:
        made = BACKENDS[request.param](Path(folder))
        yield made
        asyncio.run(made.close())


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder in memory where there is one: what is asked here does not depend on the disk, whose syncs cost most."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
