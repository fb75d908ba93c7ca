"""Apps: which way each is attached, what went wrong when it was asked, its workers, and what people do about it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from stepwell.protocol.connect import Kind
from tests.dashboard.conftest import SHOTS, Visitor
from tests.dashboard.forms import HTML, act, form, post
from tests.edge.conftest import Dev, eventually
from tests.edge.served_here import App, free_port, serving
from tests.edge.test_connect import Worker

pytestmark = pytest.mark.slow


def test_an_app_that_is_served_says_what_is_wrong_and_is_synced_again(
    start_dev: Callable[..., Dev], visit: Callable[..., Visitor]
) -> None:
    with serving(App()) as here:
        here.in_band = False
        here.register_at = free_port()
        here.refuses = (500, {}, b'{"message":"it has a cold"}')
        options = ("--port", str(here.register_at), "--no-discovery", "--no-poll", "-u", here.url)
        server = start_dev(*options, target=None)
        visitor = visit(server)
        visitor.expected = ["422"]
        page = visitor.open("/apps")
        card = page.locator(".app", has_text=here.url)
        expect(card).to_contain_text("it has a cold")
        expect(card).to_contain_text("Not synced")

        here.refuses = None
        card.get_by_role("link", name="Sync again").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_label("Address")).to_have_value(here.url)
        page.keyboard.press("Enter")
        card = page.locator(".app", has=page.get_by_role("heading", name="here", exact=True))
        expect(card).to_contain_text("Served over HTTP")
        expect(card).to_contain_text("Synced")
        card.locator("summary").click()
        expect(card.get_by_role("link", name="f", exact=True)).to_be_visible()
        page.screenshot(path=SHOTS / "apps-served.png")

        here.refuses = (401, {}, b'{"message":"who are you"}')
        card.get_by_role("link", name="Sync again").click()
        page.get_by_role("dialog").get_by_role("button", name="Sync").click()
        expect(page.get_by_role("dialog")).to_contain_text("who are you")
        page.keyboard.press("Escape")
        expect(card.get_by_role("alert")).to_contain_text("who are you")
        expect(card).to_contain_text("Not synced")

        card.get_by_role("link", name="Remove").click()
        expect(page.get_by_role("dialog")).to_contain_text("starts a run of its 1 function any more")
        page.get_by_role("button", name="Remove the app").click()
        expect(card).to_have_count(0)
        assert server.get("/v2/functions") == []


def test_workers_that_connect_are_shown_with_what_they_said(
    start_dev: Callable[..., Dev], visit: Callable[..., Visitor]
) -> None:
    server = start_dev("--no-discovery", target=None)
    with Worker(server) as worker:
        worker.connect()
        page = visit(server).open("/apps")
        card = page.locator(".app", has=page.get_by_role("heading", name="raw", exact=True))
        row = card.locator(".workers-table tbody tr")
        expect(row).to_contain_text("raw-worker")
        expect(row).to_contain_text("Ready")
        expect(row).to_contain_text("py:v0.5.0")
        expect(row.locator("td").nth(3)).to_have_text("0 of 1000")
        page.screenshot(path=SHOTS / "apps-workers.png")
        before = int(row.locator("time").nth(1).get_attribute("data-ms") or 0)

        worker.say(Kind.WORKER_HEARTBEAT)
        page.reload()
        eventually(lambda: int(row.locator("time").nth(1).get_attribute("data-ms") or 0) >= before > 0)
        refused = post(server, form(server, "/apps/raw/remove"), accept=HTML)
        assert refused.status == 422
        assert b"workers of app &#39;raw&#39; are connected" in refused.text

    def gone() -> bool:
        page.reload()
        return card.get_by_text("No worker").count() == 1

    eventually(gone)
    assert act(server, "/apps/raw/remove")["text"] == "The app raw is removed."


def test_what_is_part_of_the_server_is_neither_asked_nor_removed(shop: Dev) -> None:
    page = shop.http("GET", "/apps", accept=HTML).text.decode()

    assert "In this process" in page
    assert "Remove" not in page
    for path in ("/apps/shop/remove", "/apps/shop/sync", "/apps/nobody/sync"):
        assert shop.http("GET", path, accept=HTML).status == 404


def test_an_address_where_no_app_is_stays_in_the_form(shop: Dev) -> None:
    refused = post(shop, form(shop, "/apps/sync"), url="http://127.0.0.1:9/api", accept=HTML)
    empty = post(shop, form(shop, "/apps/sync"), url=" ", accept=HTML)

    assert (refused.status, empty.status) == (422, 422)
    assert b"cannot be synced" in refused.text and b"http://127.0.0.1:9/api" in refused.text
