"""Apps, syncs, keys and what SDKs send aside, over REST, on both kinds of server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stepwell.limits import TRACES_BYTES_MAX
from tests.edge.conftest import Dev, eventually
from tests.edge.official.conftest import free_port
from tests.edge.served_here import App, serving
from tests.edge.started import EVENT_KEY, NEW, NEW_KEY, Start, app, start

__all__ = ["app", "start"]


def test_v1_lists_the_functions_of_an_app_without_an_envelope(dev: Dev) -> None:
    reply = dev.http("GET", "/v1/apps/shop/functions")

    bill = next(each for each in reply.json if each["id"] == "shop-bill")
    assert (bill["slug"], bill["app_id"], bill["config"]["id"]) == ("shop-bill", "shop", "shop-bill")
    assert dev.http("GET", "/v1/apps/none/functions").status == 404


@pytest.mark.parametrize("kind", ["application/x-protobuf", "application/json"])
def test_spans_of_an_app_are_taken_up_to_a_size(dev: Dev, kind: str) -> None:
    taken = dev.http("POST", "/v1/traces/userland", b"\x0a\x00", content_type=kind)
    too_large = dev.http("POST", "/v1/traces/userland", b"x" * (TRACES_BYTES_MAX + 1), content_type=kind)

    assert taken.status == 200
    assert (too_large.status, too_large.json["status"], too_large.json["data"]) == (413, 413, None)


def test_telemetry_is_taken(dev: Dev) -> None:
    assert dev.http("POST", "/v0/telemetry", {"any": "thing"}).status == 200


def test_a_server_for_development_has_no_keys_to_show(dev: Dev) -> None:
    assert dev.get("/v2/keys/events") == dev.get("/v2/keys/signing") == []


def test_an_app_in_process_has_no_address(dev: Dev) -> None:
    (shop,) = dev.get("/v2/apps")

    assert (shop["id"], shop["url"], shop["error"]) == ("shop", None, None)
    assert dev.get("/v2/apps/shop/syncs") == []
    assert dev.http("GET", "/v2/apps/none/syncs").status == 404


@pytest.mark.slow
def test_keys_are_told_apart_and_never_shown(start: Any) -> None:
    server: Start = start()
    eventually(lambda: server.http("GET", "/health").status == 200)

    replies = [server.http("GET", f"/v2/keys/{kind}") for kind in ("signing", "events")]

    signing, events = (reply.json["data"] for reply in replies)
    assert [(key["name"], key["signs"]) for key in signing] == [("signing key 1", True)]
    assert [(key["name"], key["signs"]) for key in events] == [("event key 1", False)]
    for secret in (NEW, NEW_KEY.text, NEW_KEY.bearer, EVENT_KEY):
        assert all(secret.encode() not in reply.text for reply in replies)
    for key in (*signing, *events):
        assert len(key["fingerprint"]) == 12
        assert not NEW_KEY.bearer.startswith(key["fingerprint"])


@pytest.mark.slow
def test_an_app_is_synced_by_its_address_and_shows_where_it_is(start: Any, app: App) -> None:
    server: Start = start("--allow-private")
    eventually(lambda: server.http("GET", "/health").status == 200)

    reply = server.http("POST", f"/v2/apps/{app.app_id}/syncs", {"url": app.url})

    assert (reply.status, reply.json["data"]["appId"], reply.json["data"]["error"]) == (200, app.app_id, None)
    (shown,) = server.get("/v2/apps")
    assert (shown["url"], bool(shown["syncedAt"]), shown["error"]) == (app.url, True, None)
    assert server.get(f"/v2/apps/{app.app_id}/syncs")[0]["url"] == app.url
    other = server.http("POST", "/v2/apps/another/syncs", {"url": app.url})
    assert (other.status, other.json["errors"][0]["code"]) == (422, "other-app")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nobody", "private", "unsigned", "no-url", "long-url"])
def test_why_an_app_cannot_be_synced_is_said(start: Any, kind: str) -> None:
    server: Start = start(*(() if kind == "private" else ("--allow-private",)))
    eventually(lambda: server.http("GET", "/health").status == 200)
    with serving(App()) as unsigned:
        url = {"unsigned": unsigned.url, "no-url": "nonsense", "long-url": "http://x/" + "a" * 3_000}.get(
            kind, f"http://127.0.0.1:{free_port()}/api/inngest"
        )

        reply = server.http("POST", "/v2/apps/shop/syncs", {"url": url})

    (error,) = reply.json["errors"]
    assert reply.status == (400 if kind.endswith("url") else 422)
    assert error["message"] and error["why"]
    assert ("--allow-private" in error["fix"]) is (kind == "private")


@pytest.mark.slow
def test_an_address_that_could_not_be_synced_is_not_asked_again(start_dev: Callable[..., Dev], here: App) -> None:
    dev = start_dev("--port", str(here.register_at), "--no-discovery", "--poll-interval", "100ms", target=None)
    eventually(lambda: dev.http("GET", "/health").status == 200)
    here.refuses = 404, {}, b"404 page not found"

    reply = dev.http("POST", "/v2/apps/here/syncs", {"url": here.url})

    assert (reply.status, reply.json["errors"][0]["code"]) == (422, "url_not_found")
    assert dev.http("GET", "/dev").json["apps"] == []

    here.refuses = None
    again = dev.http("POST", "/v2/apps/here/syncs", {"url": here.url})
    here.refuses = 500, {}, b"gone"

    assert (again.status, again.json["data"]["appId"]) == (200, "here")
    (known,) = eventually(lambda: [each for each in dev.http("GET", "/dev").json["apps"] if each["error"]])
    assert known["url"] == here.url


def test_an_app_that_cannot_be_reached_says_so_in_development(dev: Dev) -> None:
    reply = dev.http("POST", "/v2/apps/gone/syncs", {"url": f"http://127.0.0.1:{free_port()}/api/inngest"})

    assert reply.status == 422
    assert reply.json["errors"][0]["why"]
