"""The page of a run, in a browser."""

from __future__ import annotations

import json
import os
import subprocess
import sys

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
    page.get_by_role("treeitem", name="ask for an invoice").click()
    expect(page.locator("#step")).to_contain_text("Input, the data of the event of the run")
    page.locator("#step .facts").get_by_role("link").click()

    expect(page.get_by_role("heading", name="make-invoice")).to_be_visible()
    expect(page.locator(".pairs").get_by_role("link", name=run["id"])).to_be_visible()


def test_a_step_that_failed_shows_why_where_and_how_often(visitor: Visitor, shop: Dev) -> None:
    run_id = shop.start("shop/failing")
    shop.ended(run_id)
    page = visitor.open(f"/runs/{run_id}")

    expect(page.locator(".why")).to_contain_text("failed after 2 attempts: ValueError: card declined")
    expect(page.get_by_role("treeitem", name="decline")).to_be_visible()
    page.locator("#trace-rows").focus()
    page.keyboard.press("Enter")
    step = page.locator("#step")
    expect(step).to_contain_text("card declined")
    expect(step).to_contain_text("app.py:")
    expect(step).to_contain_text('raise ValueError("card declined")')
    expect(step.locator(".tries li")).to_have_count(2)
    expect(step.locator(".tries li").nth(1)).to_contain_text("the same error again")
    expect(step.locator(".spent-list")).to_contain_text("retrying")
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


def test_of_a_long_trace_only_what_is_in_sight_exists_and_all_of_it_is_reached_by_keyboard(
    visitor: Visitor, shop: Dev
) -> None:
    run_id = shop.start("shop/many", steps=900)
    shop.ended(run_id)
    page = visitor.open(f"/runs/{run_id}")
    expect(page.locator("#trace-count")).to_have_text("900")

    assert page.locator(".trace-row").count() < 100
    page.locator("#trace-rows").focus()
    page.keyboard.press("End")
    expect(page.get_by_role("treeitem", name="step 899,")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("#step")).to_contain_text("step 899")


def test_what_steps_were_given_and_gave_is_there_however_long(visitor: Visitor, shop: Dev) -> None:
    run_id = shop.start("shop/collected", url=f"{shop.url}/health")
    shop.ended(run_id)
    page = visitor.open(f"/runs/{run_id}#step=rows")
    step = page.locator("#step")
    expect(step).to_contain_text("Only the first part is shown")
    assert len(step.inner_text()) < 100_000

    step.get_by_role("link", name="Look at all of it").click()
    tree = page.get_by_role("dialog", name="the output")
    tree.get_by_text("10,000 … 19,999").focus()
    page.keyboard.press("Enter")
    tree.get_by_text("19,900 … 19,999").click()
    tree.get_by_text("19999", exact=True).click()
    expect(tree).to_contain_text('"name": "row 19999"')
    expect(tree).to_contain_text(str(2**60 + 19_999))  # as it is, not as the browser counts
    page.keyboard.press("Escape")
    expect(tree).to_have_count(0)
    expect(step).to_be_visible()

    page.get_by_role("treeitem", name="ask").click()
    expect(step).to_contain_text("Response 200")
    step.get_by_text("headers").click()
    expect(step.locator(".headers")).to_contain_text("content-type")
    page.get_by_role("treeitem", name="tell").click()
    step.locator(".plain-list").get_by_role("link").click()
    expect(page.get_by_role("heading", name="shop/told")).to_be_visible()


def test_what_an_event_led_to_is_drawn_and_gone_through(visitor: Visitor, shop: Dev) -> None:
    event_id = shop.send("shop/collected", url=f"{shop.url}/health")
    page = visitor.open(f"/events/{event_id}")
    expect(page.locator("#flow .graph-node")).to_have_count(3)  # also what is sent while somebody looks

    page.locator('#flow [tabindex="0"]').focus()
    page.keyboard.press("ArrowRight")
    assert visitor.focused().startswith("collect")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="shop/told")).to_be_visible()
    page.get_by_role("link", name="collect, run").click()
    expect(page.get_by_role("heading", name="collect")).to_be_visible()


