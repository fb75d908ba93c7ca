"""``stepwell dev`` as a process: how soon it is ready, what it costs when idle, how many events a second it takes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.floors import scratch

_HERE = Path(__file__).parent
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Served:
    """A running ``stepwell dev``."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], ready_s: float) -> None:
        self.port, self.process, self.ready_s = port, process, ready_s

    def cpu_s(self) -> float:
        of = Path(f"/proc/{self.process.pid}")
        try:  # to the nanosecond, where the kernel tells: to its clock a nearly idle process is all or nothing
            return sum(int(task.read_text().split()[0]) for task in of.glob("task/*/schedstat")) / 1e9
        except (OSError, IndexError):
            fields = (of / "stat").read_text().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def rss_mib(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1024 / 1024


@contextmanager
def serve(db: str | None = None) -> Iterator[Served]:
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        port = free_port()
        command = [str(Path(sys.executable).with_name("stepwell")), "dev", str(_HERE / "app.py"), "--port", str(port)]
        command += ["--db", db or str(Path(folder) / "served.db"), "--no-reload"]
        command += ["--grace", "100ms"]  # runs that hold the slot of a limit do so until they are cut off
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=_HERE.parent)
        try:
            while not _healthy(port):
                if process.poll() is not None or time.perf_counter() - started > 20:
                    error = process.stderr.read().decode() if process.stderr and process.poll() is not None else ""
                    raise RuntimeError(f"stepwell dev did not become ready: {error}")
                time.sleep(0.002)
            yield Served(port, process, time.perf_counter() - started)
        finally:
            process.terminate()
            process.wait(30)
            if process.stderr:
                process.stderr.close()


def ready_s(db: str | None = None, rounds: int = 3) -> float:
    found = []
    for _ in range(rounds):
        with serve(db) as served:
            found.append(served.ready_s)
    return sorted(found)[rounds // 2]


def idle(seconds: float, db: str | None = None) -> dict[str, float]:
    """Processor and memory of a server to which nothing happens."""
    with serve(db) as served:
        time.sleep(1.0)
        before, started = served.cpu_s(), time.perf_counter()
        time.sleep(seconds)
        used = served.cpu_s() - before
        return {"cpu_pct": used / (time.perf_counter() - started) * 100, "rss_mib": served.rss_mib()}


def events(batch: int, seconds: float, db: str | None = None) -> dict[str, float]:
    """Durable events a second over HTTP, from another process on this machine."""
    connections = "64" if batch == 1 else "8"
    with serve(db) as served:
        command = [sys.executable, "-m", "benchmarks.load", str(served.port), connections, str(seconds), str(batch)]
        answer = subprocess.run(command, capture_output=True, cwd=_HERE.parent, check=True)
        found: dict[str, float] = json.loads(answer.stdout)
        return found


def bare_round_trip_ms() -> float:
    """The floor of any HTTP answer here: uvicorn with an app that does nothing, one connection."""
    port = free_port()
    code = (
        "import uvicorn\n"
        "async def app(scope, receive, send):\n"
        "    await send({'type':'http.response.start','status':200,'headers':[(b'content-length',b'2')]})\n"
        "    await send({'type':'http.response.body','body':b'ok'})\n"
        f"uvicorn.run(app, port={port}, log_level='error', access_log=False, lifespan='off')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        while not _healthy(port):
            time.sleep(0.01)
        link = HTTPConnection("127.0.0.1", port)
        taken = []
        for _ in range(500):
            started = time.perf_counter()
            link.request("GET", "/")
            link.getresponse().read()
            taken.append((time.perf_counter() - started) * 1000)
        return sorted(taken)[250]
    finally:
        process.terminate()
        process.wait(10)


def _healthy(port: int) -> bool:
    try:
        link = HTTPConnection("127.0.0.1", port, timeout=1)
        link.request("GET", "/health")
        return link.getresponse().status == 200
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
