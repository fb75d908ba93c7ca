"""What the code of a run has logged, in a browser: with its steps, beside them, and on a page of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.dashboard.conftest import Visitor
from tests.edge.conftest import Dev, eventually

pytestmark = pytest.mark.slow


def said(shop: Dev, run_id: str) -> None:
    """Wait until the lines of its first step are there."""
    eventually(lambda: any(line["step"] for line in shop.get(f"/v2/runs/{run_id}/logs")["lines"]))


def test_a_step_shows_what_it_has_logged_in_each_attempt(visitor: Visitor, shop: Dev) -> None:
    run_id = shop.start("shop/failing")
    shop.ended(run_id)
    page = visitor.open(f"/runs/{run_id}#step=decline")

    lines = page.locator("#step .log-line")
    expect(lines).to_have_count(2)
    expect(lines.nth(0)).to_contain_text("the bank says no")
    expect(lines.nth(1)).to_contain_text("attempt 2")
    expect(page.locator('[data-part="detail"] .log-line.log-warning')).to_have_count(2)
    page.get_by_role("link", name="2 lines").click()

    expect(page.get_by_role("heading", name="Logs")).to_be_visible()
    expect(page.locator(".log-line")).to_have_count(2)
    page.locator(".log-line").nth(0).get_by_role("link", name="decline").click()
    expect(page.locator("#step")).to_contain_text("card declined")


def test_lines_are_found_by_level_step_and_text_and_the_address_says_which(visitor: Visitor, shop: Dev) -> None:
    run_id = shop.start("shop/chatty", gate="never-opened", parts=3)
    said(shop, run_id)
    page = visitor.open(f"/runs/{run_id}/logs")
    lines = page.locator(".log-line")
    expect(lines).to_have_count(5)
    expect(lines.nth(0)).to_contain_text("begins")
    expect(lines.nth(1)).to_contain_text("<b>part</b> 0")

    page.get_by_label("Level", exact=True).select_option("warning")
    expect(lines).to_have_count(1)
    expect(lines).to_contain_text("it is late")
    assert page.url.endswith("/logs?level=warning")
    page.get_by_label("Level", exact=True).select_option("")
    page.get_by_label("Step", exact=True).select_option("function code")
    expect(lines).to_have_count(1)
    page.get_by_label("Step", exact=True).select_option("talk")
    expect(lines).to_have_count(4)
    page.get_by_label("A part of a line").fill("PART</b> 2")
    expect(lines).to_have_count(1)
    page.reload()
    expect(lines).to_have_count(1)
    page.get_by_label("A part of a line").fill("nobody said this")
    expect(page.get_by_text("No line matches")).to_be_visible()
    page.get_by_role("link", name="Clear the filters").click()

    expect(lines).to_have_count(5)


def test_lines_come_before_ones_eyes(visitor: Visitor, shop: Dev) -> None:
    run_id = shop.start("shop/chatty", gate="opened", parts=1)
    said(shop, run_id)
    page = visitor.open(f"/runs/{run_id}/logs")
    expect(page.locator(".log-line")).to_have_count(3)
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")

    (shop.folder / "opened").touch()

    expect(page.locator(".log-line")).to_have_count(4)
    expect(page.locator(".log-line").nth(3)).to_contain_text("ends")


def test_lines_of_a_body_that_runs_on_come_to_its_panel_and_to_the_page(
    visit: Callable[..., Visitor], shop: Dev
) -> None:
    run_id = shop.start("shop/chatty", gate="hummed", parts=0, hums=2)
    said(shop, run_id)
    panel, page = visit(shop), visit(shop)
    panel.open(f"/runs/{run_id}#step=wait")
    page.open(f"/runs/{run_id}/logs")
    for each in (panel, page):
        each.live()
    inside, lines = panel.page.locator("#step .log-line"), page.page.locator(".log-line")
    expect(inside).to_have_count(1)
    expect(inside).to_contain_text("hums 0")
    expect(lines).to_have_count(3)
    link = lines.nth(2).get_by_role("link", name="wait")
    link.focus()

    (shop.folder / "hum-0").touch()

    expect(inside).to_have_count(2)
    expect(panel.page.locator("#step")).to_contain_text("Running")
    expect(lines.nth(3)).to_contain_text("hums 1")
    expect(link).to_be_focused()  # whoever is at a line stays there
    (shop.folder / "hum-1").touch()
    (shop.folder / "hummed").touch()
    expect(lines.nth(4)).to_contain_text("ends")
    expect(inside).to_have_count(2)


def test_the_functions_own_code_shows_what_it_has_logged(visitor: Visitor, shop: Dev) -> None:
    (shop.folder / "stumble").touch()
    run_id = shop.start("shop/chatty", gate="stumble", parts=1, stumbles=True)
    shop.ended(run_id)
    page = visitor.open(f"/runs/{run_id}")
    page.get_by_role("treeitem", name="function code").click()

    lines = page.locator("#step .log-line")
    expect(page.locator("#step")).to_contain_text("stumbled")
    expect(lines.nth(0)).to_contain_text("begins")
    expect(lines).to_have_count(1 + 5)  # it ends in each attempt
    expect(lines.nth(5)).to_contain_text("ends")
    page.goto(page.url.split("#")[0] + "/logs?step=-")
    expect(page.locator(".log-line")).to_have_count(6)


def test_the_keyboard_alone_filters_lines_goes_through_them_and_opens_a_step(visitor: Visitor, shop: Dev) -> None:
    run_id = shop.start("shop/chatty", gate="never-opened", parts=3)
    said(shop, run_id)
    page = visitor.open(f"/runs/{run_id}/logs")
    lines, press = page.locator(".log-line"), page.keyboard.press
    expect(lines).to_have_count(5)

    press("/")
    page.keyboard.type("part")
    expect(lines).to_have_count(3)
    press("Tab")
    assert page.evaluate("document.activeElement.ariaLabel") == "Level"
    page.keyboard.type("warning")
    expect(page.get_by_text("No line matches")).to_be_visible()
    press("Home")
    expect(lines).to_have_count(3)
    press("Tab")
    assert page.evaluate("document.activeElement.ariaLabel") == "Step"
    page.keyboard.type("function")
    expect(page.get_by_text("No line matches")).to_be_visible()
    press("End")
    expect(lines).to_have_count(3)
    assert page.url.endswith("/logs?step=" + str(page.get_by_label("Step", exact=True).input_value()) + "&q=part")

    press("Tab")
    press("j")
    place = "document.activeElement.closest('.log-line').id"
    assert page.evaluate(place) == "line-2"
    press("j")
    press("j")  # there is no other
    assert page.evaluate(place) == "line-3"
    press("k")
    press("k")
    assert page.evaluate(place) == "line-1"
    assert visitor.focused() == "talk"
    press("Enter")

    page.wait_for_url(f"**/runs/{run_id}#step=*")
    expect(page.locator("#step h2")).to_have_text("talk")
    expect(page.locator("#step .log-line")).to_have_count(4)


def test_a_run_that_has_logged_nothing_says_what_would_be_here(visitor: Visitor, shop: Dev) -> None:
    run_id = shop.start("shop/many", steps=1)
    shop.ended(run_id)
    page = visitor.open(f"/runs/{run_id}/logs")

    expect(page.get_by_text("Nothing was logged")).to_be_visible()


def test_only_the_last_lines_of_many_are_on_a_page_and_what_is_not_kept_is_said(visitor: Visitor, shop: Dev) -> None:
    run_id = shop.start("shop/chatty", gate="never-opened", parts=600)
    said(shop, run_id)
    page = visitor.open(f"/runs/{run_id}/logs")

    expect(page.locator(".log-line")).to_have_count(500)
    expect(page.locator("#results")).to_contain_text("The last 500 of 501 lines")
    expect(page.locator("#results")).to_contain_text("101 more lines are in the app's own log only")
