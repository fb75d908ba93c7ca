// A document pipeline: validate, summarise, classify, save, notify, for every text in a folder.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import type { DatabaseSync } from "node:sqlite";

import { NonRetriableError } from "inngest";

import { DATA, database, folder, functions, home, inngest, rounded, writeWhole } from "./base.ts";
import { classify, summarise, words } from "./language.ts";

const WORDS_MIN = 20;

/** Fan out: one event, and so one run, for each file. */
const scanFolder = inngest.createFunction(
  { id: "scan-folder", triggers: [{ event: "documents/folder.filled" }] },
  async ({ event, step }) => {
    const paths = await step.run("list", () => listFiles(event.data.path));
    const announced = paths.map((path) => ({ name: "documents/document.added", data: { path } }));
    await step.sendEvent("announce", announced);
    return paths.length;
  },
);

const processDocument = inngest.createFunction(
  {
    id: "document",
    triggers: [{ event: "documents/document.added" }],
    concurrency: 4,
    retries: 4,
    /** Runs once for each document whose run has failed for good. It may use steps like any function. */
    onFailure: async ({ error, event, step }) => {
      await step.run("record", () => saveRejected(event.data.event.data.path, error.message));
    },
  },
  async ({ event, step }) => {
    const { path } = event.data as { path: string };
    await step.run("validate", () => validate(path));
    const summary = await step.run("summarise", () => summarise(readFileSync(path, "utf8")));
    const kind = await step.run("classify", () => kindOf(path));
    await step.run("save", () => save(path, kind, summary));
    await step.run("notify", () => deliver(path, kind.name, summary));
    return kind.name;
  },
);
functions.push(scanFolder, processDocument);

const listFiles = (given: string): string[] =>
  readdirSync(given, { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(given, entry.name))
    .toSorted();

/** The number of words. A broken file stays broken however often we look, so the error says: do not try again. */
function validate(file: string): number {
  if (!existsSync(file)) throw new NonRetriableError("the file is gone");
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(file));
  } catch {
    throw new NonRetriableError("not a text in UTF-8");
  }
  const count = words(text).length;
  if (count < WORDS_MIN) throw new NonRetriableError(`${count} words are too few to say anything about`);
  return count;
}

type Kind = { name: string; margin: number };

function kindOf(file: string): Kind {
  const { name, margin } = classify(readFileSync(file, "utf8"), path.join(DATA, "training"));
  return { name, margin: rounded(margin, 1) };
}

const table = (db: DatabaseSync): void =>
  db.exec(`
    CREATE TABLE IF NOT EXISTS documents
    (name TEXT PRIMARY KEY, kind TEXT, margin REAL, summary TEXT, rejected TEXT)
  `);

function save(file: string, kind: Kind, summary: string[]): void {
  database("app.db", (db) => {
    table(db);
    // A second try writes the same row again instead of a second one.
    const insert = db.prepare("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, NULL)");
    insert.run(path.basename(file), kind.name, kind.margin, summary.join("\n"));
  });
}

function saveRejected(file: string, reason: string): void {
  database("app.db", (db) => {
    table(db);
    db.prepare("INSERT OR REPLACE INTO documents VALUES (?, NULL, NULL, NULL, ?)").run(path.basename(file), reason);
  });
}

/** Put a note into the tray of those who care. That of the accounts office is stuck: it opens at the third pull. */
function deliver(file: string, kind: string, summary: string[]): string {
  const [tray, name] = [folder(`trays/${kind}`), path.basename(file)];
  if (kind === "invoice") {
    const counter = path.join(folder("stuck"), name);
    const pulls = existsSync(counter) ? Number(readFileSync(counter, "utf8")) : 0;
    writeWhole(counter, String(pulls + 1));
    if (pulls < 2) throw new Error(`the tray for ${name} is stuck, pull ${pulls + 1}`);
  }
  const note = path.join(tray, `${name}.note`);
  writeWhole(note, [`New ${kind}: ${name}`, "", ...summary, ""].join("\n"));
  return path.relative(home(), note);
}
