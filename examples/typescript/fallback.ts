// A fallback: when the first provider fails for good, ask the second; when that one says "later", come back later.

import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

import { NonRetriableError, RetryAfterError } from "inngest";

import { DATA, folder, functions, inngest, paced, rows, writeWhole } from "./base.ts";

type Asked = { quote_id: string; euro_cents: number; currency: string };

const quote = inngest.createFunction(
  // Somebody waits for this price: two attempts at each step, and then we know another way.
  { id: "quote", triggers: [{ event: "prices/quote.requested" }], retries: 1 },
  async ({ event, step }) => {
    const asked = event.data as Asked;
    let [source, why] = ["live feed", ""];
    let rate: number;
    try {
      rate = await step.run("live rate", () => liveRate(asked.currency));
    } catch (failed) {
      [source, why] = ["daily list", (failed as Error).message];
      rate = await step.run("daily rate", () => dailyRate(asked));
    }
    const amount = `${((asked.euro_cents / 100) * rate).toFixed(2)} ${asked.currency}`;
    await step.run("write", () => writeQuote(asked.quote_id, amount, source));
    return { quote_id: asked.quote_id, amount, source, why };
  },
);
functions.push(quote);

/** What `rates/live.json` says. The feed writes that file, when it works; in the examples it does not. */
function liveRate(currency: string): number {
  const feed = path.join(folder("rates"), "live.json");
  if (!existsSync(feed)) throw new Error("the live feed does not answer");
  return Number(JSON.parse(readFileSync(feed, "utf8"))[currency]);
}

/** The rate of the daily list. Its keeper turns away the first request of each customer, and says when to return. */
function dailyRate({ quote_id, currency }: Asked): number {
  const askedBefore = path.join(folder("rates"), `${quote_id}.asked`);
  if (!existsSync(askedBefore)) {
    writeWhole(askedBefore, "once\n");
    throw new RetryAfterError("too many requests", paced({ hours: 6 }));
  }
  const found = rows(path.join(DATA, "rates.csv")).find((row) => row.currency === currency);
  if (found === undefined) throw new NonRetriableError(`nobody knows a rate for ${currency}`);
  return Number(found.per_euro);
}

function writeQuote(quoteId: string, amount: string, source: string): string {
  const name = `${quoteId}.txt`;
  writeWhole(path.join(folder("quotes"), name), `${amount} (${source})\n`);
  return name;
}
