"""What people try who want more than they may: of sessions, forms, addresses and links (invariants S12, S18-S24)."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from stepwell.dashboard.actions import ACTIONS
from stepwell.model.user import Role
from tests.dashboard.test_access import FORM, HTML, PASSWORD, act, add, audit, hidden, log_in, of, page, try_login
from tests.edge.conftest import Reply, eventually
from tests.edge.started import NEW, Start

pytestmark = pytest.mark.slow

SEALS = {"x-content-type-options": "nosniff", "x-frame-options": "DENY", "cross-origin-opener-policy": "same-origin"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    running = Start(tmp_path_factory.mktemp("attacks"))
    try:
        eventually(lambda: running.http("GET", "/health").status == 200)
        for role in Role:
            add(running, f"{role}@example.com", role)
        yield running
    finally:
        running.close()


def post(
    server: Start, path: str, cookie: str = "", /, *, headers: dict[str, str] | None = None, **given: str
) -> Reply:
    sent = {"cookie": cookie} if cookie else {}
    return server.stranger("POST", path, urlencode(given).encode(), content_type=FORM, **sent, **(headers or {}))


def names(server: Start) -> set[str]:
    return {each["name"] for each in server.get("/v2/users")}


def raw(server: Start, *lines: str) -> bytes:
    """The answer to a request that no client of ours would make."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    "path",
    [
        *("/settings/users/", "//settings/users", "/settings//users", "/settings/./users", "/runs/../settings/users"),
        *("/settings/%75sers", "/settings%2Fusers", "/settings/users%2F", "/settings/users%3F", "/settings/users;x"),
        *("/Settings/Users", "/settings/users%00", "/settings/users?part=results", "/settings/users/add?part=form"),
    ],
)
def test_no_way_of_writing_an_address_shows_who_may_log_in(server: Start, path: str) -> None:
    for role in (Role.VIEWER, Role.OPERATOR):
        reply = page(server, log_in(server, f"{role}@example.com"), path)

        assert reply.status in (401, 403, 404), (path, reply.status)
        assert b"admin@example.com" not in reply.text


@pytest.mark.parametrize("host", ["{}/runs?", "{}/assets/x?", "{}#", "x@{}", "{}\\runs?"])
def test_no_name_of_the_server_leads_past_a_role(server: Start, host: str) -> None:
    """Whole addresses are made of it, and a path in it would come before that of the request."""
    cookie, own = log_in(server, "viewer@example.com"), f"127.0.0.1:{server.port}"

    said = raw(
        server, "GET /settings/users HTTP/1.1", f"Host: {host.format(own)}", f"Cookie: {cookie}", f"Accept: {HTML}"
    )

    assert said.split()[1] in (b"400", b"403"), said[:200]
    assert b"operator@example.com" not in said


def test_a_form_without_the_token_of_its_session_does_nothing(server: Start) -> None:
    mine, other = log_in(server, "admin@example.com"), log_in(server, "admin@example.com")
    foreign = hidden(page(server, other, "/settings/users/add"))
    given = {"name": "mallory@example.com", "role": "admin", "password": PASSWORD, "again": PASSWORD}

    for csrf in ({}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": foreign["csrf"]}):
        assert post(server, "/settings/users/add", mine, **given, **csrf).status == 403
    own = hidden(page(server, mine, "/settings/users/add"))
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ):
        assert post(server, "/settings/users/add", mine, headers=headers, **given, **own).status == 403

    assert "mallory@example.com" not in names(server)
    assert page(server, mine, "/logout").status != 303, "a link logs nobody out"
    assert page(server, mine, "/runs").status == 200


def test_no_action_is_done_by_a_link(server: Start) -> None:
    cookie, before = log_in(server, "admin@example.com"), audit(server)
    csrf = hidden(page(server, cookie, "/runs"))["csrf"]

    for action in ACTIONS:
        query = urlencode({"csrf": csrf, "name": "mallory@example.com", "role": "admin", "password": PASSWORD})
        for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH"):
            reply = server.stranger(method, f"{of(action.path)}?{query}", accept=HTML, cookie=cookie)
            assert reply.status in ((200, 404) if method in ("GET", "HEAD") else (405,)), (method, action.path)

    assert audit(server) == before


def test_a_login_gives_a_session_of_its_own_and_ends_the_one_before(server: Start) -> None:
    planted = log_in(server, "viewer@example.com")

    reply = post(server, "/login", planted, name="admin@example.com", password=PASSWORD)

    cookie = reply.headers["set-cookie"].partition(";")[0]
    assert cookie != planted
    assert page(server, planted, "/runs").status == 303, "who planted it has nothing"
    made_up = "stepwell=" + "a" * 64
    given = post(server, "/login", made_up, name="admin@example.com", password=PASSWORD)
    assert given.headers["set-cookie"].partition(";")[0] != made_up
    assert page(server, made_up, "/runs").status == 303


def test_over_tls_a_cookie_that_a_neighbour_can_set_is_nothing(server: Start) -> None:
    """A page of another name under the same domain can set one, but none that begins with ``__Host-``."""
    planted = log_in(server, "viewer@example.com")
    tls = {"x_forwarded_proto": "https"}
    own = post(server, "/login", headers=tls, name="admin@example.com", password=PASSWORD)
    cookie = own.headers["set-cookie"].partition(";")[0]

    def status(shown: str) -> int:
        return server.stranger("GET", "/runs", accept=HTML, cookie=shown, **tls).status

    assert cookie.startswith("__Host-stepwell=")
    assert (status(planted), status(cookie), status(f"{planted}; {cookie}")) == (303, 200, 200)
    assert status(cookie.replace("__Host-", "")) == 303


