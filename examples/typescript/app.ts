// All examples as one app, on plain Node: `node app.ts`, with a server beside it, such as `stepwell dev`.

import http from "node:http";

import { serve } from "inngest/node";

import "./ai-analysis.ts";
import "./batch-processing.ts";
import "./document-pipeline.ts";
import "./fallback.ts";
import "./migration.ts";
import "./onboarding.ts";
import "./order.ts";
import "./weekly-report.ts";
import { functions, inngest } from "./base.ts";
import { makeLegacyDatabase } from "./migration.ts";

makeLegacyDatabase();

const port = Number(process.env.PORT ?? "3000");
http.createServer(serve({ client: inngest, functions })).listen(port, "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${port}/api/inngest`);
});
