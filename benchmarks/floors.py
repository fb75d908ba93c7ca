"""What the machine itself can do: the ground that the other figures stand on."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import apsw


def percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def fsync_ms(rounds: int = 200) -> float:
    """Append 4 KiB and ``fdatasync``."""
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        fd = os.open(Path(folder) / "file", os.O_CREAT | os.O_WRONLY)
        try:

            def one() -> None:
                os.write(fd, b"x" * 4096)
                os.fdatasync(fd)

            return _median(one, rounds)
        finally:
            os.close(fd)


def commit_ms(rounds: int = 400) -> float:
    """One thread, one step-sized row: BEGIN, INSERT, COMMIT at ``synchronous=FULL``, the WAL warm."""
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        db = apsw.Connection(str(Path(folder) / "floor.db"))
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=0"):
            db.execute(f"PRAGMA {pragma}")
        db.execute("CREATE TABLE steps(run_id TEXT, id TEXT, output BLOB, PRIMARY KEY(run_id, id)) WITHOUT ROWID")
        db.execute("CREATE TABLE filler(x BLOB)")
        db.execute("BEGIN")
        for _ in range(1000):
            db.execute("INSERT INTO filler VALUES (zeroblob(4000))")
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(RESTART)")
        count = iter(range(10_000_000))

        def one() -> None:
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO steps VALUES (?, ?, ?)", ("r" * 26, f"{next(count):040d}", b"x" * 100))
            db.execute("COMMIT")

        try:
            return _median(one, rounds)
        finally:
            db.close()


def switch_us(rounds: int = 20_000) -> float:
    """One turn of the asyncio loop."""

    async def turns() -> float:
        started = time.perf_counter()
        for _ in range(rounds):
            await asyncio.sleep(0)
        return (time.perf_counter() - started) / rounds * 1e6

    return asyncio.run(turns())


def scratch() -> str | None:
    """Where the benchmarks write: a real disk, not a RAM disk. ``STEPWELL_BENCH_DIR`` says another place."""
    return os.environ.get("STEPWELL_BENCH_DIR")


def _median(one: Callable[[], object], rounds: int) -> float:
    taken: list[float] = []
    for _ in range(rounds):
        started = time.perf_counter()
        one()
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)
