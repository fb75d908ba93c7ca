// A durable page that streams what it does, and the client of such a page: the official JavaScript SDK (v4).
//
// `node streaming_app.mjs serve PORT` serves the page, `node streaming_app.mjs fetch URL` reads it and writes what it
// hears, each a line of JSON.

import { appendFileSync, readFileSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";

const [mode, target] = process.argv.slice(2);
const require = createRequire(new URL("./javascript/v4/package.json", import.meta.url));

const serve = () => {
  const { Inngest, step } = require("inngest");
  const { endpointAdapter, serveEndpoint } = require("inngest/node");
  const { stream } = require("inngest/experimental/durable-endpoints");
  const silent = { debug() {}, info() {}, warn() {}, error() {} };
  const client = new Inngest({ id: "streaming", logger: silent, endpointAdapter: endpointAdapter.withOptions({ retries: 2 }) });
  const note = (what) => appendFileSync(process.env.LEDGER, JSON.stringify({ what }) + "\n");
  const times = (what) => readFileSync(process.env.LEDGER, "utf8").split("\n").filter((line) => line.includes(`"${what}"`)).length;

  const page = serveEndpoint(
    client.endpoint(async () => {
      await step.run("first", () => stream.push("one"));
      await step.sleep("nap", "1s");
      await step.run("second", () => {
        note("second");
        stream.push(`two, try ${times("second")}`);
        if (times("second") === 1) throw new Error("once");
      });
      return { done: true };
    }),
  );
  http
    .createServer((request, response) =>
      request.url === "/api/inngest" ? response.writeHead(200).end() : page(request, response),
    )
    .listen(Number(target), "127.0.0.1");
};

const fetchPage = async () => {
  const { fetchWithStream } = require("inngest/experimental/durable-endpoints/client");
  const say = (kind) => (what) => process.stdout.write(JSON.stringify({ kind, ...what }) + "\n");
  const response = await fetchWithStream(target, {
    onData: say("data"),
    onCommit: say("commit"),
    onRollback: say("rollback"),
  });
  say("response")({ status: response.status, body: await response.text() });
};

await (mode === "serve" ? serve() : fetchPage());
