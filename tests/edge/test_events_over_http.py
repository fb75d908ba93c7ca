"""``POST /e/{key}``: what is accepted, what is refused, and in which words."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from http.client import HTTPConnection, HTTPResponse

import pytest

from tests.edge.conftest import PATIENCE_S, Dev, Reply, eventually


def stored(dev: Dev, name: str) -> int:
    return len(dev.get(f"/v2/events?name={name}&limit=1000"))


def refused(reply: Reply, *words: str) -> None:
    """Clients look for these three in every answer (protocol §9.1)."""
    assert (reply.status, reply.json["status"], reply.json["ids"]) == (400, 400, [])
    for word in words:
        assert word in reply.json["error"]


def test_an_event_is_acknowledged_with_its_internal_id(dev: Dev) -> None:
    reply = dev.http("POST", "/e/any-key", {"name": "http/one", "data": {"n": 1}, "id": "mine"})

    assert reply.status == 200
    (event_id,) = reply.json["ids"]
    assert reply.json == {"ids": [event_id], "status": 200}
    assert reply.headers["x-inngest-server-kind"] == "dev"
    assert dev.get(f"/v2/events/{event_id}")["id"] == "mine"


def test_91_several_events_are_answered_in_their_order(dev: Dev) -> None:
    reply = dev.http("POST", "/e/k", [{"name": "http/first"}, {"name": "http/second"}])

    assert [dev.get(f"/v2/events/{event_id}")["name"] for event_id in reply.json["ids"]] == [
        "http/first",
        "http/second",
    ]


def test_96_an_event_can_be_read_as_soon_as_it_is_acknowledged_by_many_at_once(dev: Dev) -> None:
    """Test suites of SDKs ask a GraphQL API that this server has not; over REST it is the same question."""

    def send_and_read(n: int) -> list[tuple[int, object]]:
        event_id = dev.send("http/read-at-once", n=n)
        replies = [dev.http("GET", f"{version}/events/{event_id}") for version in ("/v1", "/v2")]
        runs = [dev.http("GET", f"{version}/events/{event_id}/runs") for version in ("/v1", "/v2")]
        assert [reply.status for reply in runs] == [200, 200]
        return [(reply.status, reply.json["data"] and reply.json["data"]["data"]) for reply in replies]

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(send_and_read, range(160)))

    assert found == [[(200, {"n": n})] * 2 for n in range(160)]


def test_no_events_are_no_mistake(dev: Dev) -> None:
    assert dev.http("POST", "/e/k", []).json == {"ids": [], "status": 200}


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "no event"),
        (b"{nonsense", "cannot be read"),
        (b'"text"', "no event"),
        (b'{"data": {}}', "name"),
        (b'{"name": ""}', "no name"),
        (b'{"name": "a/b", "data": []}', "data"),
        (b'{"name": "inngest/function.finished"}', "inngest/"),
        (b'{"name": "a/b", "ts": 5}', "ts"),
    ],
)
def test_what_is_no_event_is_refused(dev: Dev, body: bytes, word: str) -> None:
    refused(dev.http("POST", "/e/k", body), word)


def deep(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


@pytest.mark.parametrize(
    ("event", "what", "fix"),
    [
        (b'{"data": {}}', "has the wrong form", 'send {"name": "app/thing.happened", "data": {}}'),
        (b"1", "", 'send {"name": "app/thing.happened", "data": {}}'),
        (b'{"name": 1}', "has a wrong name", "choose a name"),
        (b'{"name": "a/b", "id": 1}', "has a wrong id", "send a text"),
        (b'{"name": "a/b", "ts": 1e999}', "has a wrong ts", "send milliseconds"),
        (b'{"name": "a/b", "data": {"x": 1e999}}', "larger than any a double can hold", "send that number as a text"),
        (b'{"name": "a/b", "data": %b}' % deep(200), "nested deeper than", "flatten it"),
        (b'{"name": "a/b", "data": %b}' % deep(5000), "nested too deeply", "flatten it"),
        (b'{"name": "a/b", "data": {]}', "cannot be read", "send valid JSON in UTF-8"),
    ],
)
def test_the_fix_fits_the_mistake_alone_and_in_an_array(dev: Dev, event: bytes, what: str, fix: str) -> None:
    for body in (event, b"[%b]" % event):
        reply = dev.http("POST", "/e/k", body)

        refused(reply, what)
        assert fix in reply.json["fix"]


def test_one_bad_event_refuses_all(dev: Dev) -> None:
    refused(dev.http("POST", "/e/k", [{"name": "http/good"}, {"data": {}}, {"name": "http/good"}]), "[1]")

    assert stored(dev, "http/good") == 0


def test_more_events_than_a_request_may_carry_are_refused(dev: Dev) -> None:
    body = b"[" + b",".join([b'{"name":"http/many"}'] * 5001) + b"]"

    refused(dev.http("POST", "/e/k", body), "Cannot have more than 5000 events in a batch")

    assert stored(dev, "http/many") == 0


def test_an_event_that_is_too_large_is_refused(dev: Dev) -> None:
    refused(
        dev.http("POST", "/e/k", {"name": "http/large", "data": {"x": "y" * 600_000}}), "Event is over the max size"
    )


def test_a_request_that_says_it_is_too_large_is_refused_before_it_is_read(dev: Dev) -> None:
    with socket.create_connection(("127.0.0.1", dev.port), PATIENCE_S) as client:
        client.sendall(b"POST /e/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")
        response = HTTPResponse(client)
        response.begin()
        answer = response.read()

    assert response.status == 400
    assert b"Event is over the max size" in answer


def test_a_request_that_does_not_say_that_it_is_too_large_is_refused_as_well(dev: Dev) -> None:
    connection = HTTPConnection("127.0.0.1", dev.port, timeout=PATIENCE_S)
    chunk = b" " * (1 << 20)
    try:
        connection.request("POST", "/e/k", iter([chunk] * 34), encode_chunked=True)
        response = connection.getresponse()
        answer = json.loads(response.read())
    finally:
        connection.close()

    assert (response.status, answer["ids"]) == (400, [])


def test_92_a_request_sent_again_with_its_seed_starts_nothing_twice(dev: Dev) -> None:
    seed = "1700000000000,AAAAAAAAAAAAAA=="
    body = [{"name": "shop/ordered"}, {"name": "shop/ordered"}]

    first = dev.http("POST", "/e/k", body, x_inngest_event_id_seed=seed).json["ids"]
    again = dev.http("POST", "/e/k", body, x_inngest_event_id_seed=seed).json["ids"]

    assert first == again == ["01HF7YAT000000000000000001", "01HF7YAT000000000000000002"]
    assert len(dev.get(f"/v2/events/{first[0]}/runs")["runs"]) == 1


def test_93_the_same_id_starts_a_function_once_and_the_second_event_says_why(dev: Dev) -> None:
    dev.http("POST", "/e/k", {"name": "shop/ordered", "id": "order-1"})
    (second,) = dev.http("POST", "/e/k", {"name": "shop/ordered", "id": "order-1"}).json["ids"]

    found = dev.get(f"/v2/events/{second}/runs")
    assert found["runs"] == []
    assert [outcome["kind"] for outcome in found["outcomes"]] == ["deduplicated"]


def test_a_web_page_of_any_origin_may_send_events(dev: Dev) -> None:
    asked = dev.http("OPTIONS", "/e/k", origin="https://shop.example", access_control_request_headers="x-inngest-sdk")
    sent = dev.http("POST", "/e/k", {"name": "http/page"}, origin="https://shop.example")

    assert asked.status == 204
    assert asked.headers["access-control-allow-origin"] == "*"
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert sent.status == 200
    assert sent.headers["access-control-allow-origin"] == "*"


def test_a_page_can_read_why_its_event_was_refused(dev: Dev) -> None:
    reply = dev.http("POST", "/e/k", b"{", origin="https://shop.example")

    assert (reply.status, reply.headers["access-control-allow-origin"]) == (400, "*")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_events_are_posted_and_nothing_else(dev: Dev, method: str) -> None:
    reply = dev.http(method, "/e/k")

    assert reply.status == 405
    assert reply.json == {"error": "method not allowed", "status": 405, "ids": []}


@pytest.mark.parametrize("path", ["/e/", "/e/a/b", "/e"])
def test_events_go_to_one_address(dev: Dev, path: str) -> None:
    assert dev.http("POST", path, {"name": "http/lost"}).status == 404
    assert stored(dev, "http/lost") == 0


def test_a_server_can_be_given_another_limit(start_dev: Callable[..., Dev]) -> None:
    dev = start_dev("--max-event-bytes", "2000000")
    eventually(lambda: dev.http("GET", "/health").status == 200)

    large = {"name": "http/large", "data": {"text": "x" * 1_900_000}}
    assert dev.http("POST", "/e/k", large).status == 200
    assert dev.http("POST", "/v2/events", large).status == 200
    larger = {"name": "http/large", "data": {"text": "x" * 2_000_000}}
    for path in ("/e/k", "/v2/events", "/v2/apps/shop/functions/any/invoke"):
        reply = dev.http("POST", path, larger)
        assert reply.status == 400
        assert "the limit is 2,000,000 bytes" in reply.text.decode()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"name=shop%2Fordered&data=x", "application/x-www-form-urlencoded"),
        (
            b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nshop/ordered\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
        ),
    ],
)
def test_a_form_is_no_event(dev: Dev, body: bytes, kind: str) -> None:
    refused(dev.http("POST", "/e/k", body, content_type=kind))


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_json_is_read_whatever_the_request_calls_it(dev: Dev, kind: str) -> None:
    """As curl has it, which calls everything a form."""
    assert dev.http("POST", "/e/k", b'{"name": "http/typed"}', content_type=kind).status == 200


def test_94_routing_information_of_strangers_is_not_kept(dev: Dev) -> None:
    event = {"name": "http/routed", "data": {"n": 1, "_inngest": {"fn_id": "shop-bill"}}}
    (event_id,) = dev.http("POST", "/e/k", event).json["ids"]

    assert dev.get(f"/v2/events/{event_id}")["data"] == {"n": 1}


def test_95_an_event_of_the_future_starts_its_runs_then(dev: Dev) -> None:
    now = int(time.time() * 1000)
    (event_id,) = dev.http("POST", "/e/k", {"name": "shop/ordered", "ts": now + 1_500}).json["ids"]

    (run,) = dev.get(f"/v2/events/{event_id}/runs")["runs"]
    assert (run["status"], run["startedAt"]) == ("QUEUED", None)
    ended = dev.ended(run["id"])
    assert 0 <= moment(ended["startedAt"]) - (now + 1_500) < 1_500


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() * 1000


@pytest.mark.parametrize(
    ("meta", "kept"),
    [
        ({"sessions": {"chat": "c1", "n": 7}}, {"sessions": {"chat": "c1", "n": "7"}}),
        (
            {"propagated_sessions": {"chat": "c1", "room": "r"}, "sessions": {"chat": "c2"}},
            {"sessions": {"chat": "c2", "room": "r"}},
        ),
        ({"propagated_sessions": {"chat": "c1"}, "sessions": {"chat": None}}, None),
        ({"propagated_sessions": {"chat": "c1"}, "sessions": None}, None),
        ({"sessions": {str(n): "x" for n in range(5)} | {"gone": None}}, {"sessions": {str(n): "x" for n in range(5)}}),
        ({}, None),
    ],
)
def test_sessions_are_merged_and_kept(dev: Dev, meta: object, kept: object) -> None:
    (event_id,) = dev.http("POST", "/e/k", {"name": "http/session", "meta": meta}).json["ids"]

    assert dev.get(f"/v2/events/{event_id}")["meta"] == kept


@pytest.mark.parametrize(
    "sessions",
    [{str(n): "x" for n in range(6)}, {"k" * 129: "x"}, {"k": "x" * 513}, {"": "x"}, {"k": ""}, {"k": []}, []],
)
def test_sessions_beyond_their_limits_are_refused(dev: Dev, sessions: object) -> None:
    refused(dev.http("POST", "/e/k", {"name": "http/session", "meta": {"sessions": sessions}}))


def test_91_names_of_512_bytes_and_5000_events_fit(dev: Dev) -> None:
    reply = dev.http("POST", "/e/k", [{"name": "n" * 512}] * 5_000)

    assert (reply.status, len(set(reply.json["ids"]))) == (200, 5_000)
    assert reply.json["ids"] == sorted(reply.json["ids"])
    refused(dev.http("POST", "/e/k", {"name": "n" * 513}))


@pytest.mark.parametrize(
    ("ts", "status"), [(315_532_800_000, 200), (315_532_799_999, 400), (4_102_444_800_001, 400), (0, 200)]
)
def test_a_moment_lies_between_1980_and_2100(dev: Dev, ts: int, status: int) -> None:
    assert dev.http("POST", "/e/k", {"name": "http/moment", "ts": ts}).status == status


def test_missing_and_empty_members_are_as_if_they_were_left_out(dev: Dev) -> None:
    """As the SDKs of the field send them."""
    event = {"name": "http/bare", "data": None, "id": "", "ts": 0, "v": None, "user": {}, "meta": None}
    (event_id,) = dev.http("POST", "/e/k", event).json["ids"]

    found = dev.get(f"/v2/events/{event_id}")
    assert (found["id"], found["data"], found["v"], found["user"], found["meta"]) == (event_id, {}, None, None, None)
