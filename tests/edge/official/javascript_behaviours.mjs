// The JavaScript half of `test_behaviours*.py`: the same functions as in `python_behaviours.py`.
//
// Run it as `node javascript_behaviours.mjs VERSION PORT`, where VERSION is v3 or v4.

import http from "node:http";

import { declare, fails, gate, note, noted, port, sdk, serve, silent, version, zod } from "./javascript_base.mjs";
import { limits, second } from "./javascript_behaviours_of_limits.mjs";
import { starts } from "./javascript_behaviours_of_starts.mjs";

const { Inngest, NonRetriableError, RetryAfterError, referenceFunction } = sdk;
/** Changes what goes into one function, what its steps give and what is sent, and notes when it is called. */
const stamp = (event) =>
  event.name === "js/stamped" ? { ...event, data: { ...event.data, stamp: "hooks" } } : event;

const hooks = () => {
  if (version === "v3") {
    const before = () => note("hook", { of: "before" });
    const upper = (data) => (typeof data === "string" ? data.toUpperCase() : data);
    return new sdk.InngestMiddleware({
      name: "hooks",
      init: () => ({
        onFunctionRun: ({ ctx }) => ctx.event.name !== "js/hooked" ? {} : {
          transformInput: ({ ctx }) => ({
            ctx: { event: { ...ctx.event, data: { ...ctx.event.data, added: "by hooks" } } },
          }),
          beforeExecution: before,
          transformOutput: ({ result }) => ({ result: { ...result, data: upper(result.data) } }),
        },
        onSendEvent: () => ({ transformInput: ({ payloads }) => ({ payloads: payloads.map(stamp) }) }),
      }),
    });
  }
  return class extends sdk.Middleware.BaseMiddleware {
    id = "hooks";
    transformFunctionInput(arg) {
      if (arg.ctx.event.name !== "js/hooked") return arg;
      const event = { ...arg.ctx.event, data: { ...arg.ctx.event.data, added: "by hooks" } };
      return { ...arg, ctx: { ...arg.ctx, event } };
    }
    onMemoizationEnd({ ctx }) {
      if (ctx.event.name === "js/hooked") note("hook", { of: "before" });
    }
    async wrapStepHandler({ ctx, next }) {
      const found = await next();
      return ctx.event.name === "js/hooked" && typeof found === "string" ? found.toUpperCase() : found;
    }
    transformSendEvent(arg) {
      return { ...arg, events: arg.events.map(stamp) };
    }
  };
};

const said = (text) => ["before", "between", "after"].includes(text) && note("logged", { text });
const client = new Inngest({ id: "js", logger: { ...silent, info: said }, middleware: [hooks()] });
const functions = [];
const add = declare(client, functions);
const define = (name, handler, { event, ...options } = {}) => add({ id: name, ...options }, event ?? `js/${name}`, handler);

const held = (name) => async () => (note(`at ${name}`), await gate(name));
const told = (error) => ({ name: error.name, message: error.message });

// Steps ----------------------------------------------------------------------------------------------------------------

const loop = async ({ event, step }) => {
  const found = [];
  for (let n = 0; n < event.data.times; n++) found.push(await step.run("turn", () => (note("turn"), n)));
  return found;
};

define("loop", loop);
define("loop-in-one-call", loop, { checkpointing: true });

define("echoes", async ({ event, step }) => {
  const found = [];
  for (const [n, value] of event.data.values.entries()) found.push(await step.run(`Schritt é 🎉 ${n}`, () => value));
  return found;
});

define("large", async ({ event, step }) => {
  const { text } = event.data;
  return [text.length, (await step.run("longer", () => text.repeat(5))).length];
});

define("adds", async ({ step }) => await step.run("add", (one, two) => one + two, 2, 3));

define("until", async ({ event, step }) => {
  await step.sleepUntil("until", new Date(event.data.at * 1000));
  await step.sleep("no time", 0);
  note("woke", { at: Date.now() / 1000 });
});

