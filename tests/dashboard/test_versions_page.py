"""The configurations that a function has had, in a browser, and from the page of a run to its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from stepwell.dashboard.pages.function import version_address
from stepwell.limits import FUNCTION_VERSIONS_KEPT
from stepwell.model.function import Function
from tests.dashboard.conftest import Visitor
from tests.edge.conftest import Dev, eventually
from tests.edge.served_here import App, serving

pytestmark = pytest.mark.slow

Start = Callable[..., Dev]
APP = """
from stepwell import Concurrency, Stepwell

app = Stepwell("shop")


@app.create_function(id="bill", trigger="shop/ordered", retries=1)
async def bill(ctx) -> None: ...
"""


def register(server: Dev, app: App, **options: Any) -> None:
    """The app changes its one function."""
    app.functions = [app.function("pay", trigger="here/pay", **options)]
    reply = server.http("POST", "/fn/register", app.registration())
    assert reply.status == 200, reply


def test_who_looks_at_a_run_sees_what_has_changed_since(start_dev: Start, visit: Callable[..., Visitor]) -> None:
    dev = start_dev(app=APP)
    run_id = eventually(lambda: dev.get("/v2/functions")) and dev.start("shop/ordered")
    dev.ended(run_id)
    changed = APP.replace("retries=1", 'retries=5, concurrency=Concurrency(2, key="event.data.user")')
    (dev.folder / "app.py").write_text(changed)
    dev.said("app.py changed, reloaded")
    page = visit(dev).open(f"/runs/{run_id}")

    page.get_by_role("link", name="1 of 2").click()

    versions = page.locator(".versions > li")
    expect(versions).to_have_count(2)
    assert page.url.endswith("/functions/shop-bill#version-1")
    expect(versions.nth(1)).to_be_in_viewport()
    expect(versions.nth(0)).to_contain_text("present")
    sentences = versions.nth(0).locator(".version-says li")
    expect(sentences).to_have_text(["retries 1 → 5", "concurrency added (limit 2, key event.data.user)"])
    expect(versions.nth(1).locator(".version-says li")).to_have_text(["registered"])
    expect(versions.nth(1)).to_contain_text("1 of the last 1 run")
    expect(versions.nth(1).locator("details")).to_have_count(0)
    difference = page.get_by_label("Differences of versions 1 and 2")
    expect(difference).to_be_hidden()
    page.get_by_text("Compare with version 1").focus()
    page.keyboard.press("Enter")
    expect(difference.locator(".is-gone")).to_contain_text('"attempts": 1')
    expect(difference.locator(".is-new", has_text="attempts")).to_contain_text('"attempts": 5')
    page.get_by_role("link", name="changed 1 time").click()
    assert page.url.endswith("#versions")


def test_a_function_that_has_not_changed_has_no_list_of_versions(visitor: Visitor, shop: Dev) -> None:
    run_id = shop.start("shop/many", steps=0)
    page = visitor.open("/functions/shop-many")

    expect(page.get_by_text("It has not changed since it was registered")).to_be_visible()
    expect(page.locator("#versions")).to_have_count(0)
    visitor.open(f"/runs/{run_id}")
    expect(page.locator("dt", has_text="Version").locator("xpath=../dd")).to_have_text("1")


def test_of_many_versions_the_newest_are_shown_and_all_of_them_on_request(
    start_dev: Start, visit: Callable[..., Visitor]
) -> None:
    dev = start_dev("--no-discovery", "--no-poll", target=None)
    with serving(App()) as app:
        app.about = {"sdk": "py:v1.2.3", "appVersion": "7f3a"}
        register(dev, app, attempts=0)
        run_id = dev.start("here/pay")
        for attempts in range(1, 12):
            register(dev, app, attempts=attempts)
        page = visit(dev).open("/functions/here-pay")
        versions = page.locator(".versions > li")
        expect(versions).to_have_count(10)
        expect(versions.first).to_contain_text(re.compile("retries 10 → 11.*app 7f3a.*SDK py:v1.2.3", re.DOTALL))
        page.get_by_role("link", name="All 12").click()
        expect(versions).to_have_count(12)
        page.goto(f"{dev.url}/runs/{run_id}")
        page.get_by_role("link", name="1 of 12").click()
        expect(page.locator("#version-1")).to_be_in_viewport()
        expect(page.locator("#versions-lost")).to_have_count(0)

        for attempts in range(FUNCTION_VERSIONS_KEPT):
            register(dev, app, attempts=attempts % 2, name=f"Pay {attempts}")
        page.goto(f"{dev.url}/runs/{run_id}")
        page.get_by_role("link", name="1 of 112").click()

    expect(versions).to_have_count(FUNCTION_VERSIONS_KEPT)
    expect(page.locator("#versions-lost")).to_have_text("Versions 1 to 12 are not kept.")
    expect(page.locator("#versions-lost")).to_be_in_viewport()
    expect(versions.last.locator(".version-says li")).to_have_text(["version 12 is not kept"])


@pytest.mark.parametrize(
    ("version", "place"),
    [
        (150, ""),
        (151, ""),
        (149, "/functions/a%2Fb#version-149"),
        (141, "/functions/a%2Fb#version-141"),
        (140, "/functions/a%2Fb?versions=all#version-140"),
        (51, "/functions/a%2Fb?versions=all#version-51"),
        (50, "/functions/a%2Fb?versions=all#versions-lost"),
    ],
)
def test_a_version_is_found_on_the_page_of_its_function(version: int, place: str) -> None:
    function = Function(id="a/b", app_id="a", name="b", version=150)

    assert version_address(function, version) == place
