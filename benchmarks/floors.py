"""What the machine itself can do: the ground that the other figures stand on."""

from __future__ import annotations

import asyncio
import functools
import os
import re
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import apsw

_RAM = ("tmpfs", "ramfs")


def percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def resident_kib() -> float:
    """How much memory this process has, all that SQLite keeps included."""
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1024


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


def scratch() -> str:
    """The folder that the benchmarks write to: on a real disk, for on a RAM disk to sync costs nothing.

    ``STEPWELL_BENCH_DIR`` says another place. Else it is the temporary folder, or ``build/bench`` of this checkout,
    which git ignores, if the temporary folder is memory.
    """
    return str(_scratch()[0])


def scratch_text() -> str:
    """Where that is and why, in words."""
    folder, note = _scratch()
    return f"writing to {folder} ({filesystem(folder, _mounts())}){note}"


@functools.cache
def _scratch() -> tuple[Path, str]:
    named, mounts = os.environ.get("STEPWELL_BENCH_DIR"), _mounts()
    if named:
        note = ": a RAM disk, so no bar means anything" if filesystem(Path(named), mounts) in _RAM else ""
        return Path(named), note
    usual = Path(tempfile.gettempdir())
    if filesystem(usual, mounts) not in _RAM:
        return usual, ""
    other = Path(__file__).resolve().parents[1] / "build" / "bench"
    other.mkdir(parents=True, exist_ok=True)
    if filesystem(other, mounts) in _RAM:
        return other, f": a RAM disk like {usual}, so no bar means anything; name a disk with STEPWELL_BENCH_DIR"
    return other, f", because {usual} is a RAM disk"


def filesystem(folder: Path, mounts: str) -> str:
    """The kind of file system a folder is on, going by the text of ``/proc/self/mounts``; ``unknown`` without it."""
    resolved, kind, depth = folder.resolve(), "unknown", -1
    for line in mounts.splitlines():
        _, point, this, *_ = line.split(" ")
        place = Path(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), point))
        if resolved.is_relative_to(place) and len(place.parts) >= depth:  # of two at one place the later one is seen
            kind, depth = this, len(place.parts)
    return kind


def _mounts() -> str:
    try:
        return Path("/proc/self/mounts").read_text()
    except OSError:  # not Linux
        return ""


def _median(one: Callable[[], object], rounds: int) -> float:
    taken: list[float] = []
    for _ in range(rounds):
        started = time.perf_counter()
        one()
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)
