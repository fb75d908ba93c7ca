"""Real processes: ``stepwell dev`` on an app in a folder of its own, and its other commands beside it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple, TypeVar

import pytest

from tests import on_postgres
from tests.edge.served_here import App, free_port, serving

T = TypeVar("T")

PATIENCE_S = 20
STEPWELL = [sys.executable, "-m", "stepwell.cli"]

# ``gate`` lets a test decide when a step is done: it waits for a file of that name beside the app.
APP = """
import asyncio
from pathlib import Path

from stepwell import Cancel, Concurrency, Context, Event, NonRetriableError, Stepwell, TriggerEvent

app = Stepwell("shop")
HERE = Path(__file__).parent


async def gate(name):
    while not (HERE / name).exists():
        await asyncio.sleep(0.01)
    return name


def charge(order):
    return {"charged": order}


def decline():
    raise ValueError("card declined")


@app.create_function(id="bill", trigger="shop/ordered")
async def bill(ctx: Context[dict]) -> str:
    await ctx.step.run("charge", charge, "o1")
    await ctx.step.sleep("cool-off", "20ms")
    return "billed"


@app.create_function(id="fail", trigger="shop/failing", retries=1)
async def fail(ctx: Context[dict]) -> None:
    await ctx.step.run("decline", decline)


@app.create_function(id="recover", trigger="shop/refused", retries=2)
async def recover(ctx: Context[dict]) -> dict:
    return await ctx.step.run("charge", lambda: decline() if ctx.attempt == 0 else charge("o1"))


@app.create_function(id="approve", trigger="shop/requested", cancel=Cancel("shop/withdrawn", match="data.id"))
async def approve(ctx: Context[dict]) -> str:
    found = await ctx.step.wait_for_event("approval", "shop/approved", match="data.id", timeout="3h")
    return "approved" if found else "too late"


@app.create_function(id="delegate", trigger="shop/delegated")
async def delegate(ctx: Context[dict]) -> str:
    return await ctx.step.invoke("ask", approve, data={"id": 77})


@app.create_function(id="export", trigger="shop/exported", concurrency=Concurrency(1, key="event.data.user"))
async def export(ctx: Context[dict]) -> str:
    return await ctx.step.run("work", gate, ctx.event.data["gate"])


@app.create_function(id="large", trigger=TriggerEvent("shop/sold", if_="event.data.amount > 100"))
async def large(ctx: Context[dict]) -> None:
    await ctx.step.sleep("think", "2h")
