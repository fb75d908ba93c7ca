"""The pages that show everything at a glance, in a browser: crons, and the navigation to them all."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.dashboard.conftest import APP, Visitor
from tests.edge.conftest import Dev

pytestmark = pytest.mark.slow


def test_a_schedule_shows_its_next_ten_ticks_by_keyboard_and_keeps_them_open(visitor: Visitor, shop: Dev) -> None:
    page = visitor.open("/runs")
    page.keyboard.press("g")
    page.keyboard.press("c")
    expect(page.get_by_role("heading", name="Crons")).to_be_visible()
    row = page.locator(".cron").filter(has=page.get_by_role("link", name="nightly"))
    expect(row.locator(".cron-text code")).to_have_text("0 3 * * *")
    expect(row).to_contain_text("UTC")
    visitor.live()

    page.keyboard.press("j")
    assert visitor.focused() == "nightly"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    ticks = row.locator(".cron-ticks li")
    expect(ticks).to_have_count(10)
    expect(ticks.first).to_be_visible()
    expect(ticks.first).to_contain_text("03:00")
    with page.expect_response(re.compile("part=results")):
        shop.send("shop/ordered", order=1)
    expect(ticks.first).to_be_visible()  # what somebody has opened is not closed by news


def test_the_overview_is_the_home_and_is_live(start_dev: Callable[..., Dev], visit: Callable[..., Visitor]) -> None:
    server = start_dev("--retry-interval", "50ms", "--no-reload", app=APP)
    visitor = visit(server)
    page = visitor.open("/")
    visitor.live()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    expect(page.get_by_role("navigation").get_by_role("link", name="Overview")).to_have_attribute(
        "aria-current", "page"
    )
    expect(page.locator(".overview-head")).to_contain_text("Healthy")
    expect(page.locator(".card", has_text="Failures")).to_contain_text("No run has failed")
    expect(page.locator(".card", has_text="Next ticks")).to_contain_text("nightly")
    expect(page.locator(".chart canvas")).to_have_count(2)
    ended = page.locator(".tile", has_text="Ended in the last hour").locator("dd")
    expect(ended).to_have_text("0")

    failing = server.start("shop/failing")
    held = [server.start("shop/exported", user="zoe", gate="overview") for _ in range(3)]

    expect(page.locator(".tile", has_text="Failed in the last hour").locator("dd")).to_have_text("1")
    expect(page.locator(".card", has_text="Failures")).to_contain_text("ValueError: card declined")
    waiting = page.locator(".card", has_text="Waiting").locator("li", has_text="shop-export")
    expect(waiting).to_contain_text("for a concurrency limit: zoe")
    expect(waiting.locator("b")).to_have_text("2")
    expect(page.locator(".tile", has_text="Calls of this process")).to_contain_text("1 of")
    chart = page.locator(".chart-place").first
    expect(chart).to_have_attribute("aria-label", re.compile("last hour: 1 in all, 1 of them failed"))
    chart.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    expect(chart).to_have_attribute(
        "aria-label", re.compile("^[0-9]{2}:[0-9]{2}  [01] completed, 0 cancelled, [01] failed$")
    )

    server.open_gate("overview")
    for run_id in held:
        server.ended(run_id)
    expect(ended).to_have_text("4")
    expect(page.locator(".card", has_text="Waiting")).to_contain_text("Nothing is held back")
    page.get_by_role("link", name="fail", exact=True).click()
    expect(page).to_have_url(re.compile(failing))


def test_a_server_that_knows_no_function_says_what_to_do(
    start_dev: Callable[..., Dev], visit: Callable[..., Visitor]
) -> None:
    page = visit(start_dev(target=None)).open("/")

    expect(page.get_by_role("status").filter(has_text="Nothing is registered yet")).to_be_visible()
    expect(page.locator("canvas")).to_have_count(0)
