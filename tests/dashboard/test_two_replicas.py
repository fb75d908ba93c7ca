"""Two replicas on one PostgreSQL: the pages of one show what the other does, and what is done on them is done there.

The functions are served by an app that both call; a person is logged in at one, and known to both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect

from stepwell.limits import SESSION_CHECKED
from tests.dashboard.conftest import Visitor
from tests.dashboard.forms import HTML, SENT
from tests.edge.conftest import Reply, eventually
from tests.edge.served_here import App, Asked, serving
from tests.edge.started import NEW_KEY, Start
from tests.postgres import database

pytestmark = pytest.mark.slow

NAME, PASSWORD = "ada@example.com", "correct horse battery"


def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
    """A function that sleeps for three hours, and one whose step fails as long as it is not tried again."""
    call = asked.call
    known = call["steps"]
    if "fnId=here-rest&" in asked.path:
        op = {"id": "a" * 40, "op": "Sleep", "name": "3h", "displayName": "nap"}
        return (200, {}, b'"rested"') if known else (206, {}, json.dumps([op]).encode())
    if "fnId=here-fail&" in asked.path and call["ctx"]["attempt"] == 0:
        return 500, {}, b'{"name":"Error","message":"not yet"}'
    return 200, {}, b'"done"'


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Start, Start]]:
    folder = tmp_path_factory.mktemp("replicas")
    with serving(App(NEW_KEY)) as app, database() as url:
        app.functions = [app.function(name, attempts=3) for name in ("rest", "fail", "pack")]
        app.answer = answer
        options = ("--store", url, "--allow-private", "--retry-interval", "1h", "-u", app.url)
        running = [Start(folder, *options), Start(folder, *options)]
        try:
            for each in running:
                each.wait_for(app)
            one, other = running
            user = {"name": NAME, "role": "admin", "password": PASSWORD}
            assert one.http("POST", "/v2/users", user).status in (200, 201)
            yield one, other
        finally:
            for each in running:
                each.close()


def log_in(server: Start, name: str = NAME, password: str = PASSWORD) -> str:
    body = urlencode({"name": name, "password": password, "next": "/runs"}).encode()
    reply = server.stranger("POST", "/login", body, content_type=SENT)
    assert reply.status == 303, reply
    return reply.headers["set-cookie"].partition(";")[0]


@pytest.fixture(scope="module")
def cookie(both: tuple[Start, Start]) -> str:
    """Of a session that began at the second."""
    return log_in(both[1])


def page(server: Start, cookie: str, path: str) -> Reply:
    return server.stranger("GET", path, accept=HTML, cookie=cookie)


def act(server: Start, cookie: str, path: str, **given: str) -> None:
    """Open the form of an action, and send it."""
    form = page(server, cookie, path)
    assert form.status == 200, form
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form.text.decode())
    hidden = {name: unescape(value) for name, value in found}
    reply = server.stranger(
        "POST",
        path,
        urlencode({**hidden, **given}).encode(),
        content_type=SENT,
        accept="application/json",
        cookie=cookie,
    )
    assert reply.status == 200, reply


def step_of(server: Start, run_id: str, status: str) -> str:
    """The id of a step in this state, once there is one."""

    def look() -> Any:
        steps = server.get(f"/v2/runs/{run_id}/trace")["steps"]
        return next((each["id"] for each in steps if each["status"] == status), None)

    found: str = eventually(look)
    return found


def status(server: Start, run_id: str) -> str:
    found: str = server.get(f"/v2/runs/{run_id}")["status"]
    return found


def test_what_one_does_is_seen_at_the_other_at_once_by_whoever_is_logged_in_at_either(
    both: tuple[Start, Start], cookie: str, visit: Callable[..., Visitor]
) -> None:
    one, other = both
    visitor = visit(one)
    name, _, value = cookie.partition("=")
    visitor.page.context.add_cookies([{"name": name, "value": value, "url": one.url}])
    list_of_runs = visitor.open("/runs")
    visitor.live()

    run_id = other.start("pack/go")

    expect(list_of_runs.locator(f"#r-{run_id}")).to_contain_text("Completed")
    asleep = other.start("rest/go")
    expect(list_of_runs.locator(f"#r-{asleep}")).to_contain_text("Running")


def test_a_run_sleeping_at_one_is_cancelled_or_hurried_through_the_other(
    both: tuple[Start, Start], cookie: str
) -> None:
    one, other = both
    asleep, hurried = (other.start("rest/go") for _ in range(2))
    nap = step_of(other, hurried, "SLEEPING")
    step_of(other, asleep, "SLEEPING")

    act(one, cookie, f"/runs/{asleep}/cancel")
    act(one, cookie, f"/runs/{hurried}/steps/{nap}/skip")

    eventually(lambda: status(other, asleep) == "CANCELLED")
    assert other.ended(hurried)["output"] == "rested"
    assert "Cancelled" in page(other, cookie, f"/runs/{asleep}").text.decode()


def test_a_retry_that_is_an_hour_off_at_one_is_made_now_through_the_other(
    both: tuple[Start, Start], cookie: str
) -> None:
    one, other = both
    run_id = other.start("fail/go")
    eventually(lambda: other.get(f"/v2/runs/{run_id}/trace")["attempts"])

    act(one, cookie, f"/runs/{run_id}/steps/-/retry")

    assert other.ended(run_id)["output"] == "done"


def test_a_function_that_is_paused_through_one_starts_nothing_at_the_other(
    both: tuple[Start, Start], cookie: str
) -> None:
    one, other = both
    act(one, cookie, "/functions/here-pack/pause", events="hold", runs="hold", reason="stocktaking")
    eventually(lambda: "stocktaking" in page(other, cookie, "/functions/here-pack").text.decode())

    held = other.start("pack/go")
    other.why(held, "paused")
    act(one, cookie, "/functions/here-pack/resume")

    assert other.ended(held)["output"] == "done"


def test_what_somebody_may_do_changes_at_both_and_so_does_whether_they_are_logged_in(both: tuple[Start, Start]) -> None:
    one, other = both
    name, within = "bob@example.com", SESSION_CHECKED.total_seconds() + 5
    assert one.http("POST", "/v2/users", {"name": name, "role": "viewer", "password": PASSWORD}).status in (200, 201)
    before = log_in(other, name)
    assert [page(each, before, "/functions/here-pack/pause").status for each in both] == [403, 403]

    act(one, log_in(one), f"/settings/users/{name}/role", role="operator")

    for each in both:  # a session has the role with which it began
        eventually(lambda each=each: page(each, before, "/runs").status == 303, within=within)
    after = log_in(other, name)
    assert [page(each, after, "/functions/here-pack/pause").status for each in both] == [200, 200]
    assert one.stranger("POST", "/logout", _csrf(one, after), content_type=SENT, cookie=after).status == 303
    for each in both:
        eventually(lambda each=each: page(each, after, "/runs").status == 303, within=within)


def _csrf(server: Start, cookie: str) -> bytes:
    found = re.search(r'name="csrf" value="([^"]*)"', page(server, cookie, "/runs").text.decode())
    assert found is not None
    return urlencode({"csrf": found[1]}).encode()