def test_what_is_drawn_fits_the_window_until_somebody_moves_it(visitor: Visitor, shop: Dev) -> None:
    event_id = shop.send("shop/collected", url=f"{shop.url}/health")
    page = visitor.open(f"/events/{event_id}")
    expect(page.locator("#flow .graph-node")).to_have_count(3)

    page.set_viewport_size({"width": 360, "height": 800})
    page.wait_for_function("""() => {
      const place = (each) => document.querySelector(each).getBoundingClientRect();
      const [box, node] = [place('#flow'), place('#flow .graph-node')];
      return node.left >= box.left && node.right <= box.right;
    }""")

    page.locator('#flow [tabindex="0"]').focus()
    page.keyboard.press("+")
    corner = page.locator("#flow svg").first.evaluate("(each) => [each.viewBox.baseVal.x, each.viewBox.baseVal.y]")
    page.set_viewport_size({"width": 768, "height": 800})
    page.wait_for_function("() => document.querySelector('#flow svg').viewBox.baseVal.width > 330")
    now = page.locator("#flow svg").first.evaluate("(each) => [each.viewBox.baseVal.x, each.viewBox.baseVal.y]")
    assert now == corner


def axis(visitor: Visitor) -> str:
    return visitor.page.locator("#trace-axis").get_attribute("aria-valuetext") or ""


def test_what_ran_together_is_together_and_a_part_of_the_time_is_seen_from_near(visitor: Visitor, shop: Dev) -> None:
    run_id = shop.start("shop/shipped", order=7)
    shop.ended(run_id)
    page = visitor.open(f"/runs/{run_id}")
    rows = page.locator("#trace-rows")
    expect(page.get_by_role("treeitem", name="2 at the same time")).to_be_visible()
    expect(page.locator("#trace-spent")).to_contain_text("executing")
    whole = axis(visitor)
    assert whole.startswith("0 ms to ")

    place = page.locator("#trace-axis").bounding_box()
    assert place is not None
    page.mouse.move(place["x"] + place["width"] * 0.2, place["y"] + 8)
    page.mouse.down()
    page.mouse.move(place["x"] + place["width"] * 0.6, place["y"] + 8)
    page.mouse.up()
    near = axis(visitor)
    assert near != whole
    expect(page.locator(".trace-window")).to_be_visible()
    rows.focus()
    page.keyboard.press("0")
    assert axis(visitor) == whole

    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("treeitem", name="2 at the same time")).to_have_attribute("aria-expanded", "false")
    expect(page.get_by_role("treeitem", name="check stock")).to_have_count(0)
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("treeitem", name="check stock")).to_have_attribute("aria-level", "2")
    page.locator("#trace-axis").focus()
    page.keyboard.press("+")
    close = axis(visitor)
    page.keyboard.press("ArrowRight")
    assert axis(visitor) not in (whole, close)
    page.get_by_role("button", name="Show all of the time").click()
    assert axis(visitor) == whole


def test_the_steps_of_an_invoked_run_are_below_the_invoke(visitor: Visitor, shop: Dev) -> None:
    run_id = shop.start("shop/ordered", order=7)
    shop.ended(run_id)
    page = visitor.open(f"/runs/{run_id}")
    expect(page.get_by_role("treeitem", name="ask for an invoice")).to_be_visible()
    page.locator("#trace-rows").focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("treeitem", name="number")).to_have_attribute("aria-level", "2")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")

    expect(page.locator("#step")).to_contain_text("42")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("treeitem", name="number")).to_have_count(0)


