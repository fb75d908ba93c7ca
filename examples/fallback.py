"""A fallback: when the first provider fails for good, ask the second; when that one says "later", come back later.

A price in another currency needs a rate. The live feed is better and breaks; the daily list is always there, but makes
those wait who come for the first time.

    python -m examples fallback
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass

from examples.base import DATA, app, folder, home, paced, quiet, write_whole
from stepwell import Backoff, Context, NonRetriableError, RetryAfterError, StepError, event

ASK_AGAIN_AFTER = paced(hours=6)


@event("prices/quote.requested")
@dataclass(frozen=True)
class QuoteRequested:
    quote_id: str
    euro_cents: int
    currency: str


@dataclass(frozen=True)
class Quote:
    quote_id: str
    amount: str
    source: str
    why: str = ""


@app.create_function(id="quote", trigger=QuoteRequested, backoff=Backoff.fixed(paced(minutes=5)))
async def make_quote(ctx: Context[QuoteRequested]) -> Quote:
    asked = ctx.event.data
    source, why = "live feed", ""
    try:
        # Somebody waits for this price: two attempts, and then we know another way.
        rate = await ctx.step.options("live rate", retries=1, timeout="5s").run(live_rate, asked.currency)
    except StepError as failed:
        source, why = "daily list", str(failed)
        rate = await ctx.step.run("daily rate", daily_rate, asked.quote_id, asked.currency)
    quote = Quote(asked.quote_id, f"{asked.euro_cents / 100 * rate:.2f} {asked.currency}", source, why)
    await ctx.step.run("write", write_quote, quote)
    return quote


def live_rate(currency: str) -> float:
    """What ``rates/live.json`` says. The feed writes that file, when it works; in the examples it does not."""
    feed = folder("rates") / "live.json"
    if not feed.exists():
        raise ConnectionError("the live feed does not answer")
    return float(json.loads(feed.read_text())[currency])


def daily_rate(quote_id: str, currency: str) -> float:
    """The rate of the daily list. Its keeper turns away the first request of each customer, and says when to return."""
    asked_before = folder("rates") / f"{quote_id}.asked"
    if not asked_before.exists():
        write_whole(asked_before, "once\n")
        raise RetryAfterError("too many requests", ASK_AGAIN_AFTER)
    with (DATA / "rates.csv").open(encoding="utf-8", newline="") as file:
        rates = {row["currency"]: float(row["per_euro"]) for row in csv.DictReader(file)}
    if currency not in rates:
        raise NonRetriableError(f"nobody knows a rate for {currency}")
    return rates[currency]


def write_quote(quote: Quote) -> str:
    path = folder("quotes") / f"{quote.quote_id}.txt"
    write_whole(path, f"{quote.amount} ({quote.source})\n")
    return path.name


async def main() -> None:
    async with app.embedded(str(home() / "quotes.db")) as engine:
        await app.send(QuoteRequested("q-1", 129_00, "CHF"))
        await quiet(engine)
    print((folder("quotes") / "q-1.txt").read_text())
