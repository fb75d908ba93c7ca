"""The queue, in a browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.dashboard.conftest import Visitor
from tests.edge.conftest import Dev

pytestmark = pytest.mark.slow


def test_the_queue_shows_what_waits_for_what_and_who_works_and_is_live(visitor: Visitor, shop: Dev) -> None:
    first = shop.start("shop/exported", user="queue", gate="queue")
    shop.why(first, "executing")
    page = visitor.open("/runs")
    page.keyboard.press("g")
    page.keyboard.press("q")
    expect(page.get_by_role("heading", name="Queue")).to_be_visible()
    visitor.live()
    under_way = page.locator(".leases li").filter(has_text=first)
    expect(under_way).to_contain_text("executes work here")
    backlog = page.locator(".backlog").filter(has_text="queue")
    expect(backlog).to_have_count(0)

    second = shop.start("shop/exported", user="queue", gate="queue")
    expect(backlog).to_contain_text("1 of 1 in use")
    expect(backlog).to_contain_text("event.data.user")
    expect(backlog.get_by_role("link", name=second)).to_be_visible()
    expect(backlog.locator(".holders").get_by_role("link", name=first)).to_be_visible()
    row = page.locator(".queue-table tbody tr").filter(has_text="shop-export")
    expect(row.locator("td").nth(3)).to_have_text("1")
    page.get_by_label("Function", exact=True).select_option("shop-approve")
    expect(backlog).to_have_count(0)
    assert page.url.endswith("/queue?function=shop-approve")
    page.get_by_label("Function", exact=True).select_option("shop-export")
    expect(backlog).to_have_count(1)
    shop.open_gate("queue")

    expect(backlog).to_have_count(0)
    expect(under_way).to_have_count(0)
    shop.ended(second)


def test_what_stands_there_stays_when_the_server_cannot_answer_and_is_asked_for_again(
    visitor: Visitor, shop: Dev
) -> None:
    visitor.expected = ["503"]
    page = visitor.open("/queue")
    visitor.live()
    page.route("**/queue?part=*", lambda route: route.fulfill(status=503, body='{"error": "away"}'))

    with page.expect_response("**/queue?part=*"):
        run_id = shop.start("shop/exported", user="again", gate="again")
    shop.why(run_id, "executing")
    expect(page.get_by_role("heading", name="Under way")).to_be_visible()
    expect(page.locator(".leases li").filter(has_text=run_id)).to_have_count(0)
    page.unroute("**/queue?part=*")

    expect(page.locator(".leases li").filter(has_text=run_id)).to_be_visible()
    shop.open_gate("again")
    shop.ended(run_id)
