// A subscriber of somebody else: what the official JavaScript SDK of version 4 gives those who listen.
//
// Run it as `node javascript_listener.mjs CHANNEL TOPIC…`. It writes "listening" and then each message as a line of JSON.

import { createRequire } from "node:module";

const [channel, ...topics] = process.argv.slice(2);
const require = createRequire(new URL("./javascript/v4/package.json", import.meta.url));
const { Inngest } = require("inngest");
const { getSubscriptionToken, subscribe } = require("inngest/realtime");

const app = new Inngest({ id: "listener" });
const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");

const token = await getSubscriptionToken(app, { channel, topics });
const stream = await subscribe({ ...token, app });
say("listening");
for await (const message of stream) {
  const { kind, topic, data, runId } = message;
  say({ kind, channel: message.channel, topic, data, runId, dated: message.createdAt instanceof Date });
}
