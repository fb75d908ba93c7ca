// Apps of the official JavaScript SDK, each with one option that no server can accept, and with a good one until then.
//
// Run it as `node bad_app.mjs VERSION PORT`, where VERSION is v3 or v4. While there is a file `bad` in its directory, the
// bad ones are served, with one function more; each app is at a path of its own.

import { existsSync } from "node:fs";
import http from "node:http";

import { declare, port, sdk, serve, silent } from "./javascript_base.mjs";

const on = { event: "bad/go" };
const batchEvents = { maxSize: 5, timeout: "1m" };

const BAD = {
  limit: { concurrency: -1 },
  limits: { concurrency: [{ limit: 1 }, { limit: 2 }, { limit: 3 }] },
  scope: { concurrency: { limit: 1, scope: "env" } },
  condition: { triggers: { event: "bad/go", if: "event.data.n >" } },
  pattern: { triggers: { event: "bad/*/go" } },
  key: { throttle: { limit: 1, period: "1m", key: "event.data.(" } },
  cron: { triggers: { cron: "61 * * * *" } },
  seconds: { triggers: { cron: "0 0 9 * * *" } },
  zone: { triggers: { cron: "TZ=Mars/Olympus 0 9 * * *" } },
  jitter: { triggers: { cron: "0 9 * * *", jitter: "10m" } },
  twice: { triggers: [{ cron: "0 9 * * *" }, { cron: "0 9 * * *" }] },
  triggers: { triggers: Array.from({ length: 11 }, (_, n) => ({ event: `bad/${n}` })) },
  cancels: { cancelOn: Array.from({ length: 6 }, (_, n) => ({ event: `bad/${n}` })) },
  "cancel-if": { cancelOn: [{ event: "bad/stop", if: "async.data.list.exists(x, x == 1)" }] },
  throttle: { throttle: { limit: 1, period: "8d" } },
  rate: { rateLimit: { limit: 1, period: "2d" } },
  "rate-limit": { rateLimit: { limit: 0, period: "1m" } },
  debounce: { debounce: { period: "8d" } },
  batch: { batchEvents: { maxSize: 1000, timeout: "1m" } },
  priority: { priority: { run: "event.data.(" } },
  "batch-and-some": {
    batchEvents,
    debounce: { period: "1m" },
    rateLimit: { limit: 1, period: "1m" },
    singleton: { mode: "skip" },
    cancelOn: [{ event: "bad/stop" }],
    priority: { run: "1" },
  },
  "batch-and-idempotency": { batchEvents, idempotency: "event.data.id" },
  many: { concurrency: -1, debounce: { period: "8d" } },
  // What the types of the SDK forbid, and the SDK does not look at.
  length: { throttle: { limit: 1, period: "1x" } },
  moment: { timeouts: { start: "soon" } },
  "no-time": { timeouts: { finish: "0s" } },
  "batch-time": { batchEvents: { maxSize: 5, timeout: "100ms" } },
  mode: { singleton: { mode: "wait" } },
  where: { concurrency: { limit: 1, key: "event.data.key", scope: "galaxy" } },
  half: { rateLimit: { limit: 1.5, period: "1m" } },
};

const sites = { good: new Map(), bad: new Map() };
for (const [name, options] of Object.entries(BAD)) {
  const more = name === "many" ? { triggers: { cron: "never" } } : {};
  for (const [site, given] of Object.entries({ good: [{}], bad: [options, more] })) {
    const client = new sdk.Inngest({ id: `bad-${name}`, logger: silent });
    const functions = [];
    const define = declare(client, functions);
    given.forEach(({ triggers = on, ...rest }, n) => define({ id: ["f", "new"][n], ...rest }, triggers, async () => "done"));
    sites[site].set(name === "limit" ? "/api/inngest" : `/api/${name}`, serve({ client, functions }));
  }
}

http
  .createServer((request, response) => {
    const handler = sites[existsSync("bad") ? "bad" : "good"].get(new URL(request.url, "http://app").pathname);
    if (handler) return handler(request, response);
    response.writeHead(404).end();
  })
  .listen(Number(port), "127.0.0.1");
