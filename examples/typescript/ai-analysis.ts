// An analysis that somebody else computes: start the work, let go, and go on when they say that it is done.

import { readFileSync } from "node:fs";
import path from "node:path";

import { NonRetriableError } from "inngest";

import { folder, functions, inngest, paced, rounded, writeWhole } from "./base.ts";
import { keywords, sentences } from "./language.ts";

type Findings = { keywords: string[]; sentences: number; words_per_sentence: number };
type Update = { job_id: string; status: "running" | "done" | "failed"; findings: Findings | null; problem: string };

const analysis = inngest.createFunction(
  { id: "analysis", triggers: [{ event: "ai/analysis.requested" }] },
  async ({ event, step }) => {
    const request = event.data as { analysis_id: string; path: string };
    const submitted = { job_id: request.analysis_id, path: request.path };
    // The wait is registered before what is sent beside it goes out, so no answer can come too early.
    const [done] = await Promise.all([
      step.waitForEvent("job is over", {
        event: "provider/job.updated",
        // `event` is what started this run, `async` what has just arrived. Progress reports do not wake us.
        if: "async.data.job_id == event.data.analysis_id && async.data.status != 'running'",
        timeout: paced({ days: 1 }) + 5_000,
      }),
      step.sendEvent("submit", { name: "provider/job.submitted", data: submitted }),
    ]);
    if (done === null) throw new NonRetriableError("no answer within a day");
    const { findings, problem } = done.data as Update;
    if (findings === null) throw new NonRetriableError(`the provider gave up: ${problem}`);
    return await step.run("write", () => writeFindings(request.analysis_id, findings));
  },
);

/** Stands for a service on the network. */
const provider = inngest.createFunction(
  { id: "provider", triggers: [{ event: "provider/job.submitted" }], retries: 2 },
  async ({ event, step }) => {
    const { job_id, path } = event.data as { job_id: string; path: string };
    const updated = (data: Update) => ({ name: "provider/job.updated", data });
    await step.sendEvent("accepted", updated({ job_id, status: "running", findings: null, problem: "" }));
    await step.sleep("think", paced({ hours: 6 }));
    const answer = await step.run("answer", () => answerJob(job_id, path));
    await step.sendEvent("finished", updated(answer));
  },
);
functions.push(analysis, provider);

function answerJob(job_id: string, file: string): Update {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    return { job_id, status: "failed", findings: null, problem: (error as Error).message };
  }
  const found = sentences(text);
  const total = found.reduce((sum, sentence) => sum + sentence.split(/\s+/).length, 0);
  const mean = rounded(total / Math.max(found.length, 1), 1);
  const findings = { keywords: keywords(text, 5), sentences: found.length, words_per_sentence: mean };
  return { job_id, status: "done", findings, problem: "" };
}

function writeFindings(analysisId: string, findings: Findings): string {
  const name = `${analysisId}.md`;
  const about = `It is about ${findings.keywords.join(", ")}.`;
  const mean = findings.words_per_sentence.toFixed(1);
  const text = `# Analysis ${analysisId}\n\n${about}\n${findings.sentences} sentences, ${mean} words each.\n`;
  writeWhole(path.join(folder("analyses"), name), text);
  return name;
}