"""


def eventually(check: Callable[[], T], *, within: float = PATIENCE_S) -> T:
    """The first true answer of ``check``. Fails with its last answer if there is none in time."""
    deadline = time.monotonic() + within
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within} s: {found!r}"
        time.sleep(0.02)


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    text: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Dev:
    """A ``stepwell dev`` that runs. ``output`` is what it has written so far."""

    command = "dev"
    event_key = "test"

    def __init__(
        self,
        folder: Path,
        *options: str,
        app: str = APP,
        target: str | None = "app.py",
        launcher: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        if target is not None and not (folder / "app.py").exists():
            (folder / "app.py").write_text(app)
        port = [] if "--port" in options else ["--port", "0"]
        given, self._database = on_postgres.serving(self.command, folder, options)
        self.process = subprocess.Popen(
            [*launcher, *STEPWELL, self.command, *([target] if target else []), *port, *given],
            cwd=folder,
            env={**environment(), **(variables or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        self._written = bytearray()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        return self._written.decode()

    @property
    def url(self) -> str:
        found = eventually(lambda: re.search(r"http://\S+:\d+", self.output) or self.process.poll() is not None)
        assert isinstance(found, re.Match), self.output
        return found[0]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def http(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """``body`` is bytes, or something to be written as JSON. Names of headers are written with underscores."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            text = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, text, named)
            response = connection.getresponse()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """The ``data`` of an answer."""
        reply = self.http("GET", path)
        assert reply.status == 200, reply
        return reply.json["data"]

    def send(self, name: str, /, **data: Any) -> str:
        """The internal id of an event sent over HTTP."""
        reply = self.http("POST", f"/e/{self.event_key}", {"name": name, "data": data})
        assert reply.status == 200, reply
        event_id: str = reply.json["ids"][0]
        return event_id

    def start(self, name: str, /, **data: Any) -> str:
        """The id of the one run that an event starts."""
        (run,) = self.get(f"/v2/events/{self.send(name, **data)}/runs")["runs"]
        run_id: str = run["id"]
        return run_id

    def ended(self, run_id: str) -> Any:
        """The run, once it has ended."""

        def look() -> Any:
            run = self.get(f"/v2/runs/{run_id}")
            return run if run["endedAt"] else None

        return eventually(look)

    def why(self, run_id: str, kind: str) -> Any:
        """The gate of this kind, once the run waits at one."""

        def look() -> Any:
            return next((gate for gate in self.get(f"/v2/runs/{run_id}/why")["gates"] if gate["kind"] == kind), None)

        return eventually(look)

    def cli(self, *args: str, input: str | None = None) -> Done:
        """Another command, told where this server is."""
        return command(*args, "--url", self.url, cwd=self.folder, input=input)

    def open_gate(self, name: str) -> None:
        (self.folder / name).touch()

    def said(self, text: str) -> str:
        """What it has written, once that includes this."""
        return eventually(lambda: self.output if text in self.output else "")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def exit_code(self) -> int:
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.exit_code()
        if self.process.stdout is not None:
            self.process.stdout.close()
        on_postgres.stopped(self._database)
        self._database = None

    def _read(self) -> None:
        assert self.process.stdout is not None
        while written := os.read(self.process.stdout.fileno(), 65536):
            self._written += written


def known(attached: Dev, here: App, *functions: dict[str, Any]) -> None:
    """Until the server knows these functions of the app, and no others."""
    here.functions = list(functions)
    eventually(lambda: here.known is here.functions)


def environment() -> dict[str, str]:
    ours = ("STEPWELL_", "INNGEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PYTHONUTF8": "1", "NO_COLOR": "1", "TZ": "UTC"}


def command(*args: str, cwd: Path, input: str | None = None, launcher: Sequence[str] = ()) -> Done:
    """A command of ``stepwell``, run to its end."""
    return ran(*launcher, *STEPWELL, *on_postgres.asking(cwd, args), cwd=cwd, input=input)


def ran(*command: str, cwd: Path, input: str | None = None) -> Done:
    """Any command, run to its end."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment(),
        input=input or "",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module", autouse=True)
def _databases() -> Iterator[None]:
    yield
    on_postgres.give_back()


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """One server for the tests of a module that do not disturb one another."""
    running = Dev(tmp_path_factory.mktemp("dev"), "--retry-interval", "100ms", "--no-reload")
    try:
        eventually(lambda: running.http("GET", "/health").status == 200)
        yield running
    finally:
        running.close()


@pytest.fixture
def start_dev(tmp_path: Path) -> Iterator[Callable[..., Dev]]:
    """Starts servers in the test's own folder, one after the other or side by side."""
    running: list[Dev] = []

    def start(*options: str, **more: Any) -> Dev:
        running.append(Dev(tmp_path, *options, **more))
        return running[-1]

    yield start
    for each in running:
        each.close()


@pytest.fixture
def here() -> Iterator[App]:
    """An app in the test's own process, which registers where ``attached`` is."""
    with serving(App()) as app:
        app.in_band = False
        app.register_at = free_port()
        yield app


@pytest.fixture
def attached(start_dev: Callable[..., Dev], here: App) -> Dev:
    """A development server that has the functions of ``here``, and asks for them again and again."""
    options = (
        "--port",
        str(here.register_at),
        "--no-discovery",
        "--poll-interval",
        "100ms",
        "--retry-interval",
        "100ms",
    )
    dev = start_dev(*options, "-u", here.url, target=None)
    eventually(lambda: [each for each in dev.http("GET", "/dev").json["apps"] if each["app_id"] == here.app_id])
    return dev
