// Batch processing: split a file into chunks, work on them side by side, put the results together, tell somebody.

import path from "node:path";

import { folder, functions, inngest, rounded, rows, writeWhole } from "./base.ts";
import { sendMail } from "./mail.ts";

const CHUNK_ROWS = 200;
const [COLDEST, HOTTEST] = [-60, 60]; // what a station reports beyond these is a broken sensor, not weather

type Chunk = { path: string; start: number; stop: number };
type Tally = { count: number; total: number; lowest: number; highest: number };
type Result = { stations: Record<string, Tally>; rejected: number };

/** Started by nothing but `batch`, which invokes it. At most three work at one moment, whoever asks. */
const workOnChunk = inngest.createFunction(
  { id: "readings-chunk", triggers: [], concurrency: 3 },
  async ({ event, step }) => await step.run("tally", () => tally(event.data as unknown as Chunk)),
);

const batch = inngest.createFunction(
  { id: "readings-batch", triggers: [{ event: "weather/readings.uploaded" }] },
  async ({ event, runId, step }) => {
    const upload = event.data as { path: string; notify: string };
    const count = await step.run("count rows", () => rows(upload.path).length);
    const chunks: Chunk[] = [];
    for (let start = 0; start < count; start += CHUNK_ROWS)
      chunks.push({ path: upload.path, start, stop: Math.min(start + CHUNK_ROWS, count) });

    // The results come in the order of the branches.
    const results = await Promise.all(
      chunks.map((data, number) => step.invoke(`chunk ${number}`, { function: workOnChunk, data })),
    );

    const stations: Record<string, Tally> = {};
    for (const result of results as Result[])
      for (const [name, found] of Object.entries(result.stations))
        stations[name] = name in stations ? sum(stations[name], found) : found;
    const rejected = (results as Result[]).reduce((all, result) => all + result.rejected, 0);

    await step.run("write result", () => writeResult(runId, stations));
    await step.run("notify", () => notify(runId, upload.notify, stations, rejected));
    return { chunks: chunks.length, rows: count, stations: Object.keys(stations).length, rejected };
  },
);
functions.push(workOnChunk, batch);

const sum = (one: Tally, other: Tally): Tally => ({
  count: one.count + other.count,
  total: one.total + other.total,
  lowest: Math.min(one.lowest, other.lowest),
  highest: Math.max(one.highest, other.highest),
});

function tally(chunk: Chunk): Result {
  const stations: Record<string, Tally> = {};
  let rejected = 0;
  for (const { celsius, station } of rows(chunk.path).slice(chunk.start, chunk.stop)) {
    const value = celsius.trim() === "" ? NaN : Number(celsius);
    if (!(COLDEST < value && value < HOTTEST)) {
      rejected += 1;
      continue;
    }
    const one = { count: 1, total: value, lowest: value, highest: value };
    stations[station] = station in stations ? sum(stations[station], one) : one;
  }
  return { stations, rejected };
}

const sorted = (stations: Record<string, Tally>): [string, Tally][] =>
  Object.entries(stations).toSorted(([one], [other]) => (one < other ? -1 : 1));

function writeResult(batchId: string, stations: Record<string, Tally>): string {
  const name = `${batchId}.json`;
  const table = sorted(stations).map(([station, { count, total, lowest, highest }]) => [
    station,
    { readings: count, mean: rounded(total / count, 2), low: lowest, high: highest },
  ]);
  writeWhole(path.join(folder("weather"), name), JSON.stringify(Object.fromEntries(table), null, 2));
  return name;
}

function notify(batchId: string, to: string, stations: Record<string, Tally>, rejected: number): string {
  const degrees = (value: number): string => value.toFixed(1).padStart(6);
  const lines = sorted(stations).map(([name, { count, total, lowest, highest }]) => {
    return `${name.padEnd(8)} ${degrees(total / count)} °C   from ${degrees(lowest)} to ${degrees(highest)}`;
  });
  const body = [...lines, "", `${rejected} readings could not be used.`].join("\n");
  return sendMail(`${batchId}-weather`, to, `The readings of ${lines.length} stations`, body);
}
