"""Who may talk to the listener (invariants S8-S11)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stepwell.server.guard import Guard
from stepwell.server.replies import Refused
from tests.edge.conftest import Dev

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
