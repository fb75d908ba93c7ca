// An app for each option that the official JavaScript SDK has for a function, each at a path of its own.
//
// Run it as `node options_app.mjs VERSION PORT`, where VERSION is v3 or v4.

import http from "node:http";
import { createRequire } from "node:module";

const [version, port] = process.argv.slice(2);
const require = createRequire(new URL(`./javascript/${version}/package.json`, import.meta.url));
const { Inngest } = require("inngest");
const { serve } = require("inngest/node");

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const on = { event: "opt/go" };
const key = "event.data.key";
const weekly = "TZ=Europe/Paris 0 9 * * 1";

const OPTIONS = {
  plain: {},
  name: { name: "With a name" },
  "no-retries": { retries: 0 },
  retries: { retries: 20 },
  cron: { triggers: [version === "v3" ? { cron: weekly } : { cron: weekly, jitter: "30s" }] },
  triggers: { triggers: [on, { event: "opt/*", if: "event.data.n > 1" }] },
  cancel: { cancelOn: [{ event: "opt/stop", if: "event.data.id == async.data.id", timeout: "1m" }] },
  "cancel-match": { cancelOn: [{ event: "opt/stop", match: "data.id" }] },
  concurrency: { concurrency: [{ limit: 3, key: "event.data.user", scope: "env" }] },
  "concurrency-number": { concurrency: 3 },
  "concurrency-object": { concurrency: { limit: 3 } },
  idempotency: { idempotency: "event.data.id" },
  timeouts: { timeouts: { start: "1m", finish: "2m" } },
  "on-failure": { onFailure: async () => {} },
  checkpointing: { checkpointing: { bufferedSteps: 2, maxRuntime: "10s" } },
  parallelism: { optimizeParallelism: false },
  batch: { batchEvents: { maxSize: 5, timeout: "1m" } },
  "rate-limit": { rateLimit: { limit: 1, period: "1m" } },
  throttle: { throttle: { limit: 1, period: "1m" } },
  debounce: { debounce: { period: "1m" } },
  priority: { priority: { run: "event.data.priority" } },
  singleton: { singleton: { mode: "skip" } },
  "concurrency-two": { concurrency: [{ limit: 9 }, { limit: 1, key }] },
  "batch-whole": { batchEvents: { maxSize: 5, timeout: "1m", key, if: "event.data.n > 1" } },
  "rate-limit-whole": { rateLimit: { limit: 3, period: "1m", key } },
  "throttle-whole": { throttle: { limit: 3, period: "1m", burst: 4, key } },
  "debounce-whole": { debounce: { period: "1m", timeout: "2m", key } },
  "singleton-whole": { singleton: { mode: "cancel", key } },
};

// What the types of the SDK forbid, and the SDK hands on.
OPTIONS.unknown = { throttle: { limit: 1, period: "1m", brust: 3 } };

const handlers = new Map();
for (const [name, { triggers = [on], ...options }] of Object.entries(OPTIONS)) {
  const client = new Inngest({ id: `opt-${name}`, logger: silent });
  const handler = async () => "done";
  const declared = { id: "f", ...options };
  const made =
    version === "v3"
      ? client.createFunction(declared, triggers.length === 1 ? triggers[0] : triggers, handler)
      : client.createFunction({ ...declared, triggers }, handler);
  handlers.set(name === "plain" ? "/api/inngest" : `/api/${name}`, serve({ client, functions: [made] }));
}

http
  .createServer((request, response) => {
    const handler = handlers.get(new URL(request.url, "http://app").pathname);
    if (handler) return handler(request, response);
    response.writeHead(404).end();
  })
  .listen(Number(port), "127.0.0.1");