define("too-long", async ({ step }) => {
  note("too-long");
  await step.sleep("too long", "400d");
});

define("hears", async ({ step }) => {
  const found = await step.waitForEvent("hear", { event: "js/heard", timeout: "1h" });
  return found === null ? null : found.data.n;
});

define("missed", async ({ step }) => {
  const found = await step.waitForEvent("again", { event: "js/missed", timeout: "1s" });
  return found === null ? null : "heard";
});

define("nonsense", async ({ step }) => {
  note("nonsense");
  await step.waitForEvent("nonsense", { event: "js/heard", if: "event.data.n ===", timeout: "1h" });
});

define("either", async ({ step }) => {
  const wait = async (name) => {
    const found = await step.waitForEvent(name, { event: `js/${name}`, timeout: "1h" });
    if (found !== null) await step.run(`got ${name}`, noted(`got ${name}`));
    return found === null ? null : name;
  };
  return await Promise.all([wait("left"), wait("right")]);
}, { optimizeParallelism: false });

define("says-and-hears", async ({ event, step }) => {
  const { key } = event.data;
  const [found] = await Promise.all([
    step.waitForEvent("hear", { event: "js/said", if: `async.data.key == '${key}'`, timeout: "1h" }),
    step.sendEvent("say", { name: "js/said", data: { key } }),
  ]);
  return found.data.key;
});

define("at-once", async ({ step }) => await Promise.all([
  step.run("good", noted("good")),
  step.run("flaky", () => (fails("flaky member", 1), "flaky")),
  step.sleep("nap", 100),
  step.waitForEvent("never", { event: "js/never", timeout: "1s" }),
  step.invoke("child", { function: echo, data: { n: 3 } }),
]), { retries: 1 });

define("member-fails", async ({ step }) => {
  const bad = () => {
    note("bad");
    throw new RangeError("this one is bad");
  };
  try {
    await Promise.all([step.run("good", noted("good")), step.run("bad", bad)]);
  } catch (error) {
    return [error.message, await step.run("after", noted("after"))];
  }
}, { retries: 0 });

define("nested", async ({ step }) => {
  const inner = async (name) => {
    await step.run(`${name} before`, noted(`${name} before`));
    return await Promise.all([1, 2].map((n) => step.run(`${name} ${n}`, noted(`${name} ${n}`))));
  };
  return (await Promise.all([inner("a"), inner("b")])).flat();
});

// Invoking and sending -------------------------------------------------------------------------------------------------

const echo = define("echo", async ({ event }) => event.data.n, { retries: 0 });

const sleeper = define("sleeper", async ({ runId, step }) => {
  note("sleeper", { run: runId });
  await step.sleep("long", "1h");
}, { retries: 0 });

define("invokes-sleeper", async ({ event, step }) => {
  try {
    await step.invoke("sleeper", { function: sleeper, timeout: `${event.data.timeout}s` });
  } catch (error) {
    return told(error);
  }
}, { retries: 0 });

define("invokes-nobody", async ({ step }) => {
  try {
    await step.invoke("nobody", { function: referenceFunction({ functionId: "nobody" }) });
  } catch (error) {
    return error.message;
  }
}, { retries: 0 });

define("factorial", async ({ event, step }) => {
  const { n } = event.data;
  if (n < 2) return 1;
  const itself = referenceFunction({ appId: "js", functionId: "factorial" });
  return n * (await step.invoke("smaller", { function: itself, data: { n: n - 1 } }));
}, { retries: 0 });

define("tells", async ({ runId, step }) => {
  const one = await step.sendEvent("one", { name: "js/told", data: { n: 1 } });
  const two = await step.sendEvent("two", [2, 3].map((n) => ({ name: "js/told", data: { n } })));
  const beside = await client.send({ name: "js/told", data: { n: 4 }, id: `beside ${runId}` });
  return [one.ids, two.ids, beside.ids];
});

