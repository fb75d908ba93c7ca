// What all examples stand on: one client, one folder for what they produce, one pace at which their days go by.
//
// Two settings, both environment variables: DEMO_HOME is the folder, by default `demo-output` where you are; DEMO_SPEED
// says how many times faster than life the examples sleep and wait. At 86400 a day takes a second.

import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";

import { Inngest, type InngestFunction } from "inngest";

export const inngest = new Inngest({ id: "examples" });
export const functions: InngestFunction.Any[] = [];

export const DATA = path.join(import.meta.dirname, "..", "data");
const SPEED = Number(process.env.DEMO_SPEED ?? "1");
const MS = { minutes: 60_000, hours: 3_600_000, days: 86_400_000 };

type Length = Partial<Record<keyof typeof MS, number>>;

/** A length of time in milliseconds, shortened when the examples are told to hurry. */
export function paced(length: Length): number {
  const given = Object.entries(length) as [keyof typeof MS, number][];
  return Math.ceil(given.reduce((sum, [unit, count]) => sum + count * MS[unit], 0) / SPEED);
}

/** The moment that is so far away. A sleep of less than a second would be rounded up to one. */
export const after = (length: Length): Date => new Date(Date.now() + paced(length));

export const home = (): string => process.env.DEMO_HOME ?? "demo-output";

/** A folder in `home()`. */
export function folder(name: string): string {
  const found = path.join(home(), name);
  mkdirSync(found, { recursive: true });
  return found;
}

/** Write a file so that nobody ever sees half of it, and so that writing it twice changes nothing. */
export function writeWhole(file: string, text: string): void {
  const draft = path.join(path.dirname(file), `.${path.basename(file)}.${process.pid}`);
  writeFileSync(draft, text);
  renameSync(draft, file);
}

/** One transaction on a SQLite file of the app: committed at the end of `work`, rolled back if it throws. */
export function database<T>(name: string, work: (db: DatabaseSync) => T): T {
  mkdirSync(home(), { recursive: true });
  const db = new DatabaseSync(path.join(home(), name), { timeout: 30_000 });
  try {
    db.exec("PRAGMA journal_mode = WAL");
    db.exec("BEGIN IMMEDIATE");
    const result = work(db);
    db.exec("COMMIT");
    return result;
  } finally {
    db.close(); // rolls back what is not committed
  }
}

/** As accountants round: a five goes to the even side. */
export const rounded = (value: number, maximumFractionDigits: number): number =>
  Number(new Intl.NumberFormat("en", { maximumFractionDigits, roundingMode: "halfEven", useGrouping: false }).format(value));

/** The rows of a file in `data/`, by the names of its columns. */
export function rows(file: string): Record<string, string>[] {
  const [head, ...lines] = readFileSync(file, "utf8").trimEnd().split("\n").map(cells);
  return lines.map((line) => Object.fromEntries(head.map((column, n) => [column, line[n]])));
}

const cells = (line: string): string[] =>
  [...line.matchAll(/(?:^|,)(?:"([^"]*)"|([^,]*))/g)].map(([, quoted, plain]) => quoted ?? plain);
