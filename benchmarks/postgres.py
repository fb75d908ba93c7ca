"""Stepwell on PostgreSQL beside Stepwell on a file, beside its peers on the same server, and with a past.

Server, replicas and load share the processors of one machine. With two of them, two replicas and the server are three
who want them: more replicas show there that they do not stand in each other's way, not how far the server goes.
"""

from __future__ import annotations

import asyncio
import importlib
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import embedded, peers, retention
from benchmarks.embedded import Bench, run_all
from benchmarks.floors import percentile, scratch
from benchmarks.postgres_drive import Rate, drive, ours
from benchmarks.postgres_past import blocked, claimed, finished
from benchmarks.postgres_server import postgres
from stepwell import Event
from stepwell.storage.postgres.driver import Connection

Found = dict[str, float]

LOAD = (
    "postgres_steps_per_s",
    "postgres_sqlite_steps_per_s",
    "postgres_of_sqlite_ratio",
    "postgres_steps_per_s_2_replicas",
    "postgres_steps_per_s_4_replicas",
    "postgres_replica_cpu_us_per_step",
    "postgres_server_cpu_us_per_step",
    "postgres_wal_bytes_per_step",
    "postgres_syncs_per_step",
    "postgres_commits_per_step",
)
PEERS = (
    "postgres_beside_peers_steps_per_s",
    *(f"postgres_{peer}_steps_per_s" for peer in peers.PEERS),
    "postgres_peer_ratio",
    "postgres_beside_peers_steps_per_s_4_replicas",
    *(f"postgres_{peer}_steps_per_s_4_processes" for peer in peers.PEERS),
    "postgres_peer_ratio_4_processes",
)
ALONE = (
    "postgres_commit_ms",
    "postgres_sequential_step_ms",
    "postgres_step_over_commit",
    "postgres_event_ms_p50",
    "postgres_events_per_s",
)
PAST = ("postgres_start_past_ratio", "postgres_claim_past_ratio", "postgres_claim_us", "postgres_claim_batch_ratio")
KEPT = ("postgres_kept_size_ratio", "postgres_kept_size_mib", "postgres_kept_round_ms_p99")
ASLEEP = ("postgres_idle_queries_per_s", "postgres_wake_late_ms_p50", "postgres_wake_late_ms_p99")

_IDLE_S = 20.0


def load(quick: bool) -> Found:
    """1,000 runs of five steps at once, in one process on a file, then in 1, 2 and 4 on a database."""
    runs, rounds = (400, 1) if quick else (1000, 3)
    rates: dict[int, Rate] = {}
    with postgres() as server, tempfile.TemporaryDirectory(dir=scratch()) as folder:
        file = drive(ours(str(Path(folder) / "load.db")), runs, rounds)
        for replicas in (1, 2, 4):
            with server.database() as url:
                rates[replicas] = drive(ours(url, replicas), runs, rounds, server)
    one = rates[1]
    assert one.spent is not None
    figures = (
        one.steps_per_s,
        file.steps_per_s,
        one.steps_per_s / file.steps_per_s,
        rates[2].steps_per_s,
        rates[4].steps_per_s,
        one.cpu_s / one.steps * 1e6,
        one.spent.cpu_s / one.steps * 1e6,
        one.spent.wal_bytes / one.steps,
        one.spent.syncs / one.steps,
        one.spent.commits / one.steps,
    )
    return dict(zip(LOAD, figures, strict=True))


def beside_peers(quick: bool) -> Found:
    """The same on the same server: ours in one process beside each peer in one, two and four, of which the best counts;
    and ours in four beside each in four."""
    runs, rounds = (200, 1) if quick else (1000, 2)
    rates: dict[str, dict[int, float]] = {peer: {} for peer in peers.PEERS}
    with postgres() as server:

        def rate(commands: Callable[[str], list[list[str]]]) -> float:
            with server.database() as url:
                return drive(commands(url), runs, rounds).steps_per_s

        def own() -> tuple[float, float]:
            return rate(ours), rate(lambda url: ours(url, 4))

        before = own()
        for peer, of_peer in rates.items():
            for processes in (1, 2, 4):
                of_peer[processes] = rate(partial(_commands, peer, processes))
        alone, four = ((one + other) / 2 for one, other in zip(before, own(), strict=True))  # the machine's pace drifts
    best = [max(of_peer.values()) for of_peer in rates.values()]
    fours = [of_peer[4] for of_peer in rates.values()]
    return dict(zip(PEERS, (alone, *best, alone / max(best), four, *fours, four / max(fours)), strict=True))


def _commands(peer: str, processes: int, url: str) -> list[list[str]]:
    return [peers.command(peer, url, process) for process in range(processes)]


def kept(quick: bool) -> Found:
    """What a database weighs after 1,000,000 runs of which 50,000 are kept, next to what it did after 100,000."""
    runs, window = (100_000, 5_000) if quick else (1_000_000, 50_000)
    with postgres() as server:
        server.ask("ALTER SYSTEM SET autovacuum_naptime = '1s'")  # runs come in minutes that elsewhere come in days
        server.ask("SELECT pg_reload_conf()")
        with server.database() as url:
            early, late = asyncio.run(retention.on_postgres(url, runs, window))
    figures = late.size_bytes / early.size_bytes, late.size_bytes / 2**20, percentile(late.rounds_ms, 0.99)
    return dict(zip(KEPT, figures, strict=True))


