// An app of somebody else: the official JavaScript SDK, unmodified, configured by what it offers everybody.
//
// Run it as `node javascript_app.mjs VERSION PORT`, where VERSION is v3 or v4. It writes each side effect as a line of
// JSON to the file that LEDGER names, and takes its orders from the data of events.

import http from "node:http";

import { declare, fails, gate, note, noted, pause, port, require, sdk, serve, silent, times, version } from "./javascript_base.mjs";

const { Inngest, NonRetriableError, RetryAfterError, StepError, fetch: fetchDurably, referenceFunction } = sdk;
const client = new Inngest({ id: "js", logger: silent });
const streamed = new Inngest({ id: "streamed", logger: silent });

const functions = [];
const define = declare(client, functions);

// What the Python app does, too ----------------------------------------------------------------------------------------

define({ id: "steps" }, "js/steps", async ({ step }) => {
  const first = () => (note("first"), { n: 1 });
  const one = await step.run("first", first);
  const two = await step.run("nothing", () => note("nothing"));
  const again = [];
  for (let n = 0; n < 2; n++) again.push(await step.run("first", first));
  return { one, two, again };
});

define({ id: "sleeps" }, "js/sleeps", async ({ step }) => {
  await step.sleep("nap", "1s");
  await step.sleep("blink", 200);
  await step.sleepUntil("past", new Date("2020-01-01T00:00:00Z"));
  return "awake";
});

define({ id: "waits" }, "js/waits", async ({ event, step }) => {
  const found = await step.waitForEvent("approval", {
    event: "js/approved",
    if: "event.data.order == async.data.order",
    timeout: `${event.data.timeout ?? 60}s`,
  });
  return found === null ? null : { name: found.name, data: found.data };
});

define({ id: "retries", retries: 3 }, "js/retries", async ({ step }) => {
  await step.run("before", noted("before"));
  return await step.run("flaky", () => (fails("flaky", 2), "done"));
});

define({ id: "catches", retries: 1 }, "js/catches", async ({ step }) => {
  try {
    await step.run("broken", () => {
      note("broken");
      throw new RangeError("it never works", { cause: new Error("a reason") });
    });
  } catch (error) {
    return { name: error.name, message: error.message, own: error instanceof StepError };
  }
});

define({ id: "own-code", retries: 2 }, "js/own-code", async ({ attempt }) => {
  fails("own-code", 1);
  return { attempt };
});

define({ id: "fails", retries: 1 }, "js/fails", async () => {
  note("fails");
  throw new TypeError("what is not there");
});

define(
  {
    id: "final",
    retries: 3,
    onFailure: async ({ error, event }) => {
      fails("on-failure", 1); // the SDK gives such a handler one attempt more
      const { error: said, function_id } = event.data;
      note("handled", { message: error.message, error: { name: said.name, message: said.message }, function: function_id });
    },
  },
  "js/final",
  async () => {
    note("final");
    throw new NonRetriableError("never again");
  },
);

define({ id: "later", retries: 3 }, "js/later", async ({ attempt }) => {
  note("later", { at: Date.now() / 1000 });
  if (attempt === 0) throw new RetryAfterError("in a moment", 1000);
  return "later";
});

define({ id: "parallel" }, "js/parallel", async ({ event, step }) => {
  note("call");
  const names = Array.from({ length: event.data.width }, (_, n) => `p${n}`);
  return await Promise.all(names.map((name) => step.run(name, noted(name))));
});

const child = define({ id: "child", retries: 0 }, "js/never", async ({ event }) => {
  if (event.data.fail) throw new RangeError("the child fails");
  return { got: event.data };
});

define({ id: "invokes", retries: 0 }, "js/invokes", async ({ step }) => {
  const byFunction = await step.invoke("by-function", { function: child, data: { n: 1 } });
  const elsewhere = referenceFunction({ appId: "js", functionId: "child" });
  const byReference = await step.invoke("by-reference", { function: elsewhere, data: { n: 2 }, timeout: "1h" });
  const withoutData = await step.invoke("without-data", { function: child });
  const failures = [];
  for (const [id, target] of [["failing", child], ["unknown", referenceFunction({ functionId: "nobody" })]]) {
    try {
      await step.invoke(id, { function: target, data: { fail: true } });
    } catch (error) {
      failures.push({ name: error.name, message: error.message });
    }
  }
  return [byFunction, byReference, withoutData, ...failures];
});

