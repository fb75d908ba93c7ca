"""The page of a run, in a browser."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import expect

from tests.dashboard.conftest import Visitor
from tests.edge.conftest import Dev, eventually

pytestmark = pytest.mark.slow


def test_a_run_shows_its_steps_its_output_and_the_runs_it_invoked(visitor: Visitor, shop: Dev) -> None:
    run_id = shop.start("shop/ordered", order=7)
    run = shop.ended(run_id)
    page = visitor.open(f"/runs/{run_id}")

    expect(page.locator(".trace-row")).to_have_count(3)
    expect(page.locator(".trace-row").nth(1).locator(".trace-bar.rests")).to_have_count(1)
    expect(page.locator(".run-head")).to_contain_text("Completed")
    expect(page.locator(".run-side")).to_contain_text('"charged": 7')
    page.get_by_role("option", name="ask for an invoice").click()
    page.locator("#step").get_by_role("link").first.click()

    expect(page.get_by_role("heading", name="make-invoice")).to_be_visible()
    expect(page.locator(".pairs").get_by_role("link", name=run["id"])).to_be_visible()


def test_a_step_that_failed_shows_why_where_and_how_often(visitor: Visitor, shop: Dev) -> None:
    run_id = shop.start("shop/failing")
    shop.ended(run_id)
    page = visitor.open(f"/runs/{run_id}")

    expect(page.locator(".why")).to_contain_text("failed after 2 attempts: ValueError: card declined")
    page.locator("#trace-rows").focus()
    page.keyboard.press("Enter")
    step = page.locator("#step")
    expect(step).to_contain_text("card declined")
    expect(step).to_contain_text("app.py:")
    expect(step).to_contain_text('raise ValueError("card declined")')
    expect(step.locator(".tries li")).to_have_count(2)
    assert "#step=" in page.url
    page.reload()
    expect(page.locator("#step")).to_contain_text("card declined")
    page.keyboard.press("Escape")

    expect(step).to_be_hidden()


def test_a_run_that_waits_says_for_what_and_goes_on_before_ones_eyes(visitor: Visitor, shop: Dev) -> None:
    run_id = shop.start("shop/requested", id="here")
    shop.why(run_id, "waiting")
    page = visitor.open(f"/runs/{run_id}")
    visitor.live()
    expect(page.locator(".why")).to_contain_text("waits in step 'approval' for an event 'shop/approved'")

    shop.send("shop/approved", id="here")

    expect(page.locator(".run-head")).to_contain_text("Completed")
    expect(page.locator(".run-side")).to_contain_text('"approved"')


def test_a_run_that_is_held_back_leads_to_who_holds_it_back(visitor: Visitor, shop: Dev) -> None:
    first = shop.start("shop/exported", user="eve", gate="holds")
    second = shop.start("shop/exported", user="eve", gate="holds")
    shop.why(second, "limited")
    page = visitor.open(f"/runs/{second}")

    expect(page.locator(".why")).to_contain_text("held back by its concurrency limit for event.data.user = 'eve'")
    page.locator(".why").get_by_role("link", name=first).first.click()

    expect(page.locator(".run-id")).to_contain_text(first)
    shop.open_gate("holds")
    shop.ended(second)


def test_a_long_trace_opens_at_once_and_is_gone_through_by_keyboard(visitor: Visitor, shop: Dev) -> None:
    run_id = shop.start("shop/many", steps=900)
    shop.ended(run_id)
    began = time.monotonic()
    page = visitor.open(f"/runs/{run_id}")
    expect(page.locator("#trace-count")).to_have_text("900")
    took = time.monotonic() - began

    assert page.locator(".trace-row").count() < 100
    page.locator("#trace-rows").focus()
    page.keyboard.press("End")
    expect(page.get_by_role("option", name="step 899,")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("#step")).to_contain_text("step 899")
    assert took < 3  # it is some 0.3 s; this machine may be busy


def test_pages_survive_a_restart_of_the_server(start_dev, visit) -> None:
    from tests.dashboard.conftest import APP

    dev = start_dev("--no-reload", app=APP)
    port = dev.port
    visitor = visit(dev)
    visitor.expected = [
        "ERR_CONNECTION_REFUSED",
        "ERR_INCOMPLETE_CHUNKED",
        "ERR_EMPTY_RESPONSE",
        "ERR_CONNECTION_RESET",
    ]
    page = visitor.open("/runs")
    visitor.live()

    dev.close()
    page.wait_for_selector('#connection[data-state="offline"]')
    again = start_dev("--no-reload", "--port", str(port), app=APP)
    eventually(lambda: again.http("GET", "/health").status == 200)
    visitor.live()
    run_id = again.start("shop/ordered", order=1)

    expect(page.locator(f"#r-{run_id}")).to_be_visible()
