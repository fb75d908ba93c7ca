"""The list of what was ordered about many runs: by whom, which runs, and how far it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.dashboard.conftest import Visitor
from tests.dashboard.forms import HTML
from tests.dashboard.test_access import act, add, log_in, page
from tests.edge.conftest import Dev, eventually
from tests.edge.served_here import App
from tests.edge.started import Start, app, attached, start

__all__ = ["app", "start"]  # fixtures of theirs, which are ours too

pytestmark = pytest.mark.slow


def cancel(shop: Dev, **more: Any) -> str:
    """Order it, and wait until it is over."""
    found: str = shop.http("POST", "/v2/cancellations", {"functionId": "large", **more}).json["data"]["id"]
    eventually(lambda: shop.get(f"/v2/cancellations/{found}")["endedAt"])
    return found


def test_orders_come_in_while_somebody_looks_and_go_on_in_place(visitor: Visitor, shop: Dev) -> None:
    page = visitor.open("/runs")
    page.get_by_role("link", name="Bulk actions").click()
    expect(page.get_by_text("Nothing was done about many runs yet")).to_be_visible()
    visitor.live()

    shop.ended(shop.start("shop/ordered", order=1, amount=50))
    shop.ended(shop.start("shop/ordered", order=2, amount=50))
    asked = {"functionId": "bill", "statuses": ["completed"], "rate": "1/h", "if": "event.data.amount == 50"}
    replay = shop.http("POST", "/v2/replays", asked).json["data"]["id"]

    row = page.locator(f"#r-{replay}")
    expect(row).to_contain_text("Run shop-bill again")
    expect(row).to_contain_text("completed, only if event.data.amount == 50, at most 1/h")
    expect(row).to_contain_text("1 of 2")
    expect(row).to_contain_text("nobody said")
    expect(row).to_contain_text("Running")
    shop.http("POST", f"/v2/replays/{replay}/abort")
    expect(row).to_contain_text("Aborted")
    cancelled = cancel(shop, startedAfter="2026-01-02T03:04:05Z", startedBefore="2026-01-03T00:00:00Z")
    expect(page.locator("#rows tr").nth(0)).to_have_id(f"r-{cancelled}")
    expect(page.locator("#rows tr").nth(0)).to_contain_text(
        "queued or running, created since 2026-01-02 03:04:05 UTC, created until 2026-01-03 00:00:00 UTC"
    )

    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/bulk/{replay}")
    expect(page.locator(".order-line")).to_contain_text("1 run started again of 2. Somebody stopped it.")
    page.get_by_role("link", name="Bulk actions").click()
    page.wait_for_url("**/bulk")


def test_orders_of_both_kinds_are_read_page_by_page_from_the_newest(shop: Dev) -> None:
    made = [cancel(shop) for _ in range(30)]
    for _ in range(30):
        order = shop.http("POST", "/v2/replays", {"functionId": "many"}).json["data"]["id"]
        made += [order, cancel(shop)] if len(made) % 3 else [order]

    found: list[str] = []
    address, pages = "/bulk", 0
    while address:
        text = shop.http("GET", address, accept=HTML).text.decode()
        found += re.findall(r'<tr id="r-(\w+)"', text)
        further = re.search(r'href="(/bulk\?before=\w+)" data-further', text)
        address, pages = further[1] if further else "", pages + 1

    assert pages >= 2
    assert found == sorted(set(found), reverse=True), "each is there once, the newest first"
    assert set(made) <= set(found)
    last = shop.http("GET", f"/bulk?before={found[-1]}", accept=HTML).text
    assert b"Nothing is older" in last


def test_an_order_says_who_gave_it_also_by_a_pause(start: Callable[..., Start], app: App, tmp_path: Path) -> None:
    server = attached(start, app)
    add(server, "operator@example.com", "operator")
    (function, *_) = server.get("/v2/functions")
    server.http("POST", "/v2/cancellations", {"functionId": function["id"]})
    cookie = log_in(server, "operator@example.com")

    paused = act(server, cookie, f"/functions/{function['id']}/pause", events="skip", runs="cancel")

    assert paused.status == 303, paused
    by_page, by_key = server.get("/v2/cancellations")
    assert by_page["who"] == "operator@example.com"
    assert by_key["who"] == server.get("/v2/audit?action=cancel-many")[0]["who"] != ""
    listed = page(server, cookie, "/bulk").text.decode()
    assert 'title="operator@example.com">operator@example.com</td>' in listed
    assert by_key["who"] in listed
    assert "operator@example.com" in page(server, cookie, f"/bulk/{by_page['id']}").text.decode()