@pytest.mark.parametrize(
    "next",
    [
        *(
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "evil.example",
            "javascript:x",
        ),
        *("/\t/evil.example", "\t//evil.example", "/%5Cevil.example/..\\x", "///evil.example", "/\r\nSet-Cookie: a=b"),
    ],
)
def test_a_login_leads_to_nobody_else(server: Start, next: str) -> None:
    reply = post(server, "/login", name="viewer@example.com", password=PASSWORD, next=next)

    assert (reply.status, reply.headers["location"]) == (303, "/")
    assert "a=b" not in reply.headers["set-cookie"]
    form = server.stranger("GET", f"/login?next={quote(next)}", accept=HTML)
    assert hidden(form)["next"] == "/"


def test_addresses_that_look_like_those_of_others_lead_home(server: Start) -> None:
    said = raw(server, "GET //evil.example/runs HTTP/1.1", f"Host: 127.0.0.1:{server.port}", f"Accept: {HTML}")

    assert b"location: /login?next=" in said.lower()
    (next,) = re.findall(rb"next=(\S+)", said)
    reply = post(server, "/login", name="viewer@example.com", password=PASSWORD, next=next.decode())
    assert not reply.headers["location"].startswith("//")


def test_the_first_admin_is_made_once_however_many_try_at_once(tmp_path: Path) -> None:
    server = Start(tmp_path)
    try:
        (token,) = eventually(lambda: re.findall(r"/setup\?token=(\S+)", server.output))
        given = {"token": token, "password": PASSWORD, "again": PASSWORD}

        with ThreadPoolExecutor(6) as pool:
            replies = list(pool.map(lambda n: post(server, "/setup", name=f"first{n}", **given), range(6)))

        assert len(names(server)) == 1
        assert sum("set-cookie" in reply.headers for reply in replies) == 1
        assert post(server, "/setup", name="late", **given).headers["location"] == "/login"
        assert post(server, "/setup", headers={"origin": "https://evil.example"}, name="x", **given).status == 403
        assert len(names(server)) == 1
        assert [each["target"] for each in audit(server, action="add-user")] == [*names(server)]
    finally:
        server.close()


def test_forms_that_are_too_much_are_refused_and_nothing_breaks(server: Start) -> None:
    cookie = log_in(server, "admin@example.com")
    csrf = hidden(page(server, cookie, "/runs"))["csrf"]
    many = {f"f{number}": "x" for number in range(50)}

    assert post(server, "/login", **many).status == 400
    assert post(server, "/settings/users/add", cookie, csrf=csrf, **many).status == 400
    for name in ("\x00", "a" * 100_000, "key abc", "%", "ada\ud7ff", "'; DROP TABLE users; --"):
        assert post(server, "/login", name=name, password=PASSWORD).status == 401
        assert post(server, "/login", name="viewer@example.com", password=name).status == 401
        for user in (
            f"/settings/users/{quote(name[:200], safe='')}/role",
            f"/settings/sessions/{quote(name[:200], safe='')}/end",
        ):
            assert page(server, cookie, user).status == 404
            assert post(server, user, cookie, csrf=csrf, role="admin").status == 404
    assert names(server) >= {f"{role}@example.com" for role in Role}


def test_an_admin_keeps_what_they_are_and_the_log_says_only_what_was_done(server: Start) -> None:
    add(server, "solo@example.com", "admin")
    cookie = log_in(server, "solo@example.com")

    assert act(server, cookie, "/settings/users/solo@example.com/role", role="viewer").status == 422
    assert act(server, cookie, "/settings/users/solo@example.com/remove").status == 404
    assert act(server, cookie, "/settings/users/viewer@example.com/role", role="root").status == 422
    assert (
        act(server, cookie, "/settings/users/viewer@example.com/password", password="short", again="short").status
        == 422
    )

    assert audit(server, who="solo@example.com", action="change-role") == []
    assert audit(server, who="solo@example.com", action="change-password") == []
    assert (
        act(server, cookie, "/settings/users/viewer@example.com/password", password=PASSWORD, again=PASSWORD).status
        == 303
    )
    (entry,) = audit(server, who="solo@example.com", action="change-password")
    assert entry["target"] == "viewer@example.com"
    assert PASSWORD not in str(entry)


def test_a_session_opens_no_door_of_programs_and_a_key_none_of_people(server: Start) -> None:
    cookie = log_in(server, "admin@example.com")

    for method, path in (("GET", "/v2/users"), ("POST", "/v2/users"), ("GET", "/v2/audit"), ("GET", "/v1/events")):
        assert server.stranger(method, path, cookie=cookie).status == 401
    assert server.http("GET", "/settings/users", accept=HTML).status == 303, f"{NEW[:8]}… is not a session"


def test_every_answer_to_a_browser_is_sealed(server: Start) -> None:
    cookie = log_in(server, "viewer@example.com")
    answers = [
        server.stranger("GET", "/login", accept=HTML),
        server.stranger("GET", "/runs", accept=HTML),
        page(server, cookie, "/runs"),
        page(server, cookie, "/settings/users"),
        page(server, cookie, "/runs/nothing"),
        try_login(server, "viewer@example.com", "wrong, wrong"),
        post(server, "/login", name="viewer@example.com", password=PASSWORD),
    ]
    for reply in answers:
        assert SEALS.items() <= reply.headers.items(), reply
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert "unsafe" not in reply.headers["content-security-policy"]
        assert reply.headers["cache-control"] == "no-store"
    assert {reply.status for reply in answers} == {200, 303, 401, 403, 404}
