"""The workflows of the examples in both languages: one scenario, and the same to be seen of it in the end."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from examples.mail import read_mail
from tests.edge.conftest import Dev, eventually
from tests.edge.official.conftest import NODE, Served, free_port, installed, synced
from tests.meta.sources import ROOT

pytestmark = pytest.mark.slow

SPEED = "43200"  # a day takes two seconds
DATA = ROOT / "examples" / "data"
LONGEST_S = 60
OPTIONS = ("--no-discovery", "--no-poll", "--no-reload", "--retry-interval", "100ms")


class Side:
    """The examples in one language: the server that runs them, and the folder in which they leave their work."""

    def __init__(self, dev: Dev, home: Path) -> None:
        self.dev, self.home = dev, home
        self.runs: dict[str, str] = {}

    def begin(self, key: str, event: str, /, **data: Any) -> None:
        self.runs[key] = self.dev.start(event, **data)

    def waits(self, key: str, kind: str) -> None:
        self.dev.why(self.runs[key], kind)

    def rests(self) -> None:
        eventually(lambda: self.dev.get("/v2/health?counts=true")["liveRuns"] == 0, within=LONGEST_S)


@pytest.fixture(scope="module")
def legacy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database that the migration reads, in a folder of its own."""
    folder = tmp_path_factory.mktemp("legacy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEMO_HOME", str(folder))
        from examples.migration import make_legacy_database

        make_legacy_database()
    return folder / "legacy.db"


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory, legacy: Path) -> Iterator[list[Side]]:
    """The examples in Python and in TypeScript, after the scenario has been played with both."""
    open_ones: list[Dev | Served] = []
    try:
        found = [start(tmp_path_factory, legacy, open_ones) for start in (_python, _typescript)]
        # What is interfered with sleeps or waits for a few seconds only, so nothing else is begun meanwhile.
        for act in (_orders, _users, _others, Side.rests):
            for side in found:
                act(side)
        yield found
    finally:
        for one in reversed(open_ones):
            one.close()


def _home(factory: pytest.TempPathFactory, name: str, legacy: Path) -> tuple[Path, dict[str, str]]:
    home = factory.mktemp(name)
    shutil.copy(legacy, home)
    with closing(sqlite3.connect(home / "app.db")) as db, db:
        db.execute("CREATE TABLE projects (user_id TEXT, title TEXT)")
        db.execute("INSERT INTO projects VALUES ('u3', 'Garden')")
    return home, {"DEMO_HOME": str(home), "DEMO_SPEED": SPEED}


def _python(factory: pytest.TempPathFactory, legacy: Path, open_ones: list[Any]) -> Side:
    home, variables = _home(factory, "python", legacy)
    variables["PYTHONPATH"] = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    target = str(ROOT / "examples" / "app.py")
    dev = Dev(factory.mktemp("python-server"), *OPTIONS, target=target, variables=variables)
    open_ones.append(dev)
    eventually(lambda: dev.http("GET", "/health").status == 200)
    return Side(dev, home)


def _typescript(factory: pytest.TempPathFactory, legacy: Path, open_ones: list[Any]) -> Side:
    home, variables = _home(factory, "typescript", legacy)
    folder = factory.mktemp("typescript-app")
    (folder / "data").symlink_to(DATA)
    app = folder / "typescript"
    shutil.copytree(ROOT / "examples" / "typescript", app, ignore=shutil.ignore_patterns("node_modules"))
    (app / "node_modules").symlink_to(installed("v4"))
    dev = Dev(factory.mktemp("typescript-server"), *OPTIONS, target=None)
    open_ones.append(dev)
    eventually(lambda: dev.http("GET", "/health").status == 200)
    port = free_port()
    variables |= {"INNGEST_DEV": dev.url, "PORT": str(port)}
    open_ones.append(served := Served(folder, [str(NODE), str(app / "app.ts")], dev.url, port, variables))
    synced(served)
    return Side(dev, home)


