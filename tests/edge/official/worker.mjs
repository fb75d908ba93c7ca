// A worker of the official JavaScript SDK that connects: `node worker.mjs v4 [instance]`.

import { declare, gate, note, noted, require, sdk, silent } from "./javascript_base.mjs";

const { connect } = require("inngest/connect");
const instance = process.argv[3] ?? "worker";
const { Inngest, NonRetriableError } = sdk;

const client = new Inngest({ id: "js", logger: silent });
const functions = [];
const define = declare(client, functions);

define({ id: "steps" }, "js/steps", async ({ step }) => {
  const one = await step.run("one", noted("one"));
  await step.sleep("rest", "50ms");
  return [one, await step.run("two", noted("two"))];
});

define({ id: "parallel" }, "js/parallel", async ({ step }) =>
  Promise.all(["a", "b", "c"].map((name) => step.run(name, noted(name)))),
);

define({ id: "slow", retries: 0 }, "js/slow", async ({ step, event }) => {
  await step.run("before", noted("before"));
  const slow = await step.run("slow", async () => {
    note("at slow", { pid: process.pid, instance });
    return gate(event.data.gate);
  });
  await step.run("after", noted("after"));
  return slow;
});

define({ id: "rests" }, "js/rests", async ({ step }) => step.sleep("rest", "5s"));

define({ id: "large" }, "js/large", async ({ step }) => {
  const parts = [];
  for (let n = 0; n < 3; n++) {
    parts.push(
      await step.run(`part ${n}`, () => {
        note("filled", { n });
        return String(n).repeat(2_000_000);
      }),
    );
  }
  return parts.join("").length;
});

define(
  { id: "limited", retries: 0, concurrency: { limit: 1, key: "event.data.key" } },
  "js/limited",
  async ({ step, event }) =>
    step.run("limited", async () => {
      note("at limited", { gate: event.data.gate, pid: process.pid, instance });
      return gate(event.data.gate);
    }),
);

define({ id: "throttled", throttle: { limit: 1, period: "3s" } }, "js/throttled", async () =>
  note("throttled", { at: Date.now() / 1000 }),
);

define(
  {
    id: "fails",
    retries: 1,
    onFailure: async ({ error }) => note("on-failure", { message: error.message }),
  },
  "js/fails",
  async ({ attempt }) => {
    note("fails", { attempt });
    throw new TypeError("it never works");
  },
);

define({ id: "final" }, "js/final", async () => {
  note("final");
  throw new NonRetriableError("never again");
});

const other = new Inngest({ id: "other", logger: silent });
const others = [];
declare(other, others)({ id: "hello" }, "other/hello", async ({ event }) => `hello ${event.data.name}`);

const connection = await connect({
  apps: [
    { client, functions },
    { client: other, functions: others },
  ],
  instanceId: instance,
  ...(process.env.MOST ? { maxWorkerConcurrency: Number(process.env.MOST) } : {}),
});
note("connected", { id: connection.connectionId });
await connection.closed;
note("closed");
process.exit(0);
