"""Replicas on a real PostgreSQL, and one fault after the other; then the ledger and the tables are held together.

``scripts/replicas --cycles N [--seed K]``. Four replicas as processes, an app that they call, clients that send events
to any of them: most with ids of their own, and again if no answer comes, some without and once. Between faults load
goes on; after each, all must be well again by themselves. What is judged at the end: I1, I2, I4 to I7, I9 to I14, I19
to I23.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg

from tests.crash.cluster import EVENT_KEY, Cluster, Process, Stuck, request, wait_until
from tests.crash.copied import copied
from tests.crash.faults import FAULTS
from tests.crash.verdict import violations
from tests.postgres import ask

_REPLICAS, _LEASE_S = 4, 6.0
_CLIENTS = 4
_PAUSE_S = 0.25
_UNFINISHED_MAX = 60
_TRIES = 20
_NAMED = 0.7  # of the events have an id
_COUNTED = 0.5  # of the others start nothing but a function with a rule
_QUIET_S_MAX = 180.0
_TICK_S = (2, 50)  # seconds of a minute, at whose beginning the function with a clock starts
_WAITED_MS = 5_000  # for a shard of a process that stands still, by an event that has the time at which it came
_WELL_S_MAX = 90.0
LEFT = """
SELECT (SELECT count(*) FROM stepwell.runs WHERE ended_at IS NULL)
  + (SELECT count(*) FROM stepwell.items WHERE kind = 'window')"""


class Client:
    """Sends events to whichever replica, each until it is acknowledged, and writes down what was. Those without an id,
    which go to the place where others go at the moment, are sent once. There are some clients at once, because one may
    wait long for a replica that stands still; and none goes on while much is unfinished, or a slow machine would test
    what overload does."""

    def __init__(self, replicas: list[Process], database: str, seed: int) -> None:
        self.acknowledged: dict[str, int] = {}
        self.repeated = 0
        self._replicas, self._database = replicas, database
        self._unfinished = 0
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(who, random.Random(seed + who)), daemon=True)
            for who in range(_CLIENTS)
        ]
        self._threads.append(threading.Thread(target=self._watch, daemon=True))

    def start(self) -> None:
        for each in self._threads:
            each.start()

    def finish(self) -> None:
        self._over.set()
        for each in self._threads:
            if each.ident is not None:
                each.join()

    def _run(self, who: int, chance: random.Random) -> None:
        number = who
        while not self._over.wait(_PAUSE_S * _CLIENTS):
            if self._unfinished > _UNFINISHED_MAX:
                continue
            number += _CLIENTS
            event: dict[str, Any] = {"name": "crash/go", "data": {"n": number, "key": chance.randrange(3)}}
            named = chance.random() < _NAMED
            if named:
                event["id"] = f"event-{number}"
            elif chance.random() < _COUNTED:
                event["name"] = "crash/counted"
            for tries in range(_TRIES if named else 1):
                self.repeated += tries == 1
                port = chance.choice(self._replicas).port
                if self._sent(port, event, number) or self._over.wait(0.1):
                    break

    def _watch(self) -> None:
        while not self._over.wait(_PAUSE_S):
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):  # it is the server's turn to be away
                self._unfinished = ask(self._database, LEFT)[0][0]

    def _sent(self, port: int, event: Any, number: int) -> bool:
        try:
            status, body = request(port, "POST", f"/e/{EVENT_KEY}", event)
        except (OSError, http.client.HTTPException, ValueError):
            return False  # unknown: it may or may not have been accepted
        if status == 200:
            self.acknowledged[body["ids"][0]] = number
        return status == 200


class Play:
    """So many faults, one after the other, and what came of each."""

    def __init__(self, cluster: Cluster, client: Client, kinds: list[str], say: Any) -> None:
        self._cluster, self._client, self._kinds, self._say = cluster, client, kinds, say
        self.done: Counter[str] = Counter()
        self.slowest = 0.0

    def cycle(self, number: int) -> None:
        kind = self._cluster.chance.choice(self._kinds)
        began = time.monotonic()
        what = FAULTS[kind](self._cluster)
        ended = time.monotonic()
        self._cluster.wait_ready()
        before = len(self._client.acknowledged)
        wait_until(lambda: len(self._client.acknowledged) > before, f"an event is accepted after {kind}", _WELL_S_MAX)
        well = time.monotonic() - ended
        self.done[kind] += 1
        self.slowest = max(self.slowest, well)
        self._say(
            f"  {number:>4}  {kind:<22} {what:<44} {ended - began:>5.1f} s, well after {well:>5.1f} s, "
            f"{len(self._client.acknowledged):>6} events acknowledged"
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/replicas", description=__doc__)
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--seed", type=int, default=None, help="repeat the faults and their moments")
    parser.add_argument(
        "--only", action="append", choices=list(FAULTS), help="this fault and no other; may be repeated"
    )
    parser.add_argument("--pooled", action="store_true", help="through pgbouncer in transaction mode")
    parser.add_argument("--keep", action="store_true", help="keep the tables, the ledger and the logs")
    parser.add_argument("--json", action="store_true", help="end with one JSON object on standard output")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(4))
    folder = Path(tempfile.mkdtemp(prefix="stepwell-faults-"))
    started = time.monotonic()

    def say(line: str) -> None:
        print(line, file=sys.stderr if options.json else sys.stdout, flush=True)

    cluster = Cluster(folder, _REPLICAS, seed, lease_s=_LEASE_S, pooled=options.pooled)
    try:
        found, counts, play = _played(cluster, options.cycles, seed, options.only or list(FAULTS), say)
    finally:
        cluster.close()
    for line in found[:40]:
        print(f"violation: {line}", file=sys.stderr)
    if found or options.keep:
        print(f"evidence kept in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    seconds = time.monotonic() - started
    summary = {**counts, "violations": len(found), "slowest_s": round(play.slowest, 1), "seed": seed}
    if options.json:
        print(json.dumps({"cycles": options.cycles, "faults": play.done, **summary, "seconds": round(seconds)}))
    else:
        print(f"{options.cycles} faults, {', '.join(f'{n} {name}' for name, n in summary.items())}, {seconds:.0f} s")
    return 1 if found else 0


def _played(
    cluster: Cluster, cycles: int, seed: int, kinds: list[str], say: Any
) -> tuple[list[str], dict[str, int], Play]:
    client = Client(cluster.replicas, cluster.postgres.url, seed)
    play = Play(cluster, client, kinds, say)
    stuck = ""
    try:
        cluster.start()
        client.start()
        for number in range(1, cycles + 1):
            play.cycle(number)
        client.finish()
        cluster.wait_ready()
        quiet = wait_until(lambda: _at_rest(cluster.postgres.url), "all runs have ended", _QUIET_S_MAX)
        say(f"  quiet after {quiet:.1f} s")
    except Stuck as error:
        stuck = f"I10: {error}"
    finally:
        client.finish()
    try:
        copied(cluster.postgres.url, cluster.folder / "crash.db")
    except asyncpg.UndefinedTableError:  # not even the tables were made
        return [stuck or "I10: there are no tables"], {}, play
    more, counts = violations(cluster.folder, client.acknowledged, cluster.app.deaths, waited_ms=_WAITED_MS)
    # What is under way is no violation: if it did not come to an end, that is what is to be told.
    return [stuck] if stuck else more, {**counts, "repeated": client.repeated}, play


def _at_rest(url: str) -> bool:
    """Has everything ended, and is the next tick far enough away for a copy of what there is?"""
    return _TICK_S[0] < time.time() % 60 < _TICK_S[1] and bool(ask(url, LEFT)[0][0] == 0)


if __name__ == "__main__":
    raise SystemExit(main())
