"""Forms of actions in a browser: in a dialog, by mouse and by keyboard (ADR 0047)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.dashboard.conftest import SHOTS, Visitor
from tests.edge.conftest import Dev

pytestmark = pytest.mark.slow


def test_a_run_is_cancelled_by_keyboard_and_only_by_the_button_that_says_so(visitor: Visitor, shop: Dev) -> None:
    run_id = shop.start("shop/requested", id="keyboard")
    page = visitor.open(f"/runs/{run_id}")
    visitor.live()
    cancel, dialog = page.get_by_role("link", name="Cancel"), page.get_by_role("dialog")

    cancel.focus()
    page.keyboard.press("Enter")
    expect(dialog).to_have_accessible_name("Cancel this run of shop-approve?")
    expect(dialog.get_by_role("link", name="Leave it")).to_be_focused()
    page.keyboard.press("j")  # a key of the page
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(cancel).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("link", name="Leave it")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    assert shop.get(f"/v2/runs/{run_id}")["status"] == "RUNNING"
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("link", name="Leave it")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.locator("#told")).to_contain_text("The run of shop-approve is cancelled.")
    expect(page.locator(".run-head")).to_contain_text("Cancelled")
    expect(cancel).to_have_count(0)
    page.keyboard.press("g")  # the keys of the page are its own again
    page.keyboard.press("e")
    page.wait_for_url("**/events")


def test_events_are_sent_by_mouse_and_what_is_wrong_is_said_beside_them(visitor: Visitor, shop: Dev) -> None:
    page = visitor.open("/events")
    page.get_by_role("link", name="Send events").click()
    dialog = page.get_by_role("dialog")
    events = dialog.get_by_role("textbox", name="Events")
    expect(events).to_be_focused()
    typed = '{"name": "shop/requested", "data": {"id": }}'
    events.fill(typed)
    expect(dialog.locator(".json-state")).to_contain_text("No JSON so far")
    visitor.expected = ["422"]
    dialog.get_by_role("button", name="Send").click()

    expect(dialog.get_by_role("alert")).to_contain_text("It is no JSON")
    expect(events).to_have_value(typed)
    expect(events).to_be_focused()
    events.fill('{"name": "shop/requested", "data": {"id": "by mouse"}}')
    page.keyboard.press("Control+Enter")
    expect(dialog).to_be_hidden()
    page.locator("#told").get_by_role("link", name="What it started").click()

    expect(page.get_by_role("heading", name="shop/requested")).to_be_visible()
    expect(page.get_by_text("by mouse")).to_be_visible()


def test_what_could_not_be_sent_is_sent_again_and_happens_once(visitor: Visitor, shop: Dev) -> None:
    visitor.expected = ["ERR_FAILED", "Failed to load"]
    page = visitor.open("/events/send")  # as a page of its own, and then in a dialog
    expect(page.get_by_role("heading", name="Send events")).to_be_visible()
    page.goto(f"{shop.url}/events")
    page.get_by_role("link", name="Send events").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Events").fill('{"name": "shop/lost.answer"}')
    reached: list[str] = []

    def lose(route):
        reached.append(route.fetch().text())  # the server has it, and the browser does not know
        route.abort()

    page.route("**/events/send", lose)
    dialog.get_by_role("button", name="Send").click()
    expect(dialog.get_by_role("alert")).to_contain_text("The server cannot be reached.")
    page.unroute("**/events/send")
    dialog.get_by_role("button", name="Send").click()

    expect(page.locator("#told")).to_contain_text("The event was sent.")
    assert len(reached) == 1
    assert len(shop.get("/v2/events?name=shop/lost.answer")) == 1


def test_many_runs_are_cancelled_after_they_are_counted(visitor: Visitor, shop: Dev) -> None:
    runs = [shop.start("shop/requested", id="many", number=number) for number in range(2)]
    page = visitor.open("/runs?function=shop-approve&q=event.data.id+%3D%3D+%22many%22")
    page.get_by_role("link", name="Cancel many").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Function")).to_have_value("shop-approve")
    dialog.get_by_role("button", name="Count them").click()
    expect(dialog).to_have_accessible_name("Cancel 2 runs of shop-approve?")
    expect(dialog.get_by_role("link", name="Leave it")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    page.wait_for_url("**/bulk/*")
    expect(page.locator("#told")).to_contain_text("They are being cancelled.")
    expect(page.locator(".order-line")).to_contain_text("2 runs cancelled. It is done.")
    assert [shop.ended(each)["status"] for each in runs] == ["CANCELLED", "CANCELLED"]
    SHOTS.mkdir(exist_ok=True)
    for width in (360, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        page.screenshot(path=SHOTS / f"order-{width}.png")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1440])
def test_forms_fit_and_look_as_they_did(visit: Callable[..., Visitor], shop: Dev, theme: str, width: int) -> None:
    run_id = shop.start("shop/requested", id=f"{theme} {width}")
    visitor = visit(shop, viewport={"width": width, "height": 900}, color_scheme=theme)
    visitor.expected = ["422"]
    SHOTS.mkdir(exist_ok=True)
    page = visitor.open(f"/runs/{run_id}")
    dialog = page.get_by_role("dialog")

    def shoot(name: str) -> None:
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        page.screenshot(path=SHOTS / f"{name}-{theme}-{width}.png")
        assert wide <= 0, name

    for path in ("cancel", "rerun"):
        page.locator(f'a[href$="/{path}"]').click()
        expect(dialog).to_be_visible()
        shoot(f"form-{path}")
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
    page.locator('a[href$="/rerun"]').click()
    dialog.get_by_role("textbox").fill("{")
    dialog.get_by_role("button", name="Run it again").click()
    expect(dialog.get_by_role("alert")).to_be_visible()
    shoot("form-wrong")
    dialog.get_by_role("textbox").fill('{"id": 1}')
    dialog.get_by_role("button", name="Run it again").click()
    expect(page.locator("#told")).to_contain_text("runs again")
    shoot("form-done")
    visitor.open("/events/send")
    shoot("form-page")
    visitor.open("/runs?function=shop-approve")
    shoot("runs-filtered")
    page.get_by_role("link", name="Run many again").click()
    expect(dialog).to_be_visible()
    shoot("form-many")
    visitor.open("/functions/shop-index")
    shoot("function-acts")
    page.get_by_role("link", name="Pause").click()
    expect(dialog).to_be_visible()
    shoot("form-pause")
