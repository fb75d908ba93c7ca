"""How pages hear of what changes: how often they ask, what they ask for together, and that nothing is missed. Timers
stand still in these browsers until they are moved; what comes from the server comes as ever."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Request, expect

from tests.dashboard.conftest import Visitor
from tests.edge.conftest import Dev, eventually

pytestmark = pytest.mark.slow

HEARD = """
window.heard = [];
const Stream = window.EventSource;
window.EventSource = class extends Stream {
  constructor(address) {
    super(address);
    this.addEventListener("message", (message) => window.heard.push(message.data));
  }
};
let away = false;
Object.defineProperty(document, "hidden", { get: () => away });
window.leave = (gone) => {
  away = gone;
  document.dispatchEvent(new Event("visibilitychange"));
};
"""
MINUTE_MS = 60_000
REST_MS = 5_000  # longer than any page rests


class Still:
    """Somebody whose browser can be told that nobody sees it, and what time it is. ``asked`` are the addresses that the
    page has asked for, without the files that it is built of; ``answered`` is how many of them have been answered."""

    def __init__(self, visitor: Visitor) -> None:
        self.page = visitor.page
        self.asked: list[str] = []
        self.answered = 0
        self._visitor = visitor
        self.page.add_init_script(HEARD)
        self.page.clock.install()
        self.page.on("request", self._asks)
        self.page.on("requestfinished", self._hears)

    def open(self, path: str) -> Page:
        """A page that has nothing to do, and whose time goes by no more."""
        self._visitor.open(path)
        self._visitor.live()
        self.page.clock.pause_at(self.page.evaluate("Date.now()") + REST_MS)
        while self.asked:
            self.forget()
            self.page.clock.run_for(REST_MS)
        return self.page

    def wait(self) -> None:
        """Until something has been asked for, and all of that has been answered."""
        eventually(lambda: self.page.evaluate("0") or 0 < len(self.asked) == self.answered)

    def forget(self) -> None:
        """What has been asked for, once it has been answered."""
        self.wait()
        self.asked.clear()
        self.answered = 0

    def _asks(self, request: Request) -> None:
        if self._is_look(request):
            self.asked.append(request.url.partition("/")[2].partition("/")[2].partition("/")[2])

    def _hears(self, request: Request) -> None:
        self.answered += self._is_look(request)

    @staticmethod
    def _is_look(request: Request) -> bool:
        return not urlsplit(request.url).path.startswith(("/assets/", "/live"))


@pytest.fixture
def still(visitor: Visitor) -> Still:
    return Still(visitor)


def hears(page: Page, happens: Callable[[], str]) -> str:
    before = page.evaluate("heard.length")
    done = happens()
    page.wait_for_function("before => heard.length > before", arg=before)
    return done


def test_what_comes_while_a_page_rests_is_asked_for_together_when_it_has_rested(still: Still, shop: Dev) -> None:
    def start() -> str:
        return shop.start("shop/requested", id=1)

    page = still.open("/runs")
    first = hears(page, start)
    expect(page.locator(f"#r-{first}")).to_be_visible()  # at once, without any timer

    others = [hears(page, start) for _ in range(6)]

    assert still.asked == ["runs?part=results"], "it rests"
    page.clock.run_for(REST_MS)
    for each in others:
        expect(page.locator(f"#r-{each}")).to_be_visible()
    assert len(still.asked) <= 3, "those six, and what may have been heard of the last of them afterwards"


def test_a_page_that_nobody_sees_asks_nothing_and_catches_up(
    still: Still, visit: Callable[..., Visitor], shop: Dev
) -> None:
    page, seen = still.open("/runs"), visit(shop)
    beside = seen.open("/runs")
    seen.live()
    hears(page, lambda: shop.start("shop/requested", id=1))
    hears(page, lambda: shop.start("shop/requested", id=1))  # which it will look at once it has rested
    page.evaluate("leave(true)")
    still.forget()

    run_id = shop.start("shop/failing")
    expect(beside.locator(f"#r-{run_id}")).to_contain_text("Failed")
    page.clock.run_for(MINUTE_MS)
    expect(page.locator(f"#r-{run_id}")).to_have_count(0)
    assert still.asked == []

    page.evaluate("leave(false)")
    expect(page.locator(f"#r-{run_id}")).to_contain_text("Failed")
    assert still.asked == ["runs?part=results"]


def test_a_page_that_asks_by_the_clock_does_not_while_nobody_sees_it(still: Still) -> None:
    page = still.open("/")
    with page.expect_response(re.compile("part=now")):
        page.clock.run_for(MINUTE_MS // 4)
    page.evaluate("leave(true)")
    still.forget()

    page.clock.run_for(MINUTE_MS)

    assert still.asked == []


PAGES = ["/", "/runs", "/events", "/functions", "/functions/shop-export", "/queue", "/crons", "run", "event"]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_asks_at_once_and_then_not_again_before_it_has_rested(still: Still, shop: Dev, path: str) -> None:
    gate = f"rests-{path.replace('/', '-')}"
    event_id = shop.send("shop/exported", user=gate, gate=gate)
    (run,) = shop.get(f"/v2/events/{event_id}/runs")["runs"]
    shop.why(run["id"], "executing")
    page = still.open({"run": f"/runs/{run['id']}", "event": f"/events/{event_id}"}.get(path, path))

    def happens() -> str:
        """Something that every page shows: the end of this run, and others that come."""
        shop.open_gate(gate)
        return shop.send("shop/exported", user="zoe", gate="never")

    hears(page, happens)
    shop.ended(run["id"])
    for _ in range(0 if path in ("run", "event") else 3):
        hears(page, happens)

    still.wait()
    assert {each: still.asked.count(each) for each in still.asked} == dict.fromkeys(still.asked, 1)
