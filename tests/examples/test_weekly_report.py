"""The report comes on Monday at nine in Paris, of the week before, and adds up."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

from examples.app import app
from examples.base import DATA
from examples.weekly_report import WeekRequested, report_on_request, weekly_report
from stepwell.testing import Harness, harness


def test_it_is_written_on_monday_at_nine_in_paris_and_not_before(t: Harness, home: Path):
    t.advance_to("2026-01-05T07:59:59Z")  # nine in Paris is eight in UTC in winter
    assert t.runs(weekly_report) == []
    t.advance("1s")

    t.assert_completed(t.run(weekly_report), ["2026-W01.csv", "2026-W01.md"])
    assert (home / "reports" / "2026-W01.md").read_text().startswith("# Week 2026-W01\n")


def test_in_summer_nine_in_paris_is_seven_in_utc(home: Path):
    with harness(app, start="2026-03-24T00:00:00Z") as t:
        t.advance("7d")

        starts = [run.started_at for run in t.runs(weekly_report)]
        assert starts == [datetime(2026, 3, 30, 7, tzinfo=UTC)]


def test_a_week_without_orders_has_an_empty_report(t: Harness, home: Path):
    t.send(WeekRequested("2026-W30"))

    t.assert_completed(t.run(report_on_request))
    assert "Revenue 0.00 EUR; 0 orders came to nothing." in (home / "reports" / "2026-W30.md").read_text()


def test_it_adds_up_to_what_is_in_the_orders(t: Harness, home: Path):
    t.send(WeekRequested("2026-W02"))

    with (home / "reports" / "2026-W02.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    found = {line["sku"]: (int(line["orders"]), round(float(line["revenue"]) * 100)) for line in lines}
    assert found == counted_by_hand("2026-01-04T23:00:00Z", "2026-01-11T23:00:00Z")  # midnights of Paris
    assert [float(line["revenue"]) for line in lines] == sorted((float(x["revenue"]) for x in lines), reverse=True)


def counted_by_hand(first: str, last: str) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    with (DATA / "orders.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if first <= row["placed_at"] < last and row["status"] == "shipped":
                orders, cents = found.get(row["sku"], (0, 0))
                found[row["sku"]] = (orders + 1, cents + int(row["amount_cents"]))
    return found
