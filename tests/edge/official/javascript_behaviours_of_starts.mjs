// Functions with rules for their starts: batches, debounce, rates, singletons, priority, idempotency.

import { note } from "./javascript_base.mjs";

const key = "event.data.key";

/** Notes what its events say. */
export const numbers = async ({ event, events, runId }) => {
  const told = events.map((one) => one.data.n);
  note(event.data.key, { run: runId, told, first: event.data.n });
  return told;
};

export const rests = async ({ event, runId, step }) => {
  await step.run("begin", () => note(event.data.key, { run: runId }));
  await step.waitForEvent("rest", { event: "js/go-on", if: "event.data.n == async.data.n", timeout: "1h" });
  return "done";
};

export const starts = (define, works) => {
  define("batched", numbers, { batchEvents: { maxSize: 3, timeout: "1s", key, if: "event.data.n > 0" } });
  define("calm", numbers, { debounce: { period: "1s", key } });
  define("calm-in-time", numbers, { debounce: { period: "1s", timeout: "1s", key } });
  define("rated", numbers, { rateLimit: { limit: 1, period: "1h", key } });
  define("throttled", numbers, { throttle: { limit: 1, period: "1s", key } });
  define("throttled-burst", numbers, { throttle: { limit: 1, period: "1h", burst: 2, key } });
  define("skips", rests, { singleton: { mode: "skip", key } });
  define("replaces", rests, { singleton: { mode: "cancel", key } });
  define("daily", numbers, { idempotency: key });
  const pausable = define("pausable", numbers);
  define("invokes-pausable", async ({ event, step }) => {
    try {
      await step.invoke("ask", { function: pausable, data: { key: event.data.key, n: 0 } });
    } catch (error) {
      return error.message;
    }
    return "started";
  }, { retries: 0 });
  define("ranked", works, { concurrency: 1, priority: { run: "event.data.vip ? 600 : -600" } });
  define("one-at-a-time", async ({ event, step }) => {
    const { rest } = event.data;
    if (rest === "sleep") await step.sleep("rest", "1h");
    if (rest === "wait") await step.waitForEvent("rest", { event: "js/never", timeout: "1h" });
    return "free";
  }, { concurrency: { limit: 1 } });
};
