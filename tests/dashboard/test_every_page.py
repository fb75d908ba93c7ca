"""What holds for every page there is: it fits, it can be read and used by everybody, and what it shows is text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard.conftest import APP as SHOP
from tests.dashboard.conftest import SHOTS, Visitor
from tests.dashboard.every import addresses, forms, parts, samples
from tests.edge.conftest import Dev
from tests.meta.sources import ROOT

pytestmark = pytest.mark.slow

AXE = Path(__file__).parent / "axe" / "node_modules"
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
EXPERIMENTAL = {"label-content-name-mismatch": {"enabled": False}}
"""It takes a name that says more than what is seen for one that says something else."""

PARTS = {"step"}
"""Templates that are shown inside of another page alone, which are looked at there."""

EVIL = "<img src=x onerror=window.hurt=1><script>window.hurt=1</script>\"'{{7*7}}</script>"
NEVER = "event.data.user == '<img src=x onerror=window.hurt=1>'"
APP = f"""
from stepwell import Concurrency, Context, Stepwell

app = Stepwell("evil")
EVIL = {EVIL!r}


def fail():
    raise ValueError(EVIL)


@app.create_function(
    id="strange", name=EVIL, trigger="evil/*", retries=0, concurrency=Concurrency(1, key="event.data.user")
)
async def strange(ctx: Context[dict]) -> str:
    await ctx.step.run(EVIL, lambda: {{EVIL: EVIL}})
    if ctx.event.data["fails"]:
        await ctx.step.run("fail", fail)
    await ctx.step.wait_for_event(EVIL + " waits", EVIL.replace("*", "+"), match="data.user", timeout="3h")
    return EVIL
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """Whose functions were otherwise before."""
    before = SHOP.replace('id="export",', 'id="export", retries=9,')
    running = Dev(tmp_path_factory.mktemp("shop"), "--retry-interval", "50ms", app=before)
    try:
        changed(running, SHOP)
        yield running
    finally:
        running.close()


def changed(running: Dev, app: str) -> None:
    running.said("reloaded when it changes")
    (running.folder / "app.py").write_text(app)
    running.said("app.py changed, reloaded")


@pytest.fixture(scope="module")
def given(shop: Dev) -> dict[str, str]:
    return samples(shop)


def test_every_part_can_be_asked_for_alone(shop: Dev, given: Mapping[str, str]) -> None:
    """That is how pages are kept up to date: what a part needs has to be in it."""
    asked = [path for path in parts(given) if not path.startswith(f"/runs/{given['run_id']}/compare?")]

    answers = {path: shop.http("GET", path, accept="text/html") for path in asked}

    assert {path: answer.status for path, answer in answers.items() if answer.status != 200} == {}
    assert all(b"<html" not in answer.text for answer in answers.values())


@pytest.fixture(scope="module")
def every(given: Mapping[str, str]) -> dict[str, str]:
    return {name: path for name, path in addresses(given).items() if name not in PARTS}


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """A server of which everything that can have a name or a text has a wicked one."""
    running = Dev(tmp_path_factory.mktemp("evil"), app=APP.replace("name=EVIL", "name=EVIL + EVIL"))
    try:
        changed(running, APP)
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def axe() -> str:
    # It says nothing and takes a moment if nothing is missing.
    subprocess.run(
        [ROOT / "scripts/lib/javascript", AXE.parent], env={**os.environ, "PYTHON": sys.executable}, check=True
    )
    return (AXE / "axe-core" / "axe.min.js").read_text()


