// An app of the official JavaScript SDK whose configuration is that of its environment, as in another deployment of it.
//
// Run it as `node settings_app.mjs VERSION PORT`; SETTINGS is a JSON object.

import http from "node:http";

import { declare, gate, note, port, sdk, serve, silent } from "./javascript_base.mjs";

const settings = { limit: 1, throttle: 1, version: 1, without: [], ...JSON.parse(process.env.SETTINGS ?? "{}") };
const key = "event.data.key";

const client = new sdk.Inngest({ id: "js", logger: silent });
const functions = [];
const add = declare(client, functions);
// Attempts while the app starts again are in vain, and there are some.
const define = (name, options, handler) => {
  if (!settings.without.includes(name)) add({ id: name, retries: 20, ...options }, `js/${name}`, handler);
};

const numbers = async ({ event, events, runId }) => {
  const told = events.map((one) => one.data.n);
  note(event.data.key, { run: runId, told });
  return told;
};

define("limited", { concurrency: settings.limit }, async ({ event, step }) =>
  await step.run("work", async () => {
    const { n, key } = event.data;
    note("begin", { n, key });
    await gate(`${key} ${n}`);
    note("end", { n, key });
    return n;
  }),
);

const rest = { event: "js/go-on", if: "event.data.n == async.data.n", timeout: "2h" };
const version = () => settings.version;

define("versioned", {}, async ({ step }) => {
  const first = await step.run("first", version);
  await step.waitForEvent("rest", rest);
  return [first, await step.run("second", version), settings.version];
});

const single = async (ctx) => {
  await ctx.step.waitForEvent("rest", rest);
  return await numbers(ctx);
};

define("single", { singleton: { mode: "skip", key } }, single);
define("throttled", { throttle: { limit: settings.throttle, period: "1h", key } }, numbers);
define("calm", { debounce: { period: "1h", key } }, numbers);
define("batched", { batchEvents: { maxSize: 5, timeout: "1h", key } }, numbers);
define("rated", { rateLimit: { limit: 1, period: "24h", key } }, numbers);
define("daily", { idempotency: key }, numbers);
define("late", { timeouts: { finish: "1h" } }, single);

http.createServer(serve({ client, functions })).listen(Number(port), "127.0.0.1");
