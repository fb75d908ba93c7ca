// What the JavaScript SDK's own encoder makes of each message of the connection: `node connect_messages.mjs`.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import path from "node:path";

const require = createRequire(new URL("./javascript/v4/package.json", import.meta.url));
const root = path.dirname(require.resolve("inngest"));
const messages = await import(pathToFileURL(path.join(root, "proto/src/components/connect/protobuf/connect.js")));

const bytes = (text) => new TextEncoder().encode(text);
const echo = { requestId: "01J0REQ", accountId: "acc", envId: "env", appId: "app", functionSlug: "shop-ship" };
const values = {
  ConnectMessage: { kind: 3, payload: bytes("payload") },
  StartRequest: { excludeGateways: ["one", "", "two"] },
  StartResponse: {
    connectionId: "01J0CON",
    gatewayEndpoint: "ws://127.0.0.1:8289/v0/connect",
    gatewayGroup: "group",
    sessionToken: "session",
    syncToken: "sync",
  },
  WorkerConnectRequestData: {
    connectionId: "01J0CON",
    instanceId: "wörker",
    authData: { sessionToken: "session", syncToken: "sync" },
    capabilities: bytes("{}"),
    apps: [
      { appName: "shop", functions: bytes("[]") },
      { appName: "other", appVersion: "1.2", functions: bytes("[{}]") },
    ],
    workerManualReadinessAck: true,
    systemAttributes: { cpuCores: 8, memBytes: 17179869184, os: "linux" },
    environment: "branch",
    framework: "connect",
    platform: "render",
    sdkVersion: "v4.1.0",
    sdkLanguage: "typescript",
    startedAt: new Date(1700000000123),
    maxWorkerConcurrency: 300,
  },
  GatewayConnectionReadyData: { heartbeatInterval: "10s", extendLeaseInterval: "30s", statusInterval: "0s" },
  GatewayExecutorRequestData: {
    ...echo,
    appName: "shop",
    functionId: "uuid",
    stepId: "step",
    requestPayload: bytes('{"ctx":{}}'),
    systemTraceCtx: bytes("{}"),
    userTraceCtx: bytes("{}"),
    runId: "01J0RUN",
    leaseId: "01J0LEA",
    jobId: "job",
  },
  WorkerRequestAckData: { ...echo, stepId: "step", runId: "01J0RUN" },
  WorkerRequestExtendLeaseData: { ...echo, stepId: "", runId: "01J0RUN", leaseId: "01J0LEA" },
  WorkerRequestExtendLeaseAckData: { ...echo, newLeaseId: "01J0NEW" },
  SDKResponse: {
    requestId: "01J0REQ",
    accountId: "acc",
    status: 2,
    body: bytes('{"name":"Error"}'),
    noRetry: true,
    retryAfter: "30",
    sdkVersion: "inngest-js:v4.1.0",
    requestVersion: 4294967295,
    systemTraceCtx: bytes("{}"),
    runId: "01J0RUN",
  },
  WorkerReplyAckData: { requestId: "01J0REQ" },
};

const hex = (name) => Buffer.from(messages[name].encode(messages[name].fromPartial(values[name])).finish()).toString("hex");
console.log(JSON.stringify(Object.fromEntries(Object.keys(values).map((name) => [name, hex(name)])), null, 1));
