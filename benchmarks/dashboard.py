"""The dashboard in a real browser on a database with a past, and what those who look cost the engine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

from benchmarks.floors import percentile, scratch
from benchmarks.history import finish
from benchmarks.postgres import on, opened
from benchmarks.postgres_past import blocked, finished
from benchmarks.postgres_server import postgres
from benchmarks.served import Served, serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

LOOKED_AT = (
    "dashboard_lists_ms_p50",
    "dashboard_lists_ms_p99",
    "dashboard_first_load_ms",
    "dashboard_first_load_kb",
    "dashboard_update_ms_p50",
    "dashboard_update_ms_p99",
    "dashboard_trace_ms",
    "dashboard_scroll_frame_ms_p95",
)
ON_POSTGRES = ("dashboard_postgres_lists_ms_p50", "dashboard_postgres_lists_ms_p99", "dashboard_postgres_queue_ms_p50")
OPEN = ("dashboard_50_open_ratio",)
_CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-headless-shell") or "/usr/bin/chromium"
_LISTS: Final = (
    *("/", "/runs", "/runs?status=failed", "/runs?function=bench-five", "/runs?status=running", "/runs?age=15m"),
    # What few or none of the newest fit: as many are looked at as one request may look at.
    *("/runs?q=nothing", "/runs?q=event.data.n+%3D%3D+1", "/runs?status=failed&function=bench-five", "/runs?app=none"),
    *("/events", "/events?name=bench/old", "/events?name=none", "/event-types/bench/old"),
    *("/functions", "/functions/bench-five", "/crons", "/queue", "/queue?function=bench-five", "/apps"),
)
_DRAWN: Final = """
new MutationObserver((_, watch) => {
  if (document.querySelectorAll(".chart-place canvas").length < 2) return;
  watch.disconnect();
  requestAnimationFrame(() => { window.drawn_ms = performance.now(); });
}).observe(document, { childList: true, subtree: true });
"""
_LOADED: Final = """() => {
  const [page] = performance.getEntriesByType("navigation");
  const all = [page, ...performance.getEntriesByType("resource")];
  const kb = all.reduce((sum, each) => sum + each.transferSize, 0) / 1000;
  return [Math.max(page.loadEventEnd, window.drawn_ms), kb];
}"""
_ARRIVALS: Final = """() => {
  window.arrivals = {};
  new MutationObserver((all) => {
    for (const change of all) for (const row of change.addedNodes)
      if (row.id) requestAnimationFrame(() => (window.arrivals[row.id.slice(2)] ??= Date.now()));
  }).observe(document.getElementById("rows"), { childList: true });
}"""
_FRAMES: Final = """() => {
  window.frames_ms = [];
  let last = performance.now();
  const frame = (at) => { window.frames_ms.push(at - last); last = at; requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
}"""


def looked_at(quick: bool) -> dict[str, float]:
    """With 1,000,000 finished runs, or a tenth of that: how long lists take, and what somebody sees when."""
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        path = Path(folder) / "past.db"
        finish(path, 100_000 if quick else 1_000_000)
        with serve(str(path)) as served, _browser() as browser:
            found = _lists(served, 50 if quick else 200)
            found |= _first_loads(served, browser)
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            found |= _updates(served, page, 100 if quick else 400)
            found |= _scrolled(served, page, 5 if quick else 15)
            found |= _trace(served, page)
            return found


def looked_at_on_postgres(quick: bool) -> dict[str, float]:
    """The same lists with as many runs in a PostgreSQL, in sixteen shards; then the queue when as many more wait behind
    10,000 keys."""
    rows = 100_000 if quick else 1_000_000
    with postgres() as server, server.database() as url:
        on(url, opened)
        server.ask(finished(rows), url)
        server.ask("VACUUM ANALYZE", url)
        with serve(url) as served:
            found = _lists(served, 50 if quick else 200)
        server.ask(blocked(rows, rows), url)
        server.ask("VACUUM ANALYZE", url)
        with serve(url) as served:
            queue = percentile(_taken(served, ("/queue",), 10), 0.5)
    return dict(zip(ON_POSTGRES, (*found.values(), queue), strict=True))


def open_pages(quick: bool) -> dict[str, float]:
    """The rate of steps while fifty look at the list of runs, next to that while nobody does; measured in turn."""
    rounds, ratios = 1 if quick else 3, []
    with tempfile.TemporaryDirectory(dir=scratch()) as folder, serve(str(Path(folder) / "open.db")) as served:
        _rate(served)
        for _ in range(rounds):
            alone = _rate(served)
            with _lookers(served.port, 50):
                ratios.append(_rate(served) / alone)
    return {"dashboard_50_open_ratio": sorted(ratios)[rounds // 2]}


def _lists(served: Served, rounds: int) -> dict[str, float]:
    taken = _taken(served, _LISTS, rounds)
    return {"dashboard_lists_ms_p50": percentile(taken, 0.5), "dashboard_lists_ms_p99": percentile(taken, 0.99)}


def _taken(served: Served, paths: Sequence[str], rounds: int) -> list[float]:
    """Milliseconds of each answer."""
    taken = []
    link = HTTPConnection("127.0.0.1", served.port)
    for number in range(rounds + 1):
        for path in paths:
            began = time.perf_counter()
            link.request("GET", path, headers={"Accept": "text/html"})
            answer = link.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{path} says {answer.status}")
            if number:  # the first ones find nothing in memory
                taken.append((time.perf_counter() - began) * 1000)
    return taken


def _first_loads(served: Served, browser: Browser) -> dict[str, float]:
    """Of the home by somebody who was never there before, with all that is drawn there; in the middle of nine."""
    loads = []
    for _ in range(9):
        page = browser.new_page()
        page.add_init_script(_DRAWN)
        page.goto(f"http://127.0.0.1:{served.port}/", wait_until="load")
        page.wait_for_selector('#connection[data-state="live"]')
        page.wait_for_function("window.drawn_ms")
        loads.append(page.evaluate(_LOADED))
        page.context.close()
    ms, kb = sorted(loads)[4]
    return {"dashboard_first_load_ms": ms, "dashboard_first_load_kb": kb}


def _updates(served: Served, page: Page, rounds: int) -> dict[str, float]:
    """From the moment at which a run was made to that at which somebody sees it: runs that come alone, and runs that
    come while the page is still busy with one before."""
    page.goto(f"http://127.0.0.1:{served.port}/runs")
    page.wait_for_selector('#connection[data-state="live"]')
    page.evaluate(_ARRIVALS)
    chance, made = Random(1), {}
    for _ in range(rounds):
        (event_id,) = _post(served, [{"name": "bench/five", "data": {}}])
        (run,) = _get(served, f"/v2/events/{event_id}/runs")["runs"]
        made[run["id"]] = datetime.fromisoformat(run["queuedAt"]).timestamp() * 1000
        page.wait_for_timeout(chance.choice((0, 50, 100, 200, 500)))
    page.wait_for_function("ids => ids.every(id => window.arrivals[id])", arg=list(made))
    seen = page.evaluate("window.arrivals")
    late = [seen[run_id] - at for run_id, at in made.items()]
    return {"dashboard_update_ms_p50": percentile(late, 0.5), "dashboard_update_ms_p99": percentile(late, 0.99)}


def _scrolled(served: Served, page: Page, seconds: float) -> dict[str, float]:
    page.goto(f"http://127.0.0.1:{served.port}/runs")
    page.evaluate(_FRAMES)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        page.mouse.wheel(0, 1_200)
        page.wait_for_timeout(30)
    return {"dashboard_scroll_frame_ms_p95": percentile(page.evaluate("window.frames_ms"), 0.95)}


def _trace(served: Served, page: Page) -> dict[str, float]:
    (event_id,) = _post(served, [{"name": "bench/sequential", "data": {"steps": 9_990}}])
    (run,) = _get(served, f"/v2/events/{event_id}/runs")["runs"]
    while _get(served, f"/v2/runs/{run['id']}")["endedAt"] is None:
        time.sleep(0.1)
    taken = []
    for _ in range(5):
        page.goto(f"http://127.0.0.1:{served.port}/runs/{run['id']}", wait_until="commit")
        page.wait_for_selector('#trace-rows[aria-busy="false"] .trace-row')
        taken.append(page.evaluate("new Promise(done => requestAnimationFrame(() => done(performance.now())))"))
    return {"dashboard_trace_ms": sorted(taken)[2]}


def _rate(served: Served) -> float:
    """Steps a second of a thousand runs of forty steps."""
    runs, steps = 1_000, 40
    for _ in range(4):
        _post(served, [{"name": "bench/sequential", "data": {"steps": steps}}] * (runs // 4))
    while any(_get(served, f"/v2/runs?status={status}&limit=1") for status in ("QUEUED", "RUNNING")):
        time.sleep(0.05)
    found = _get(served, f"/v2/runs?function=bench-sequential&limit={runs}")
    times = [[datetime.fromisoformat(run[name]).timestamp() for run in found] for name in ("startedAt", "endedAt")]
    return runs * steps / (max(times[1]) - min(times[0]))


@contextmanager
def _lookers(port: int, count: int) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks.lookers", str(port), str(count)]
    process = subprocess.Popen(command, cwd=Path(__file__).parent.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    try:
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError("nobody can look")
        yield
        if process.poll() is not None:
            raise RuntimeError("those who looked have gone")
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


@contextmanager
def _browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright  # a tool of the tests: whoever measures this has it

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def _post(served: Served, events: list[Any]) -> list[str]:
    ids: list[str] = _answer(served, "POST", "/e/bench", json.dumps(events))["ids"]
    return ids


def _get(served: Served, path: str) -> Any:
    return _answer(served, "GET", path)["data"]


def _answer(served: Served, method: str, path: str, body: str | None = None) -> Any:
    link = HTTPConnection("127.0.0.1", served.port)
    try:
        link.request(method, path, body)
        answer = link.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path} says {answer.status}: {text[:200]!r}")
        return json.loads(text)
    finally:
        link.close()
