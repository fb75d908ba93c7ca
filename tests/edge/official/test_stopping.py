"""A server that is told to stop while official SDKs have a call: they go on talking to it until that has ended."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.edge.conftest import Dev, command, eventually
from tests.edge.official.conftest import Served, free_port, node, synced
from tests.edge.started import NEW, Start

pytestmark = pytest.mark.slow

PYTHON = [sys.executable, "-m", "tests.edge.official.python_app", "fastapi"]


class Stopping:
    """A server for production that stops, and an app of it."""

    def __init__(self, folder: Path, launched: list[str]) -> None:
        options = ("--db", "shop.db", "--grace", "30s", "--allow-private", "--retry-interval", "10s")
        self.server: Dev = Start(folder, *options)
        try:
            eventually(lambda: self.server.http("GET", "/health").status == 200)
            own = {"INNGEST_DEV": "0", "INNGEST_SIGNING_KEY": NEW, "INNGEST_BASE_URL": self.server.url}
            port = free_port()
            self.app = Served(folder, [*launched, str(port)], self.server.url, port, own)
            synced(self.app)
        except BaseException:
            self.server.close()
            raise

    def stop_while_held(self, event: str) -> str:
        """Ask the server to stop while the step that waits has begun: the id of its run."""
        run_id = self.server.start(event, gate="open")
        eventually(lambda: self.app.did("held"))
        self.server.signal(signal.SIGTERM)
        self.server.said("stopping, waiting up to")
        return run_id

    def go_on(self, run_id: str) -> Any:
        """The run, when the server has ended."""
        self.server.open_gate("open")
        assert self.server.exit_code() == 0
        found = command("run", run_id, "--db", "shop.db", "--json", cwd=self.server.folder)
        return found.json["run"]

    def close(self) -> None:
        self.app.close()
        self.server.close()


@pytest.fixture
def stopping(tmp_path: Path) -> Iterator[Callable[..., Stopping]]:
    begun: list[Stopping] = []

    def begin(*launched: str) -> Stopping:
        begun.append(Stopping(tmp_path, list(launched)))
        return begun[-1]

    yield begin
    for each in begun:
        each.close()


@pytest.mark.sdk("javascript-4")
def test_84_steps_are_reported_to_a_server_that_is_stopping(stopping: Callable[..., Stopping]) -> None:
    both = stopping(*node("javascript_app.mjs", "v4"))
    run_id = both.stop_while_held("js/long")

    run = both.go_on(run_id)

    assert (run["status"], run["output"]) == ("COMPLETED", ["open", "after", "last"])
    assert [both.app.did(name) for name in ("held", "after", "last", "request")] == [1, 1, 1, 1]


@pytest.mark.sdk("python")
def test_45_the_state_of_a_run_is_fetched_from_a_server_that_is_stopping(stopping: Callable[..., Stopping]) -> None:
    both = stopping(*PYTHON)
    run_id = both.stop_while_held("py/large-held")

    run = both.go_on(run_id)

    assert (run["status"], run["output"]) == ("COMPLETED", [4_400_000, "open", "after"])
    assert (both.app.did("held"), both.app.did("after")) == (1, 1)


def test_a_server_that_is_stopping_starts_nothing_and_says_so(stopping: Callable[..., Stopping]) -> None:
    both = stopping(*node("javascript_app.mjs", "v4"))
    server = both.server
    run_id = both.stop_while_held("js/long")

    refused = eventually(lambda: found if (found := server.http("GET", "/health")).status == 503 else None)
    assert refused.json["message"] == "this process is stopping"
    for path in (f"/e/{server.event_key}", "/invoke/js-long"):
        answer = server.http("POST", path, {"name": "js/long", "data": {}})
        assert (answer.status, answer.headers["retry-after"]) == (503, "1"), path
    assert server.get(f"/v2/runs/{run_id}")["status"] == "RUNNING"

    assert both.go_on(run_id)["status"] == "COMPLETED"
