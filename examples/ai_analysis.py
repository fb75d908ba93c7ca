"""An analysis that somebody else computes: start the work, let go, and go on when they say that it is done.

The provider is another function of this app, so that the example needs no account anywhere. It behaves like a real one:
it accepts a job, reports that it is running, takes its time, and reports the end through an event (a webhook, in life).

    python -m examples ai_analysis
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from examples.base import DATA, app, folder, home, paced, quiet, write_whole
from examples.language import keywords, sentences
from stepwell import Context, NonRetriableError, event

TEXT = DATA / "documents" / "report-river.txt"
ANSWER_WITHIN = paced(days=1)
THINKING = paced(hours=6)


@event("ai/analysis.requested")
@dataclass(frozen=True)
class AnalysisRequested:
    analysis_id: str
    path: str


@dataclass(frozen=True)
class Findings:
    keywords: list[str]
    sentences: int
    words_per_sentence: float


@event("provider/job.submitted")
@dataclass(frozen=True)
class JobSubmitted:
    job_id: str
    path: str


@event("provider/job.updated")
@dataclass(frozen=True)
class JobUpdated:
    job_id: str
    status: str  # running, done or failed
    findings: Findings | None = None
    problem: str = ""


@app.create_function(id="analysis", trigger=AnalysisRequested)
async def analyse(ctx: Context[AnalysisRequested]) -> str:
    request = ctx.event.data
    # The id of the job is ours, not the provider's: so the condition below can be written before the job exists, and a
    # request that is sent twice is still one job.
    await ctx.step.send_event("submit", JobSubmitted(request.analysis_id, request.path))
    done = await ctx.step.wait_for_event(
        "job is over",
        JobUpdated,
        # `event` is what started this run, `async` what has just arrived. Progress reports do not wake us.
        if_="async.data.job_id == event.data.analysis_id && async.data.status != 'running'",
        timeout=ANSWER_WITHIN,
        # Between the step that submits and this one lies a moment, in which a quick provider may have answered already.
        # A wait hears only what arrives after it began; lookback="run" makes it look at what came since the run began.
        lookback="run",
    )
    if done is None:
        raise NonRetriableError(f"no answer within {ANSWER_WITHIN}")
    if done.data.findings is None:
        raise NonRetriableError(f"the provider gave up: {done.data.problem}")
    return await ctx.step.run("write", write_findings, request.analysis_id, done.data.findings)


@app.create_function(id="provider", trigger=JobSubmitted, retries=2)
async def provider(ctx: Context[JobSubmitted]) -> None:
    """Stands for a service on the network."""
    job = ctx.event.data
    await ctx.step.send_event("accepted", JobUpdated(job.job_id, "running"))
    await ctx.step.sleep("think", THINKING)
    answer = await ctx.step.run("answer", answer_job, job)
    await ctx.step.send_event("finished", answer)


def answer_job(job: JobSubmitted) -> JobUpdated:
    try:
        text = Path(job.path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return JobUpdated(job.job_id, "failed", problem=str(error))
    found = sentences(text)
    mean = sum(len(sentence.split()) for sentence in found) / max(len(found), 1)
    return JobUpdated(job.job_id, "done", Findings(keywords(text, 5), len(found), round(mean, 1)))


def write_findings(analysis_id: str, findings: Findings) -> str:
    path = folder("analyses") / f"{analysis_id}.md"
    write_whole(
        path,
        f"# Analysis {analysis_id}\n\nIt is about {', '.join(findings.keywords)}.\n"
        f"{findings.sentences} sentences, {findings.words_per_sentence} words each.\n",
    )
    return path.name


async def main() -> None:
    async with app.embedded(str(home() / "analysis.db")) as engine:
        await app.send(AnalysisRequested("a-1", str(TEXT)))
        await quiet(engine)
    print((folder("analyses") / "a-1.md").read_text())
