"""A real server, a real browser: whatever a page says to its console, or is refused by its policy, fails the test."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.edge.conftest import PATIENCE_S, Dev, eventually, start_dev
from tests.meta.sources import ROOT

__all__ = ["start_dev"]  # a fixture of theirs, which is ours too

# Chromium without what only a window needs: half the work. What people see is measured and shown with all of it.
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium") or "/usr/bin/chromium-headless-shell"
SHOTS = Path(os.environ.get("STEPWELL_SCREENSHOTS", ROOT / ".screenshots"))

APP = """
import asyncio
import logging
from pathlib import Path

from stepwell import Concurrency, Context, Debounce, Event, Stepwell, TriggerCron, TriggerEvent

app = Stepwell("shop")
HERE = Path(__file__).parent


async def gate(name):
    while not (HERE / name).exists():
        await asyncio.sleep(0.01)
    return {"opened": name}


def decline():
    logging.getLogger("bank").warning("the bank says no")
    raise ValueError("card declined")


@app.create_function(id="bill", trigger="shop/ordered")
async def bill(ctx: Context[dict]) -> dict:
    ctx.logger.info("billing order %s", ctx.event.data["order"])
    paid = await ctx.step.run("charge", lambda: {"charged": ctx.event.data["order"]})
    await ctx.step.sleep("cool-off", "20ms")
    invoice = await ctx.step.invoke("ask for an invoice", make_invoice, data={"order": 1})
    return {"paid": paid, "invoice": invoice}


@app.create_function(id="ship", trigger="shop/shipped")
async def ship(ctx: Context[dict]) -> list:
    async def look(what):
        await asyncio.sleep(0.05)
        return what

    step = ctx.step
    found = await asyncio.gather(step.run("check stock", look, "stock"), step.run("check address", look, "address"))
    return await step.run("join", lambda: [*found, ctx.event.data["order"]])


@app.create_function(id="collect", trigger="shop/collected")
async def collect(ctx: Context[dict]) -> int:
    rows = await ctx.step.run("rows", lambda: [{"id": 2**60 + n, "name": f"row {n}"} for n in range(20_000)])
    await ctx.step.fetch("ask", ctx.event.data["url"])
    await ctx.step.send_event("tell", Event("shop/told", {}))
    return len(rows)


@app.create_function(id="make-invoice", trigger="shop/invoice.wanted")
async def make_invoice(ctx: Context[dict]) -> int:
    return await ctx.step.run("number", lambda: 42)


@app.create_function(id="fail", trigger="shop/failing", retries=1)
async def fail(ctx: Context[dict]) -> None:
    await ctx.step.run("decline", decline)


@app.create_function(id="approve", trigger="shop/requested")
async def approve(ctx: Context[dict]) -> str:
    found = await ctx.step.wait_for_event("approval", "shop/approved", match="data.id", timeout="3h")
    return "approved" if found else "too late"


@app.create_function(id="export", trigger="shop/exported", concurrency=Concurrency(1, key="event.data.user"))
async def export(ctx: Context[dict]) -> dict:
    return await ctx.step.run("work", gate, ctx.event.data["gate"])


@app.create_function(id="index", trigger="shop/changed", debounce=Debounce(period="1h"))
async def index(ctx: Context[dict]) -> None: ...


@app.create_function(id="large", trigger=TriggerEvent("shop/ordered", if_="event.data.amount > 100"))
async def large(ctx: Context[dict]) -> None: ...


@app.create_function(id="nightly", trigger=TriggerCron("0 3 * * *"))
async def nightly(ctx: Context[dict]) -> None: ...


@app.create_function(id="chatty", trigger="shop/chatty")
async def chatty(ctx: Context[dict]) -> None:
    def talk():
        for number in range(ctx.event.data["parts"]):
            ctx.logger.info("<b>part</b> %d", number)
        ctx.logger.warning("it is late")

    async def wait():
        for number in range(ctx.event.data.get("hums", 0)):
            ctx.logger.info("hums %d", number)
            await gate(f"hum-{number}")
        return await gate(ctx.event.data["gate"])

    ctx.logger.info("begins")
    await ctx.step.run("talk", talk)
    await ctx.step.run("wait", wait)
    ctx.logger.info("ends")
    if ctx.event.data.get("stumbles"):
        raise ValueError("stumbled")


@app.create_function(id="many", trigger="shop/many")
async def many(ctx: Context[dict]) -> None:
    for number in range(ctx.event.data["steps"]):
        await ctx.step.run(f"step {number}", lambda: None)
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """A development server with an app that has one function of each kind."""
    running = Dev(tmp_path_factory.mktemp("shop"), "--retry-interval", "50ms", "--no-reload", app=APP)
    try:
        eventually(lambda: running.http("GET", "/health").status == 200)
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for the tests of a file. Not for those of others: while Playwright is there its loop runs in this thread, and
    no test may run another."""
    expect.set_options(timeout=1_000 * PATIENCE_S)  # of a busy machine
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


class Visitor:
    """A person at a browser. ``expected`` are patterns of what the console may say, for tests of what goes wrong."""

    def __init__(self, page: Page, server: Dev) -> None:
        self.page = page
        self.server = server
        self.expected: list[str] = []
        self._said: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self._said.append(f"uncaught: {error}"))
        page.set_default_timeout(1_000 * PATIENCE_S)

    def open(self, path: str) -> Page:
        self.page.goto(self.server.url + path)
        return self.page

    def live(self) -> None:
        """Until the page is told what changes."""
        self.page.wait_for_selector('#connection[data-state="live"]')

    def focused(self) -> str:
        """The text of what the keyboard is at."""
        text: str = self.page.evaluate("document.activeElement.textContent.trim()")
        return text

    def check(self) -> None:
        wrong = [text for text in self._said if not any(re.search(each, text) for each in self.expected)]
        assert wrong == []

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._said.append(f"{message.type}: {message.text}")


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """Opens windows on a server; ``more`` is what a browser can be told to be."""
    opened: list[Visitor] = []

    def start(server: Dev, **more: Any) -> Visitor:
        context = browser.new_context(viewport=more.pop("viewport", {"width": 1440, "height": 900}), **more)
        opened.append(Visitor(context.new_page(), server))
        return opened[-1]

    yield start
    for each in opened:
        each.page.context.close()
    for each in opened:
        each.check()


@pytest.fixture
def visitor(visit: Callable[..., Visitor], shop: Dev) -> Visitor:
    return visit(shop)
