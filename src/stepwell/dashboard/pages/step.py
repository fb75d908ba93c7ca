"""``/runs/{run_id}/steps/{step_id}``: what is known of one step of a run, beside its timeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from stepwell.dashboard.json_diff import Difference, text_diff
from stepwell.dashboard.log_rows import Log, log_of
from stepwell.dashboard.page import Missing, Page, Shown, Visit
from stepwell.dashboard.pages.run import find_run
from stepwell.dashboard.timeline import OWN_CODE, kind_word, step_name
from stepwell.dashboard.values import Answer, Given, answer_in, given_to, sent_by
from stepwell.model.log import Logged
from stepwell.model.metadata import Metadata
from stepwell.model.questions import Attempts, GetLogs, GetMetadata, GetStep, GetSteps, GetWaits
from stepwell.model.run import Run
from stepwell.model.step import Attempt, Step
from stepwell.model.wait import Wait
from stepwell.protocol.messages import Executing
from stepwell.views.nouns import ErrorView
from stepwell.views.trace import (
    RUNNING,
    AttemptView,
    StepView,
    child_run,
    own_attempts,
    step_view,
    with_running,
)
from stepwell.views.why.ended import first_user_frame
from stepwell.views.why.shapes import Frame
from stepwell.views.wording import parse_moment

_LINES_SHOWN: Final = 100


class Try(NamedTuple):
    """One attempt. Moments are milliseconds; ``queued`` is when it was due."""

    number: int
    status: str
    queued: int
    start: int
    end: int | None
    error: ErrorView | None
    frame: Frame | None
    retry_at: int | None


class Piece(NamedTuple):
    """A part of the time of a step: which, from when on since its beginning, and for how long, in milliseconds."""

    what: str
    start: int
    length: int


class StepPage(NamedTuple):
    """A step, or the function's own code. ``output`` is JSON text, and ``whole`` the address of all of it; ``against``
    says in what the error of an attempt is another than that of the attempt before."""

    run: Run
    id: str
    name: str
    kind: str
    status: str
    start: int | None
    end: int | None
    due: int | None
    tries: Sequence[Try]
    tries_max: int | None
    output: bytes | None
    error: ErrorView | None
    frame: Frame | None
    details: bytes | None
    child: str | None
    wait: Wait | None
    copied: bool
    metadata: Sequence[Metadata]
    whole: str
    pieces: Sequence[Piece]
    against: Mapping[int, Difference]
    given: Given | None = None
    answer: Answer | None = None
    sent: Sequence[str] = ()
    log: Log | None = None


async def show(visit: Visit) -> Shown:
    run = await find_run(visit)
    step_id = visit.path["step_id"]
    view = await (_own(visit, run) if step_id == OWN_CODE else _step(visit, run, step_id))
    return Shown(title=f"{view.name} · {run.function_id}", view=view, topics=(f"run:{run.id}",))


async def _step(visit: Visit, run: Run, step_id: str) -> StepPage:
    reader = visit.source.reader
    bodies: Mapping[str, Executing] = {} if run.ended else visit.source.situation().bodies(run.id)
    step = await reader.read(GetStep(run.id, step_id))
    if step is None and step_id not in bodies:
        raise Missing("There is no such step", "It may not have begun yet.")
    tried = [each for each in await reader.read(Attempts(run.id)) if each.step_id == step_id]
    shown = [] if step is None else [step_view(step, tried, None, run.ended_at, outputs=False)]
    mine: dict[str, Executing] = {id: body for id, body in bodies.items() if id == step_id}
    (found,) = with_running(shown, mine)
    metadata: list[Metadata] = await reader.read(GetMetadata(run.id))
    logged: list[Logged] = await reader.read(GetLogs(run.id))
    waits = [each for each in await reader.read(GetWaits(run.id)) if step is not None and step.open]
    tries = [_try(each) for each in found.attempts]
    kind, start, end = kind_word(found.kind), parse_moment(found.started_at), _ms(found.ended_at)
    output = _output(step, found)
    return StepPage(
        run=run,
        id=step_id,
        name=step_name(step) if step is not None else found.name,
        kind=kind,
        status=found.status,
        start=start,
        end=end,
        due=_ms(found.due),
        tries=tries,
        tries_max=found.max_attempts,
        output=output,
        error=found.error,
        frame=first_user_frame(found.error.stack) if found.error is not None else None,
        details=step.details if step is not None else None,
        child=child_run(step) if step is not None else None,
        wait=next((each for each in waits if each.id == step_id), None),
        copied=found.copied,
        metadata=[each for each in metadata if each.step_id == step_id],
        whole=f"{visit.address}/output",
        pieces=pieces(tries, kind, start, end, visit.now),
        against=against(tries),
        given=await given_to(visit.source.reader, run, step),
        answer=answer_in(step) if output is not None else None,
        sent=sent_by(step),
        log=log_of(run, logged, (), _LINES_SHOWN, step=step_id),
    )


async def _own(visit: Visit, run: Run) -> StepPage:
    """The attempts at the code between the steps, which is known only where it failed."""
    reader = visit.source.reader
    logged: list[Logged] = await reader.read(GetLogs(run.id))
    steps: list[Step] = await reader.read(GetSteps(run.id))
    attempts: list[Attempt] = await reader.read(Attempts(run.id))
    tries = [_try(each) for each in own_attempts(run, steps, attempts)]
    if not tries:
        raise Missing("Nothing has failed outside of the steps")
    last = tries[-1]
    return StepPage(
        run=run,
        id=OWN_CODE,
        name="function code",
        kind="code",
        status=last.status,
        start=tries[0].start,
        end=last.end,
        due=last.retry_at,
        tries=tries,
        tries_max=None,
        output=None,
        error=last.error,
        frame=last.frame,
        details=None,
        child=None,
        wait=None,
        copied=False,
        metadata=(),
        whole="",
        pieces=pieces(tries, "code", tries[0].start, last.end, visit.now),
        against=against(tries),
        log=log_of(run, logged, (), _LINES_SHOWN, step=""),
    )


def pieces(tries: Sequence[Try], kind: str, start: int, end: int | None, now: int) -> list[Piece]:
    """Where the time of a step went, as far as that is stored: before its first attempt nobody knows."""
    found: list[Piece] = []

    def add(what: str, begin: int, until: int) -> None:
        if until > begin:
            found.append(Piece(what, begin - start, until - begin))

    before: int | None = None
    for each in tries:
        if before is not None:
            add("retrying", before, each.queued)
            add("queued", max(before, each.queued), each.start)
        before = now if each.end is None else each.end
        add("executing", each.start, before)
    if not tries and kind != "deferred":
        add("waiting", start, now if end is None else end)
    return found


def against(tries: Sequence[Try]) -> dict[int, Difference]:
    """By the numbers of attempts that failed after another one: what their errors say otherwise."""
    pairs = [(one, other) for one, other in pairwise(tries) if one.error is not None and other.error is not None]
    return {other.number: text_diff(_told(one), _told(other)) for one, other in pairs}


def _told(attempt: Try) -> str:
    assert attempt.error is not None, "it failed"
    place = f"\nat {attempt.frame.file}:{attempt.frame.line}" if attempt.frame is not None else ""
    return f"{attempt.error.name}: {attempt.error.message}{place}"


def _output(step: Step | None, found: StepView) -> bytes | None:
    if step is None or found.error is not None or found.status == RUNNING:
        return None
    return step.output


def _try(attempt: AttemptView) -> Try:
    return Try(
        number=attempt.attempt + 1,
        status=attempt.status,
        queued=parse_moment(attempt.queued_at),
        start=parse_moment(attempt.started_at),
        end=_ms(attempt.ended_at),
        error=attempt.error,
        frame=first_user_frame(attempt.error.stack) if attempt.error is not None else None,
        retry_at=_ms(attempt.retry_at),
    )


def _ms(text: str | None) -> int | None:
    return None if text is None else parse_moment(text)


PAGE: Final = Page(path="/runs/{run_id}/steps/{step_id}", show=show, section="runs", template="step.html")
