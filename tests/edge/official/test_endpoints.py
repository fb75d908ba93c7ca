"""Durable endpoints: pages of an app that the official JavaScript SDK makes durable, against our server.

The client of a page is answered by the page as long as it only runs steps. When it sleeps, or fails, the client is sent
to us for the result, and we call the page until there is one (protocol §8.3-§8.5).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection
from pathlib import Path
from signal import SIGTERM
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.edge.conftest import PATIENCE_S, Dev, eventually
from tests.edge.official.conftest import HERE, NODE, Served, free_port
from tests.edge.started import NEW, Start

pytestmark = pytest.mark.slow

DEV = ("--no-discovery", "--no-poll")
OPTIONS = ("--retry-interval", "300ms", "--endpoint-silence", "3s")


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def location(self) -> str:
        assert self.status == 302, self
        return self.headers["location"]


def fetch(url: str, method: str = "GET", body: Any = None, **headers: str) -> Answer:
    """One request, its redirect not followed."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_S)
    try:
        text = None if body is None else json.dumps(body).encode()
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, text, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


class Pages:
    """A server, and an app beside it that it does not know until a page of it is durable."""

    def __init__(self, folder: Path, dev: Dev, variables: Mapping[str, str] | None = None) -> None:
        self.dev = dev
        eventually(lambda: dev.http("GET", "/health").status == 200)
        port = free_port()
        command = [str(NODE), str(HERE / "endpoint_app.mjs"), str(port)]
        self.app = Served(folder, command, dev.url, port, variables)
        self.origin = f"http://127.0.0.1:{port}"

    def ask(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> Answer:
        return fetch(self.origin + path, method, body, **headers)

    def follow(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> Answer:
        """What the client of a page gets in the end."""
        answer = self.ask(path, method, body, **headers)
        while answer.status == 302:
            answer = fetch(answer.location)
        return answer

    def run(self, path: str) -> Any:
        """The newest run of a page."""
        runs = self.dev.get("/v2/runs")
        return next(run for run in runs if run["functionId"].endswith(path))

    def entries(self) -> list[dict[str, Any]]:
        """The requests by which we have called a page."""
        return [line for line in self.app.ledger() if line["what"] == "request" and line["run"] is not None]

    def close(self) -> None:
        self.app.close()
        self.dev.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    folder = tmp_path_factory.mktemp("pages")
    found = Pages(folder, Dev(folder, *DEV, *OPTIONS, target=None))
    yield found
    found.close()


@pytest.fixture
def pages_in_production(tmp_path: Path) -> Iterator[Callable[..., Pages]]:
    """A production server and an app that has its key."""
    opened: list[Pages] = []

    def begin(*options: str) -> Pages:
        server = Start(tmp_path, *OPTIONS, *options)
        own = {"INNGEST_DEV": "0", "INNGEST_SIGNING_KEY": NEW, "INNGEST_BASE_URL": server.url}
        opened.append(Pages(tmp_path, server, own))
        return opened[-1]

    yield begin
    for each in opened:
        each.close()


@pytest.fixture(autouse=True)
def _empty_ledger(request: pytest.FixtureRequest) -> None:
    if "pages" in request.fixturenames:
        request.getfixturevalue("pages").app.forget()


def test_89_a_page_that_only_runs_steps_answers_by_itself(pages: Pages) -> None:
    answer = pages.ask("/steps")

    assert (answer.status, answer.json) == (200, {"one": "one", "two": "two"})
    run = pages.run("GET /steps")
    assert run["status"] == "COMPLETED"
    assert [step["name"] for step in pages.dev.get(f"/v2/runs/{run['id']}/trace")["steps"]] == ["one", "two"]
    assert pages.entries() == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_90_a_page_that_sleeps_sends_its_client_to_us_and_is_called_again(pages: Pages, method: str) -> None:
    body = {"q": "a"} if method == "POST" else None
    answer = pages.follow("/sleeps" if body else "/sleeps?q=a", method, body, content_type="application/json")

    assert (answer.status, answer.json) == (200, {"one": "one", "two": "two", "asked": "a", "method": method})
    assert (pages.app.did("one"), pages.app.did("two")) == (1, 1)
    run = pages.run(f"{method} /sleeps")
    for entry in pages.entries():
        assert (entry["method"], entry["run"], entry["signature"]) == (method, run["id"], "")
        assert entry["path"] == ("/sleeps" if body else "/sleeps?q=a")
        assert entry["type"] == "application/json"
    assert len(pages.entries()) == 1 + 1  # it runs the second step, and comes to its end


def test_a_page_has_the_name_that_it_is_given(pages: Pages) -> None:
    answer = pages.follow("/named?x=1")

    assert answer.json == "named"
    run = pages.run("by-name")
    assert run["functionId"] == f"{pages.origin}-by-name"
    assert {app["id"] for app in pages.dev.get("/v2/apps")} >= {pages.origin}
    (found,) = [each for each in pages.dev.get("/v2/functions") if each["id"] == run["functionId"]]
    assert (found["appId"], found["name"]) == (pages.origin, "by-name")


def test_the_event_of_a_run_is_the_request_of_its_user(pages: Pages) -> None:
    pages.ask("/steps?a=1", x_forwarded_for="192.0.2.7")

    event = pages.dev.get(f"/v2/events/{pages.run('GET /steps')['eventId']}")
    assert event["name"] == "inngest/http.request"
    told = {"domain": pages.origin, "method": "GET", "path": "/steps", "query_params": "a=1", "ip": "192.0.2.7"}
    assert told.items() <= event["data"].items()


def test_an_app_may_hand_the_token_to_its_client(pages: Pages) -> None:
    told = pages.ask("/token").json

    output = pages.dev.http("GET", f"/v1/checkpoint/{told['run_id']}/output?token={told['token']}")
    assert (output.status, output.json) == (200, "later")
    assert output.headers["access-control-allow-origin"] == "*", "the page of the client is of another origin"
    assert "sandbox" in output.headers["content-security-policy"]


def test_a_result_is_shown_to_whoever_has_its_token_only(pages: Pages) -> None:
    first, second = pages.ask("/token").json, pages.ask("/token").json

    for token in ("", "x", second["token"], first["token"][:-2] + "AA"):
        reply = pages.dev.http("GET", f"/v1/http/runs/{first['run_id']}/output?token={token}")
        assert (reply.status, reply.json["status"]) == (401, 401), token
        assert reply.headers["access-control-allow-origin"] == "*"


def test_the_result_of_a_page_that_answers_for_itself_is_replayed(pages: Pages) -> None:
    """JavaScript hands over the text of the page's own answer, as JSON."""
    answer = pages.follow("/response")

    assert (answer.status, answer.json) == (200, "plain")
    assert answer.headers["content-type"] == "application/json"


def test_a_step_that_fails_is_tried_again_while_the_client_waits(pages: Pages) -> None:
    answer = pages.follow("/flaky")

    assert (answer.status, answer.json) == (200, "done")
    assert (pages.app.did("before"), pages.app.did("flaky")) == (1, 2)


def test_a_step_out_of_attempts_raises_where_it_was_called(pages: Pages) -> None:
    answer = pages.follow("/caught")

    assert (answer.status, answer.json) == (200, "caught: broken failed 3 times")
    assert pages.app.did("broken") == 1 + 2


def test_a_page_out_of_attempts_fails_and_its_client_hears_why(pages: Pages) -> None:
    answer = pages.follow("/broken")

    assert (answer.status, answer.json["message"]) == (500, "broken failed 3 times")
    assert (pages.app.did("before"), pages.app.did("broken")) == (1, 1 + 2)
    assert pages.run("GET /broken")["status"] == "FAILED"


def test_a_step_that_is_not_to_be_retried_may_be_caught(pages: Pages) -> None:
    assert pages.follow("/final").json == "caught: never again"
    assert pages.app.did("final") == 1


def test_the_code_between_steps_is_tried_again(pages: Pages) -> None:
    assert pages.follow("/own-code").json == "done"
    assert (pages.app.did("before"), pages.app.did("own-code")) == (1, 2)


def test_the_members_of_a_group_are_asked_for_one_by_one(pages: Pages) -> None:
    assert pages.follow("/group").json == ["before", "a", "b", None, "after"]

    assert [pages.app.did(name) for name in ("before", "a", "b", "after")] == [1, 1, 1, 1]
    assert sum(entry["step"] is not None for entry in pages.entries()) >= 2


def test_a_page_may_wait_for_an_event(pages: Pages) -> None:
    location = pages.ask("/waits").location
    pages.dev.why(pages.run("GET /waits")["id"], "waiting")

    pages.dev.send("pages/approved", by="ada")

    assert fetch(location).json == {"by": "ada"}


# What may happen meanwhile --------------------------------------------------------------------------------------------


def test_an_app_that_dies_in_a_step_is_called_again_when_it_is_back(pages: Pages) -> None:
    with pytest.raises((ConnectionError, OSError)):
        pages.ask("/dies")
    pages.app.restart()

    run = pages.dev.ended(pages.run("GET /dies")["id"])

    assert json.loads(run["output"]["body"]) == "alive"
    assert (pages.app.did("kept"), pages.app.did("cut-off")) == (1, 2)


def test_a_page_that_goes_silent_is_called_again(pages: Pages) -> None:
    """JavaScript tells its client of an error that is final, and not us."""
    answer = pages.ask("/silent")
    assert answer.status == 400

    run = pages.dev.ended(pages.run("GET /silent")["id"])

    assert (run["status"], json.loads(run["output"]["body"])) == ("COMPLETED", "spoken")
    assert (pages.app.did("first"), pages.app.did("call")) == (1, 2)


def test_a_result_too_large_to_keep_is_refused_and_the_step_fails(pages: Pages) -> None:
    assert pages.ask("/large").status == 500

    run = pages.dev.ended(pages.run("GET /large")["id"])

    assert run["status"] == "FAILED"
    assert "5000002 bytes" in run["error"]["message"]


def test_an_app_that_is_restarted_goes_on_where_it_was(pages: Pages) -> None:
    location = pages.ask("/sleeps?q=b").location
    pages.app.process.kill()
    pages.app.restart()

    assert fetch(location).json["asked"] == "b"
    assert (pages.app.did("one"), pages.app.did("two")) == (1, 1)


def test_a_server_that_is_restarted_goes_on_where_it_was(tmp_path: Path) -> None:
    pages = Pages(tmp_path, Dev(tmp_path, *DEV, *OPTIONS, target=None))
    port = str(pages.dev.port)
    try:
        location = pages.ask("/sleeps?q=c").location
        pages.dev.process.kill()
        pages.dev.close()
        pages.dev = Dev(tmp_path, *DEV, *OPTIONS, "--port", port, target=None)
        eventually(lambda: pages.dev.http("GET", "/health").status == 200)

        assert fetch(location).json["asked"] == "c", "its token is still good"
        assert (pages.app.did("one"), pages.app.did("two")) == (1, 1)
    finally:
        pages.close()


def test_a_server_that_stops_lets_nobody_wait(tmp_path: Path) -> None:
    pages = Pages(tmp_path, Dev(tmp_path, *DEV, *OPTIONS, "--grace", "60s", target=None))
    try:
        location = urlsplit(pages.ask("/waits").location)
        waiting = HTTPConnection("127.0.0.1", location.port or 0, timeout=PATIENCE_S)
        waiting.request("GET", f"{location.path}?{location.query}")
        pages.dev.why(pages.run("GET /waits")["id"], "waiting")  # asked later, and answered
        pages.dev.signal(SIGTERM)

        assert json.loads(waiting.getresponse().read())["status"] == "running"
        waiting.close()
        assert pages.dev.exit_code() == 0
    finally:
        pages.close()


@pytest.mark.sqlite("one process leads on a file, and another takes over; on PostgreSQL all are peers")
def test_a_page_may_talk_to_a_server_that_follows_another(tmp_path: Path) -> None:
    """Two servers share a file: the one that leads calls the page again, the other one hears of it and is asked."""
    shared = ("--db", "shared.db")
    leader = Dev(tmp_path, *DEV, *OPTIONS, *shared, target=None)
    eventually(lambda: leader.http("GET", "/health").status == 200)
    pages = Pages(tmp_path, Dev(tmp_path, *DEV, *OPTIONS, *shared, target=None))
    try:
        assert pages.dev.get("/v2/health")["leads"] is False

        assert pages.ask("/steps").json == {"one": "one", "two": "two"}
        answer = pages.follow("/sleeps?q=d")

        assert (answer.status, answer.json["asked"]) == (200, "d")
        told = pages.ask("/token").json
        output = leader.http("GET", f"/v1/http/runs/{told['run_id']}/output?token={told['token']}")
        assert output.json == "later", "the token of one is good for the other"
    finally:
        pages.close()
        leader.close()


# In production -------------------------------------------------------------------------------------------------------


def test_90_a_page_is_called_again_with_a_signature_that_its_sdk_believes(
    pages_in_production: Callable[..., Pages],
) -> None:
    """Its body is signed in the canonical form that the SDK makes of it, and sent as it was."""
    pages = pages_in_production("--allow-private")

    answer = pages.follow("/sleeps", "POST", {"q": "a", "b": 1.0}, content_type="application/json")
    assert (answer.status, answer.json["asked"]) == (200, "a")
    assert pages.follow("/sleeps?q=b").json["asked"] == "b", "a GET has no body, and its signature is that of nothing"
    assert pages.follow("/sleeps?q=c", "DELETE", {"q": "c"}).status == 200, "JavaScript looks at no body of a DELETE"
    assert all(entry["signature"].startswith("t=") for entry in pages.entries())


def test_a_stranger_can_neither_begin_a_run_nor_report_of_one(pages_in_production: Callable[..., Pages]) -> None:
    pages = pages_in_production("--allow-private")
    told, server = pages.ask("/token").json, pages.dev
    assert isinstance(server, Start)

    for prefix in ("/v1/checkpoint", "/v1/http/runs"):
        for path in (prefix, f"{prefix}/{told['run_id']}/steps", f"{prefix}/{told['run_id']}/async"):
            assert server.stranger("POST", path, {}).status == 401, path
        output = f"{prefix}/{told['run_id']}/output"
        assert server.stranger("GET", output).status == 401
        assert server.stranger("GET", f"{output}?token={told['token']}").json == "later"


def test_a_page_where_we_may_not_call_is_refused_before_it_runs_long(
    pages_in_production: Callable[..., Pages],
) -> None:
    """Invariant S15: the domain is what the client of the page says, and could be any machine that we reach."""
    pages = pages_in_production()

    assert pages.ask("/sleeps?q=a").status == 500

    event = {"domain": "http://169.254.169.254", "method": "GET", "path": "/latest/meta-data"}
    creation = {"run_id": "01HF7YAT000000000000000001", "event": {"name": "inngest/http.request", "data": event}}
    reply = pages.dev.http("POST", "/v1/checkpoint", {**creation, "steps": [], "ts": 1})
    assert (reply.status, reply.json["status"]) == (400, 400)
    assert "169.254.169.254" in reply.json["error"]
    assert pages.dev.get("/v2/functions") == []
