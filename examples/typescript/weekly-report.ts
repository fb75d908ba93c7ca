// A report for each week, on Monday at nine o'clock in Paris, in summer as in winter.

import path from "node:path";

import { folder, functions, inngest, writeWhole } from "./base.ts";
import { shop } from "./shop.ts";

const DAY_MS = 86_400_000;
const PARIS = "Europe/Paris";

type Line = { sku: string; title: string; orders: number; pieces: number; revenue_cents: number };
type Week = { name: string; lines: Line[]; lost: number };

const weeklyReport = inngest.createFunction(
  { id: "weekly-report", triggers: [{ cron: `TZ=${PARIS} 0 9 * * 1` }] },
  async ({ step }) => {
    // The week that has just ended. Inside a step, so that a replay finds the same.
    const name = await step.run("which week", () => weekOf(Date.now() - 7 * DAY_MS));
    const week = await step.run("count", () => countWeek(name));
    return await step.run("write", () => writeReport(week));
  },
);

const reportOnRequest = inngest.createFunction(
  { id: "report-on-request", triggers: [{ event: "reports/week.requested" }] },
  async ({ event, step }) => {
    const week = await step.run("count", () => countWeek(event.data.week));
    return await step.run("write", () => writeReport(week));
  },
);
functions.push(weeklyReport, reportOnRequest);

/** The week of a moment in Paris, as ISO 8601 writes it: `2026-W02`. */
function weekOf(moment: number): string {
  const [year, month, day] = new Intl.DateTimeFormat("sv", { timeZone: PARIS }).format(moment).split("-").map(Number);
  const date = new Date(Date.UTC(year, month - 1, day));
  const thursday = new Date(date.getTime() + (3 - ((date.getUTCDay() + 6) % 7)) * DAY_MS);
  const first = Date.UTC(thursday.getUTCFullYear(), 0, 1);
  const week = Math.floor((thursday.getTime() - first) / (7 * DAY_MS)) + 1;
  return `${thursday.getUTCFullYear()}-W${String(week).padStart(2, "0")}`;
}

/** The beginning of a day in Paris, as the table writes moments. `day` is its midnight in UTC. */
function midnight(day: number): string {
  const hour = new Intl.DateTimeFormat("en-GB", { timeZone: PARIS, hour: "2-digit", hourCycle: "h23" }).format(day);
  return new Date(day - Number(hour) * 3_600_000).toISOString().replace(/\.\d+/, "");
}

/** What was ordered from Monday to Sunday, by the clocks of Paris. */
function countWeek(name: string): Week {
  const [year, week] = [Number(name.slice(0, 4)), Number(name.slice(6))];
  const fourth = new Date(Date.UTC(year, 0, 4)); // is always in the first week
  const monday = fourth.getTime() - ((fourth.getUTCDay() + 6) % 7) * DAY_MS + (week - 1) * 7 * DAY_MS;
  const bounds = [midnight(monday), midnight(monday + 7 * DAY_MS)];
  return shop((db) => {
    const found = db
      .prepare(
        `SELECT sku, title, count(*) AS orders, sum(quantity) AS pieces, sum(amount_cents) AS revenue_cents
         FROM orders JOIN products USING (sku)
         WHERE placed_at >= ? AND placed_at < ? AND status IN ('paid', 'shipped')
         GROUP BY sku ORDER BY revenue_cents DESC, sku`,
      )
      .all(...bounds);
    const all = db.prepare("SELECT count(*) AS n FROM orders WHERE placed_at >= ? AND placed_at < ?").get(...bounds);
    const lines = found.map((row) => ({ ...row })) as Line[];
    return { name, lines, lost: Number(all?.n) - lines.reduce((sum, line) => sum + line.orders, 0) };
  });
}

function writeReport(week: Week): string[] {
  const quoted = (text: string): string => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const table = week.lines.map((line) => [line.sku, quoted(line.title), line.orders, line.pieces, euros(line.revenue_cents)]);
  const csv = [["sku", "title", "orders", "pieces", "revenue"], ...table].map((cells) => `${cells.join(",")}\n`).join("");
  const revenue = week.lines.reduce((sum, line) => sum + line.revenue_cents, 0);
  const text = [
    `# Week ${week.name}`,
    "",
    `Revenue ${euros(revenue)} EUR; ${week.lost} orders came to nothing.`,
    "",
    "| product | orders | pieces | revenue |",
    "| --- | ---: | ---: | ---: |",
    ...week.lines.map((line) => `| ${line.title} | ${line.orders} | ${line.pieces} | ${euros(line.revenue_cents)} |`),
    "",
  ];
  const names = [`${week.name}.csv`, `${week.name}.md`];
  for (const [n, content] of [csv, text.join("\n")].entries()) writeWhole(path.join(folder("reports"), names[n]), content);
  return names;
}

const euros = (cents: number): string => (cents / 100).toFixed(2);
