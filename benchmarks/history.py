"""A database with a past: finished runs stored, blocked items queued."""

from __future__ import annotations

import time
from pathlib import Path
from typing import cast

import apsw
import uvloop

from benchmarks.embedded import Bench, run_all
from stepwell import Event

_BATCH = 500


def finish(path: Path, runs: int) -> None:
    """Make a database at ``path`` with so many finished runs of one step. Written directly: it only has to be there."""
    uvloop.run(run_all(_nothing, str(path)))
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
                f"{numbers} INSERT INTO events(shard, id, name, ts, received_at, data, source, depth, copied)"
                f" SELECT 0, {ident}, 'bench/old', {now}, {now}, CAST('{{}}' AS BLOB), 'api', 0, 0 FROM n",
                (first, last),
            )
            db.execute(
                f"{numbers} INSERT INTO runs(shard, id, function_id, function_version, event_id, status, queued_at,"
                f" scheduled_at, started_at, ended_at, output, depth, guarded, execution_version)"
                f" SELECT 0, {ident}, 'bench-five', 1, {ident}, 'COMPLETED', {now}, {now}, {now}, {now} + i,"
                f" CAST('null' AS BLOB), 0, 0, -1 FROM n",
                (first, last),
            )
            db.execute(
                f"{numbers} INSERT INTO steps(shard, run_id, id, name, kind, status, repeat, position, attempt,"
                f" started_at, ended_at, output)"
                f" SELECT 0, {ident}, printf('%040d', i), 's0', 'run', 'COMPLETED', 0, 1, 0, {now},"
                f" {now}, CAST('\"{'x' * 90}\"' AS BLOB) FROM n",
                (first, last),
            )
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def block(path: Path, *, one: int, keys: int, each: int) -> None:
    """Make a database at ``path`` where limits block so many items: all started by events, as they would be.

    ``one`` wait behind one run that holds the only slot of its function, ``each`` behind the run of each of ``keys``
    keys. Whoever opens the file calls those runs again, and they hold their slots as long as it is open.
    """
    names = ["bench/limited"] * (one + 1) + ["bench/keyed"] * (keys * (each + 1))
    events = [Event(name, {"user": f"u-{number % keys}"}) for number, name in enumerate(names)]

    async def send(bench: Bench) -> None:
        for first in range(0, len(events), _BATCH):
            await bench.app.send(events[first : first + _BATCH])

    uvloop.run(run_all(send, str(path)))
    uvloop.run(run_all(_nothing, str(path)))  # claims what was cut off, or not yet claimed
    db = apsw.Connection(str(path))
    found = sorted(
        cast("int", count)
        for (count,) in db.execute("SELECT count(*) FROM items WHERE backlog IS NOT NULL GROUP BY backlog")
    )
    db.close()
    # A run that was cut off when the file was closed is due, and so is the one that its slot went to.
    if len(found) != keys + 1 or found[0] < each - 1 or found[-1] < one - 1:
        raise RuntimeError(f"not the items that were to be blocked: {len(found)} backlogs of {found[0]} to {found[-1]}")


async def _nothing(bench: Bench) -> None:
    """Only opening the file."""
