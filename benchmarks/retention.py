"""What a store weighs when retention has taken away most of what it ever had, and what retention costs the others.

``python -m benchmarks.retention [--runs 1000000] [--window 50000] [--only sqlite|postgres|hot]`` writes runs directly,
each with an event and three steps, and sweeps with the store's own retention, so that never more than a window is kept.
The size at the end is compared with that after a tenth. It starts a PostgreSQL that pip installs, in memory, whose
autovacuum wakes every second: runs come here in minutes that elsewhere come in days. ``hot`` updates the rows that are
updated for ever a million times.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from benchmarks.floors import percentile
from stepwell.clock import monotonic_s
from stepwell.storage.interface import Store
from stepwell.storage.postgres.store import PostgresStore
from stepwell.storage.sqlite import SqliteStore

CHUNK: Final = 5_000
LIMIT: Final = 200  # as the sweeper asks for
_BEGIN_MS: Final = 1_700_000_000_000
_OUTPUT: Final = "x" * 90

# i is the number of a run: a millisecond later than the one before, in the shard that its id says.
_PG_ID: Final = "lpad(i::text, 24, '0') || '0' || substr('0123456789ABCDEF', (i % $3)::int + 1, 1)"
_PG: Final = (
    f"""INSERT INTO stepwell.events (shard, id, name, ts, received_at, data, source, depth, copied)
    SELECT i % $3, {_PG_ID}, 'bench/old', $4 + i, $4 + i, '{{}}', 'api', 0, 0
    FROM generate_series($1::bigint, $2::bigint - 1) AS i""",
    f"""INSERT INTO stepwell.runs (shard, id, function_id, function_version, event_id, status, queued_at, scheduled_at,
      depth, guarded, execution_version)
    SELECT i % $3, {_PG_ID}, 'bench-five', 1, {_PG_ID}, 'QUEUED', $4 + i, $4 + i, 0, 0, -1
    FROM generate_series($1::bigint, $2::bigint - 1) AS i""",
    f"""INSERT INTO stepwell.steps (shard, run_id, id, name, kind, status, repeat, position, attempt, started_at,
      ended_at, output, seen)
    SELECT i % $3, {_PG_ID}, 's' || s, 's' || s, 'run', 'COMPLETED', 0, s, 0, $4 + i, $4 + i, '{_OUTPUT}', i * 4 + s
    FROM generate_series($1::bigint, $2::bigint - 1) AS i, generate_series(1, 3) AS s""",
    f"""UPDATE stepwell.runs SET status = 'COMPLETED', started_at = $4 + i, ended_at = $4 + i, output = 'null'
    FROM generate_series($1::bigint, $2::bigint - 1) AS i WHERE shard = i % $3 AND id = {_PG_ID}""",
)
_LITE_ID: Final = "printf('%024d00', i)"
_LITE_I: Final = "WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2) "
_LITE: Final = (
    f"""{_LITE_I} INSERT INTO events (shard, id, name, ts, received_at, data, source, depth, copied)
    SELECT 0, {_LITE_ID}, 'bench/old', ?3 + i, ?3 + i, CAST('{{}}' AS BLOB), 'api', 0, 0 FROM n""",
    f"""{_LITE_I} INSERT INTO runs (shard, id, function_id, function_version, event_id, status, queued_at, scheduled_at,
      depth, guarded, execution_version)
    SELECT 0, {_LITE_ID}, 'bench-five', 1, {_LITE_ID}, 'QUEUED', ?3 + i, ?3 + i, 0, 0, -1 FROM n""",
    f"""{_LITE_I} INSERT INTO steps (shard, run_id, id, name, kind, status, repeat, position, attempt, started_at,
      ended_at, output)
    SELECT 0, {_LITE_ID}, 's' || s.value, 's', 'run', 'COMPLETED', 0, s.value, 0, ?3 + i, ?3 + i,
      CAST('{_OUTPUT}' AS BLOB) FROM n, json_each('[1, 2, 3]') AS s""",
    f"""{_LITE_I} UPDATE runs SET status = 'COMPLETED', started_at = ?3 + i, ended_at = ?3 + i,
      output = CAST('null' AS BLOB) FROM n WHERE shard = 0 AND id = {_LITE_ID}""",
)


class Weight(NamedTuple):
    """What a database weighs after so many runs, of which a window is kept, and how long rounds of retention took."""

    runs: int
    size_bytes: int
    rounds_ms: list[float]


async def grow(
    store: Store,
    insert: Callable[[int, int], Awaitable[None]],
    size: Callable[[], Awaitable[int]],
    runs: int,
    window: int,
    chunk: int = CHUNK,
) -> tuple[Weight, Weight]:
    """What the store weighs after a tenth of the runs, and after all of them."""
    rounds: list[float] = []
    early: Weight | None = None
    now = _BEGIN_MS
    for first in range(0, runs, chunk):
        await insert(first, first + chunk)
        more = first + chunk > window
        while more:
            now += 50  # as the sweeper leaves between two rounds
            began = monotonic_s()
            swept = await store.sweep(_BEGIN_MS + first + chunk - window, LIMIT, now=now)
            rounds.append((monotonic_s() - began) * 1_000)
            more = swept.more
        if early is None and first + chunk >= runs // 10:
            early = Weight(first + chunk, await size(), list(rounds))
    assert early is not None
    return early, Weight(runs, await size(), rounds)


async def on_sqlite(folder: Path, runs: int, window: int, chunk: int = CHUNK) -> tuple[Weight, Weight]:
    path = folder / "retention.db"
    store = SqliteStore.open(path, durability="normal")
    db = apsw.Connection(str(path))
    db.set_busy_timeout(10_000)
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA cache_size = -200000")

    async def insert(first: int, last: int) -> None:
        with db:
            for text in _LITE:
                db.execute(text, (first, last, _BEGIN_MS))
        db.execute("PRAGMA wal_checkpoint(PASSIVE)")

    async def size() -> int:
        return path.stat().st_size

    found = await grow(store, insert, size, runs, window, chunk)
    db.close()
    await store.close()
    return found


async def on_postgres(
    url: str, runs: int, window: int, chunk: int = CHUNK, *, vacuums: bool = False
) -> tuple[Weight, Weight]:
    """With ``vacuums`` each chunk is followed by the vacuum that autovacuum would make later."""
    store = await PostgresStore.open(url)
    connection = await _connect(url)

    async def insert(first: int, last: int) -> None:
        for text in _PG:
            await connection.execute(text.replace("$3", str(store.shards)).replace("$4", str(_BEGIN_MS)), first, last)
        if vacuums:
            await connection.execute("VACUUM")

    async def size() -> int:
        return int(await connection.fetchval(_SIZE))

    found = await grow(store, insert, size, runs, window, chunk)
    await connection.close()
    await store.close()
    return found


_SIZE: Final = "SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables WHERE schemaname = 'stepwell'"
_HOT: Final = {
    "shards": "UPDATE stepwell.shards SET version = version + 1 WHERE shard = i % 16",
    "commits": "UPDATE stepwell.commits SET number = i, at = i WHERE shard = i % 16 AND writer = 'w'",
    "items": "UPDATE stepwell.items SET at = i, lease = i WHERE shard = i % 16 AND id = 'r' || (i % 1024)",
    "cells": "UPDATE stepwell.cells SET value = i::text, expires_at = i"
    " WHERE shard = i % 16 AND key = 'k' || (i % 1024)",
    "slots": "DELETE FROM stepwell.slots WHERE shard = i % 16 AND key = 'k' AND holder = 'r' || (i % 1024); "
    "INSERT INTO stepwell.slots (shard, key, holder) VALUES (i % 16, 'k', 'r' || (i % 1024))",
}
_HOT_FIRST: Final = """
INSERT INTO stepwell.commits (shard, writer, number, at) SELECT i, 'w', 0, 0 FROM generate_series(0, 15) AS i;
INSERT INTO stepwell.items (shard, id, kind, function_id, at, lease, attempt, queued_at, poked, losses, mark)
  SELECT i % 16, 'r' || i, 'run', 'f', i, 0, 0, i, 0, 0, 0 FROM generate_series(0, 1023) AS i;
