"""Direct looks at the tables of a harness, wherever its store is: for those who judge what the engine says."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Callable, Coroutine
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

from stepwell.storage.postgres.driver import Connection
from stepwell.testing import Harness
from stepwell.testing.audit import audit, audit_file
from stepwell.testing.invariants import Violation
from stepwell.testing.tables import Tables
from tests import postgres
from tests.crash.copied import copied


class InMemory:
    """Those of a store in memory."""

    def __init__(self, t: Harness) -> None:
        self._tables = Tables(t.store)
        self.ask = self._tables.ask

    def audit(self) -> list[Violation]:
        return list(audit(self.ask))

    def version(self) -> object:
        """Another one when anything was written."""
        return self._tables.changes()


class InDatabase:
    """Those of a PostgreSQL database, asked in what SQLite and PostgreSQL both understand."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, text: str, *values: Any) -> list[Any]:
        numbers = iter(range(1, len(values) + 1))
        asked = re.sub(r"\?", lambda _: f"${next(numbers)}", text)

        async def ask(connection: Connection) -> list[Any]:
            return await connection.fetch(asked, values)

        return _done(self._url, ask)

    def run(self, script: str) -> None:
        """Several statements without values."""

        async def run(connection: Connection) -> None:
            await connection.execute(script)

        _done(self._url, run)

    def audit(self) -> list[Violation]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "copied.db"
            copied(self._url, file)
            return audit_file(file)

    def version(self) -> object:
        return self.ask("SELECT shard, version FROM shards ORDER BY shard")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One that runs in a thread: whoever asks may be on a loop already."""
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, daemon=True).start()
    return loop


@cache
def _connection(url: str) -> Connection:
    async def connect() -> Connection:
        raw: Any = await postgres.asyncpg.connect(url, server_settings={"search_path": "stepwell"})
        return Connection(raw, "")

    return asyncio.run_coroutine_threadsafe(connect(), _loop()).result()


def _done(url: str, work: Callable[[Connection], Coroutine[Any, Any, Any]]) -> Any:
    connection = _connection(url)
    return asyncio.run_coroutine_threadsafe(work(connection), _loop()).result()


def tables(t: Harness) -> InMemory | InDatabase:
    """As somebody beside the engine sees them."""
    return InMemory(t) if t._url is None else InDatabase(t._url)