define({ id: "sends" }, "js/sends", async ({ step }) => {
  const { ids } = await step.sendEvent("tell", [{ name: "js/told", data: { n: 0 } }, { name: "js/told", data: { n: 1 } }]);
  return ids.length;
});

define({ id: "told" }, { event: "js/told", if: "event.data.n == 1" }, async ({ event }) => note("told", { n: event.data.n }));

define(
  { id: "cancelled", cancelOn: [{ event: "js/cancel", if: "event.data.id == async.data.id" }] },
  "js/cancellable",
  async ({ step }) => await step.sleep("long", "1h"),
);

define({ id: "limited", concurrency: [{ limit: 1, key: "event.data.key" }] }, "js/limited", async ({ event, step }) =>
  await step.run("work", async () => {
    note("begin", { key: event.data.key });
    await pause(50);
    note("end", { key: event.data.key });
  }),
);

define({ id: "large" }, "js/large", async ({ step }) => {
  let total = 0;
  for (let n = 0; n < 3; n++) total += (await step.run(`part ${n}`, () => "x".repeat(2_000_000))).length;
  return total;
});

define({ id: "dies", retries: 20 }, "js/dies", async ({ step }) => {
  await step.run("kept", noted("kept"));
  return await step.run("cut-off", () => {
    note("cut-off");
    if (times("cut-off") === 1) process.exit(1);
    return "alive";
  });
});

// Ways of writing parallel code that only JavaScript has ---------------------------------------------------------------

const racing = async (group, members) => (group ? await group.parallel({ mode: "race" }, members) : await members());

define({ id: "chains" }, "js/chains", async ({ group, step }) => {
  note("call");
  const chain = async (name) => {
    await step.run(`${name} one`, noted(`${name} one`));
    await step.run(`${name} two`, noted(`${name} two`));
    return name;
  };
  return await racing(group, () => Promise.all([chain("a"), chain("b")]));
});

define({ id: "race" }, "js/race", async ({ event, group, step }) => {
  const slow = step.run.bind(step, "slow", async () => (await gate(event.data.gate), note("slow"), "slow"));
  const first = await racing(group, () => Promise.race([slow(), step.run("quick", noted("quick"))]));
  return [first, await step.run("after", noted("after"))];
});

define({ id: "any", retries: 1 }, "js/any", async ({ step }) => {
  const bad = () => {
    throw new NonRetriableError("this one is bad");
  };
  return await Promise.any([step.run("bad", bad), step.run("good", noted("good"))]);
});

define({ id: "members-fail", retries: 1 }, "js/members-fail", async ({ step }) => {
  const bad = () => {
    note("bad");
    throw new RangeError("this one is bad");
  };
  const found = await Promise.allSettled([
    step.run("good", noted("good")),
    step.run("bad", bad),
    step.sleep("nap", "1s"),
    step.waitForEvent("nothing", { event: "js/nothing", timeout: "1s" }),
    step.invoke("child", { function: child, data: { n: 3 } }),
  ]);
  return found.map((each) => each.value ?? each.reason?.message ?? null);
});

define({ id: "nested" }, "js/nested", async ({ step }) => {
  note("call");
  const inner = async (name) => {
    await step.run(`${name} before`, noted(`${name} before`));
    return await Promise.all([1, 2].map((n) => step.run(`${name} ${n}`, noted(`${name} ${n}`))));
  };
  return await Promise.all([inner("a"), inner("b"), step.run("c", noted("c"))]);
});

define({ id: "sent-before" }, "js/sent-before", async ({ event, step }) => {
  const [found] = await Promise.all([
    step.waitForEvent("hear", { event: "js/said", if: `async.data.key == '${event.data.key}'`, timeout: "20s" }),
    step.sendEvent("say", { name: "js/said", data: { key: event.data.key } }),
  ]);
  return found?.data;
});

