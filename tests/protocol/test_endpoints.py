"""Durable endpoints: what is taken from an SDK that begins a run, and what is given again of its answer."""

from __future__ import annotations

import json

import pytest

from stepwell.protocol.endpoints import replay


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
