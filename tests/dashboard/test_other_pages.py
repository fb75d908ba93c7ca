"""Events, functions, and what all pages have, in a browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.dashboard.conftest import Visitor
from tests.edge.conftest import Dev

pytestmark = pytest.mark.slow


def test_an_event_says_what_became_of_it_for_each_function(visitor: Visitor, shop: Dev) -> None:
    event_id = shop.send("shop/ordered", order=1, amount=5)
    page = visitor.open("/events")
    row = page.locator(f"#r-{event_id}")
    expect(row).to_contain_text("shop-bill")
    row.locator(".row-link").click()

    became = page.locator(".outcomes")
    expect(became).to_contain_text("shop-bill")
    expect(became).to_contain_text("Its condition is not true for this event: event.data.amount > 100")
    expect(page.locator(".payload").first).to_contain_text('"amount": 5')


def test_an_event_that_started_nothing_says_why(visitor: Visitor, shop: Dev) -> None:
    misspelt = shop.send("shop/orderd")
    older, newer = shop.send("shop/changed", id=1), shop.send("shop/changed", id=2)

    page = visitor.open(f"/events/{misspelt}")
    expect(page.locator("#main")).to_contain_text("It started nothing")
    expect(page.get_by_role("link", name="shop/ordered")).to_be_visible()
    visitor.open(f"/events/{older}")
    expect(page.locator(".outcomes")).to_contain_text("debounced")
    visitor.open(f"/events/{newer}")
    expect(page.locator(".outcomes")).to_contain_text("Held")


def test_events_arrive_without_a_reload_and_are_found_by_name(visitor: Visitor, shop: Dev) -> None:
    other = shop.send("shop/requested", id=1)
    page = visitor.open("/events")
    visitor.live()

    event_id = shop.send("shop/failing")
    expect(page.locator("#rows tr").first).to_have_attribute("id", f"r-{event_id}")
    expect(page.locator(f"#r-{event_id} .tone-bad")).to_be_visible()
    page.get_by_label("Name of the event").fill("shop/failing")
    page.keyboard.press("Enter")

    expect(page.locator(f"#r-{other}")).to_have_count(0)
    assert "name=shop%2Ffailing" in page.url


def test_a_function_shows_its_rules_with_what_is_in_use(visitor: Visitor, shop: Dev) -> None:
    run_id = shop.start("shop/exported", user="zoe", gate="rules")
    shop.why(run_id, "executing")
    page = visitor.open("/functions")
    page.get_by_role("link", name="export").click()
    key = page.locator(".rule-row").filter(has_text="zoe")
    visitor.live()
    expect(key).to_contain_text("1 of 1 in use")
    expect(key.get_by_role("link", name=run_id)).to_be_visible()

    shop.open_gate("rules")
    shop.ended(run_id)

    expect(key).to_have_count(0)
    expect(page.locator(".strip")).to_have_attribute("aria-label", re.compile("last [0-9]+ runs"))


def test_a_function_with_a_schedule_shows_its_next_ticks(visitor: Visitor, shop: Dev) -> None:
    page = visitor.open("/functions/shop-nightly")

    expect(page.locator(".ticks li")).to_have_count(5)
    expect(page.locator(".ticks time").first).to_have_attribute("datetime", re.compile("T03:00:00"))


@pytest.mark.parametrize("path", ["/runs/nothing", "/events/nothing", "/functions/nothing", "/nothing"])
def test_what_is_not_there_is_said_by_a_page(visitor: Visitor, path: str) -> None:
    visitor.expected = ["404"]
    page = visitor.open(path)

    expect(page.get_by_role("heading")).to_have_count(1)
    page.get_by_role("link", name="All runs").click()
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()


def test_the_theme_that_is_chosen_stays(visitor: Visitor) -> None:
    page = visitor.open("/runs")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)

    page.get_by_role("button", name="Theme: system").click()
    page.get_by_role("button", name="Theme: light").click()
    page.reload()

    assert page.evaluate(ground) != light
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()


def test_the_shortcuts_are_listed(visitor: Visitor) -> None:
    page = visitor.open("/runs")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_hidden()