const afterwards = async ({ step }) => {
  note("call");
  const both = await Promise.all([step.run("a", noted("a")), step.run("b", noted("b"))]);
  return [...both, await step.run("c", noted("c")), await step.run("d", noted("d"))];
};

define({ id: "afterwards" }, "js/afterwards", afterwards);
define({ id: "afterwards-one", optimizeParallelism: false }, "js/afterwards-one", afterwards);
define({ id: "afterwards-two", optimizeParallelism: true }, "js/afterwards-two", afterwards);

define({ id: "loop" }, "js/loop", async ({ step }) => {
  const found = [];
  for (let n = 0; n < 30; n++) found.push(await step.run("turn", () => (note("turn"), n)));
  return found;
});

// Errors of steps ------------------------------------------------------------------------------------------------------

define({ id: "final-step", retries: 3 }, "js/final-step", async ({ event, step }) => {
  try {
    return await step.run("final-step", () => {
      note("final-step");
      throw new NonRetriableError("never again");
    });
  } catch (error) {
    if (event.data.caught) return error.message;
    throw error;
  }
});

define({ id: "later-step", retries: 3 }, "js/later-step", async ({ event, step }) =>
  await step.run("later-step", () => {
    note("later-step", { at: Date.now() / 1000 });
    const when = { number: 1000, text: "1s", date: new Date(Date.now() + 1000) }[event.data.form];
    if (times("later-step") === 1) throw new RetryAfterError("in a moment", when);
    return "later";
  }),
);

define({ id: "everything-once", retries: 1 }, "js/everything-once", async ({ step }) => {
  await step.run("one", () => fails("one", 1));
  await step.run("two", () => fails("two", 1));
  fails("own", 1);
  return "done";
});

// Checkpoints ----------------------------------------------------------------------------------------------------------

const sequence = async ({ step }) => {
  note("call");
  return [await step.run("a", noted("a")), await step.run("b", noted("b")), await step.run("c", noted("c"))];
};

define({ id: "sequence" }, "js/sequence", sequence);
define({ id: "checked", checkpointing: true }, "js/checked", sequence);
define({ id: "unchecked", checkpointing: false }, "js/unchecked", sequence);
define({ id: "buffered", checkpointing: { bufferedSteps: 2 } }, "js/buffered", sequence);
define({ id: "buffered-all", checkpointing: { bufferedSteps: 10 } }, "js/buffered-all", sequence);

define({ id: "short", checkpointing: { maxRuntime: "100ms" } }, "js/short", async ({ step }) => {
  note("call");
  await step.run("long", async () => (await pause(300), noted("long")()));
  return [await step.run("b", noted("b")), await step.run("c", noted("c"))];
});

define({ id: "mixed", checkpointing: true }, "js/mixed", async ({ step }) => {
  note("call");
  const one = await step.run("one", noted("one"));
  await step.sleep("nap", "1s");
  const pair = await Promise.all([step.run("two", noted("two")), step.run("three", noted("three"))]);
  return [one, ...pair, await step.run("four", noted("four")), await step.run("five", noted("five"))];
});

define({ id: "then-group", checkpointing: true }, "js/then-group", async ({ step }) => {
  const one = await step.run("one", noted("one"));
  const pair = await Promise.all([step.run("two", noted("two")), step.run("three", noted("three"))]);
  return [one, ...pair, await step.run("four", noted("four"))];
});

define({ id: "held", checkpointing: true }, "js/held", async ({ event, step }) => {
  await step.run("first", noted("first"));
  return await step.run("held", async () => (note("held"), await gate(event.data.gate)));
});

define({ id: "long", checkpointing: true }, "js/long", async ({ event, step }) => {
  const gated = await step.run("held", async () => (note("held"), await gate(event.data.gate)));
  return [gated, await step.run("after", noted("after")), await step.run("last", noted("last"))];
});