# The scenario ---------------------------------------------------------------------------------------------------------


def _orders(side: Side) -> None:
    for order, sku, country in (
        ("n-1", "mug", "FR"),
        ("n-2", "mug", "DE"),
        ("n-3", "mug", "NL"),
        ("n-4", "mug", "AQ"),
        ("n-5", "unicorn", "FR"),
    ):
        side.begin(order, "shop/order.placed", order_id=order, sku=sku, quantity=2, country=country)
    for order in ("n-1", "n-3", "n-4"):
        side.waits(order, "waiting")
    side.dev.send("shop/payment.received", order_id="n-1", amount_cents=2900)
    side.dev.send("shop/payment.received", order_id="n-4", amount_cents=2900)
    side.dev.send("shop/order.cancelled", order_id="n-3", reason="too slow")


def _users(side: Side) -> None:
    for user, name in (("u2", "Bo"), ("u4", "Dan"), ("u1", "Ada"), ("u3", "Cleo")):
        side.begin(user, "app/user.signed-up", user_id=user, name=name, email=f"{name.lower()}@example.com")
        if user == "u2":
            side.waits("u2", "sleeping")
            side.dev.send("app/user.deleted", user_id="u2")
    side.dev.send("app/user.signed-up", user_id="u1", name="Ada", email="ada@example.com")  # pressed it twice
    side.waits("u4", "waiting")
    side.dev.send("app/project.created", user_id="u4", title="Shed")


def _others(side: Side) -> None:
    side.begin("q-1", "prices/quote.requested", quote_id="q-1", euro_cents=12_900, currency="CHF")
    side.begin("q-2", "prices/quote.requested", quote_id="q-2", euro_cents=12_900, currency="XXX")
    side.begin("documents", "documents/folder.filled", path=str(DATA / "documents"))
    side.begin("batch", "weather/readings.uploaded", path=str(DATA / "readings.csv"), notify="weather@example.com")
    side.begin("a-1", "ai/analysis.requested", analysis_id="a-1", path=str(DATA / "documents" / "report-river.txt"))
    side.begin("a-2", "ai/analysis.requested", analysis_id="a-2", path="/there/is/no/such/file")
    side.begin("migration", "migration/requested", name="customers")
    side.begin("report", "reports/week.requested", week="2026-W02")


# What is to be seen ---------------------------------------------------------------------------------------------------


def _same(sides: list[Side], look: Callable[[Side], Any]) -> Any:
    python, typescript = map(look, sides)
    assert typescript == python
    assert python, "there is something to be compared"
    return python


def _run(side: Side, key: str) -> Any:
    return side.dev.get(f"/v2/runs/{side.runs[key]}")


def _table(side: Side, file: str, query: str) -> list[Any]:
    with closing(sqlite3.connect(side.home / file)) as db:
        return db.execute(query).fetchall()


def _texts(side: Side, *folders: str) -> dict[str, str]:
    files = [file for folder in folders for file in (side.home / folder).rglob("[!.]*") if file.is_file()]
    return {str(file.relative_to(side.home)): file.read_text() for file in files}


def _mails(side: Side) -> dict[str, tuple[str, str, str]]:
    found = [(file.stem, read_mail(file)) for file in (side.home / "outbox").glob("*.eml")]
    return {
        re.sub(r"^[0-9A-Z]{26}", "RUN", key): (mail["To"], mail["Subject"], mail.get_content()) for key, mail in found
    }


def test_the_same_runs_end_in_the_same_way(sides: list[Side]) -> None:
    def look(side: Side) -> Counter[tuple[str, str]]:
        runs = side.dev.get("/v2/runs?limit=1000")
        assert len(runs) < 1000
        return Counter((run["functionId"], run["status"]) for run in runs)

    found = _same(sides, look)

    assert found["examples-onboarding", "COMPLETED"] == 3
    assert found["examples-order", "CANCELLED"] == 1
    assert found["examples-document-failure", "COMPLETED"] == found["examples-document", "FAILED"] > 0


