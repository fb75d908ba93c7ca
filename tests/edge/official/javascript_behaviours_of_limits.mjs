// Functions that limit how many of their steps execute at once, and what operators do to runs.
//
// Each body notes where it begins and ends: `intervals` tells how many there were at once.

import { declare, gate, note, sdk, silent } from "./javascript_base.mjs";
import { numbers, rests } from "./javascript_behaviours_of_starts.mjs";

const { Inngest, referenceFunction } = sdk;
const key = "event.data.key";

const works = (of) => async ({ event, step }) =>
  await step.run("work", async () => {
    const told = { of, key: event.data.key, n: event.data.n };
    note("begin", told);
    await gate(event.data.gate);
    note("end", told);
    return of;
  });

export const second = { client: new Inngest({ id: "js-two", logger: silent }), functions: [] };

export const limits = (define) => {
  const elsewhere = declare(second.client, second.functions);
  define("two-for-each", works("two-for-each"), { concurrency: { limit: 2, key } });
  define("two-limits", works("two-limits"), { concurrency: [{ limit: 3 }, { limit: 1, key }] });
  for (const scope of ["env", "account"]) {
    const concurrency = [{ limit: 2, key: "event.data.pool", scope }];
    define(`pool-${scope}`, works("one"), { concurrency });
    elsewhere({ id: `pool-${scope}`, concurrency }, `js/pool-${scope}`, works("two"));
  }
  // No type of the SDK has this form, but it hands on whatever is there.
  define("whole-runs", rests, { concurrency: { fn: [{ limit: 1, key }] } });
  define("rated-ten", numbers, { rateLimit: { limit: 20, period: "1h", key } });
  define("parked", rests);
  define("parked-cancelled", async ({ event }) => note("cleaned", { run: event.data.run_id, key: event.data.event.data.key }), {
    event: { event: "inngest/function.cancelled", if: "event.data.function_id == 'js-parked'" },
  });
  define("matched", rests, { cancelOn: [{ event: "js/stop-matched", match: "data.key" }] });
  define("asks", async ({ event, step }) => {
    const { key, of } = event.data;
    try {
      return await step.invoke("ask", { function: referenceFunction({ appId: "js", functionId: of }), data: { key, n: 0 } });
    } catch (error) {
      return error.message;
    }
  }, { retries: 0 });
};
