"""Who may talk to the listener (invariants S8-S11)."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from stepwell.server.guard import Guard
from stepwell.server.replies import Refused
from tests.edge.conftest import PATIENCE_S, Dev, eventually
from tests.edge.served_here import free_port

TOKEN = "a-token-for-a-test-0123456789"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:1", "[::1]", "[::1]:8288"])
def test_this_machine_is_known_by_its_names(dev: Dev, host: str) -> None:
    assert dev.http("GET", "/health", host=host).status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "localhost.", "[::2]"])
def test_a_name_that_a_stranger_made_point_here_is_refused(dev: Dev, host: str) -> None:
    read, sent = dev.http("GET", "/v2/runs", host=host), dev.http("POST", "/e/k", {"name": "a/b"}, host=host)

    assert (read.status, sent.status) == (403, 403)
    assert read.json["errors"][0]["code"] == "unknown-host"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1"])
def test_another_page_may_change_nothing_but_send_events(dev: Dev, origin: str) -> None:
    run_id = dev.start("shop/requested", id=3)

    assert dev.http("POST", f"/v2/runs/{run_id}/cancel", origin=origin).status == 403
    assert dev.http("DELETE", f"/v1/runs/{run_id}", origin=origin).status == 403
    assert dev.http("POST", "/invoke/shop-bill", {}, origin=origin).status == 403
    assert dev.http("POST", "/v2/events", {"name": "a/b"}, origin=origin).status == 403
    assert dev.get(f"/v2/runs/{run_id}")["status"] == "RUNNING"


def test_another_page_may_not_read_answers(dev: Dev) -> None:
    reply = dev.http("GET", "/v2/runs", origin="https://evil.example")

    assert "access-control-allow-origin" not in reply.headers


def test_a_page_of_our_own_may_act(dev: Dev) -> None:
    run_id = dev.start("shop/requested", id=4)

    assert dev.http("POST", f"/v2/runs/{run_id}/cancel", origin=f"http://127.0.0.1:{dev.port}").status == 200


UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
BROWSER = "Accept: text/html\r\n"


def head_of_answer(port: int, request: str) -> tuple[int, list[tuple[str, str]]]:
    """The status of what is answered to these bytes, and its headers."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        connection.sendall(request.encode())
        received = b""
        while b"\r\n\r\n" not in received:
            part = connection.recv(65_536)
            assert part, received
            received += part
    first, *lines = received.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    pairs = (line.partition(": ") for line in lines)
    return int(first.split()[1]), [(name.lower(), value) for name, _, value in pairs]


def asking(line: str, headers: str = "", body: str = "") -> str:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{line} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}\r\n{body}"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (asking("GET /health"), 200),
        (asking("HEAD /health"), 200),
        (asking("POST /e/k", body='{"name": "a/b"}'), 200),
        (asking("POST /e/k", body="{"), 400),
        (asking("GET /e/k"), 405),
        (asking("OPTIONS /e/k"), 204),
        (asking("GET /v1/events"), 200),
        (asking("GET /v2/runs?limit=0"), 400),
        (asking("GET /v2/runs/01HF7YAT00000000000000000A"), 404),
        (asking("DELETE /v2/runs"), 405),
        (asking("GET /nothing"), 404),
        (asking("GET /nothing", BROWSER), 404),
        (asking("GET /v2/runs", "Origin: https://evil.example\r\n"), 200),
        (asking("POST /v2/events", "Origin: https://evil.example\r\n", "{}"), 403),
        (asking("GET /runs", BROWSER), 200),
        (asking("HEAD /runs", BROWSER), 200),
        (asking("GET /palette"), 200),
        (asking("GET /login", BROWSER), 303),
        (asking("GET /assets/nothing.js"), 404),
        (asking("GET /live?topics=runs"), 200),
        (asking("GET /v1/realtime/sse?token=x"), 401),
        (asking("GET /v1/realtime/connect?token=x", UPGRADE), 401),
        (asking("GET /nothing", UPGRADE), 404),
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        ("this is no request\r\n\r\n", 400),
    ],
)
def test_no_answer_may_be_taken_for_what_it_does_not_say_it_is(dev: Dev, request_: str, status: int) -> None:
    said, headers = head_of_answer(dev.port, request_)

    assert said == status
    assert [value for name, value in headers if name == "x-content-type-options"] == ["nosniff"]


def test_nor_may_one_of_the_gateway(start_dev: Callable[..., Dev]) -> None:
    port = free_port()
    dev = start_dev("--db", ":memory:", "--connect-gateway-port", str(port), "--no-discovery", target=None)
    eventually(lambda: dev.http("GET", "/health").status == 200)

    for request, status in ((asking("GET /"), 404), (asking("GET /nothing", UPGRADE), 404)):
        said, headers = head_of_answer(port, request)
        assert said == status
        assert [value for name, value in headers if name == "x-content-type-options"] == ["nosniff"]


@pytest.mark.slow
def test_with_a_token_nobody_acts_or_reads_without_it(start_dev: Callable[..., Dev]) -> None:
    dev = start_dev("--token", TOKEN, "--no-reload", "--host", "0.0.0.0", "--allow-host", "stepwell.internal")

    assert dev.http("POST", "/e/other-key", {"name": "a/b"}).status == 401
    assert dev.http("POST", f"/e/{TOKEN}", {"name": "a/b"}).status == 200
    assert dev.http("GET", "/v2/runs").status == 401
    assert dev.http("GET", "/v2/runs", authorization=f"Bearer {TOKEN}x").status == 401
    assert dev.http("GET", "/v2/runs", authorization=f"Bearer {TOKEN}").status == 200
    assert dev.http("GET", "/v2/runs", authorization=f"Bearer {TOKEN}", host="stepwell.internal").status == 200
    assert dev.http("GET", "/v2/runs", authorization=f"Bearer {TOKEN}", host="evil.example").status == 403
    assert dev.http("GET", "/health").status == 200
    assert dev.cli("runs", "--token", TOKEN).out == "No runs.\n"
    assert "token" in dev.cli("runs").err


def test_any_address_is_a_name_only_where_all_are_listened_on() -> None:
    everywhere, here = Guard(any_address=True), Guard()

    everywhere.check_host(b"192.0.2.7:8288")
    with pytest.raises(Refused):
        here.check_host(b"192.0.2.7:8288")
    with pytest.raises(Refused):
        everywhere.check_host(b"evil.example:8288")


@pytest.mark.parametrize(
    "host", [b"127.0.0.1:80/runs?", b"localhost:x", b"[::1]:80#", b"[::1]evil.example", b"localhost:80@evil.example"]
)
def test_what_stands_beside_a_name_is_a_port_or_the_name_is_none_of_ours(host: bytes) -> None:
    """Others make whole addresses of it, in which a path would come before that of the request."""
    with pytest.raises(Refused):
        Guard().check_host(host)
