// Functions that the clock starts, of the official JavaScript SDK. Run it as `node cron_app.mjs VERSION PORT`.

import http from "node:http";

import { declare, note, port, sdk, serve, silent } from "./javascript_base.mjs";

const client = new sdk.Inngest({ id: "js", logger: silent });
const functions = [];
const define = declare(client, functions);

const tick = async ({ event, runId }) => {
  const { id, name, data } = event;
  note("tick", { of: data.cron, run: runId, at: Date.now() / 1000, id, name, data });
  return data.scheduledAt;
};

define({ id: "new-york" }, { cron: "TZ=America/New_York 0 3 * * *" }, tick);
define({ id: "skipped" }, { cron: "TZ=America/New_York 30 2 * * *" }, tick);
define({ id: "paris" }, { cron: "TZ=Europe/Paris 0 8 * * *" }, tick);
define({ id: "utc" }, { cron: "0 7 * * *" }, tick);
define({ id: "tokyo" }, { cron: "TZ=Asia/Tokyo 0 7 * * *" }, tick);
define({ id: "jittered" }, { cron: "0 7 * * *", jitter: "3s" }, tick); // v3 leaves the jitter out

http.createServer(serve({ client, functions })).listen(Number(port), "127.0.0.1");
