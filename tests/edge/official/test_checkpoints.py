"""Steps that the official JavaScript SDKs report while a call goes on, to another process than the one that calls.

Two servers share a file: one leads and calls the app, and the app knows only the other one (protocol §8.2, ADR 0019).
"""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.edge.conftest import PATIENCE_S, Dev, eventually
from tests.edge.official.conftest import HERE, NODE, Both, Served, free_port

pytestmark = pytest.mark.slow

OPTIONS = ("--db", "shared.db", "--no-discovery", "--no-poll", "--retry-interval", "300ms")


class Apart(Both):
    """An app that talks to a server which follows another one: that one makes the calls."""

    def __init__(self, leader: Dev, follower: Dev, app: Served) -> None:
        super().__init__(follower, app)
        self.leader = leader

    def close(self) -> None:
        self.app.close()
        self.dev.close()
        self.leader.close()


@pytest.fixture(scope="module", params=["v4", "v3"])
def apart(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apart]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    leader = Dev(folder, *OPTIONS, target=None)
    eventually(lambda: leader.http("GET", "/health").status == 200)
    follower = Dev(folder, *OPTIONS, target=None)
    eventually(lambda: follower.http("GET", "/health").status == 200)
    port = free_port()
    app = Served(folder, [str(NODE), str(HERE / "javascript_app.mjs"), request.param, str(port)], follower.url, port)
    put = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    put.request("PUT", "/api/inngest")
    assert put.getresponse().status == 200
    put.close()
    both = Apart(leader, follower, app)
    both.version = request.param
    yield both
    both.close()


@pytest.fixture(autouse=True)
def _empty_ledger(request: pytest.FixtureRequest) -> None:
    if "apart" in request.fixturenames:
        request.getfixturevalue("apart").app.forget()


def requests(apart: Apart) -> int:
    return apart.app.did("request")


def test_84_three_steps_take_one_call_although_another_process_hears_of_them(apart: Apart) -> None:
    run = apart.run("js/checked")

    assert run["output"] == ["a", "b", "c"]
    assert [apart.app.did(name) for name in ("a", "b", "c")] == [1, 1, 1]
    assert requests(apart) == 1


def test_85_an_app_that_reports_nothing_is_called_for_each_step(apart: Apart) -> None:
    run = apart.run("js/unchecked")

    assert run["output"] == ["a", "b", "c"]
    assert requests(apart) == 4, "the last one ends the function"


@pytest.mark.parametrize("function", ["js/buffered", "js/buffered-all"])
def test_84_what_an_app_keeps_back_for_a_while_is_reported_once(apart: Apart, function: str) -> None:
    run = apart.run(function)

    assert run["output"] == ["a", "b", "c"]
    assert [apart.app.did(name) for name in ("a", "b", "c")] == [1, 1, 1]
    assert requests(apart) == 1


def test_whoever_calls_knows_what_was_reported_before_it_calls_again(apart: Apart) -> None:
    """The members of a group are asked for under the same lease, with the step in their memory that was reported."""
    run = apart.run("js/then-group")

    assert run["output"] == ["one", "two", "three", "four"]
    assert [apart.app.did(name) for name in ("one", "two", "three", "four")] == [1] * 4
    # The step and the plan, the two members, and the rest; version 3 asks what comes next after each.
    assert requests(apart) <= {"v4": 4, "v3": 7}[apart.version]


def test_a_run_that_sleeps_in_between_goes_on_from_what_was_reported(apart: Apart) -> None:
    run = apart.run("js/mixed")

    assert run["output"] == ["one", "two", "three", "four", "five"]
    assert [apart.app.did(name) for name in ("one", "two", "three", "four", "five")] == [1] * 5


def test_so_it_does_when_the_app_leaves_the_rest_to_others(apart: Apart) -> None:
    """The steps that are planned when a call has taken long enough follow on those that were reported."""
    run = apart.run("js/short")

    assert run["output"] == ["b", "c"]
    assert [apart.app.did(name) for name in ("long", "b", "c")] == [1, 1, 1]


def test_87_a_report_of_another_call_is_refused_by_whoever_gets_it(apart: Apart) -> None:
    run_id = apart.dev.start("js/held", gate="held")
    eventually(lambda: apart.app.did("held"))
    (call,) = [line for line in apart.app.ledger() if line["what"] == "request"]
    generation = int(call["generation"])
    step = {"id": "0" * 40, "op": "StepRun", "name": "x", "displayName": "x", "data": 1}
    body = {"run_id": run_id, "fn_id": "f", "qi_id": "q", "generation_id": generation, "steps": [step], "ts": 1}
    path = f"/v1/checkpoint/{run_id}/async"

    for server in (apart.leader, apart.dev):
        assert server.http("POST", path, body | {"generation_id": generation - 1}).status == 409
        assert server.http("POST", path, body).status == 200, "the first makes it durable, and the second knows it"
        large = step | {"id": "1" * 40, "data": "x" * 4_200_000}
        assert server.http("POST", path, body | {"steps": [large]}).status == 413
    (apart.app.folder / "held").touch()
    assert apart.dev.ended(run_id)["output"] == "held"
    assert [server.http("POST", path, body).status for server in (apart.leader, apart.dev)] == [409, 409]


@pytest.mark.parametrize("version", ["v4", "v3"])
def test_88_a_server_that_dies_after_a_report_calls_again_with_it(tmp_path: Path, version: str) -> None:
    """The call that it has left behind is told to stop when it reports next, and what it says is not believed."""
    dev = Dev(tmp_path, *OPTIONS, target=None)
    port = free_port()
    app = Served(tmp_path, [str(NODE), str(HERE / "javascript_app.mjs"), version, str(port)], dev.url, port)
    try:
        put = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        put.request("PUT", "/api/inngest")
        assert put.getresponse().status == 200
        put.close()
        run_id = dev.start("js/held", gate="held")
        eventually(lambda: app.did("held"))
        own = str(dev.port)
        dev.process.kill()
        dev.close()
        dev = Dev(tmp_path, *OPTIONS, "--port", own, target=None)
        eventually(lambda: app.did("held") == 2)

        (tmp_path / "held").touch()

        assert dev.ended(run_id)["output"] == "held"
        assert (app.did("first"), app.did("held"), app.did("request")) == (1, 2, 2)
        assert [step["name"] for step in dev.get(f"/v2/runs/{run_id}/trace")["steps"]] == ["first", "held"]
    finally:
        app.close()
        dev.close()