INSERT INTO stepwell.cells (shard, key, value, expires_at)
  SELECT i % 16, 'k' || i, '', i FROM generate_series(0, 1023) AS i;
INSERT INTO stepwell.slots (shard, key, holder) SELECT i % 16, 'k', 'r' || i FROM generate_series(0, 1023) AS i;"""
_CLAIM: Final = "SELECT id FROM stepwell.items WHERE shard = $1 AND at <= $2 ORDER BY at, id LIMIT 20"


async def hot(url: str, updates: int) -> dict[str, str]:
    """Updates of the rows that are updated for ever, a transaction each: how many were in place, and what it weighs."""
    await (await PostgresStore.open(url)).close()
    connection = await _connect(url)
    await connection.execute(_HOT_FIRST)
    found = {"claim before": await _claim_us(connection)}
    for table, text in _HOT.items():
        began = monotonic_s()
        await connection.execute(f"DO $$ BEGIN FOR i IN 1..{updates} LOOP {text}; COMMIT; END LOOP; END $$")
        took = monotonic_s() - began
        await connection.execute("SELECT pg_stat_force_next_flush()")
        size, n_upd, n_hot, vacuums = await connection.fetchrow(
            "SELECT pg_total_relation_size(relid), n_tup_upd, n_tup_hot_upd, autovacuum_count FROM pg_stat_user_tables"
            f" WHERE schemaname = 'stepwell' AND relname = '{table}'"
        )
        found[table] = (
            f"{size / 1024:,.0f} KiB, {n_hot / n_upd if n_upd else 0:.0%} HOT, {vacuums} vacuums, {took:.0f} s"
        )
    found["claim after"] = await _claim_us(connection)
    await connection.close()
    return found


async def _claim_us(connection: Any) -> str:
    claim = await connection.prepare(_CLAIM)
    took: list[float] = []
    for number in range(2_000):
        began = monotonic_s()
        await claim.fetch(number % 16, 1 << 50)
        took.append((monotonic_s() - began) * 1e6)
    return f"{percentile(took, 0.5):.0f} us (p99 {percentile(took, 0.99):.0f})"


async def _connect(url: str) -> Any:
    from stepwell.storage.postgres.library import asyncpg

    return await asyncpg.connect(url, command_timeout=1_200)


@asynccontextmanager
async def _database() -> AsyncGenerator[str]:
    from tests.postgres import server

    admin = await _connect(server())
    for text in (
        "ALTER SYSTEM SET autovacuum_naptime = '1s'",
        "ALTER SYSTEM SET fsync = off",
        "SELECT pg_reload_conf()",
    ):
        await admin.execute(text)
    await admin.execute("CREATE DATABASE stepwell_retention")
    try:
        yield server().replace("/postgres?", "/stepwell_retention?")
    finally:
        await admin.execute("DROP DATABASE stepwell_retention WITH (FORCE)")
        await admin.close()


def report(name: str, early: Weight, late: Weight) -> None:
    print(f"{name}: {early.size_bytes / 2**20:,.1f} MiB after {early.runs:,} runs,", end=" ")
    print(
        f"{late.size_bytes / 2**20:,.1f} MiB after {late.runs:,}: {late.size_bytes / early.size_bytes:.2f} times;",
        end=" ",
    )
    print(
        f"a round p50 {percentile(late.rounds_ms, 0.5):.1f} ms, p99 {percentile(late.rounds_ms, 0.99):.1f} ms",
        flush=True,
    )


async def main(options: argparse.Namespace) -> None:
    if options.only in (None, "sqlite"):
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            report("SQLite", *await on_sqlite(Path(folder), options.runs, options.window))
    if options.only in (None, "postgres"):
        async with _database() as url:
            report("PostgreSQL", *await on_postgres(url, options.runs, options.window))
    if options.only in (None, "hot"):
        async with _database() as url:
            for name, text in (await hot(url, options.runs)).items():
                print(f"{name:14} {text}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--window", type=int, default=50_000)
    parser.add_argument("--only", choices=("sqlite", "postgres", "hot"))
    asyncio.run(main(parser.parse_args()))