def alone(quick: bool) -> Found:
    """What one step and one event take when nothing else goes on, next to a transaction of one row."""
    with postgres() as server, server.database() as url:
        floor = uvloop.run(_commit_ms(url))
        step = on(url, lambda bench: embedded.sequential(bench, runs=2 if quick else 5))["p50"]
        event, events = on(url, _events)
        floor = (floor + uvloop.run(_commit_ms(url))) / 2
    return dict(zip(ALONE, (floor, step, step / floor, event, events), strict=True))


def past(quick: bool) -> Found:
    """Starts and claims on a database with next to nothing, then with 1,000,000 finished runs and as many blocked."""
    rows = 50_000 if quick else 1_000_000
    with postgres() as server, server.database() as few, server.database() as many:
        for url in (few, many):
            on(url, opened)
        server.ask(finished(rows), many)
        server.ask(blocked(rows, rows), many)
        server.ask("VACUUM ANALYZE", many)
        pairs = [(_with_past(few), _with_past(many)) for _ in range(2)]

    def least(side: int, name: str) -> float:
        return min(pair[side][name] for pair in pairs)

    return {
        "postgres_start_past_ratio": least(1, "start") / least(0, "start"),
        "postgres_claim_past_ratio": least(1, "claim") / least(0, "claim"),
        "postgres_claim_us": least(1, "claim"),
        "postgres_claim_batch_ratio": least(1, "single") / least(1, "claim"),
    }


def asleep(quick: bool) -> Found:
    """What a replica asks the server with 10,000 runs that sleep, and how late 2,000 wake that sleep beside them."""
    sleepers = 1_000 if quick else 10_000

    async def sleep(bench: Bench) -> tuple[float, dict[str, float]]:
        for _ in range(sleepers // 500):
            await asyncio.gather(*(embedded.send(bench, "bench/sleep", ms=3_600_000) for _ in range(500)))
        while bench.live():
            await asyncio.sleep(0.01)
        await asyncio.sleep(2.0)
        began = time.perf_counter()
        with asked() as statements:
            await asyncio.sleep(_IDLE_S / 2 if quick else _IDLE_S)
        rate = statements.total() / (time.perf_counter() - began)
        return rate, await embedded.wakeups(bench, runs=2000)

    with postgres() as server, server.database() as url:
        queries, late = on(url, sleep)
    return dict(zip(ASLEEP, (queries, late["p50"], late["p99"]), strict=True))


def on(url: str, act: Callable[[Bench], Any]) -> Any:
    return uvloop.run(run_all(act, url))


@contextmanager
def asked() -> Iterator[Counter[str]]:
    """What the stores of this process send to their servers meanwhile: the texts of statements, and how often. What a
    server counts for a database has its own upkeep among it."""
    texts = Counter[str]()

    def counted(method: Any) -> Any:
        async def count(self: Connection, text: str, *given: Any) -> Any:
            texts[text] += 1
            return await method(self, text, *given)

        return count

    kept_methods = {name: getattr(Connection, name) for name in ("fetch", "execute", "many")}
    for name, method in kept_methods.items():
        setattr(Connection, name, counted(method))
    try:
        yield texts
    finally:
        for name, method in kept_methods.items():
            setattr(Connection, name, method)


async def opened(bench: Bench) -> None:
    """Only opening the database, which makes the tables."""


def _with_past(url: str) -> dict[str, float]:
    start = on(url, lambda bench: embedded.starts(bench, runs=200))["p50"]
    batch, single = uvloop.run(claimed(url))
    return {"start": start, "claim": batch, "single": single}


async def _events(bench: Bench) -> tuple[float, float]:
    """The median of milliseconds until one event is durable, and how many a second 64 senders get through."""
    taken: list[float] = []

    async def some(count: int) -> None:
        for _ in range(count):
            before = time.perf_counter()
            await bench.app.send(Event("bench/unheard", {}))
            taken.append((time.perf_counter() - before) * 1000)

    await some(300)
    median = percentile(taken[50:], 0.5)
    began = time.perf_counter()
    await asyncio.gather(*(some(50) for _ in range(64)))
    return median, 64 * 50 / (time.perf_counter() - began)


async def _commit_ms(url: str) -> float:
    """One row, as a step has it, in a transaction of three statements: what no store on this server can undercut."""
    asyncpg: Any = importlib.import_module("asyncpg")

    connection: Any = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE IF NOT EXISTS floor (id text PRIMARY KEY, output bytea)")
    await connection.execute("TRUNCATE floor")
    taken: list[float] = []
    for number in range(300):
        before = time.perf_counter()
        await connection.execute("BEGIN")
        await connection.execute("INSERT INTO floor VALUES ($1, $2)", f"{number:040}", b"x" * 90)
        await connection.execute("COMMIT")
        taken.append((time.perf_counter() - before) * 1000)
    await connection.close()
    return percentile(taken, 0.5)
