// What the apps of the official JavaScript SDKs share: the SDK that the command line names, and the ledger of side effects.

import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";

export const [version, port] = process.argv.slice(2);
export const require = createRequire(new URL(`./javascript/${version}/package.json`, import.meta.url));
export const sdk = require("inngest");
export const { serve } = require("inngest/node");
export const zod = require("zod");
export const { createDefer } = require("inngest/experimental"); // of v4

const LEDGER = process.env.LEDGER ?? "ledger";
export const silent = { debug() {}, info() {}, warn() {}, error() {} };

export const note = (what, more = {}) => appendFileSync(LEDGER, JSON.stringify({ what, ...more }) + "\n");
export const noted = (what) => () => (note(what), what);
export const times = (what) =>
  readFileSync(LEDGER, "utf8").split("\n").filter((line) => line.includes(`"what":"${what}"`)).length;
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Fail so many times, counted by the ledger, which survives the process. */
export const fails = (name, often) => {
  note(name);
  const tried = times(name);
  if (tried <= often) throw new TypeError(`${name} failed ${tried} times`);
};

/** Wait until the test has opened this. */
export const gate = async (name) => {
  while (!existsSync(name)) await pause(10);
  return name;
};

/** What v3 calls the second argument, v4 calls an option. */
export const declare = (client, functions) => (options, trigger, handler) => {
  const given = [trigger].flat().map((one) => (typeof one === "string" ? { event: one } : one));
  functions.push(
    version === "v3"
      ? client.createFunction(options, given.length === 1 ? given[0] : given, handler)
      : client.createFunction({ ...options, triggers: given }, handler),
  );
  return functions.at(-1);
};