define("told-one", async ({ event }) => note("told one", { n: event.data.n }), { event: "js/told" });
define("told-two", async ({ event }) => note("told two", { n: event.data.n }), {
  event: { event: "js/told", if: "event.data.n > 1" },
});

// Errors ---------------------------------------------------------------------------------------------------------------

define("rolls-back", async ({ step }) => {
  const done = [];
  try {
    for (const what of ["flight", "hotel"]) {
      await step.run(`book ${what}`, noted(`book ${what}`));
      done.push(what);
    }
    await step.run("charge", () => {
      note("charge");
      throw new RangeError("card declined ✗");
    });
  } catch (error) {
    for (const what of done.reverse()) await step.run(`cancel ${what}`, noted(`cancel ${what}`));
    throw error;
  }
}, { retries: 0 });

define("broken", async ({ attempt, step }) =>
  await step.run("body", () => {
    note("body", { attempt });
    throw new TypeError("it never works");
  }), { retries: 2 });

define("one-attempt", async () => {
  note("one-attempt");
  throw new TypeError("only once");
}, { retries: 0 });

define("attempts", async ({ attempt }) => {
  note("attempt", { n: attempt });
  throw new TypeError(`attempt ${attempt} ✗`);
}, { retries: 2 });

define("between", async ({ step }) => {
  await step.run("one", noted("one"));
  fails("between", 2);
  return await step.run("two", noted("two"));
}, { retries: 2 });

define("asks-for-time", async ({ attempt, event, step }) => {
  const { form } = event.data;
  const when = { number: 1000, length: "1s", moment: new Date(Date.now() + 1000) }[form.replace("step ", "")];
  const body = () => {
    note(`asks ${form}`, { at: Date.now() / 1000 });
    if (attempt === 0) throw new RetryAfterError("in a moment", when);
    return "later";
  };
  return form.startsWith("step") ? await step.run("body", body) : body();
}, { retries: 1 });

// By this name it slows down all that shares its queue (ADR 0030).
class BackpressureError extends RetryAfterError {
  name = "BackpressureError";
}

define("presses", async ({ attempt, event, step }) => {
  const { who } = event.data;
  await step.run("body", () => {
    note(`presses ${who}`, { at: Date.now() / 1000 });
    if (who === "first" && attempt === 0) throw new BackpressureError("leave me alone", "2s");
  });
}, { retries: 1 });

const cleanUp = async ({ error, event, step }) => {
  await step.run("clean up", noted("clean up"));
  note("failed", { message: error.message, of: event.data.event.data, run: event.data.run_id });
  throw new NonRetriableError("the handler fails as well");
};

define("handled", async () => {
  throw new TypeError("it is handled");
}, { retries: 0, onFailure: cleanUp });

define("all-failures", async ({ event }) => note("seen", { function: event.data.function_id, event_id: event.id }), {
  event: { event: "inngest/function.failed", if: "event.data.event.name == 'js/handled'" },
});

// Flow control, cancellation, timeouts ---------------------------------------------------------------------------------

const works = async ({ event, step }) => await step.run("work", held(event.data.gate));
const shared = { concurrency: [{ limit: 1, key: "'shared'", scope: "env" }] };

define("keyed", works, { concurrency: [{ limit: 1, key: "event.data.key" }] });
define("shared-one", works, shared);
define("shared-two", works, shared);
starts(define, works);
limits(define);

define("resting", async ({ event, step }) => {
  if (event.data.rests) await step.waitForEvent("rest", { event: "js/rested", timeout: "1h" });
  return "done";
}, { concurrency: 1 });

define("once", async ({ event }) => note("once", { cart: event.data.cart }), { idempotency: "event.data.cart" });

