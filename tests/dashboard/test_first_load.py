"""What the home loads in a browser that was never there."""

from __future__ import annotations

from collections import Counter

import pytest
from playwright.sync_api import expect

from tests.dashboard.conftest import Visitor
from tests.meta.test_assets import first_assets

pytestmark = pytest.mark.slow

BYTES_MAX = 150_000
ICON = "icon.svg"  # of the window, which not every browser has
LOADED = """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .map((each) => [new URL(each.name).pathname, each.transferSize])"""


def test_the_home_loads_little_and_nothing_that_its_templates_do_not_ask_for_at_once(visitor: Visitor) -> None:
    page = visitor.open("/")
    visitor.live()
    expect(page.locator(".chart canvas")).to_have_count(2)

    loaded: list[tuple[str, int]] = page.evaluate(LOADED)

    assets = Counter(path.partition("/assets/")[2].partition("/")[2] for path, _ in loaded if "/assets/" in path)
    assert set(assets) | {ICON} == first_assets()
    assert sum(size for _, size in loaded) < BYTES_MAX
    assert all(size > 0 for path, size in loaded if "/assets/" in path), "each came from the server"
