"""The command palette, by keyboard and by mouse."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.dashboard.conftest import Visitor
from tests.edge.conftest import Dev

pytestmark = pytest.mark.slow


def test_the_palette_leads_to_pages_functions_and_ids_by_keyboard_alone(visitor: Visitor, shop: Dev) -> None:
    event_id = shop.send("shop/ordered", order=1)
    run = next(each for each in shop.get(f"/v2/events/{event_id}/runs")["runs"] if each["functionId"] == "shop-bill")
    page = visitor.open("/events")
    page.keyboard.press("/")
    page.keyboard.press("Control+k")
    field = page.get_by_role("combobox", name="Find and do anything")
    chosen = page.locator('#palette [aria-selected="true"]')

    expect(field).to_be_focused()
    expect(page.get_by_role("option", name="Functions g f")).to_be_visible()
    page.keyboard.press("Escape")
    expect(field).to_be_hidden()
    expect(page.get_by_label("Name of the event")).to_be_focused()

    page.keyboard.press("Control+k")
    page.keyboard.type("inv")
    expect(chosen).to_contain_text("make-invoice")
    expect(field).to_have_attribute("aria-activedescendant", "palette-0")
    page.keyboard.press("ArrowUp")
    expect(chosen).to_contain_text("Runs with “inv”")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/functions/shop-make-invoice")

    for id, where in ((run["id"], f"**/runs/{run['id']}"), (event_id, f"**/events/{event_id}")):
        page.keyboard.press("Control+k")
        page.keyboard.insert_text(id.lower())
        expect(chosen).to_contain_text(id)
        page.keyboard.press("Enter")
        page.wait_for_url(where)


def test_the_palette_does_what_the_page_can_do_and_takes_the_mouse(visitor: Visitor, shop: Dev) -> None:
    page = visitor.open("/functions/shop-export")
    page.get_by_role("button", name="Find and do anything").click()
    page.keyboard.type("theme")
    page.get_by_role("option", name="Theme: system").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    expect(page.get_by_role("button", name="Find and do anything")).to_be_focused()

    page.keyboard.press("Control+k")
    page.keyboard.type("no such thing at all")
    expect(page.get_by_role("option")).to_have_count(1)
    expect(page.get_by_role("option")).to_have_text("Runs with “no such thing at all”")
    page.get_by_role("option").click()
    page.wait_for_url(re.compile(r"/runs\?q=no\+such"))


def test_the_palette_does_from_anywhere_what_is_about_nothing_in_particular(visitor: Visitor, shop: Dev) -> None:
    page = visitor.open("/queue")
    dialog = page.get_by_role("dialog", name="Send events")
    page.keyboard.press("Control+k")
    page.keyboard.type("send ev")
    expect(page.locator('#palette [aria-selected="true"]')).to_have_text("Send events")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("textbox", name="Events")).to_be_focused()
    dialog.get_by_role("textbox").fill('{"name": "shop/from.anywhere", "data": {}}')
    page.keyboard.press("Control+Enter")
    expect(page.locator("#told")).to_contain_text("The event was sent.")
    assert len(shop.get("/v2/events?name=shop/from.anywhere")) == 1

    page.keyboard.press("Control+k")
    page.keyboard.type("audit")
    expect(page.locator('#palette [aria-selected="true"]')).to_have_text("Audit logSettings")
    page.keyboard.press("Enter")
    page.wait_for_url("**/settings/audit")


def test_what_the_page_does_itself_is_offered_once_as_the_page_has_it(visitor: Visitor, shop: Dev) -> None:
    page = visitor.open("/runs?function=shop-approve")
    page.keyboard.press("Control+k")
    page.keyboard.type("cancel many")
    offered = page.locator("#palette-list").get_by_role("option")
    expect(offered).to_have_text(["Cancel many", "Runs with “cancel many”"])
    page.keyboard.press("Enter")

    expect(page.get_by_role("dialog").get_by_label("Function")).to_have_value("shop-approve")


def test_a_drain_of_everything_is_offered_until_there_is_one_and_then_its_end(visitor: Visitor, shop: Dev) -> None:
    def offered() -> list[str]:
        found = shop.http("GET", "/palette?q=DRAIN", accept="application/json").json
        return [each["title"] for each in found if each["act"]]

    assert offered() == ["Drain everything"]
    shop.http("POST", "/v2/orders", {"kind": "drain"})
    try:
        assert offered() == ["End the drain of everything"]
    finally:
        shop.http("DELETE", "/v2/orders?kind=drain")


def test_the_palette_says_that_the_server_is_away(visitor: Visitor) -> None:
    visitor.expected = ["ERR_FAILED"]
    page = visitor.open("/runs")
    page.route("**/palette*", lambda route: route.abort())
    page.keyboard.press("Control+k")

    expect(page.locator("#palette-status")).to_have_text("The server cannot be reached.")
    expect(page.get_by_role("option", name="Theme")).to_be_visible()
