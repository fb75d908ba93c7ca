"""An app that is served at an address and by workers that connect, at once or in turn; and how it is removed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import pytest

from stepwell.protocol.connect import AppConfiguration, Kind, ReplyAck
from tests.edge.conftest import Dev, eventually
from tests.edge.served_here import App, Asked, serving
from tests.edge.test_connect import Worker, function

pytestmark = pytest.mark.slow

CONNECTED = "wss://connect"


@pytest.fixture
def here(request: pytest.FixtureRequest) -> Iterator[App]:
    with serving(getattr(request, "param", None) or App()) as app:
        yield app


@pytest.fixture
def dev(start_dev: Callable[..., Dev], here: App) -> Dev:
    dev = start_dev("--no-discovery", "--poll-interval", "50ms", "-u", here.url, target=None)
    here.register_at = dev.port
    eventually(lambda: app(dev).get("url") == here.url)
    return dev


def worker(dev: Dev, app_id: str = "here") -> Worker:
    declared = function(app_id, "f", triggers=[{"event": f"{app_id}/go"}])
    return Worker(dev, app_id, apps=[AppConfiguration(app_id, None, json.dumps([declared]).encode())])


def app(dev: Dev, app_id: str = "here") -> dict[str, Any]:
    apps: dict[str, dict[str, Any]] = {each["id"]: each for each in dev.get("/v2/apps")}
    return apps.get(app_id, {})


def asked_again(here: App, times: int = 4) -> None:
    """Wait until it has been asked what it has, so many times."""
    count = len(here.puts()) + times
    eventually(lambda: len(here.puts()) >= count)


@pytest.mark.sqlite(
    "where workers may be connected to another process, being asked again moves no app back to its address"
)
def test_a_worker_takes_an_app_over_and_to_be_asked_again_does_not_take_it_back(dev: Dev, here: App) -> None:
    with worker(dev) as one:
        one.connect()
        version = dev.get("/v2/functions/here-f")["version"]
        asked_again(here)

        assert (app(dev)["url"], dev.get("/v2/functions/here-f")["version"]) == (CONNECTED, version)
        run_id = dev.start("here/go")
        one.answer(one.taken())
        one.hear(Kind.WORKER_REPLY_ACK, ReplyAck)
        assert (dev.ended(run_id)["output"], here.posts()) == ("done", [])
    eventually(lambda: app(dev)["url"] == here.url)
    assert dev.ended(dev.start("here/go"))["output"] == "done"
    assert len(here.posts()) == 1


def test_but_somebody_who_says_so_does(dev: Dev, here: App) -> None:
    with worker(dev) as one:
        one.connect()
        assert dev.http("POST", "/v2/syncs", {"url": here.url}).status == 200
        asked_again(here)

        assert app(dev)["url"] == here.url
        assert dev.ended(dev.start("here/go"))["output"] == "done"
        assert (len(here.posts()), one.is_silent()) == (1, True)
        with worker(dev) as two:
            two.connect()
            asked_again(here)
            assert app(dev)["url"] == CONNECTED


def test_an_app_that_is_started_anew_is_called_where_it_says(start_dev: Callable[..., Dev], here: App) -> None:
    """It registers by itself, and nobody has asked it to."""
    dev = start_dev("--no-discovery", "--no-poll", target=None)
    eventually(lambda: dev.http("GET", "/health").status == 200)
    with worker(dev) as one:
        one.connect()
        assert app(dev)["url"] == CONNECTED
        assert dev.http("POST", "/fn/register", here.registration()).json["modified"] is True
        assert app(dev)["url"] == here.url


def test_an_address_that_is_not_used_any_more_is_removed_without_its_app(dev: Dev, here: App) -> None:
    with worker(dev) as one:
        one.connect()
        assert dev.http("DELETE", f"/fn/remove?url={here.url}").status == 200

        assert app(dev)["url"] == CONNECTED
        run_id = dev.start("here/go")
        one.answer(one.taken())
        one.hear(Kind.WORKER_REPLY_ACK, ReplyAck)
        assert dev.ended(run_id)["output"] == "done"
    assert [each["url"] for each in dev.get("/v2/syncs")] == [CONNECTED]


class Slow(App):
    """It says what it has only when ``goes_on`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = Event()
        self.goes_on.set()

    def handle(self, asked: Asked) -> tuple[int, dict[str, str], bytes]:
        if asked.method == "PUT":
            self.asked.append(asked)
            self.goes_on.wait(20)
        return super().handle(asked)


@pytest.mark.parametrize("here", [Slow()], indirect=True)
def test_an_address_that_is_removed_while_it_is_asked_stays_removed(dev: Dev, here: Slow) -> None:
    here.goes_on.clear()
    asked_again(here, 1)
    here.registered = None
    assert dev.http("DELETE", f"/fn/remove?url={here.url}").status == 200
    here.goes_on.set()

    eventually(lambda: here.registered is not None)
    assert dev.get("/v2/syncs") == []
    assert dev.get(f"/v2/events/{dev.send('here/go')}/runs")["runs"] == []
    assert dev.http("POST", "/v2/syncs", {"url": here.url}).status == 200, "somebody wants it back"
    assert dev.ended(dev.start("here/go"))["output"] == "done"


def test_an_app_is_removed_once_its_workers_have_gone(dev: Dev) -> None:
    with worker(dev, "gone") as one, worker(dev, "other") as other:
        one.connect()
        other.connect()
        refused = dev.http("DELETE", f"/v2/syncs?url={CONNECTED}&app=gone")
        unclear = dev.http("DELETE", f"/fn/remove?url={CONNECTED}")

        assert (refused.status, refused.json["errors"][0]["code"]) == (409, "workers-connected")
        assert unclear.status == 400
        assert "gone, other" in unclear.json["error"]
        assert one.is_silent()
        assert dev.cli("apps", "remove", "gone").code == 1
    assert dev.cli("apps", "remove", "gone").out == f"gone at {CONNECTED} is removed.\n"

    assert (app(dev, "gone"), app(dev, "other")["url"]) == ({}, CONNECTED)
    assert dev.get(f"/v2/events/{dev.send('gone/go')}/runs")["runs"] == []
    assert dev.http("DELETE", f"/v2/syncs?url={CONNECTED}&app=gone").status == 404
    assert dev.http("DELETE", f"/fn/remove?url={CONNECTED}").status == 200, "it is clear which"
    with worker(dev, "gone") as one:
        one.connect()
        run_id = dev.start("gone/go")
        one.answer(one.taken())
        one.hear(Kind.WORKER_REPLY_ACK, ReplyAck)
        assert dev.ended(run_id)["output"] == "done"
