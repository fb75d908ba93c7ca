// What the official JavaScript SDKs say with events: deferred functions, metadata, sessions, internal events.
//
// Run it as `node javascript_events.mjs VERSION PORT`, as javascript_app.mjs, whose conventions it keeps.

import { appendFileSync, existsSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import { Readable } from "node:stream";

const [version, port] = process.argv.slice(2);
const require = createRequire(new URL(`./javascript/${version}/package.json`, import.meta.url));
const { Inngest } = require("inngest");
const { serve } = require("inngest/node");

const LEDGER = process.env.LEDGER ?? "ledger";
const silent = { debug() {}, info() {}, warn() {}, error() {} };
const note = (what, more = {}) => appendFileSync(LEDGER, JSON.stringify({ what, ...more }) + "\n");
const noted = (what) => () => (note(what), what);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const gate = async (name) => {
  while (!existsSync(name)) await pause(10);
  return name;
};

const functions = [];
const define = (client) => (options, trigger, handler) =>
  functions.push(
    version === "v3"
      ? client.createFunction(options, trigger, handler)
      : client.createFunction({ ...options, triggers: [trigger] }, handler),
  );

const experimental = version === "v4" ? require("inngest/experimental") : {};
const middleware = version === "v4" ? [experimental.metadataMiddleware(), experimental.scoreMiddleware()] : [];
const client = new Inngest({ id: "js", logger: silent, middleware });

const declare = (id, handler, more = {}) => define(client)({ id, retries: 0, ...more }, { event: `js/${id}` }, handler);

// Version 4 alone ------------------------------------------------------------------------------------------------------

if (version === "v4") {
  const { createDefer } = experimental;

  const receipt = createDefer(client, { id: "receipt" }, async ({ event, step, parents }) => {
    note("receipt", { data: event.data, parents });
    return await step.run("print", () => event.data.order);
  });
  functions.push(receipt);

  declare("defers", async ({ event, defer, step }) => {
    defer("receipt", { function: receipt, data: { order: event.data.order } });
    await step.run("one", noted("one"));
    await step.sleep("nap", "100ms");
    return "done";
  });

  declare("defers-alone", async ({ defer }) => {
    defer("receipt", { function: receipt, data: { order: 1 } });
    return "done";
  });

  declare("defers-unchecked", async ({ defer, step }) => {
    defer("receipt", { function: receipt, data: { order: 1 } });
    await Promise.all([step.run("one", noted("one")), step.run("two", noted("two"))]);
    return "done";
  }, { checkpointing: false });

  declare("defers-in-step", async ({ defer, step }) => {
    await step.run("one", () => (defer("receipt", { function: receipt, data: { order: 2 } }), note("one")));
    await step.sleep("nap", "100ms");
    return "done";
  });

  declare("defers-and-fails", async ({ defer }) => {
    defer("receipt", { function: receipt, data: { order: 3 } });
    throw new Error("no");
  });

  declare("defers-and-waits", async ({ defer, step, event }) => {
    const handle = defer("receipt", { function: receipt, data: { order: 4 } });
    await step.sleep("nap", "100ms");
    await step.run("held", async () => (note("held"), await gate(event.data.gate)));
    handle.abort();
    await step.sleep("nap again", "100ms");
    return "done";
  });

  declare("defers-too-many", async ({ defer, step }) => {
    for (let n = 0; n < 21; n++) defer(`receipt ${n}`, { function: receipt, data: { order: n } });
    await step.run("one", noted("one"));
    return "done";
  });

  declare("defers-badly", async ({ defer, step }) => {
    defer("text", { function: receipt, data: "a text" });
    defer("large", { function: receipt, data: { order: "x".repeat(4 * 1024 * 1024 + 1) } });
    defer("receipt", { function: receipt, data: { order: 6 } });
    await step.run("receipt", noted("one")); // a step of the same name
    return "done";
  });

  declare("says", async ({ step, runId }) => {
    await step.metadata("of the run").set({ phase: 1 });
    await step.metadata("of the run again").set({ phase: 2 });
    await step.metadata("of a kind").do(async (builder) => {
      await builder.set({ a: 1 }, "ai");
      await builder.set({ b: 2 }, "ai");
    });
    await step.run("load", async () => {
      await client.metadata.set({ rows: 3 });
      await client.metadata.run(runId).set({ seen: true }, "seen");
      return "loaded";
    });
    await step.score("judge", { name: "accuracy", value: 0.9 });
    await step.score("check", { name: "valid", value: true });
    await step.sleep("nap", "100ms");
    await client.metadata.run(runId).step("load").set({ late: true }, "late");
    return "done";
  });

  declare("says-too-much", async ({ step }) => {
    await step.metadata("large").set({ text: "x".repeat(65536) });
    return "done";
  });
}

// Both versions -------------------------------------------------------------------------------------------------------

declare("catches", async ({ step }) => {
  const error = await step
    .run("broken", () => {
      throw new RangeError("it never works", { cause: new TypeError("a reason") });
    })
    .catch((error) => error);
  return { name: error.name, message: error.message, cause: { name: error.cause?.name, message: error.cause?.message } };
});

declare(
  "fails",
  async () => {
    throw new RangeError("no", { cause: new TypeError("a reason") });
  },
  { onFailure: ({ event, error }) => note("on-failure", { event, cause: error.cause?.message }) },
);

declare("is-cancelled", async ({ step }) => await step.sleep("nap", "1h"), {
  cancelOn: [{ event: "js/stop", if: "event.data.id == async.data.id" }],
});

declare("finishes-late", async ({ step }) => await step.sleep("nap", "1h"), { timeouts: { finish: "1s" } });
declare("starts-late", async () => note("started"), { timeouts: { start: "1s" } });
declare("once", async ({ event }) => note("once", { id: event.id }));

for (const pattern of ["a/*", "a/b.*"])
  define(client)({ id: `hears-${pattern.length}` }, { event: pattern }, async ({ event }) =>
    note(pattern, { name: event.name }),
  );

for (const what of ["finished", "failed", "cancelled"])
  define(client)({ id: `hears-${what}` }, { event: `inngest/function.${what}` }, async ({ event }) => note(what, { event }));

declare("child", async ({ event }) => ({ data: event.data, meta: event.meta }));

declare("parent", async ({ step, event }) => {
  const child = functions.find((one) => one.opts?.id === "child");
  const invoked = await step.invoke("call", { function: child, data: { n: 1 }, user: { id: "u1" }, v: "2" });
  await step.sendEvent("tell", { name: "js/child", data: {}, ...event.data.said });
  return invoked;
});

// ----------------------------------------------------------------------------------------------------------------------

const handler = serve({ client, functions });

http
  .createServer((request, response) => {
    const url = new URL(request.url, "http://app");
    if (request.method !== "POST") return handler(request, response);
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks);
      const call = JSON.parse(body.toString() || "null");
      note("request", { function: url.searchParams.get("fnId"), defers: call?.defers, events: call?.events });
      const again = Readable.from([body]); // the SDK reads the request itself
      for (const field of ["method", "url", "headers", "socket"]) again[field] = request[field];
      handler(again, response);
    });
  })
  .listen(Number(port), "127.0.0.1");
