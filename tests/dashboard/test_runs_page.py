"""The list of runs, in a browser."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.dashboard.conftest import Visitor
from tests.edge.conftest import Dev, eventually

pytestmark = pytest.mark.slow


def rows(visitor: Visitor) -> list[str]:
    return [
        each.removeprefix("r-")
        for each in visitor.page.eval_on_selector_all("table.rows tbody tr[id]", "all => all.map(x => x.id)")
    ]


def query(visitor: Visitor) -> dict[str, list[str]]:
    return parse_qs(urlsplit(visitor.page.url).query)


def test_a_run_appears_without_a_reload_and_its_state_changes_in_place(visitor: Visitor, shop: Dev) -> None:
    page = visitor.open("/runs")
    visitor.live()
    page.evaluate("window.marked = true")

    run_id = shop.start("shop/exported", user="ada", gate="appears")
    row = page.locator(f"#r-{run_id}")
    expect(row).to_contain_text("Running")
    expect(page.locator("#rows tr").first).to_have_attribute("id", f"r-{run_id}")
    shop.open_gate("appears")

    expect(row).to_contain_text("Completed")
    assert page.evaluate("window.marked") is True


def test_new_runs_wait_behind_a_button_while_a_row_has_the_focus(visitor: Visitor, shop: Dev) -> None:
    shop.ended(shop.start("shop/failing"))
    page = visitor.open("/runs")
    visitor.live()
    before = rows(visitor)
    page.keyboard.press("j")

    run_id = shop.start("shop/failing")
    button = page.get_by_role("button", name="1 new")
    expect(button).to_be_visible()
    assert rows(visitor) == before
    button.click()

    expect(page.locator("#rows tr").first).to_have_attribute("id", f"r-{run_id}")


def test_filters_are_in_the_address_and_come_back_with_it(visitor: Visitor, shop: Dev) -> None:
    failed, other = shop.start("shop/failing"), shop.start("shop/requested", id=1)
    shop.ended(failed)
    page = visitor.open("/runs")

    page.get_by_role("radio", name="Failed").check()
    expect(page.locator(f"#r-{other}")).to_have_count(0)
    expect(page.locator(f"#r-{failed}")).to_be_visible()
    assert query(visitor) == {"status": ["failed"]}
    page.get_by_label("Function").select_option("shop-approve")
    expect(page.get_by_text("No run matches")).to_be_visible()
    page.get_by_role("radio", name="All").check()
    expect(page.locator(f"#r-{other}")).to_be_visible()
    assert query(visitor) == {"function": ["shop-approve"]}

    page.reload()
    expect(page.get_by_label("Function")).to_have_value("shop-approve")
    expect(page.locator(f"#r-{failed}")).to_have_count(0)


def test_the_search_takes_ids_names_and_conditions(visitor: Visitor, shop: Dev) -> None:
    cheap, dear = shop.start("shop/ordered", order=1, amount=1), shop.send("shop/ordered", order=2, amount=99)
    page = visitor.open("/runs")
    search = page.get_by_label("Search runs")

    search.fill(cheap)
    expect(page.locator("#rows tr")).to_have_count(1)
    search.fill("event.data.amount == 99")
    expect(page.locator(f"#r-{cheap}")).to_have_count(0)
    expect(page.locator("#rows tr")).to_have_count(1)
    shown = page.locator("#rows a").first.get_attribute("href")
    assert shop.get(f"/v2/runs/{shown.rpartition('/')[2]}")["eventId"] == dear
    search.fill("event.data.amount ==")
    expect(page.get_by_role("alert")).to_be_visible()
    search.fill("invoice.wanted or no such thing")
    expect(page.get_by_text("No run matches")).to_be_visible()


@pytest.mark.parametrize("path", ["/runs", "/functions", "/runs/{}/logs"])
def test_leaving_the_search_does_not_take_away_the_link_that_is_being_pressed(
    visitor: Visitor, shop: Dev, path: str
) -> None:
    run_id = shop.start("shop/many", steps=1)
    shop.ended(run_id)
    page = visitor.open(path.format(run_id))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "q=" in request.url else None)
    page.locator("#q").fill("nothing is called this")
    link = page.get_by_role("link", name="Clear the filters")
    link.hover()
    assert len(asked) == 1

    page.mouse.down()
    page.mouse.up()

    page.wait_for_url(f"**{path.format(run_id)}")
    expect(page.locator("#q")).to_have_value("")
    assert len(asked) == 1


@pytest.mark.parametrize("width", [768, 942, 1101, 1242])
@pytest.mark.parametrize("path", ["/runs", "/functions"])
def test_names_have_room_beside_the_bar_of_pages(visitor: Visitor, shop: Dev, path: str, width: int) -> None:
    shop.ended(shop.start("shop/many", steps=1))
    visitor.page.set_viewport_size({"width": width, "height": 800})
    page = visitor.open(path)

    name = page.locator("#rows .c-name").first.bounding_box()

    assert name is not None and name["width"] >= 120


def test_older_runs_come_as_somebody_scrolls_and_go_where_nobody_looks(visitor: Visitor, shop: Dev) -> None:
    shop.http("POST", f"/e/{shop.event_key}", [{"name": "shop/requested", "data": {"id": 1}}] * 270)
    listed = shop.get("/v2/runs?function=approve&limit=1000")
    ids = [run["id"] for run in listed]
    assert len(ids) >= 270
    page = visitor.open("/runs?function=shop-approve")
    assert rows(visitor) == ids[:50]

    def scroll() -> bool:
        page.keyboard.press("End")
        seen = rows(visitor)
        assert [each for each in ids if each in seen] == seen, "in order, each once"
        return ids[-1] in seen

    def back() -> bool:
        page.keyboard.press("Home")
        return bool(page.evaluate("scrollY") == 0)

    eventually(scroll)
    height = page.evaluate("document.body.scrollHeight")

    assert len(page.query_selector_all("table.rows tr")) < 250, "pages far above have left"
    eventually(back)
    eventually(lambda: rows(visitor)[:100] == ids[:100])
    assert page.evaluate("document.body.scrollHeight") == height


def test_older_runs_come_by_keyboard(visitor: Visitor, shop: Dev) -> None:
    shop.http("POST", f"/e/{shop.event_key}", [{"name": "shop/requested", "data": {"id": 1}}] * 60)
    page = visitor.open("/runs?function=shop-approve")

    page.get_by_role("link", name="Older runs").focus()
    page.keyboard.press("Enter")

    eventually(lambda: len(rows(visitor)) > 50)
    assert page.evaluate("document.activeElement.className") == "row-link"


def test_the_keyboard_alone_finds_and_opens_a_run(visitor: Visitor, shop: Dev) -> None:
    run_id = shop.start("shop/failing")
    shop.ended(run_id)
    page = visitor.open("/events")

    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url("**/runs")
    page.evaluate("window.swaps = 0; document.body.addEventListener('htmx:after:swap', () => window.swaps++)")
    page.keyboard.press("/")
    page.keyboard.type(run_id)
    eventually(lambda: page.evaluate("window.swaps") == 1)
    expect(page.locator("#rows tr")).to_have_count(1)
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    assert visitor.focused() == "fail"
    page.evaluate("document.getElementById('filters').requestSubmit()")
    eventually(lambda: page.evaluate("window.swaps") == 2)
    assert visitor.focused() == "fail"  # the row was there again, and has kept the focus
    page.keyboard.press("Enter")

    page.wait_for_url(f"**/runs/{run_id}")
    expect(page.get_by_role("heading", name="fail", exact=True)).to_be_visible()
