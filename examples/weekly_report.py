"""A report for each week, on Monday at nine o'clock in Paris, in summer as in winter.

python -m examples weekly_report
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from examples.base import app, folder, home, quiet, write_whole
from examples.shop import shop
from stepwell import Context, TriggerCron, event

PARIS = ZoneInfo("Europe/Paris")
SOLD = ("paid", "shipped")


@event("reports/week.requested")
@dataclass(frozen=True)
class WeekRequested:
    """``week`` as ISO 8601 writes it: ``2026-W02``."""

    week: str


@dataclass(frozen=True)
class Line:
    sku: str
    title: str
    orders: int
    pieces: int
    revenue_cents: int


@dataclass(frozen=True)
class Week:
    name: str
    lines: list[Line]
    lost: int  # orders that were expired, cancelled or refunded

    @property
    def revenue_cents(self) -> int:
        return sum(line.revenue_cents for line in self.lines)


@app.create_function(
    id="weekly-report",
    # missed="latest": if nothing ran at nine, the report is made when something runs again, once.
    trigger=TriggerCron("0 9 * * 1", tz="Europe/Paris", missed="latest"),
)
async def weekly_report(ctx: Context) -> list[str]:
    """The week that has just ended. ``ctx.now()`` is the same at every replay; ``datetime.now()`` would not be."""
    monday = ctx.now().astimezone(PARIS).date()
    name = await ctx.step.run("which week", week_before, monday)
    week = await ctx.step.run("count", count_week, name)
    return await ctx.step.run("write", write_report, week)


@app.create_function(id="report-on-request", trigger=WeekRequested)
async def report_on_request(ctx: Context[WeekRequested]) -> list[str]:
    week = await ctx.step.run("count", count_week, ctx.event.data.week)
    return await ctx.step.run("write", write_report, week)


def week_before(day: date) -> str:
    year, week, _ = (day - timedelta(days=7)).isocalendar()
    return f"{year}-W{week:02}"


def count_week(name: str) -> Week:
    """What was ordered from Monday to Sunday, by the clocks of Paris."""
    monday = date.fromisocalendar(int(name[:4]), int(name[6:]), 1)
    bounds = [utc(monday), utc(monday + timedelta(days=7))]
    with shop() as db:
        found = db.execute(
            f"""
            SELECT sku, title, count(*) AS orders, sum(quantity) AS pieces, sum(amount_cents) AS revenue_cents
            FROM orders JOIN products USING (sku)
            WHERE placed_at >= ? AND placed_at < ? AND status IN ({", ".join("?" * len(SOLD))})
            GROUP BY sku ORDER BY revenue_cents DESC, sku
            """,
            [*bounds, *SOLD],
        ).fetchall()
        (total,) = db.execute("SELECT count(*) FROM orders WHERE placed_at >= ? AND placed_at < ?", bounds).fetchone()
    lines = [Line(**dict(row)) for row in found]
    return Week(name, lines, total - sum(line.orders for line in lines))


def utc(day: date) -> str:
    """The beginning of a day in Paris, as the table writes moments."""
    return f"{datetime.combine(day, time(), PARIS).astimezone(ZoneInfo('UTC')):%Y-%m-%dT%H:%M:%SZ}"


def write_report(week: Week) -> list[str]:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["sku", "title", "orders", "pieces", "revenue"])
    writer.writerows([line.sku, line.title, line.orders, line.pieces, euros(line.revenue_cents)] for line in week.lines)
    text = [
        f"# Week {week.name}",
        "",
        f"Revenue {euros(week.revenue_cents)} EUR; {week.lost} orders came to nothing.",
        "",
    ]
    text += ["| product | orders | pieces | revenue |", "| --- | ---: | ---: | ---: |"]
    text += [f"| {line.title} | {line.orders} | {line.pieces} | {euros(line.revenue_cents)} |" for line in week.lines]
    paths = [folder("reports") / f"{week.name}.csv", folder("reports") / f"{week.name}.md"]
    for path, content in zip(paths, [table.getvalue(), "\n".join([*text, ""])], strict=True):
        write_whole(path, content)
    return [path.name for path in paths]


def euros(cents: int) -> str:
    return f"{cents / 100:.2f}"


async def main() -> None:
    async with app.embedded(str(home() / "reports.db")) as engine:
        await app.send(WeekRequested("2026-W02"))
        await quiet(engine)
    print((folder("reports") / "2026-W02.md").read_text())
