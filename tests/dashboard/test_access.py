"""Who may do what, and who did it: users with roles, their sessions, and the log of what they did (ADR 0048)."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from playwright.sync_api import expect

from stepwell.dashboard.actions import ACTIONS
from stepwell.dashboard.pages import PAGES
from stepwell.limits import LOGIN_FAILURES_MAX, SESSION_CHECKED
from stepwell.model.user import Role
from stepwell.server.access import page_role
from tests.dashboard.conftest import SHOTS, Visitor
from tests.edge.conftest import STEPWELL, Dev, Reply, eventually
from tests.edge.started import NEW, Start

pytestmark = pytest.mark.slow

HTML = "text/html,application/xhtml+xml"
FORM = "application/x-www-form-urlencoded"
PASSWORD = "correct horse battery"
NOBODY = "01HF7YAT00000000000000000A"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    running = Start(tmp_path_factory.mktemp("access"))
    try:
        eventually(lambda: running.http("GET", "/health").status == 200)
        for role in Role:
            add(running, f"{role}@example.com", role)
        yield running
    finally:
        running.close()


def add(server: Start, name: str, role: str = "viewer") -> Reply:
    return server.http("POST", "/v2/users", {"name": name, "role": role, "password": PASSWORD})


def try_login(server: Start, name: str, password: str = PASSWORD) -> Reply:
    body = urlencode({"name": name, "password": password, "next": "/runs"}).encode()
    return server.stranger("POST", "/login", body, content_type=FORM)


def log_in(server: Start, name: str) -> str:
    """The cookie of a new session."""
    reply = try_login(server, name)
    assert reply.status == 303, reply
    return reply.headers["set-cookie"].partition(";")[0]


def page(server: Start, cookie: str, path: str) -> Reply:
    return server.stranger("GET", path, accept=HTML, cookie=cookie)


def hidden(reply: Reply) -> dict[str, str]:
    """What a form says without being asked."""
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', reply.text.decode())
    return {name: unescape(value) for name, value in found}


def act(server: Start, cookie: str, path: str, **given: str) -> Reply:
    """Open the form of an action, and send it."""
    form = page(server, cookie, path)
    body = urlencode({**hidden(form), **given}).encode()
    return server.stranger("POST", path, body, content_type=FORM, cookie=cookie)


def audit(server: Start, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.get(f"/v2/audit?{urlencode(query)}")
    return found


def of(path: str) -> str:
    """An address that nothing is at."""
    return re.sub(r"\{\w+\}", NOBODY, path)


@pytest.mark.parametrize("role", list(Role))
def test_each_role_sees_the_pages_and_may_open_the_actions_that_are_its_own(server: Start, role: Role) -> None:
    cookie = log_in(server, f"{role}@example.com")

    for each in PAGES:
        status = page(server, cookie, of(each.path)).status
        allowed = role.may(page_role(each.path))
        assert (status == 403) is not allowed, (each.path, status)
    csrf = hidden(page(server, cookie, "/runs"))["csrf"]
    for action in ACTIONS:
        allowed = role.may(action.role) and role.may(page_role(action.path))
        assert (page(server, cookie, of(action.path)).status == 403) is not allowed, action.path
        body = urlencode({"csrf": csrf}).encode()
        reply = server.stranger("POST", of(action.path), body, content_type=FORM, cookie=cookie)
        assert (reply.status == 403) is not allowed, (action.path, reply.status)
        assert server.stranger("POST", of(action.path), body, content_type=FORM).status == 401


def test_what_somebody_may_not_do_is_not_shown_to_them(server: Start) -> None:
    shown = {role: page(server, log_in(server, f"{role}@example.com"), "/settings/sessions").text for role in Role}

    assert b"/settings/users" in shown[Role.ADMIN]
    assert b"/settings/users" not in shown[Role.OPERATOR] + shown[Role.VIEWER]
    assert b"admin@example.com" not in shown[Role.VIEWER], "they see their own sessions"


def test_the_palette_offers_what_somebody_may_do_and_no_more(server: Start) -> None:
    def offered(role: Role, q: str = "") -> set[str]:
        found = page(server, log_in(server, f"{role}@example.com"), f"/palette?q={q}").json
        return {each["title"] for each in found if each["act"] or each["detail"] == "Settings"}

    of_operators = {"Send events", "Send a signal", "Cancel many", "Run many again", "Drain everything"}
    assert offered(Role.VIEWER) == set()
    assert offered(Role.OPERATOR) == of_operators
    assert offered(Role.ADMIN) == of_operators | {"Sync an app", "Add a user"}
    assert offered(Role.VIEWER, "a") == {"Audit log", "About"}
    assert [offered(role, "users") for role in Role] == [{"Users"} if role is Role.ADMIN else set() for role in Role]


def test_parts_that_people_ask_for_at_the_same_time_are_made_for_each_role_and_of_nobody_else(server: Start) -> None:
    cookies = {role: log_in(server, f"{role}@example.com") for role in Role}
    csrf = {role: hidden(page(server, cookie, "/runs"))["csrf"].encode() for role, cookie in cookies.items()}
    asking = [*Role] * 8
    of_all = "/runs?status=failed&part=results"
    of_each = "/settings/sessions?part=results"

    for path in (of_all, of_each):
        with ThreadPoolExecutor(len(asking)) as pool:
            replies = list(pool.map(lambda role: page(server, cookies[role], path), asking))  # noqa: B023
        for role, reply in zip(asking, replies, strict=True):
            assert reply.status == 200
            assert (b"/runs/bulk/cancel" in reply.text) is (path == of_all and role is not Role.VIEWER)
            named = {each for each in Role if f"{each}@example.com".encode() in reply.text}
            assert named == (set() if path == of_all else set(Role) if role is Role.ADMIN else {role})
            assert not any(each in reply.text for each in csrf.values())


def test_a_wrong_password_and_a_name_that_nobody_has_are_told_the_same(server: Start) -> None:
    add(server, "grace@example.com")
    wrong, nobody = try_login(server, "grace@example.com", "not it, not it"), try_login(server, "mallory@example.com")

    def bare(reply: Reply) -> bytes:
        return reply.text.replace(b"grace", b"NAME").replace(b"mallory", b"NAME")

    assert (wrong.status, bare(wrong)) == (nobody.status, bare(nobody)) == (401, bare(wrong))
    assert "set-cookie" not in wrong.headers
    for name in ("grace@example.com", "mallory@example.com"):
        for _ in range(LOGIN_FAILURES_MAX - 1):
            try_login(server, name, "x")
        assert try_login(server, name).status == 429, "also with the right password"
    assert try_login(server, "viewer@example.com").status == 303, "the others go on"
    assert [each["target"] for each in audit(server, action="refuse-login")][:1] == ["grace@example.com"]


def test_a_session_that_is_ended_is_of_no_use_and_so_are_all_when_the_role_changes(server: Start) -> None:
    add(server, "edsger@example.com")
    first, second = log_in(server, "edsger@example.com"), log_in(server, "edsger@example.com")
    sessions = [each for each in server.get("/v2/sessions") if each["who"] == "edsger@example.com"]
    assert len(sessions) == 2

    assert act(server, second, f"/settings/sessions/{sessions[1]['id']}/end").status == 303

    assert (page(server, first, "/runs").status, page(server, second, "/runs").status) == (303, 200)
    assert server.http("POST", "/v2/users/edsger@example.com/role", {"role": "operator"}).json["data"]["role"]
    eventually(lambda: page(server, second, "/runs").status == 303)
    assert server.http("DELETE", "/v2/users/edsger@example.com").status == 200
    assert try_login(server, "edsger@example.com").status == 401


def test_everybody_changes_their_own_password_who_knows_the_present_one(server: Start) -> None:
    add(server, "barbara@example.com")
    cookie, new = log_in(server, "barbara@example.com"), "another horse battery"
    path, given = "/settings/password", {"password": new, "again": new}

    wrong = act(server, cookie, path, present="not it", **given)
    assert (wrong.status, new.encode() in wrong.text) == (422, False)
    assert act(server, cookie, path, present=PASSWORD, **given).status == 303

    assert page(server, cookie, "/runs").status == 303, "all sessions have ended"
    assert try_login(server, "barbara@example.com").status == 401
    assert try_login(server, "barbara@example.com", new).status == 303
    by_key = server.stranger("POST", "/login", urlencode({"token": NEW}).encode(), content_type=FORM)
    assert page(server, by_key.headers["set-cookie"].partition(";")[0], path).status == 404
    (noted, *_) = audit(server, action="change-own-password")
    assert (noted["who"], noted["detail"]) == ("barbara@example.com", "")


def test_nobody_ends_the_session_of_somebody_else_unless_they_are_an_admin(server: Start) -> None:
    mine, admin = log_in(server, "viewer@example.com"), log_in(server, "admin@example.com")
    (other, *_) = [each["id"] for each in server.get("/v2/sessions") if each["who"] == "admin@example.com"]

    assert act(server, mine, f"/settings/sessions/{other}/end").status == 404
    assert page(server, admin, "/runs").status == 200


def test_a_session_that_another_process_ends_is_of_no_use_within_seconds(tmp_path: Path) -> None:
    one, other = Start(tmp_path), Start(tmp_path)
    try:
        for each in (one, other):
            eventually(lambda each=each: each.http("GET", "/health").status == 200)
        add(one, "ada@example.com")
        cookie = log_in(one, "ada@example.com")
        assert (page(one, cookie, "/runs").status, page(other, cookie, "/runs").status) == (200, 200)
        (session,) = one.get("/v2/sessions")

        assert other.http("DELETE", f"/v2/sessions/{session['id']}").status == 200

        for each in (one, other):
            within = SESSION_CHECKED.total_seconds() + 5
            eventually(lambda each=each: page(each, cookie, "/runs").status == 303, within=within)
    finally:
        one.close()
        other.close()


def test_what_others_say_of_themselves_is_text(server: Start) -> None:
    markup = "<script>alert(1)</script>"
    body = urlencode({"token": NEW}).encode()
    reply = server.stranger("POST", "/login", body, content_type=FORM, user_agent=markup)
    server.http("POST", "/v2/orders", {"kind": "drain", "reason": markup}, x_request_id=markup)
    server.http("DELETE", "/v2/orders?kind=drain")
    cookie = reply.headers["set-cookie"].partition(";")[0]

    for path in ("/settings/sessions", "/settings/audit", f"/settings/audit?who={quote(markup)}"):
        shown = page(server, cookie, path).text.decode()
        assert markup not in shown and "&lt;script&gt;" in shown, path


def test_the_log_says_who_did_what_with_its_effect_and_nothing_else(server: Start) -> None:
    cookie = log_in(server, "operator@example.com")
    sent = act(server, cookie, "/events/send", name="shop/none", data='{"secret": "hush"}')
    assert sent.status in (303, 422), sent

    before = len(audit(server, action="withdraw-order"))
    server.http("POST", "/v2/orders", {"kind": "drain", "reason": "maintenance"}, x_request_id="req-7")
    server.http("POST", "/v2/orders", {"kind": "drain", "reason": "maintenance"}, x_request_id="req-8")
    server.http("DELETE", "/v2/orders?kind=drain", None)
    server.http("DELETE", "/v2/orders?kind=drain", None)

    (given, *_) = audit(server, action="give-order")
    assert (given["via"], given["requestId"][:4]) == ("api", "req-")
    assert given["who"].startswith("key ") and "maintenance" in given["detail"]
    assert len(audit(server, action="withdraw-order")) == before + 1, "what changes nothing is not noted"
    entries = audit(server, limit="1000")
    assert "hush" not in str(entries) and PASSWORD not in str(entries)
    assert [each["id"] for each in entries] == sorted((each["id"] for each in entries), reverse=True)
    (added, *_) = audit(server, target="operator@example.com", action="add-user")
    assert (added["via"], added["detail"]) == ("api", "role=operator")
    assert audit(server, who="operator@example.com")[-1]["action"] == "log-in"


def test_what_no_form_asks_for_is_not_noted(server: Start) -> None:
    cookie = log_in(server, "operator@example.com")

    given = act(server, cookie, "/functions/drain", reason="tidy", name="mallory", smuggled="<b>x</b>", sure="1")
    ended = act(server, cookie, "/functions/undrain", reason="not asked here")

    assert (given.status, ended.status) == (303, 303)
    (drained, *_), (undrained, *_) = (audit(server, action=f"{verb}-everything") for verb in ("drain", "undrain"))
    assert (drained["target"], drained["detail"]) == ("", "reason=tidy")
    assert (undrained["target"], undrained["detail"]) == ("", "")


def test_a_logout_is_noted_once_and_with_whoever_did_it(server: Start) -> None:
    name = "viewer@example.com"
    cookie = log_in(server, name)
    body = urlencode({"csrf": hidden(page(server, cookie, "/runs"))["csrf"]}).encode()
    before = len(audit(server, action="log-out"))

    first, second = (server.stranger("POST", "/logout", body, content_type=FORM, cookie=cookie) for _ in "ab")

    assert (first.status, first.headers["location"], second.status) == (303, "/login", 401)
    (entry, *_) = audit(server, who=name)
    assert (entry["action"], entry["target"], entry["via"]) == ("log-out", name, "dashboard")
    assert len(audit(server, action="log-out")) == before + 1


def test_the_log_is_read_page_by_page_and_by_what_is_looked_for(server: Start) -> None:
    whole = audit(server, limit="1000")
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        reply = server.http("GET", f"/v2/audit?{urlencode({'limit': '3', 'cursor': cursor})}").json
        found += reply["data"]
        cursor = reply["page"]["cursor"] or ""
        if not cursor:
            break
    assert found == whole
    assert audit(server, via="api", limit="1000") == [each for each in whole if each["via"] == "api"]
    assert audit(server, until=whole[-1]["at"]) == []


def test_commands_do_what_the_pages_do(server: Start, tmp_path: Path) -> None:
    def stepwell(*words: str, given: str = "") -> str:
        options = ["--url", server.url, "--token", NEW]
        done = subprocess.run(
            [*STEPWELL, *words, *options], input=given, capture_output=True, text=True, cwd=tmp_path, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    added = stepwell("users", "add", "lin@example.com", "--role", "operator", given=PASSWORD)
    assert "may log in, as operator" in added
    log_in(server, "lin@example.com")
    assert "lin@example.com" in stepwell("users")
    (line,) = [line for line in stepwell("users", "sessions").splitlines() if line.startswith("lin@")]
    assert "is ended" in stepwell("users", "end", line.split()[1])
    assert "is admin now" in stepwell("users", "role", "lin@example.com", "admin")
    made = re.search(r"Password: (\w+)", stepwell("users", "passwd", "lin@example.com", "--generate"))
    assert made is not None and try_login(server, "lin@example.com", made[1]).status == 303
    assert "cannot log in" in stepwell("users", "remove", "lin@example.com")
    said = stepwell("audit", "--target", "lin@example.com")
    assert [line.split()[-2] for line in said.splitlines() if "remove-user" in line] == ["remove-user"]
    assert "cli" in said


def test_what_no_user_can_have_is_refused(server: Start) -> None:
    def status(name: str = "new@example.com", role: str = "viewer", password: str = PASSWORD) -> int:
        return server.http("POST", "/v2/users", {"name": name, "role": role, "password": password}).status

    assert status("Ada") == status("key abc") == status("") == status(role="root") == 400
    assert status(password="short") == status(password="a" * 20) == status("viewer@example.com") == 400
    assert server.http("POST", "/v2/users/none@example.com/role", {"role": "admin"}).status == 404


def test_the_first_admin_is_made_once_by_the_link_that_was_printed(
    visit: Callable[..., Visitor], tmp_path: Path
) -> None:
    server = Start(tmp_path)
    try:
        (token,) = eventually(lambda: re.findall(r"/setup\?token=(\S+)", server.output))
        for wrong in ("", "1.x", f"{int(token.split('.')[0]) + 1}.{token.split('.')[1]}"):
            assert server.stranger("GET", f"/setup?token={wrong}").headers["location"] == "/login"
        visitor = visit(server)
        visitor.expected = ["400"]
        found = visitor.open(f"/setup?token={quote(token)}")
        for again in ("another password", PASSWORD):
            found.get_by_label("User").fill("Ada@Example.com")
            found.get_by_label("Password", exact=True).fill(PASSWORD)
            found.get_by_label("Password again").fill(again)
            found.screenshot(path=SHOTS / f"setup-{again == PASSWORD}.png")
            found.keyboard.press("Enter")
        expect(found.get_by_role("navigation", name="Main")).to_be_visible()
        found.get_by_role("link", name="Settings").click()
        expect(found.get_by_role("cell", name="ada@example.com you", exact=True)).to_be_visible()
        assert server.stranger("GET", f"/setup?token={token}").status == 303
        found.get_by_role("button", name="Log out").click()
        expect(found.get_by_label("Password")).to_be_visible()
    finally:
        server.close()


def test_an_admin_adds_a_user_and_finds_that_in_the_log(visit: Callable[..., Visitor], server: Start) -> None:
    visitor = visit(server)
    found = visitor.open("/settings/users")
    found.get_by_label("User").fill("admin@example.com")
    found.get_by_label("Password").fill(PASSWORD)
    found.keyboard.press("Enter")
    visitor.live()
    found.get_by_role("link", name="Add a user").click()
    dialog = found.get_by_role("dialog")
    dialog.get_by_label("Name").fill("margaret@example.com")
    dialog.get_by_label("Operator").check()
    dialog.get_by_label("Password", exact=False).first.fill(PASSWORD)
    dialog.get_by_label("Password again").fill(PASSWORD)
    found.screenshot(path=SHOTS / "users-add.png")
    found.keyboard.press("Enter")
    expect(found.get_by_role("cell", name="margaret@example.com", exact=True)).to_be_visible()

    found.get_by_role("link", name="Audit log").click()
    expect(found.locator("#rows tr").first).to_contain_text("add-user")
    found.get_by_label("Action").fill("remove-user")
    found.keyboard.press("Enter")
    expect(found.locator("#results")).not_to_contain_text("add-user")
    shoot(visit, server, found.context.cookies())


def shoot(visit: Callable[..., Visitor], server: Dev, cookies: Any) -> None:
    """What it looks like, for people."""
    for width in (360, 768, 1440):
        for scheme in ("light", "dark"):
            visitor = visit(server, viewport={"width": width, "height": 800}, color_scheme=scheme)
            visitor.page.context.add_cookies(cookies)
            for name in ("users", "sessions", "audit"):
                visitor.open(f"/settings/{name}")
                visitor.live()
                visitor.page.screenshot(path=SHOTS / f"{name}-{width}-{scheme}.png")
                assert visitor.page.evaluate("document.documentElement.scrollWidth") <= width
            visitor.page.context.clear_cookies()
            visitor.open("/login")
            visitor.page.screenshot(path=SHOTS / f"login-{width}-{scheme}.png")
