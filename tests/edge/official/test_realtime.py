"""Realtime with official SDKs and our own: they publish, they get tokens, they listen."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import pytest

from tests.edge.conftest import PATIENCE_S, Dev, environment, eventually
from tests.edge.official.conftest import BY_STEP, HERE, NODE, Both, Served, free_port
from tests.edge.started import EVENT_KEY, NEW, Start
from tests.edge.test_realtime import heard, publish, socket, token

pytestmark = pytest.mark.slow


class Listener:
    """A process in which the official SDK listens. ``next`` waits for what it hears."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._lines: Queue[str] = Queue()
        self._process = process
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def next(self) -> Any:
        line = self._lines.get(timeout=PATIENCE_S)
        assert line, "the listener has ended"
        return json.loads(line)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")


@contextmanager
def listening(variables: Mapping[str, str], channel: str, *topics: str) -> Iterator[Listener]:
    """The official SDK for JavaScript, once it listens."""
    with subprocess.Popen(
        [str(NODE), str(HERE / "javascript_listener.mjs"), channel, *topics],
        env={**environment(), **variables},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            listener = Listener(process)
            assert listener.next() == "listening"
            yield listener
        finally:
            process.kill()


# Realtime of version 3 is another package.
with_realtime = pytest.mark.parametrize("javascript", ["v4"], indirect=True, scope="module")


@with_realtime
def test_114_the_javascript_sdk_hears_what_its_functions_publish(javascript: Both) -> None:
    with listening({"INNGEST_DEV": javascript.dev.url}, "orders:1", "progress", "log") as listener:
        run = javascript.run("js/publishes", id="1")

        first, second = listener.next(), listener.next()

    assert run["output"] == {"done": 1}
    about = {"kind": "data", "channel": "orders:1", "dated": True}
    assert first == {**about, "topic": "progress", "data": {"done": 1}, "runId": run["id"]}
    assert second == {**about, "topic": "log", "data": "plain text", "runId": run["id"]}


@with_realtime
def test_114_a_stream_that_the_javascript_sdk_publishes_arrives_in_chunks(javascript: Both) -> None:
    """It is heard by somebody else: version 4.24 of that SDK dies of the first message of a stream that it hears."""
    with socket(javascript.dev, token(javascript.dev, "log", channel="orders:2")) as connection:
        javascript.run("js/streams-out", id="2")

        found = [heard(connection)]
        while found[-1]["kind"] != "datastream-end":
            found.append(heard(connection))

    assert found[0]["kind"] == "datastream-start"
    assert "".join(each["data"] for each in found if each["kind"] == "chunk") == "one two drei ä"


@with_realtime
def test_the_javascript_sdk_is_told_what_becomes_of_a_run(javascript: Both) -> None:
    run_id = javascript.dev.start("js/held", gate="opened")
    with listening({"INNGEST_DEV": javascript.dev.url}, run_id, "$run") as listener:
        assert (listener.next()["kind"], javascript.dev.get(f"/v2/runs/{run_id}")["status"]) == ("run", "RUNNING")
        (javascript.app.folder / "opened").touch()
        told = listener.next()["data"]

    assert told == {"status": "completed", "output": "opened"}


def test_114_the_javascript_sdk_listens_in_production(tmp_path: Path) -> None:
    server = Start(tmp_path)
    try:
        eventually(lambda: server.http("GET", "/health").status == 200)
        variables = {"INNGEST_BASE_URL": server.url, "INNGEST_SIGNING_KEY": NEW, "INNGEST_EVENT_KEY": EVENT_KEY}
        with listening(variables, "c", "t") as listener:
            publish(server, {"a": None}, topic="t", channel="c")
            assert listener.next()["data"] == {"a": None}
    finally:
        server.close()


def test_114_what_the_python_sdk_publishes_is_heard_with_the_token_it_gets(python: Both) -> None:
    with socket(python.dev, token(python.dev, channel="c1")) as connection:
        run = python.run("py/publishes", channel="c1")
        message = heard(connection)

    assert (message["kind"], message["channel"], message["topic"]) == ("data", "c1", "progress")
    assert message["data"] == {"done": 1}
    assert {"run_id", "env_id", "fn_id"}.isdisjoint(message)
    given = run["output"]
    assert (given["channel"], given["topics"]) == ("c1", ["progress"])
    with socket(python.dev, given["key"]) as connection:
        publish(python.dev, 2, channel="c1")
        assert heard(connection)["data"] == 2


def test_our_own_sdk_publishes_and_listens_through_its_server(own: Both) -> None:
    # Step by step a call ends with its step, and with it what the code of the function itself listens to.
    by_step = own.version in BY_STEP
    with socket(own.dev, token(own.dev, channel="c2")) as connection:
        run = own.run("own/publishes", channel="c2", deaf=by_step)
        first, second = heard(connection), heard(connection)

    assert run["output"]["heard"] == (None if by_step else {"done": 1})
    assert [(each["data"], each["run_id"]) for each in (first, second)] == [
        ({"done": 1}, run["id"]),
        ({"done": 2}, run["id"]),
    ]
    with socket(own.dev, run["output"]["token"]["key"]) as connection:
        publish(own.dev, 3, channel="c2")
        assert heard(connection)["data"] == 3


def test_plain_functions_of_our_own_sdk_publish_as_well(own: Both) -> None:
    with socket(own.dev, token(own.dev, channel="c3")) as connection:
        assert own.run("own/publishes-sync", channel="c3")["status"] == "COMPLETED"
        assert [heard(connection)["data"]["done"] for _ in range(3)] == [1, 2, 3]


def test_89_a_durable_page_streams_on_after_its_client_was_sent_to_us(tmp_path: Path) -> None:
    """The client reads the page, then what the page publishes here when it is called again (protocol §12.5)."""
    dev = Dev(tmp_path, "--no-discovery", "--no-poll", "--retry-interval", "300ms", target=None)
    page: Served | None = None
    try:
        eventually(lambda: dev.http("GET", "/health").status == 200)
        port, program = free_port(), str(HERE / "streaming_app.mjs")
        page = Served(tmp_path, [str(NODE), program, "serve", str(port)], dev.url, port)
        done = subprocess.run(
            [str(NODE), program, "fetch", f"http://127.0.0.1:{port}/page"],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=3 * PATIENCE_S,
        )
    finally:
        if page is not None:
            page.close()
        dev.close()

    assert done.returncode == 0, done.stderr
    heard = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["data"] for each in heard if each["kind"] == "data"] == ["one", "two, try 1", "two, try 2"]
    kinds = [each["kind"] for each in heard]
    assert kinds.index("rollback") > kinds.index("data")
    assert heard[-1]["kind"] == "response"
    assert (heard[-1]["status"], json.loads(heard[-1]["body"])) == (200, {"done": True})