def test_the_same_events_are_sent(sides: list[Side]) -> None:
    def look(side: Side) -> Counter[str]:
        found: Counter[str] = Counter()
        cursor = ""
        while page := side.dev.get(f"/v1/events?limit=100{cursor}"):
            found += Counter(event["name"] for event in page)
            cursor = f"&cursor={page[-1]['internal_id']}"
        return found

    assert _same(sides, look)["documents/document.added"] > 10


@pytest.mark.parametrize("key", ["u1", "u3", "u4", "n-1", "n-2", "n-4", "migration", "report", "batch", "a-1"])
def test_a_run_takes_the_same_steps_to_the_same_result(sides: list[Side], key: str) -> None:
    def look(side: Side) -> Any:
        steps = side.dev.get(f"/v2/runs/{side.runs[key]}/trace")["steps"]
        return _run(side, key)["output"], sorted((step["name"], step["kind"], step["status"]) for step in steps)

    _same(sides, look)


@pytest.mark.parametrize("key", ["n-5", "q-2", "a-2"])
def test_a_run_fails_for_the_same_reason(sides: list[Side], key: str) -> None:
    def look(side: Side) -> Any:
        run = _run(side, key)
        # How a system says that there is no file is its own.
        return run["status"], run["error"]["message"].partition("gave up: ")[0]

    assert _same(sides, look)[0] == "FAILED"


def test_a_fallback_finds_the_same_price(sides: list[Side]) -> None:
    def look(side: Side) -> Any:
        quote = dict(_run(side, "q-1")["output"])
        assert "the live feed does not answer" in quote.pop("why")
        return quote, _texts(side, "quotes")

    _same(sides, look)


def test_the_same_mails_are_in_the_outbox(sides: list[Side]) -> None:
    assert _same(sides, _mails).keys() == {
        *(f"u{n}-{mail}" for n in (1, 3, 4) for mail in ("welcome", "guide")),
        "u1-nudge",
        "u2-welcome",
        "RUN-weather",
    }


def test_the_same_files_are_written(sides: list[Side]) -> None:
    found = _same(sides, lambda side: _texts(side, "labels", "trays", "reports", "analyses"))

    assert {Path(name).parts[0] for name in found} == {"labels", "trays", "reports", "analyses"}
    (weather,) = map(json.loads, _texts(sides[0], "weather").values())
    assert [weather] == [*map(json.loads, _texts(sides[1], "weather").values())]


def test_the_same_rows_are_in_the_tables(sides: list[Side]) -> None:
    orders = "SELECT order_id, sku, quantity, amount_cents, status FROM orders WHERE order_id LIKE 'n-%' ORDER BY 1"
    assert [row[4] for row in _same(sides, lambda side: _table(side, "shop.db", orders))] == [
        "shipped",
        "expired",
        "cancelled",
        "refunded",
    ]
    _same(sides, lambda side: _table(side, "shop.db", "SELECT * FROM payments ORDER BY key"))
    _same(sides, lambda side: _table(side, "shop.db", "SELECT sku, in_stock FROM products ORDER BY sku"))
    documents = "SELECT name, kind, margin, summary, substr(rejected, 1, 19) FROM documents ORDER BY name"
    _same(sides, lambda side: _table(side, "app.db", documents))
    customers = _same(sides, lambda side: _table(side, "customers.db", "SELECT * FROM customers ORDER BY id"))
    refused = _same(sides, lambda side: _table(side, "customers.db", "SELECT id FROM refused ORDER BY id"))
    assert len(customers) + len(refused) == 25_000


def test_every_example_exists_in_both_languages() -> None:
    python = {file.stem for file in (ROOT / "examples").glob("*.py") if "@app.create_function" in file.read_text()}
    typescript = {file.stem.replace("-", "_") for file in (ROOT / "examples" / "typescript").glob("*.ts")}

    assert len(python) == 8
    assert python <= typescript
