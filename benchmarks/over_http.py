"""``python -m benchmarks.over_http``: 1,000 runs of five steps in an app that a server calls over HTTP.

The app is once of our SDK, which reports each step while its call goes on, once of our SDK that does not and is called
again for each, and once of the official Python SDK, which always is. Both processes' CPU is shown: an SDK that spends
all of one is its own limit.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

from benchmarks.floors import scratch
from benchmarks.served import Served, free_port

RUNS = 1_000
STEPS = 5
SHARE = {"own": 1.0, "by-step": 0.5, "official": 0.5}  # of the runs: an SDK that is slower is given fewer
_HERE = Path(__file__).parent
_PATIENCE_S = 180.0
_WARM = 20


class Load(NamedTuple):
    """What ``RUNS`` runs took: steps a second, and CPU of server and app for one step, in milliseconds."""

    steps_per_s: float
    server_ms: float
    app_ms: float


@contextmanager
def _process(command: list[str], path: str, port: int) -> Iterator[Served]:
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=_HERE.parent)
    try:
        while not _answers(port, path):
            if process.poll() is not None or time.perf_counter() - started > 30:
                raise RuntimeError(f"{command} did not become ready")
            time.sleep(0.02)
        yield Served(port, process, time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait(30)


def measure(sdk: str, runs: int = RUNS, path: str | None = None) -> Load:
    """``sdk`` is one of ``SHARE``; ``path`` is a database to measure on instead of a new one."""
    server_port, app_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        stepwell = [str(Path(sys.executable).with_name("stepwell")), "dev", "--no-discovery", "--no-poll"]
        stepwell += ["--port", str(server_port), "--db", path or str(Path(folder) / "http.db"), "--grace", "100ms"]
        app = [sys.executable, "-m", "benchmarks.http_app", sdk, str(app_port), str(server_port)]
        with (
            _process(stepwell, "/health", server_port) as server,
            _process(app, "/api/inngest", app_port) as served,
        ):
            _ask(app_port, "PUT", "/api/inngest")
            before = _live(server_port)  # on a database with a past, what rests there
            _send(server_port, _WARM)  # both sides warm up
            _until_ended(server_port, app_port, _WARM, before)
            cpu = server.cpu_s(), served.cpu_s()
            began = time.perf_counter()
            _send(server_port, runs)
            _until_ended(server_port, app_port, _WARM + runs, before)
            took = time.perf_counter() - began
            steps = runs * STEPS
            return Load(
                steps / took, (server.cpu_s() - cpu[0]) / steps * 1000, (served.cpu_s() - cpu[1]) / steps * 1000
            )


def _send(port: int, runs: int) -> None:
    for start in range(0, runs, 100):
        events = [{"name": "bench/five", "data": {}} for _ in range(min(100, runs - start))]
        _ask(port, "POST", "/e/bench", json.dumps(events).encode())


def _until_ended(server_port: int, app_port: int, runs: int, before: int) -> None:
    """The app is asked until it has ended so many, because the server would count all that is live each time; and then
    the server, which may still have to write the last of them."""
    deadline = time.perf_counter() + _PATIENCE_S
    while int(_ask(app_port, "GET", "/ended")) < runs or _live(server_port) > before:
        if time.perf_counter() > deadline:
            raise RuntimeError(f"not all of {runs} runs have ended")
        time.sleep(0.02)


def _live(port: int) -> int:
    live: int = json.loads(_ask(port, "GET", "/v2/health?counts=true"))["data"]["liveRuns"]
    return live


def _ask(port: int, method: str, path: str, body: bytes | None = None) -> bytes:
    link = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        link.request(method, path, body)
        response = link.getresponse()
        text = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {text[:200]!r}")
        return text
    finally:
        link.close()


def _answers(port: int, path: str) -> bool:
    try:
        _ask(port, "GET", path)
    except (OSError, RuntimeError):
        return False
    return True


def main() -> None:
    for sdk, share in SHARE.items():
        load = measure(sdk, round(RUNS * share))
        print(
            f"{sdk:<10}{load.steps_per_s:>8,.0f} steps/s   server {load.server_ms:.2f} ms CPU a step   "
            f"app {load.app_ms:.2f} ms"
        )


if __name__ == "__main__":
    main()
