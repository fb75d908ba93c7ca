"""Durable endpoints: what is taken from an SDK that begins a run, and what is given again of its answer."""

from __future__ import annotations

import json

import pytest

from stepwell.protocol.endpoints import read_creation, replay
from stepwell.protocol.op_codec import Unreadable

RUN_ID = "01HF7YAT00000000000000000A"


def kept(*names: str) -> set[str]:
    """Which of these headers an answer has that is given again."""
    found = replay(json.dumps({"status": 200, "headers": dict.fromkeys(names, "x"), "body": ""}).encode())
    assert found is not None
    return set(found.headers)


def test_what_an_answer_says_about_itself_is_given_again() -> None:
    assert kept("Content-Type", "Location", "ETag", "X-Own", "x-request-cost") == {
        *("content-type", "location", "etag", "x-own", "x-request-cost")
    }


@pytest.mark.parametrize(
    "name",
    [
        *("Clear-Site-Data", "Alt-Svc", "WWW-Authenticate", "Proxy-Authenticate", "Refresh", "X-Inngest-Server-Kind"),
        *("Strict-Transport-Security", "Public-Key-Pins", "Public-Key-Pins-Report-Only", "Service-Worker-Allowed"),
        *("Set-Cookie", "Set-Cookie2", "Content-Security-Policy", "Content-Security-Policy-Report-Only", "Link"),
        *("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Cross-Origin-Opener-Policy", "NEL"),
        *("Permissions-Policy", "Referrer-Policy", "Report-To", "Reporting-Endpoints", "SourceMap", "Accept-CH"),
        *("Connection", "Transfer-Encoding", "Content-Length", "Content-Encoding", "Upgrade", "Server", "Date"),
        *("X-Accel-Redirect", "X-Sendfile", "X-Frame-Options", "X-Content-Type-Options", "X-XSS-Protection"),
    ],
)
def test_what_acts_on_our_origin_is_not_given_again(name: str) -> None:
    assert kept(name, name.lower(), name.upper()) == set()


@pytest.mark.parametrize(
    "domain",
    [
        *("http://a b", "http://a\tb", "http://a%20b", "http://a<b", "http://a\\b", 'http://a_b"c', "http://ä.test"),
        *(
            "http://a/b",
            "http://a?b",
            "http://a#b",
            "ftp://a",
            "http://",
            "a",
            "http://u@a",
            "http://a:x",
            "http://[::g]",
        ),
    ],
)
def test_a_domain_that_cannot_be_called_is_refused(domain: str) -> None:
    with pytest.raises(Unreadable):
        read_creation(creation(domain))


@pytest.mark.parametrize(
    "domain", ["http://shop.test", "https://shop.test:8443/", "http://127.0.0.1:3000", "http://[::1]:3000"]
)
def test_a_domain_is_an_origin(domain: str) -> None:
    assert read_creation(creation(domain)).app_id == domain.removesuffix("/")


def creation(domain: str) -> bytes:
    data = {"domain": domain, "method": "POST", "path": "/pay", "fn": "pay"}
    return json.dumps({"run_id": RUN_ID, "event": {"name": "inngest/http.request", "data": data}}).encode()
