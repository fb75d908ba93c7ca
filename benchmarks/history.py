"""A database with a past: finished runs stored, blocked items queued. Written directly: it only has to be there."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import apsw

from benchmarks.embedded import Bench


def grow(path: Path, *, runs: int, blocked: int) -> None:
    """Make a database at ``path`` with so many finished runs of one step, and so many items blocked by a limit."""
    asyncio.run(_create(path))
    db = apsw.Connection(str(path))
    db.execute("PRAGMA synchronous=OFF")
    db.execute("PRAGMA cache_size=-200000")
    now = int(time.time() * 1000) - 3_600_000 - runs  # lately: retention must not be busy with it
    with db:
        for first in range(0, runs, 10_000):
            last = min(first + 10_000, runs)
            numbers = "WITH RECURSIVE n(i) AS (SELECT ? UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)"
            ident = "'01H' || printf('%023d', i)"
            db.execute(
                f"{numbers} INSERT INTO events(shard, id, name, ts, received_at, data, source)"
                f" SELECT 0, {ident}, 'bench/old', {now}, {now}, CAST('{{}}' AS BLOB), 'api' FROM n",
                (first, last),
            )
            db.execute(
                f"{numbers} INSERT INTO runs(shard, id, function_id, function_version, event_id, status, queued_at,"
                f" scheduled_at, started_at, ended_at, output, depth, guarded)"
                f" SELECT 0, {ident}, 'bench-five', 1, {ident}, 'COMPLETED', {now}, {now}, {now}, {now} + i,"
                f" CAST('null' AS BLOB), 0, 0 FROM n",
                (first, last),
            )
            db.execute(
                f"{numbers} INSERT INTO steps(shard, run_id, id, name, kind, status, repeat, position, attempt,"
                f" started_at, ended_at, output)"
                f" SELECT 0, {ident}, printf('%040d', i), 's0', 'run', 'COMPLETED', 0, 1, 0, {now},"
                f" {now}, CAST('\"{'x' * 90}\"' AS BLOB) FROM n",
                (first, last),
            )
    with db:
        for number in range(blocked):
            ident = f"01J{number:023d}"
            key = f"fn/bench-limited/{number % 10_000}"
            db.execute(
                "INSERT INTO runs(shard, id, function_id, function_version, event_id, status, queued_at, scheduled_at,"
                " slots, depth, guarded) VALUES (0, ?, 'bench-limited', 1, ?, 'QUEUED', ?, ?, ?, 0, 0)",
                (ident, ident, now, now, f'["{key}"]'),
            )
            db.execute(
                "INSERT INTO items(shard, id, kind, function_id, run_id, at, lease, backlog, queued_at,"
                " attempt, poked, losses, mark) VALUES (0, ?, 'run', 'bench-limited', ?, NULL, 0, ?, ?, 0, 0, 0, 0)",
                (ident, ident, key, now),
            )
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


async def _create(path: Path) -> None:
    async with Bench().app.embedded(str(path)):
        pass
