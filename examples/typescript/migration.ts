// A migration of 25,000 records in batches of 1,000, with a checkpoint after each.

import { NonRetriableError } from "inngest";
import type { DatabaseSync } from "node:sqlite";

import { after, database, functions, inngest } from "./base.ts";

const RECORDS = 25_000;
const BATCH = 1_000;

/** What one step did. It is the checkpoint too: the next step begins after `last_id`. */
type Batch = { last_id: number; copied: number; refused: number };
type Row = { id: number; name: string; telefon: string; seit: string };

const migration = inngest.createFunction(
  {
    id: "migration",
    triggers: [{ event: "migration/requested" }],
    concurrency: 1,
    idempotency: "event.data.name",
  },
  async ({ step }) => {
    let [lastId, copied, refused, batches] = [0, 0, 0, 0];
    for (;;) {
      const batch: Batch = await step.run(`after ${lastId}`, () => copyBatch(lastId));
      if (batch.last_id <= lastId) break;
      lastId = batch.last_id;
      copied += batch.copied;
      refused += batch.refused;
      batches += 1;
      // The old database serves its users meanwhile: it gets a rest after each batch.
      await step.sleepUntil(`rest after ${lastId}`, after({ minutes: 10 }));
    }
    await step.run("compare", () => compare(copied, refused));
    return { copied, refused, batches };
  },
);
functions.push(migration);

/** Copy the next records. In one transaction, and by key: done twice, it writes the same. */
function copyBatch(afterId: number): Batch {
  const records = database("legacy.db", (old) =>
    old.prepare("SELECT * FROM kunden WHERE id > ? ORDER BY id LIMIT ?").all(afterId, BATCH),
  ) as Row[];
  return database("customers.db", (db) => {
    createTables(db);
    const customer = db.prepare("INSERT OR REPLACE INTO customers VALUES (?, ?, ?, ?)");
    const refusal = db.prepare("INSERT OR REPLACE INTO refused VALUES (?, ?)");
    let refused = 0;
    for (const record of records) {
      const found = transform(record);
      if (typeof found === "string") {
        refusal.run(record.id, found);
        refused += 1;
      } else {
        customer.run(record.id, ...found);
      }
    }
    db.prepare("INSERT INTO log (after_id, records) VALUES (?, ?)").run(afterId, records.length);
    return { last_id: records.at(-1)?.id ?? afterId, copied: records.length - refused, refused };
  });
}

/** From what the old system allowed to what the new one expects, or why that cannot be. */
function transform({ name, telefon, seit }: Row): [string, string, string] | string {
  const comma = name.indexOf(",");
  if (comma < 0) return `'${name}' is not 'last name, first name'`;
  const [last, first] = [name.slice(0, comma).trim(), name.slice(comma + 1).trim()];
  const [day, month, year] = seit.split(".");
  const since = new Date(`${year}-${month}-${day}`); // of the 30th of February it makes the 1st of March, or nothing
  if (since.getUTCDate() !== Number(day)) return `there is no ${seit}`;
  const title = last.charAt(0).toUpperCase() + last.slice(1).toLowerCase();
  return [`${first} ${title}`, telefon.replace(/[^\d+]/g, ""), `${year}-${month}-${day}`];
}

/** Do not trust the counting: ask both databases. */
function compare(copied: number, refused: number): void {
  const count = (name: string, table: string): number =>
    database(name, (db) => Number(db.prepare(`SELECT count(*) AS n FROM ${table}`).get()?.n));
  const [there, here] = [count("legacy.db", "kunden"), count("customers.db", "customers")];
  if (here !== copied || count("customers.db", "refused") !== refused || copied + refused !== there)
    throw new NonRetriableError(`${there} records there; ${here} here, ${copied} and ${refused} counted`);
}

function createTables(db: DatabaseSync): void {
  db.exec("CREATE TABLE IF NOT EXISTS customers (id INTEGER PRIMARY KEY, name TEXT, phone TEXT, since TEXT)");
  db.exec("CREATE TABLE IF NOT EXISTS refused (id INTEGER PRIMARY KEY, reason TEXT)");
  db.exec("CREATE TABLE IF NOT EXISTS log (number INTEGER PRIMARY KEY, after_id INTEGER, records INTEGER)");
}

/** The database that is to be replaced, as such databases are: some of what it holds fits no rule. */
export function makeLegacyDatabase(): void {
  const firsts = ["Anna", "Bernd", "Carla", "Dieter", "Eva", "Frank", "Gerda", "Heinz", "Ilse", "Jan", "Karin", "Lars"];
  const lasts = ["ADLER", "BAUM", "CLASSEN", "DORN", "EICH", "FALK", "GRAF", "HAHN", "IHLE", "JUNG", "KERN", "LANG"];
  database("legacy.db", (old) => {
    if (old.prepare("SELECT 1 FROM sqlite_master WHERE name = 'kunden'").get() !== undefined) return;
    old.exec("CREATE TABLE kunden (id INTEGER PRIMARY KEY, name TEXT, telefon TEXT, seit TEXT)");
    const insert = old.prepare("INSERT INTO kunden VALUES (?, ?, ?, ?)");
    const two = (n: number): string => String(n).padStart(2, "0");
    for (let n = 1; n <= RECORDS; n++) {
      const comma = n % 997 === 0 ? " " : ", ";
      const name = `${lasts[n % lasts.length]}${comma}${firsts[(n * 7) % firsts.length]}`;
      const since = `${two(1 + (n % 30))}.${two(1 + (n % 12))}.${1985 + (n % 41)}`;
      insert.run(2 * n, name, `+49 (${100 + (n % 900)}) ${10_000 + n}`, since);
    }
  });
}
