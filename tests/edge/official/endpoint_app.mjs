// An app of somebody else whose pages are durable endpoints: the official JavaScript SDK (v4) on plain Node.
//
// Run it as `node endpoint_app.mjs PORT`. It writes each side effect as a line of JSON to the file that LEDGER names.

import { appendFileSync, existsSync, readFileSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";

const [port] = process.argv.slice(2);
const require = createRequire(new URL("./javascript/v4/package.json", import.meta.url));
const { Inngest, NonRetriableError, step } = require("inngest");
const { endpointAdapter, serveEndpoint } = require("inngest/node");

const LEDGER = process.env.LEDGER ?? "ledger";
const silent = { debug() {}, info() {}, warn() {}, error() {} };
/** The adapter keeps the options that it was given last, for all. */
const usual = { retries: 2, functionId: undefined, asyncResponse: undefined };
const client = (options = {}) =>
  new Inngest({ id: "pages", logger: silent, endpointAdapter: endpointAdapter.withOptions({ ...usual, ...options }) });

const note = (what, more = {}) => appendFileSync(LEDGER, JSON.stringify({ what, ...more }) + "\n");
const noted = (what) => () => (note(what), what);
const times = (what) => readFileSync(LEDGER, "utf8").split("\n").filter((line) => line.includes(`"what":"${what}"`)).length;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Fail so many times, counted by the ledger, which survives the process. */
const fails = (name, often) => {
  note(name);
  const tried = times(name);
  if (tried <= often) throw new TypeError(`${name} failed ${tried} times`);
};

const gate = async (name) => {
  while (!existsSync(name)) await pause(10);
  return name;
};

const pages = {};
const page = (path, handler, options) => {
  const durable = client(options).endpoint(handler);
  // The SDK reads the body of the request that it is given, so that a page which wants it needs a copy.
  pages[path] = serveEndpoint((request) => durable(request, request.clone()));
};

page("/steps", async () => {
  const one = await step.run("one", noted("one"));
  return { one, two: await step.run("two", noted("two")) };
});

page("/sleeps", async (request, copy) => {
  const asked = request.method === "GET" ? new URL(request.url).searchParams.get("q") : (await copy.json()).q;
  const one = await step.run("one", noted("one"));
  await step.sleep("nap", "1s");
  return { one, two: await step.run("two", noted("two")), asked, method: request.method };
});

page("/named", async () => (await step.sleep("nap", "1s"), "named"), { functionId: "by-name" });

page("/token", async () => (await step.sleep("nap", "1s"), "later"), { asyncResponse: "token" });

page("/response", async () => {
  await step.sleep("nap", "1s");
  return new Response("plain", { status: 201, headers: { "x-own": "yes" } });
});

page("/flaky", async () => {
  await step.run("before", noted("before"));
  return await step.run("flaky", () => (fails("flaky", 1), "done"));
});

page("/broken", async () => {
  await step.run("before", noted("before"));
  return await step.run("broken", () => fails("broken", 10));
});

page("/caught", async () => {
  try {
    await step.run("broken", () => fails("broken", 10));
  } catch (error) {
    return `caught: ${error.message}`;
  }
});

page("/final", async () => {
  try {
    return await step.run("final", () => {
      note("final");
      throw new NonRetriableError("never again");
    });
  } catch (error) {
    return `caught: ${error.message}`;
  }
});

page("/own-code", async () => {
  await step.run("before", noted("before"));
  fails("own-code", 1);
  return "done";
});

page("/group", async () => {
  const before = await step.run("before", noted("before"));
  const both = await Promise.all([step.run("a", noted("a")), step.run("b", noted("b")), step.sleep("nap", "1s")]);
  return [before, ...both, await step.run("after", noted("after"))];
});

page("/waits", async () => {
  const found = await step.waitForEvent("approval", { event: "pages/approved", timeout: "1h" });
  return found?.data ?? null;
});

page("/dies", async () => {
  await step.run("kept", noted("kept"));
  return await step.run("cut-off", () => {
    note("cut-off");
    if (times("cut-off") === 1) process.exit(1);
    return "alive";
  });
});

page("/held", async () => {
  await step.run("first", noted("first"));
  await step.run("held", async () => (note("held"), await gate("open")));
  return await step.run("last", noted("last"));
});

page("/silent", async () => {
  note("call");
  await step.run("first", noted("first"));
  if (times("call") === 1) throw new NonRetriableError("the client hears of it, the server does not");
  return "spoken";
});

page("/large", async () => {
  const large = await step.run("large", () => (note("large"), "x".repeat(5_000_000)));
  return large.length;
});

http
  .createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://app");
    if (pathname === "/api/inngest") return response.writeHead(200).end(); // a test looks whether anybody is there
    const header = (name) => request.headers[name] ?? null;
    note("request", {
      path: request.url,
      method: request.method,
      run: header("x-run-id"),
      signature: header("x-inngest-signature"),
      step: header("x-inngest-step-id"),
      plan: header("x-inngest-force-step-plan"),
      type: header("content-type"),
    });
    return (pages[pathname] ?? ((_, response) => response.writeHead(404).end()))(request, response);
  })
  .listen(Number(port), "127.0.0.1");