def test_a_run_is_seen_as_a_list_and_as_a_graph_and_the_address_says_so(visitor: Visitor, shop: Dev) -> None:
    run_id = shop.start("shop/shipped", order=7)
    shop.ended(run_id)
    page = visitor.open(f"/runs/{run_id}")
    page.get_by_role("link", name="List").click()
    expect(page.locator(".trace-numbers")).to_have_count(4)
    assert page.url.endswith("?view=list")
    page.get_by_role("link", name="Graph").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".graph-node")).to_have_count(5)
    assert page.url.endswith("?view=graph")
    page.reload()
    expect(page.locator(".graph-edge")).to_have_count(5)

    page.get_by_role("link", name="shop/shipped, event").focus()
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("#step")).to_contain_text("Kind")
    expect(page.locator(".graph-node.is-chosen")).to_have_count(1)
    view = page.locator(".graph-picture").get_attribute("viewBox")
    page.keyboard.press("+")
    assert page.locator(".graph-picture").get_attribute("viewBox") != view
    page.keyboard.press("0")
    assert page.locator(".graph-picture").get_attribute("viewBox") == view
    page.get_by_role("button", name="join").click()
    expect(page.locator("#step h2")).to_have_text("join")
    page.keyboard.press("Escape")
    expect(page.locator("#step")).to_be_hidden()
    page.goto(f"{shop.url}/runs/{run_id}#step=join")
    expect(page.locator("#step h2")).to_have_text("join")


def test_two_runs_are_compared(visitor: Visitor, shop: Dev) -> None:
    first = shop.start("shop/shipped", order=1)
    shop.ended(first)
    second = shop.start("shop/shipped", order=2)
    shop.ended(second)
    page = visitor.open(f"/runs/{second}")
    page.get_by_text("Compare").click()
    page.get_by_role("link", name="With the run before").click()

    expect(page.get_by_role("heading", name="Two runs of ship")).to_be_visible()
    given = page.locator(".compare-columns .diff").first
    expect(given.locator(".is-gone")).to_contain_text('"order": 1')
    expect(given.locator(".is-new mark")).to_have_text("2")
    expect(page.locator(".compare-table .c-name b")).to_have_text(["join"])
    page.get_by_text("What differs in join").click()
    expect(page.locator(".compare-detail .is-new")).to_contain_text("2")
    page.get_by_role("link", name="Show all steps").click()
    expect(page.locator(".compare-table .c-name b")).to_have_count(3)

    page.goto(f"{shop.url}/runs/{first}")
    page.get_by_text("Compare").focus()
    page.keyboard.press("Enter")
    page.get_by_label("With another run").fill(second)
    page.keyboard.press("Enter")
    expect(page.locator(".compare-facts")).to_contain_text(second)
    page.locator(".compare-facts").get_by_role("link", name=first).click()
    expect(page.locator(".run-id")).to_contain_text(first)
    visitor.expected = ["404"]
    page.goto(f"{shop.url}/runs/{first}/compare/{first}")
    expect(page.get_by_text("That is the same run")).to_be_visible()


def test_what_is_copied_as_a_test_runs_as_it_is_and_so_do_the_commands(visitor: Visitor, shop: Dev) -> None:
    run_id = shop.start("shop/shipped", order=7)
    shop.ended(run_id)
    page = visitor.open(f"/runs/{run_id}")

    def copied(form: str) -> str:
        page.get_by_text("Copy as").click()
        page.get_by_role("button", name=form).click()
        expect(page.get_by_role("dialog", name=form)).to_be_visible()
        text = page.locator("#copied code").text_content()
        page.keyboard.press("Escape")
        expect(page.locator("#copied")).to_be_hidden()
        assert text is not None
        return text

    test = shop.folder / "test_copied.py"
    test.write_text(copied("Python test"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test.name],
        cwd=shop.folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(shop.folder), *sys.path])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    curl, *others = copied("curl").strip().split("\n\n")
    said = subprocess.run(["sh", "-c", f"{curl} -s"], capture_output=True, text=True, timeout=30, check=True)
    (again,) = json.loads(said.stdout)["ids"]
    assert shop.get(f"/v2/events/{again}")["data"] == {"order": 7}
    assert len(others) == 2
    assert f"stepwell why {run_id} --url {shop.url}" in copied("stepwell commands")


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