def settled(visitor: Visitor, path: str) -> Page:
    """The page, once it is live, with all that it loads after itself."""
    page = visitor.open(path)
    if page.evaluate("document.body.dataset.topics"):
        visitor.live()
    expect(page.locator('[aria-busy="true"]')).to_have_count(0)
    return page


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_fits(visit: Callable[..., Visitor], shop: Dev, every: Mapping[str, str], theme: str) -> None:
    """Nothing sticks out to the side. The pictures are for people."""
    visitor = visit(shop, color_scheme=theme)
    visitor.expected = ["404"]
    SHOTS.mkdir(exist_ok=True)
    wide: dict[str, int] = {}

    for name, path in {**every, "missing": "/runs/nothing"}.items():
        page = settled(visitor, path)
        for width in (360, 768, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            page.screenshot(path=SHOTS / f"{name}-{theme}-{width}.png")
            over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            if over > 0:
                wide[f"{name} at {width}"] = over

    assert wide == {}


def test_every_page_can_be_used_by_everybody(
    visit: Callable[..., Visitor], shop: Dev, given: Mapping[str, str], every: Mapping[str, str], axe: str
) -> None:
    """By the rules of axe-core for WCAG 2.2 AA, in both themes, wide and narrow, and with the dialogs open. It is a
    script of strangers, so our policy is put aside for this browser."""
    visitor = visit(shop, bypass_csp=True)
    visitor.expected = ["404"]
    found: dict[str, list[str]] = {}

    def look(name: str, page: Page, *only: str) -> None:
        options = {"resultTypes": ["violations"], "runOnly": {"type": "tag", "values": RULES}, "rules": EXPERIMENTAL}
        if only:
            options["runOnly"] = {"type": "rule", "values": only}
        told = page.evaluate("options => axe.run(document, options).then(found => found.violations)", options)
        for each in told:
            if each["impact"] in ("serious", "critical"):
                nodes = [f"{node['html'][:160]}: {node['failureSummary'][:300]}" for node in each["nodes"][:3]]
                found.setdefault(f"{name}: {each['id']}", []).extend(nodes)

    for name, path in {**every, "missing": "/runs/nothing"}.items():
        page = settled(visitor, path)
        page.evaluate(axe)
        page.emulate_media(color_scheme="light")
        look(name, page)
        page.emulate_media(color_scheme="dark")
        look(f"{name}, dark", page, "color-contrast")
        page.set_viewport_size({"width": 360, "height": 800})
        look(f"{name}, narrow", page)
        page.set_viewport_size({"width": 1440, "height": 900})
    for path in forms(given):  # they have one template: one look at each is enough
        page = settled(visitor, path)
        if page.locator(".code-404").count() == 0:
            page.evaluate(axe)
            look(path, page)
    page = settled(visitor, "/runs")
    page.evaluate(axe)
    page.keyboard.press("Control+k")
    expect(page.locator("#palette-list").get_by_role("option").first).to_be_visible()
    look("palette", page)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    look("shortcuts", page)

    assert found == {}, json.dumps(found, indent=1)


TABBED = """() => {
  const kinds = 'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]';
  const seen = (each) => each.checkVisibility({visibilityProperty: true}) && !each.disabled && !each.closest('dialog');
  const radios = (each) => each.type !== 'radio' || each.checked;
  // Anew each time: a live page may have put others, that say the same, in place of those there were.
  window.tabbed = () => [...document.querySelectorAll(kinds)].filter((each) => seen(each) && radios(each));
  return tabbed().map((each) => `${each.tagName} ${(each.ariaLabel ?? each.textContent).trim().slice(0, 40)}`);
}"""


def test_every_page_is_used_by_keyboard_alone(
    visit: Callable[..., Visitor], shop: Dev, every: Mapping[str, str]
) -> None:
    """Whatever can be clicked gets the focus by the tabulator, in the order in which it is read, and shows it."""
    visitor = visit(shop)
    wrong: dict[str, Any] = {}

    for name, path in every.items():
        page = settled(visitor, path)
        assert page.locator(".code-404").count() == 0, f"{name} is not to be seen at {path}"
        known: list[str] = page.evaluate(TABBED)
        reached: list[int] = []
        for _ in known:
            page.keyboard.press("Tab")
            here = page.evaluate("""() => {
              const at = document.activeElement;
              const outlined = (each, part) => each && getComputedStyle(each, part).outlineStyle !== 'none';
              const field = at.closest('.field, .palette-head');
              const beside = at.matches('.chip input') ? at.nextElementSibling : null;
              const node = at.querySelector('.graph-ground'); // an outline of what is drawn is its stroke
              const drawn = node && parseFloat(getComputedStyle(node).strokeWidth) > 2;
              const shown = drawn || outlined(at) || outlined(at, '::after') || outlined(beside)
                || (field && getComputedStyle(field).boxShadow !== 'none');
              return [tabbed().indexOf(at), Boolean(shown)];
            }""")
            reached.append(here[0])
            if not here[1]:
                wrong.setdefault(f"{name}: the focus is not seen", []).append(known[here[0]])
        if reached != list(range(len(known))):
            wrong[f"{name}: out of order"] = [known[each] for each in reached if each >= 0][:80], reached
        assert len(known) > 8, name

    assert wrong == {}, json.dumps(wrong, indent=1)


def test_what_comes_from_outside_is_text_on_every_page(visit: Callable[..., Visitor], evil: Dev) -> None:
    """Invariants S22."""
    data = {"user": EVIL, "fails": False, EVIL: EVIL}
    waits = evil.start(f"evil/{EVIL}", **data)
    evil.why(waits, "waiting")
    failed = evil.start("evil/x", **{**data, "fails": True})
    evil.ended(failed)
    lonely = evil.send(EVIL, text=EVIL)
    paused = evil.http("POST", "/v2/functions/evil-strange/pause", {"reason": EVIL, "events": "hold", "runs": "hold"})
    assert paused.status == 200, paused
    evil.send("evil/y", **data)
    trace = evil.http("GET", f"/runs/{waits}/timeline").json
    order = evil.http("POST", "/v2/cancellations", {"functionId": "strange", "if": NEVER})
    given = {
        "order_id": order.json["data"]["id"],
        "run_id": waits,
        "other_id": failed,
        "step_id": trace["rows"][0][0],
        "event_id": lonely,
        "event_name": f"evil/{EVIL}",
        "function_id": "evil-strange",
        "app_id": "evil",
        "user": EVIL,
        "session": EVIL,
    }
    visitor = visit(evil)
    visitor.expected = ["404"]
    again = {
        **given,
        "run_id": failed,
        "other_id": waits,
        "event_name": EVIL,
        "event_id": evil.get(f"/v2/runs/{waits}")["eventId"],
    }
    paths = [*addresses(given).values(), *addresses(again).values(), *forms(given), *forms(again)]
    paths += [f"/{page}?q=%3Cscript%3Ewindow.hurt%3D1%3C/script%3E&name=%3Cimg%3E" for page in ("runs", "events")]

    for path in dict.fromkeys(paths):
        page = visitor.open(path)
        assert page.evaluate("window.hurt") is None, path
        assert page.locator("img, script:not([src])").count() == 0, path
        assert "49" not in page.locator("h1").all_inner_texts(), path
    page.keyboard.press("Control+k")
    page.locator("#palette-field").fill("evil")
    expect(page.get_by_role("option", name="strange")).to_be_visible()
    assert page.evaluate("window.hurt") is None
    assert page.locator("#palette img").count() == 0