define("stoppable", async ({ event, step }) => {
  await step.run("held", held(event.data.gate));
  note("let go");
  await step.run("after", noted("after"));
}, { cancelOn: [{ event: "js/stop", if: "event.data.id == async.data.id" }], onFailure: cleanUp, checkpointing: false });

define("cancelled-ones", async ({ event }) => note("cancelled", { run: event.data.run_id }), {
  event: { event: "inngest/function.cancelled", if: "event.data.function_id == 'js-stoppable'" },
});

define("listens", async ({ step }) => {
  await step.sleepUntil("longer than the listener", new Date(Date.now() + 1200)); // `sleep` would round it up
  await step.run("rested", noted("rested"));
  await step.waitForEvent("go", { event: "js/go", timeout: "1h" });
  return "not cancelled";
}, { cancelOn: [{ event: "js/stop-listener", timeout: "1s" }] });

define("ends-in-time", async ({ step }) => {
  note("begins");
  await step.sleep("long", "1h");
}, { timeouts: { finish: "1s" } });

define("begins-in-time", works, { concurrency: 1, timeouts: { start: "1s" } });

// Triggers and what a function is told ---------------------------------------------------------------------------------

define("several", async ({ event }) => event.name, {
  event: [{ event: "js/several.one", if: "event.data.n > 0" }, { event: "js/several-two" }, { event: "js/wild/*" }],
});

define("told-itself", async ({ attempt, event, events, runId }) => {
  note("time", { at: Date.now() / 1000 });
  return { run: runId, attempt, event: [event.id, event.name, event.ts], events: events.length };
}, { retries: 3 });

define("logs", async ({ logger, step }) => {
  logger.info("before");
  await step.run("one", noted("one"));
  logger.info("between");
  await step.sleep("nap", "1s");
  logger.info("after");
});

define("hooked", async ({ event, step }) => {
  const found = await step.run("shout", noted("shout"));
  await step.sendEvent("stamped", { name: "js/stamped", data: {} });
  return [event.data.added, found];
});

define("stamped", async ({ event }) => note("stamped", { stamp: event.data.stamp ?? null }));

const { z } = zod;
const Order = z.object({ id: z.string(), lines: z.array(z.number()) });
const typed = version === "v3" ? "js/typed" : sdk.eventType("js/typed", { schema: Order });
const schemas = version === "v3" ? { schemas: new sdk.EventSchemas().fromZod({ "js/typed": { data: Order } }) } : {};
const typing = declare(new Inngest({ id: "js", logger: silent, ...schemas }), functions);

typing({ id: "typed", retries: 0 }, typed, async ({ event, step }) => {
  const order = await step.run("read", () => Order.parse(event.data));
  return { id: order.id, total: order.lines.reduce((sum, line) => sum + line, 0) };
});

// What only JavaScript has ---------------------------------------------------------------------------------------------

define("signalled", async ({ event, step }) =>
  await step.waitForSignal("signal", {
    signal: event.data.signal,
    timeout: event.data.timeout ?? "1h",
    onConflict: event.data.conflict ?? "fail",
  }), { retries: 0 });

define("signals", async ({ event, step }) => {
  await step.sendSignal("send", { signal: event.data.signal, data: { n: 7 } });
  return "sent";
});

define("undefined-ones", async ({ step }) => {
  const one = await step.run("undefined", () => undefined);
  const two = await step.run("inside", () => ({ kept: null, dropped: undefined, list: [undefined] }));
  return { one: one ?? "nothing", two };
});

define("wrapped", async ({ step }) => {
  const model = async (prompt) => (note("model"), { text: prompt.toUpperCase() });
  return await step.ai.wrap("ask", model, "hello");
});

// ----------------------------------------------------------------------------------------------------------------------

const [first, other] = [serve({ client, functions }), serve({ ...second, servePath: "/api/second" })];
http
  .createServer((request, response) => (request.url.startsWith("/api/second") ? other : first)(request, response))
  .listen(Number(port), "127.0.0.1");
