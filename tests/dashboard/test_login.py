"""Who may look: people who have logged in, where there are keys or a token, and nobody else (invariants S18-S21)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect

from stepwell.dashboard.pages import PAGES
from stepwell.limits import LOGIN_FAILURES_MAX
from tests.dashboard.conftest import Visitor
from tests.edge.conftest import Dev, Reply, eventually
from tests.edge.started import EVENT_KEY, NEW, OLD, Start

pytestmark = pytest.mark.slow

HTML = "text/html,application/xhtml+xml"


@pytest.fixture
def production(tmp_path: Path) -> Iterator[Start]:
    running = Start(tmp_path)
    try:
        eventually(lambda: running.http("GET", "/health").status == 200)
        yield running
    finally:
        running.close()


def log_in(server: Start, token: str, **headers: str) -> Reply:
    body = urlencode({"token": token, "next": "/runs"}).encode()
    return server.stranger("POST", "/login", body, content_type="application/x-www-form-urlencoded", **headers)


def test_no_page_is_shown_to_strangers(production: Start) -> None:
    assert len(PAGES) >= 8
    for page in PAGES:
        path = re.sub(r"\{[^}]+\}", "x", page.path)
        for method in ("GET", "POST"):
            reply = production.stranger(method, path, accept=HTML)
            assert reply.status == (303 if method == "GET" else 401), (method, path)
            if method == "GET":
                assert reply.headers["location"].startswith("/login?next=")
    for path in ("/live?topics=runs", "/logout"):
        assert production.stranger("GET", path).status in (303, 401)


def test_a_person_logs_in_and_out_in_a_browser(visit: Callable[..., Visitor], production: Start) -> None:
    visitor = visit(production)
    visitor.expected = ["401"]
    page = visitor.open("/events?age=1h")
    field = page.get_by_label("Signing key")
    field.fill("not it")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    field.fill(NEW)
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name="Events")).to_be_visible()
    assert page.url.endswith("/events?age=1h")
    visitor.live()
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
    assert NEW.removeprefix("signkey-prod-") not in cookie["value"]
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Signing key")).to_be_visible()
    assert page.context.cookies() == []


def test_over_tls_the_cookie_is_for_tls_alone(production: Start) -> None:
    plain, tls = log_in(production, NEW), log_in(production, NEW, x_forwarded_proto="https")

    assert plain.headers["set-cookie"].startswith("stepwell=")
    assert tls.headers["set-cookie"].startswith("__Host-stepwell=")
    assert "Secure" in tls.headers["set-cookie"]


def test_other_keys_open_nothing_and_too_many_are_refused(production: Start) -> None:
    answers = [log_in(production, each) for each in (OLD, EVENT_KEY, "", "undefined")]
    assert {reply.status for reply in answers} == {401}
    assert not any("set-cookie" in reply.headers for reply in answers)

    for _ in range(LOGIN_FAILURES_MAX - len(answers)):
        log_in(production, "x")

    assert log_in(production, NEW).status == 429


def test_a_session_is_of_use_to_our_own_pages_alone(production: Start) -> None:
    cookie = log_in(production, NEW).headers["set-cookie"].partition(";")[0]
    body = b"csrf=wrong"

    assert production.stranger("GET", "/runs", accept=HTML, cookie=cookie).status == 200
    assert production.stranger("POST", "/logout", body, cookie=cookie).status == 403
    for headers in ({"origin": "https://evil.example"}, {"sec_fetch_site": "cross-site"}):
        assert production.stranger("POST", "/logout", body, cookie=cookie, **headers).status == 403
        assert log_in(production, NEW, **headers).status == 403
    # Programs show a key; a cookie, which a browser adds by itself, is none.
    assert production.stranger("GET", "/v2/runs", cookie=cookie).status == 401


@pytest.mark.parametrize("change", ["x", "", "0"])
def test_a_cookie_that_was_changed_is_none(production: Start, change: str) -> None:
    name, _, value = log_in(production, NEW).headers["set-cookie"].partition(";")[0].partition("=")
    for forged in (
        f"{value}{change or 1}",
        f"{chr(ord(value[0]) ^ 1)}{value[1:]}{change}",
        value.upper(),
        change,
    ):
        assert production.stranger("GET", "/runs", accept=HTML, cookie=f"{name}={forged}").status == 303


def test_nobody_is_led_elsewhere_by_the_login(production: Start) -> None:
    for next in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"):
        body = urlencode({"token": NEW, "next": next}).encode()
        reply = production.stranger("POST", "/login", body, content_type="application/x-www-form-urlencoded")
        assert (reply.status, reply.headers["location"]) == (303, "/")


def test_a_development_server_with_a_token_asks_for_it(start_dev: Callable[..., Dev]) -> None:
    server = start_dev("--no-reload", "--token", "a-token-of-16-or-more")
    eventually(lambda: server.http("GET", "/health").status == 200)

    assert server.http("GET", "/runs", accept=HTML).status == 303
    body = urlencode({"token": "a-token-of-16-or-more"}).encode()
    assert server.http("POST", "/login", body).status == 303


def test_without_pages_there_are_none(start_dev: Callable[..., Dev]) -> None:
    server = start_dev("--no-reload", "--no-ui")
    eventually(lambda: server.http("GET", "/health").status == 200)

    for path in ("/", "/runs", "/login", "/live?topics=runs", "/assets/x/app.js"):
        assert server.http("GET", path, accept=HTML).status == 404, path


def test_programs_are_told_at_the_front_door_what_they_were_before(shop: Dev) -> None:
    assert shop.http("GET", "/").json["status"] == 404


def test_pages_may_load_nothing_but_what_is_ours(shop: Dev) -> None:
    for path in ("/runs", "/login", "/runs/nothing", "/nothing"):
        headers = shop.http("GET", path, accept=HTML).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")


def test_a_page_of_another_name_sees_nothing(shop: Dev) -> None:
    assert shop.http("GET", "/runs", accept=HTML, host="evil.example").status == 403


def test_hints_are_asked_for_by_few_and_short_names(shop: Dev) -> None:
    for topics in ("", "x" * 65, "+".join(f"run:{number}" for number in range(17))):
        assert shop.http("GET", f"/live?topics={topics}").status == 400