// Realtime, which is a part of v4 ----------------------------------------------------------------------------------------

if (version === "v4") {
  const { realtime, staticSchema } = require("inngest/realtime");
  const orders = realtime.channel({
    name: ({ id }) => `orders:${id}`,
    topics: { progress: { schema: staticSchema() }, log: { schema: staticSchema() } },
  });

  define({ id: "publishes" }, "js/publishes", async ({ event, step }) => {
    const channel = orders({ id: event.data.id });
    const told = await step.realtime.publish("tell", channel.progress, { done: 1 });
    await step.sleep("nap", 10);
    await step.run("inside", () => client.realtime.publish(channel.log, "plain text"));
    return told;
  });

  define({ id: "streams-out" }, "js/streams-out", async ({ event, step }) => {
    await step.run("stream", () =>
      client.realtime.publish(orders({ id: event.data.id }).log, ReadableStream.from(["one ", "two ", "drei ä"]).pipeThrough(new TextEncoderStream())),
    );
  });
}
// Requests that the server makes ---------------------------------------------------------------------------------------

define({ id: "infers", retries: 2 }, "js/infers", async ({ event, step }) => {
  const apiKey = "sk-planted-in-javascript";
  const models = {
    openai: step.ai.models.openai({ model: "m", apiKey, baseUrl: event.data.url }),
    gemini: step.ai.models.gemini({ model: "m", apiKey, baseUrl: event.data.url }),
  };
  await step.run("before", noted("before"));
  const found = [];
  for (const [name, model] of Object.entries(models)) {
    try {
      found.push(await step.ai.infer(name, { model, body: { messages: [] } }));
    } catch (error) {
      found.push({ name: error.name, message: error.message });
    }
  }
  return found;
});

define({ id: "wraps" }, "js/wraps", async ({ step }) =>
  await step.ai.wrap("wrapped", async (prompt) => (note("wrapped"), prompt.toUpperCase()), "hello"),
);

define({ id: "fetches", retries: 1 }, "js/fetches", async ({ event }) => {
  note("call");
  const { url, method, body } = event.data;
  try {
    const found = await fetchDurably(url, { method, body, headers: { authorization: "Bearer sk-planted-in-fetch" } });
    return { status: found.status, body: await found.text(), more: found.headers.get("x-more") };
  } catch (error) {
    return { name: error.name, message: error.message };
  }
});

define({ id: "fetches-at-once" }, "js/fetches-at-once", async ({ event, step }) => {
  const [one, two, three] = await Promise.all([
    fetchDurably(`${event.data.url}one`),
    fetchDurably(`${event.data.url}two`),
    step.run("three", noted("three")),
  ]);
  return [one.status, two.status, three];
});

// What a function returns ----------------------------------------------------------------------------------------------

define({ id: "returns" }, "js/returns", async ({ event }) => event.data.value);

// Streamed answers -----------------------------------------------------------------------------------------------------

const streaming = [];

declare(streamed, streaming)({ id: "streams", retries: 1, checkpointing: false }, "streamed/streams", async ({ step }) => {
  const one = await step.run("one", noted("one"));
  const both = await Promise.all([step.run("two", noted("two")), step.run("three", noted("three"))]);
  await step.run("flaky", () => fails("flaky", 1));
  fails("own", 1);
  return [one, ...both];
});

// ----------------------------------------------------------------------------------------------------------------------

const usual = serve({ client, functions });
const inPieces = serve({ client: streamed, functions: streaming, streaming: version === "v3" ? "force" : true });

http
  .createServer((request, response) => {
    const url = new URL(request.url, "http://app");
    if (request.method === "POST") {
      const header = (name) => request.headers[`x-inngest-${name}`] ?? null;
      note("request", {
        function: url.searchParams.get("fnId"),
        step: url.searchParams.get("stepId"),
        version: header("req-version"),
        generation: header("generation-id"),
        run: request.headers["x-run-id"] ?? null,
      });
    }
    return (url.pathname === "/api/streaming" ? inPieces : usual)(request, response);
  })
  .listen(Number(port), "127.0.0.1");
