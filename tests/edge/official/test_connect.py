"""Workers of the official SDKs that connect, each a process. Numbers are those of protocol §14."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.edge.conftest import PATIENCE_S, Dev, environment, eventually
from tests.edge.official.conftest import HERE, NODE, node
from tests.edge.started import EVENT_KEY, NEW, Start
from tests.meta.sources import ROOT

pytestmark = pytest.mark.slow

SDKS = {"py": [sys.executable, "-m", "tests.edge.official.worker"], "js": node("worker.mjs", "v4")}
MARKED = [
    pytest.param("py", marks=pytest.mark.sdk("python")),
    pytest.param("js", marks=pytest.mark.sdk("javascript-4")),
]
RECORDED = ROOT / "tests" / "protocol" / "connect.json"
OPTIONS = ("--no-discovery", "--no-poll", "--retry-interval", "100ms")


class Worker:
    """A worker in a process of its own, which writes what it does to the ledger of its folder."""

    def __init__(self, folder: Path, language: str, instance: str, variables: Mapping[str, str]) -> None:
        self.folder = folder
        self.instance = instance
        ledger = folder / "ledger"
        ledger.touch()
        with (folder / f"{instance}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*SDKS[language], instance],
                cwd=folder,
                env={
                    **environment(),
                    **variables,
                    "LEDGER": str(ledger),
                    "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))),
                },
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        return (self.folder / f"{self.instance}.log").read_text()

    def close(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)


class Side:
    """A server, and workers of one SDK."""

    def __init__(self, stack: ExitStack, folder: Path, language: str, dev: Dev) -> None:
        self.folder, self.language, self.dev = folder, language, dev
        self._stack = stack

    def worker(self, instance: str = "one", **variables: str) -> Worker:
        """One more, once the server gives it calls."""
        worker = self.begin(instance, {"INNGEST_DEV": self.dev.url, **variables})
        self.wait_for(instance, worker)
        return worker

    def begin(self, instance: str, variables: Mapping[str, str]) -> Worker:
        worker = Worker(self.folder, self.language, instance, variables)
        self._stack.callback(worker.close)
        return worker

    def wait_for(self, instance: str, worker: Worker) -> None:
        def look() -> bool:
            assert worker.process.poll() is None, worker.log
            return any(each["instance_id"] == instance and each["status"] == "READY" for each in self.workers())

        eventually(look)

    def workers(self, app: str | None = None) -> list[dict[str, Any]]:
        apps = self.dev.http("GET", "/dev").json["apps"]
        return [each for found in apps if found["app_id"] == (app or self.language) for each in found["workers"]]

    def start(self, name: str, **data: Any) -> str:
        return self.dev.start(f"{self.language}/{name}", **data)

    def run(self, name: str, **data: Any) -> Any:
        return self.dev.ended(self.start(name, **data))

    def ledger(self, what: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in (self.folder / "ledger").read_text().splitlines()]
        return [line for line in lines if line["what"] == what]

    def noted(self, what: str, count: int = 1) -> list[dict[str, Any]]:
        """All that was noted under this name, once there is so much of it."""
        return eventually(lambda: found if len(found := self.ledger(what)) >= count else [])

    def restart_server(self, *options: str) -> None:
        """On the same file, at the same port."""
        port = self.dev.port
        self.dev.close()
        self.dev = Dev(self.folder, *OPTIONS, "--port", str(port), *options, target=None)
        self._stack.callback(self.dev.close)


@contextmanager
def beside(folder: Path, language: str, *options: str) -> Iterator[Side]:
    with ExitStack() as stack:
        dev = Dev(folder, *OPTIONS, *options, target=None)
        stack.callback(dev.close)
        eventually(lambda: dev.http("GET", "/health").status == 200)
        yield Side(stack, folder, language, dev)


@pytest.fixture(params=MARKED)
def language(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def side(tmp_path: Path, language: str) -> Iterator[Side]:
    with beside(tmp_path, language, "--worker-lease", "4s") as found:
        yield found


@pytest.fixture(scope="module", params=MARKED)
def working(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """With a worker, for tests that do not disturb one another."""
    with beside(tmp_path_factory.mktemp(request.param), request.param) as found:
        found.worker()
        yield found


@pytest.mark.feature("F95")
def test_107_a_worker_runs_steps_and_is_not_asked_for_those_it_has_done(working: Side) -> None:
    run = working.run("steps")

    assert (run["status"], run["output"]) == ("COMPLETED", ["one", "two"])
    assert (len(working.ledger("one")), len(working.ledger("two"))) == (1, 1)


def test_107_branches_run_once_each(working: Side) -> None:
    assert working.run("parallel")["output"] == ["a", "b", "c"]
    assert [len(working.ledger(name)) for name in "abc"] == [1, 1, 1]


def test_45_state_that_is_too_large_for_a_frame_is_fetched(working: Side) -> None:
    """A worker of the Python SDK takes 5 MiB at once, and breaks the connection otherwise."""
    assert working.run("large")["output"] == 6_000_000
    assert [line["n"] for line in working.ledger("filled")] == [0, 1, 2]


def test_27_the_companion_that_handles_a_failure_is_run_by_the_worker_too(working: Side) -> None:
    run = working.run("fails")

    assert (run["status"], run["error"]["name"], run["error"]["message"]) == ("FAILED", "TypeError", "it never works")
    assert [line["attempt"] for line in working.ledger("fails")] == [0, 1]
    assert working.noted("on-failure")[0]["message"] == "it never works"


def test_an_error_that_is_final_is_not_repeated(working: Side) -> None:
    run = working.run("final")

    assert (run["status"], run["error"]["message"]) == ("FAILED", "never again")
    assert len(working.ledger("final")) == 1


def test_113_two_apps_on_one_connection_get_their_own_calls(working: Side) -> None:
    run = working.dev.ended(working.dev.start("other/hello", name="ada"))

    assert (run["functionId"], run["output"]) == ("other-hello", "hello ada")
    (one,), (other,) = working.workers(), working.workers("other")
    assert one["connection_id"] == other["connection_id"]


def test_apps_whose_workers_connect_are_listed_like_others(working: Side) -> None:
    apps = {app["id"]: app for app in working.dev.get("/v2/apps")}

    assert apps.keys() == {working.language, "other"}
    assert apps[working.language]["functions"] == 10
    assert apps[working.language]["sdk"].startswith(f"{working.language}:v")
    assert apps[working.language]["framework"] == "connect"
    assert "other-hello" in working.dev.cli("functions").out


def test_109_a_worker_that_dies_in_a_step_loses_it_to_another(side: Side) -> None:
    """It has no retries, so what is done again is the same attempt."""
    side.worker("one")
    run_id = side.start("slow", gate="open")
    (first,) = side.noted("at slow")
    side.worker("two")

    os.kill(first["pid"], signal.SIGKILL)
    _, second = side.noted("at slow", 2)
    side.dev.open_gate("open")

    assert side.dev.ended(run_id)["output"] == "open"
    assert (first["instance"], second["instance"]) == ("one", "two")
    assert [len(side.ledger(what)) for what in ("before", "at slow", "after")] == [1, 2, 1]


def test_109_a_step_that_takes_longer_than_the_lease_keeps_it(side: Side) -> None:
    side.worker()
    run_id = side.start("slow", gate="open")
    (begun,) = side.noted("at slow")
    side.worker("two")
    # A lease is four seconds long. That the worker has held on to it for longer shows by what it does with the rest.
    slept = side.dev.ended(side.start("rests"))

    assert slept["status"] == "COMPLETED"
    side.dev.open_gate("open")
    assert side.dev.ended(run_id)["output"] == "open"
    assert side.ledger("at slow") == [begun]


def test_112_a_worker_that_is_to_end_finishes_its_step_and_gets_no_other(side: Side) -> None:
    one = side.worker("one")
    run_id = side.start("slow", gate="open")
    side.noted("at slow")

    one.process.send_signal(signal.SIGTERM)
    eventually(lambda: [each["status"] for each in side.workers()] == ["DRAINING"])
    waiting = side.start("slow", gate="second")
    side.dev.why(waiting, "unserved")
    side.dev.open_gate("open")

    side.noted("closed")
    assert one.process.wait(PATIENCE_S) == 0
    assert side.ledger("at slow")[1:] == []
    side.worker("two")
    side.dev.open_gate("second")
    assert [side.dev.ended(id)["output"] for id in (run_id, waiting)] == ["open", "second"]
    assert [line["instance"] for line in side.ledger("at slow")] == ["one", "two"]


def test_a_run_whose_worker_is_not_there_waits_and_spends_no_attempt(side: Side) -> None:
    side.worker("one").close()
    eventually(lambda: not side.workers())
    run_id = side.start("slow", gate="open")

    side.dev.why(run_id, "unserved")
    side.dev.open_gate("open")
    side.worker("two")

    assert side.dev.ended(run_id)["output"] == "open"
    assert [line["instance"] for line in side.ledger("at slow")] == ["two"]


def test_a_server_that_dies_is_found_again_by_its_workers(side: Side) -> None:
    worker = side.worker()
    run_id = side.start("slow", gate="open")
    side.noted("at slow")

    side.dev.signal(signal.SIGKILL)
    side.restart_server()
    side.dev.open_gate("open")
    side.wait_for("one", worker)

    assert side.dev.ended(run_id)["output"] == "open"
    assert len(side.ledger("before")) == 1


def test_111_a_server_that_ends_waits_for_its_workers_and_sends_them_to_the_next(side: Side) -> None:
    worker = side.worker()
    run_id = side.start("slow", gate="open")
    side.noted("at slow")

    side.dev.signal(signal.SIGTERM)
    side.dev.said("waiting up to")
    side.dev.open_gate("open")
    assert side.dev.exit_code() == 0
    side.restart_server()
    side.wait_for("one", worker)

    assert side.dev.ended(run_id)["output"] == "open"
    assert [len(side.ledger(what)) for what in ("before", "at slow", "after")] == [1, 1, 1]


def test_111_what_outlasts_the_grace_is_called_again_and_no_run_is_lost(side: Side) -> None:
    worker = side.worker()
    side.restart_server("--grace", "100ms", "--worker-lease", "4s")
    side.wait_for("one", worker)
    run_id = side.start("slow", gate="open")
    side.noted("at slow")

    side.dev.signal(signal.SIGTERM)
    assert side.dev.exit_code() == 0
    side.restart_server()
    side.noted("at slow", 2)
    side.dev.open_gate("open")

    assert side.dev.ended(run_id)["output"] == "open"
    assert len(side.ledger("before")) == 1


@pytest.mark.parametrize("width", [1, 2])
def test_a_worker_gets_no_more_calls_at_once_than_it_takes(side: Side, width: int) -> None:
    side.worker(MOST=str(width))
    runs = [side.start("slow", gate=f"gate {n}") for n in range(3)]

    side.noted("at slow", width)
    assert side.workers()[0]["in_flight"] == width
    for n in range(3):
        side.dev.open_gate(f"gate {n}")

    assert [side.dev.ended(run_id)["output"] for run_id in runs] == ["gate 0", "gate 1", "gate 2"]
    assert len(side.ledger("at slow")) == 3


def test_a_limit_holds_for_each_key_over_all_workers(side: Side) -> None:
    side.worker("one")
    side.worker("two")
    first, second = (side.start("limited", key="a", gate=gate) for gate in ("a1", "a2"))
    other = side.start("limited", key="b", gate="b1")

    side.noted("at limited", 2)
    side.dev.why(second, "limited")
    assert sorted(line["gate"] for line in side.ledger("at limited")) == ["a1", "b1"]
    side.dev.open_gate("a1")
    assert side.dev.ended(first)["output"] == "a1"
    side.noted("at limited", 3)
    side.dev.open_gate("a2")
    side.dev.open_gate("b1")
    assert [side.dev.ended(run_id)["output"] for run_id in (second, other)] == ["a2", "b1"]


def test_a_limit_is_kept_while_a_dead_workers_step_is_done_again(side: Side) -> None:
    """By whoever is left; the next of the same key waits for that."""
    side.worker("one")
    first = side.start("limited", key="a", gate="a1")
    (begun,) = side.noted("at limited")
    side.worker("two")
    second = side.start("limited", key="a", gate="a2")

    os.kill(begun["pid"], signal.SIGKILL)
    again = side.noted("at limited", 2)[1]
    assert (again["gate"], again["instance"]) == ("a1", "two")
    side.dev.why(second, "limited")
    side.dev.open_gate("a1")
    side.dev.open_gate("a2")

    assert [side.dev.ended(run_id)["output"] for run_id in (first, second)] == ["a1", "a2"]
    assert [line["gate"] for line in side.ledger("at limited")] == ["a1", "a1", "a2"]


def test_runs_begin_at_the_rate_of_their_function(side: Side) -> None:
    side.worker()
    runs = [side.start("throttled") for _ in range(3)]

    assert {side.dev.ended(run_id)["status"] for run_id in runs} == {"COMPLETED"}
    first, _, third = (line["at"] for line in side.ledger("throttled"))
    assert third - first > 2  # the second comes at once, as a burst; and a worker may be told late of the first


def test_a_run_that_is_cancelled_in_a_step_makes_room_and_its_answer_comes_too_late(side: Side) -> None:
    side.worker(MOST="1")
    run_id = side.start("slow", gate="open")
    side.noted("at slow")
    waiting = side.start("slow", gate="next")

    assert side.dev.cli("cancel", run_id).code == 0
    side.dev.open_gate("open")
    side.noted("at slow", 2)
    side.dev.open_gate("next")

    assert side.dev.ended(waiting)["output"] == "next"
    assert side.dev.ended(run_id)["status"] == "CANCELLED"
    assert len(side.ledger("after")) == 1


def test_k27_runs_move_on_when_a_worker_freezes_and_it_comes_back_too_late(side: Side) -> None:
    frozen = side.worker("one")
    runs = [side.start("slow", gate="open") for _ in range(5)]
    side.noted("at slow", 5)
    side.worker("two")

    frozen.process.send_signal(signal.SIGSTOP)
    again = side.noted("at slow", 10)[5:]
    assert {line["instance"] for line in again} == {"two"}
    side.dev.open_gate("open")
    assert [side.dev.ended(run_id)["output"] for run_id in runs] == ["open"] * 5
    frozen.process.send_signal(signal.SIGCONT)
    side.wait_for("one", frozen)

    assert side.run("steps")["output"] == ["one", "two"]
    assert [side.dev.ended(run_id)["output"] for run_id in runs] == ["open"] * 5
    assert len(side.ledger("after")) == 5


def test_k28_workers_are_replaced_one_after_the_other_under_load_and_no_run_fails(side: Side) -> None:
    """And at last there is none at all. No function has another attempt."""
    workers = [side.worker("first")]
    runs = [side.start("slow", gate="open") for _ in range(3)]
    side.noted("at slow", 3)
    for n, name in enumerate(("second", "third"), 1):
        runs += [side.start("limited", key=str(n), gate="open")]
        side.noted("at limited", n)
        workers.append(side.worker(name))
        workers[-2].process.send_signal(signal.SIGTERM)
        if n == 1:
            side.dev.open_gate("open")
            assert workers[0].process.wait(PATIENCE_S) == 0
            (side.folder / "open").unlink()
    side.dev.open_gate("open")
    assert workers[1].process.wait(PATIENCE_S) == 0
    workers[-1].process.send_signal(signal.SIGTERM)
    assert workers[-1].process.wait(PATIENCE_S) == 0
    runs += [side.start("steps") for _ in range(3)]
    for run_id in runs[-3:]:
        side.dev.why(run_id, "unserved")
    side.worker("last")

    assert {side.dev.ended(run_id)["status"] for run_id in runs} == {"COMPLETED"}


def test_production_lets_in_who_has_its_key(tmp_path: Path, language: str) -> None:
    with ExitStack() as stack:
        start = Start(tmp_path, "--retry-interval", "100ms")
        stack.callback(start.close)
        eventually(lambda: start.http("GET", "/health").status == 200)
        side = Side(stack, tmp_path, language, start)
        known = {
            "INNGEST_DEV": "0",
            "INNGEST_API_BASE_URL": start.url,
            "INNGEST_EVENT_API_BASE_URL": start.url,
            "INNGEST_EVENT_KEY": EVENT_KEY,
        }
        stranger = side.begin("stranger", {**known, "INNGEST_SIGNING_KEY": "signkey-prod-" + "ab" * 32})
        side.begin("known", {**known, "INNGEST_SIGNING_KEY": NEW})

        side.noted("connected")
        assert side.run("steps")["output"] == ["one", "two"]
        assert start.output.count("worker connected") == 1
        stranger.process.send_signal(signal.SIGTERM)
        assert "worker='stranger'" not in start.output


def test_the_messages_are_those_that_the_javascript_sdk_writes() -> None:
    """By which ``tests/protocol/test_connect.py`` goes; this writes them anew where it fails."""
    written = subprocess.run([NODE, HERE / "connect_messages.mjs"], capture_output=True, check=True).stdout

    if written != RECORDED.read_bytes():
        RECORDED.write_bytes(written)
        pytest.fail("the SDK writes something else now: look at the difference")
