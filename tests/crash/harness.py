"""Kills ``stepwell dev`` with SIGKILL at random moments, and then asks the ledger and the database what was lost.

``scripts/crash --cycles N [--seed K]``. A kill does not test fsync, because the page cache survives it; it tests
every point between a body and the record of its result.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import apsw

from tests.crash.verdict import violations

_ROOT = Path(__file__).parents[2]
_APP = Path(__file__).with_name("app.py")
_KILL_AFTER_S = (0.001, 1.5)  # log-uniform: most kills hit start-up and the first steps, some the quiet later
_LEFT = """
SELECT (SELECT count(*) FROM runs WHERE ended_at IS NULL) + (SELECT count(*) FROM items WHERE kind = 'window')"""
_READY_S_MAX, _QUIET_S_MAX = 30.0, 120.0


class Server:
    """``stepwell dev`` as a process that may die at any moment."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self._log = (folder / "server.log").open("ab")
        self._command = [
            str(Path(sys.executable).with_name("stepwell")), "dev", str(_APP), "--no-reload",
            "--port", str(port), "--db", str(folder / "crash.db"), "--retry-interval", "100ms",
        ]  # fmt: skip
        self._environment = os.environ | {"CRASH_LEDGER": str(folder / "ledger")}
        self._process: subprocess.Popen[bytes] | None = None
        self.deaths: list[int] = []  # no body of a process goes on after these moments

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, stdout=self._log, stderr=self._log, env=self._environment, cwd=_ROOT
        )

    def wait_ready(self) -> None:
        deadline = time.monotonic() + _READY_S_MAX
        while True:
            try:
                status, _ = request(self.port, "GET", "/health")
                if status in (200, 503):
                    return
            except OSError:
                pass
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the server did not start; see {self._log.name}")
            time.sleep(0.01)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self.deaths.append(time.time_ns() // 1_000_000)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
        self._log.close()


class Client(threading.Thread):
    """Sends events all the time, whatever happens to the server, and writes down what was acknowledged."""

    def __init__(self, port: int, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self.acknowledged: dict[str, int] = {}
        self._port, self._chance = port, chance
        self._over = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            event = {"name": "crash/go", "data": {"n": number, "key": self._chance.randrange(3)}}
            try:
                status, body = request(self._port, "POST", "/e/crash", event)
                if status == 200:
                    self.acknowledged[body["ids"][0]] = number
            except (OSError, http.client.HTTPException, ValueError):
                pass  # unknown: it may or may not have been accepted
            self._over.wait(0.03)

    def finish(self) -> None:
        self._over.set()
        self.join()


def request(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        link.request(method, path, None if body is None else json.dumps(body))
        answer = link.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        link.close()


def wait_quiet(db: Path) -> int:
    """Wait until every run has ended and no event is held back. How many are left after a long time."""
    deadline = time.monotonic() + _QUIET_S_MAX
    while True:
        connection = apsw.Connection(str(db), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(5000)
        live = connection.execute(_LEFT).fetchall()[0][0]
        connection.close()
        if live == 0 or time.monotonic() > deadline:
            return int(live)
        time.sleep(0.1)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/crash", description=__doc__)
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--seed", type=int, default=None, help="repeat the moments of the kills")
    parser.add_argument("--keep", action="store_true", help="keep the database, the ledger and the server's log")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(4))
    chance = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="stepwell-crash-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server, client = Server(folder, port), Client(port, random.Random(seed + 1))
    started = time.monotonic()
    server.start()
    server.wait_ready()
    client.start()
    for cycle in range(1, options.cycles + 1):
        low, high = _KILL_AFTER_S
        if chance.random() < 0.8:
            server.wait_ready()  # the others are killed while they start and recover
        time.sleep(low * (high / low) ** chance.random())
        server.kill()
        server.start()
        if cycle % 10 == 0 or cycle == options.cycles:
            print(f"  {cycle:>4} kills, {len(client.acknowledged):>6} events acknowledged", flush=True)
    server.wait_ready()
    client.finish()
    live = wait_quiet(folder / "crash.db")
    server.stop()
    found, counts = violations(folder, client.acknowledged, server.deaths)
    if live:
        found.insert(0, f"I10: {live} runs did not end within {_QUIET_S_MAX:.0f} s")
    for line in found[:40]:
        print(f"violation: {line}", file=sys.stderr)
    if found or options.keep:
        print(f"evidence kept in {folder}", file=sys.stderr)
    else:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    seconds = time.monotonic() - started
    print(
        f"{options.cycles} kills, {counts['acknowledged']} events acknowledged, {counts['runs']} runs, "
        f"{counts['bodies']} bodies started, {len(found)} violations, seed {seed}, {seconds:.0f} s"
    )
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
