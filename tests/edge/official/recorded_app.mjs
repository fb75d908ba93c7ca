// The functions whose messages are recorded, with the official JavaScript SDK: `recorded_app.mjs VERSION PORT`.

import http from "node:http";

import { createDefer, declare, port, sdk, serve, silent, version } from "./javascript_base.mjs";

const { Inngest, NonRetriableError, RetryAfterError, openai, referenceFunction } = sdk;
const client = new Inngest({ id: "app", logger: silent });
const functions = [];
const add = declare(client, functions);
const define = (name, handler) => add({ id: name, retries: 2 }, `app/${name}`, handler);

const MOMENT = new Date("2040-01-02T03:04:05Z");
const broken = () => {
  throw new TypeError("it broke");
};
const refused = () => {
  throw new NonRetriableError("never");
};
const later = () => {
  throw new RetryAfterError("in a moment", MOMENT);
};

const one = define("one", ({ step }) => step.run("load", () => ({ id: 7 })));
define("nothing", ({ step }) => step.run("nothing", () => {}));
define("repeats", async ({ step }) => [await step.run("again", () => 0), await step.run("again", () => 1)]);
define("breaks", ({ step }) => step.run("break", broken));
define("catches", async ({ step }) => {
  try {
    await step.run("break", broken);
  } catch (error) {
    return [error.name, error.message];
  }
});
define("refuses", ({ step }) => step.run("refuse", refused));
define("waits-a-moment", ({ step }) => step.run("later", later));
define("sends", async ({ step }) => {
  const told = (n) => ({ name: "app/told", data: { n }, ts: 1 });
  return (await step.sendEvent("tell", [told(0), told(1)])).ids;
});

define("sleeps", async ({ step }) => {
  await step.sleep("nap", "1h");
  return "awake";
});
define("sleeps-until", ({ step }) => step.sleepUntil("until", MOMENT));
define("hears", async ({ step }) => (await step.waitForEvent("hear", { event: "app/heard", timeout: "1h" }))?.data ?? null);
define("hears-if", ({ step }) =>
  step.waitForEvent("hear", { event: "app/heard", if: "event.data.n == async.data.n", timeout: "2d" }));
define("signalled", ({ step }) => step.waitForSignal("signal", { signal: "go", timeout: "1h", onConflict: "fail" }));
define("signalled-instead", ({ step }) =>
  step.waitForSignal("signal", { signal: "go", timeout: "1h", onConflict: "replace" }));
define("signals", ({ step }) => step.sendSignal("send", { signal: "go", data: { n: 1 } }));
define("invokes", ({ step }) => step.invoke("ask", { function: one, data: { n: 1 }, timeout: "1h" }));
define("invokes-elsewhere", ({ step }) =>
  step.invoke("ask", { function: referenceFunction({ appId: "other", functionId: "answer" }), data: { n: 1 } }));
define("invokes-without-data", ({ step }) => step.invoke("ask", { function: one }));
define("infers", ({ step }) =>
  step.ai.infer("ask", {
    model: openai({ model: "small", apiKey: "key" }),
    body: { messages: [{ role: "user", content: "hello" }] },
  }));
define("fetches", ({ step }) =>
  step.fetch("https://api.test/orders", { method: "POST", headers: { "x-test": "1" }, body: "hello" }));

const both = (step) => Promise.all([step.run("a", () => "a"), step.run("b", () => "b")]);
define("both", ({ step }) => both(step));
define("races", ({ group, step }) => group.parallel({ mode: "race" }, () => both(step)));
define("everything", async ({ step }) => {
  await Promise.all([
    step.run("run", () => 1),
    step.sleepUntil("until", MOMENT),
    step.waitForEvent("hear", { event: "app/heard", timeout: "1h" }),
    step.invoke("ask", { function: one }),
  ]);
});

define("returns", ({ event }) => event.data.value);
define("fails", broken);
define("gives-up", refused);
define("comes-back", later);

define("sequence", async ({ step }) => [await step.run("a", () => "a"), await step.run("b", () => "b")]);
define("runs-then-sleeps", async ({ step }) => {
  await step.run("a", () => "a");
  await step.sleep("nap", "1h");
});
define("runs-then-breaks", async ({ step }) => {
  await step.run("a", () => "a");
  await step.run("break", broken);
});

if (version === "v4") {
  const followUp = createDefer(client, { id: "follow-up" }, async () => {});
  functions.push(followUp);
  define("defers", async ({ defer, step }) => {
    defer("later", { function: followUp, data: { n: 1 } });
    return await step.run("load", () => ({ id: 7 }));
  });
  define("defers-nothing", async ({ defer, step }) => {
    const later = defer("later", { function: followUp, data: { n: 1 } });
    await step.run("load", () => ({ id: 7 }));
    later.abort();
  });
}

http.createServer(serve({ client, functions })).listen(Number(port), "127.0.0.1");
