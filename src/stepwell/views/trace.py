"""What people are shown of a run as a tree: its steps, their attempts, its waits and notes, the runs it invoked."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Final

import msgspec

from stepwell.model.event import rfc3339
from stepwell.model.function import Function
from stepwell.model.history import Note
from stepwell.model.item import ItemKind
from stepwell.model.questions import Attempts, GetRun, GetSteps, GetWaits, Notes, RunItems
from stepwell.model.run import Run
from stepwell.model.step import DEFER, TO_RUN, Attempt, Step, StepStatus
from stepwell.model.wait import Wait, WaitKind, signal_of
from stepwell.protocol.messages import Executing
from stepwell.views.nouns import NULL, ErrorView, Reader, RunView, View, error_view, moment, raw, whole_run

OUTPUT_BYTES_SHOWN: Final = 16 * 1024  # a trace of a thousand steps must not weigh as much as the run's whole state
CHILDREN_SHOWN: Final = 50
RUNNING: Final = "RUNNING"  # what a step is whose body executes: it is stored when it has a result
CANCELLED: Final = "CANCELLED"  # what an open step is once its run has ended; no state that is stored


class AttemptView(View, frozen=True):
    """One try at a step, or at the function's own code, counted from 0.

    ``status`` is ``ERRORED`` if another one was to follow, at ``retry_at``; ``FAILED`` if it was the last;
    ``COMPLETED``; or ``RUNNING``. ``queued_at`` is when it was due: the first one of a step when it began, a later one
    at the ``retry_at`` of the one before. ``output_bytes`` is the length of its result.
    """

    attempt: int
    status: str
    queued_at: str
    started_at: str
    ended_at: str | None
    output_bytes: int
    error: ErrorView | None
    retry_at: str | None


class WaitView(View, frozen=True):
    """An open interest in an event: the run's own (``event``), or one that would cancel it (``cancel``). For a signal
    (``signal``) its name stands in place of that of an event."""

    id: str
    kind: str
    event: str
    condition: str | None
    expires_at: str


class NoteView(View, frozen=True):
    at: str
    kind: str
    text: str


class StepView(View, frozen=True):
    """One remembered unit of a run, with every attempt at its body; a step that only rests has none.

    ``output`` is left out if it is long and the trace did not ask for all; ``outputBytes`` says how long. ``due`` is
    when an open step moves by itself. ``child`` is the trace of the run that an invoke step started. A step that was
    still open when its run ended is ``CANCELLED``, at that moment: nothing moves it any more. One whose body executes
    in the process that is asked is ``RUNNING``; ``attempt`` is then the present one. ``max_attempts`` is how many were
    in force when an attempt failed; it is not known of a step that never failed. One that is ``copied`` was done by the
    run that this one repeats.
    """

    id: str
    name: str
    repeat: int
    kind: str
    status: str
    attempt: int
    started_at: str
    ended_at: str | None
    due: str | None
    output_bytes: int
    output: msgspec.Raw
    error: ErrorView | None
    details: msgspec.Raw
    max_attempts: int | None
    attempts: list[AttemptView]
    child: TraceView | None
    copied: bool = False


class TraceView(View, frozen=True):
    """A run as a tree. ``attempts`` are the failed ones at the function's own code, of at most ``max_attempts`` between
    two results, as the function is registered now; ``None`` if it is not.

    ``due`` is the moment at which the run goes on by itself if nothing happens before; ``executing`` whether a call of
    it is in flight.
    """

    run: RunView
    steps: list[StepView]
    max_attempts: int | None
    attempts: list[AttemptView]
    waits: list[WaitView]
    notes: list[NoteView]
    due: str | None
    executing: bool


Bodies = Callable[[str], Mapping[str, Executing]]
"""What executes now, by step id, for the id of a run."""


def nobody(run_id: str) -> Mapping[str, Executing]:
    """For those who have only the file to look at."""
    return {}


FunctionOf = Callable[[str], Function | None]
"""The function that is registered under an id."""


async def trace_view(
    reader: Reader,
    run: Run,
    function_of: FunctionOf,
    *,
    bodies: Bodies = nobody,
    outputs: bool = False,
    depth: int = 2,
) -> TraceView:
    """The whole of a run, and ``depth`` levels of the runs it invoked. ``outputs`` includes long ones too."""
    function = function_of(run.function_id)
    steps = await reader.read(GetSteps(run.id))
    failed = await reader.read(Attempts(run.id))
    by_step: defaultdict[str, list[Attempt]] = defaultdict(list)
    for attempt in failed:
        by_step[attempt.step_id].append(attempt)
    item = next((i for i in await reader.read(RunItems(run.id)) if i.kind == ItemKind.RUN), None)
    traces: dict[str, TraceView] = {}
    if depth > 0:
        for child_id in [found for step in steps if (found := child_run(step)) is not None][:CHILDREN_SHOWN]:
            child = await reader.read(GetRun(child_id))
            if child is not None:
                traces[child_id] = await trace_view(
                    reader, child, function_of, bodies=bodies, outputs=outputs, depth=depth - 1
                )
    shown = [
        step_view(
            step,
            by_step[step.id],
            traces.get(child_run(step) or ""),
            run.ended_at,
            outputs=outputs,
            copied=run.rerun is not None and number < run.rerun.copied,  # they were there first
        )
        for number, step in enumerate(steps)
    ]
    return TraceView(
        run=await whole_run(reader, run),
        steps=with_running(shown, {} if run.ended else bodies(run.id)),
        max_attempts=function.retries + 1 if function is not None else None,
        attempts=own_attempts(run, steps, failed),
        waits=[wait_view(wait) for wait in await reader.read(GetWaits(run.id))],
        notes=[note_view(note) for note in await reader.read(Notes(run.id))],
        due=moment(item.at) if item is not None and not item.lease else None,
        executing=item is not None and item.lease != 0,
    )


def step_view(
    step: Step,
    tried: Sequence[Attempt],
    child: TraceView | None,
    run_ended_at: int | None,
    *,
    outputs: bool,
    copied: bool = False,
) -> StepView:
    attempts = step_attempts(step, tried)
    failed = step.status in (StepStatus.FAILED, StepStatus.ERRORED)
    # The store leaves the open steps of an ended run as they were: there may be thousands, and nobody asks for them.
    cut_off = step.open and run_ended_at is not None
    size = len(step.output) if step.output is not None else 0
    return StepView(
        id=step.id,
        name=step.name,
        repeat=step.repeat,
        kind=step.kind,
        status=CANCELLED if cut_off else step.status,
        attempt=step.attempt,
        # A step that was tried again began when it was first tried.
        started_at=attempts[0].started_at if attempts else rfc3339(step.started_at),
        ended_at=moment(run_ended_at if cut_off else step.ended_at),
        due=moment(step.due) if step.open and not cut_off else None,
        output_bytes=0 if failed else size,
        output=raw(step.output if not failed and (outputs or size <= OUTPUT_BYTES_SHOWN) else None),
        error=error_view(step.output) if failed and step.output is not None else None,
        details=raw(step.details),
        max_attempts=max_attempts(step),
        attempts=attempts,
        child=child,
        copied=copied,
    )


def with_running(steps: Sequence[StepView], bodies: Mapping[str, Executing]) -> list[StepView]:
    """The steps, and which of them execute at this moment. One that has got its result meanwhile keeps it."""
    found = {step.id: step for step in steps}
    for step_id, body in bodies.items():
        known = found.get(step_id)
        if known is None:
            found[step_id] = StepView(
                id=step_id,
                name=body.name,
                repeat=body.repeat,
                kind=body.kind,
                status=RUNNING,
                attempt=body.attempt,
                started_at=rfc3339(body.started_at),
                ended_at=None,
                due=None,
                output_bytes=0,
                output=NULL,
                error=None,
                details=NULL,
                max_attempts=None,
                attempts=[_running_attempt(body, None)],
                child=None,
            )
        elif known.status in TO_RUN:
            attempts = [
                *known.attempts,
                _running_attempt(body, known.attempts[-1].retry_at if known.attempts else None),
            ]
            found[step_id] = msgspec.structs.replace(
                known, status=RUNNING, attempt=body.attempt, due=None, attempts=attempts
            )
    return list(found.values())


def step_attempts(step: Step, failed: Sequence[Attempt]) -> list[AttemptView]:
    """All attempts at a step that have ended. The one that gave the result is the step's own row (ADR 0013)."""
    shown: list[AttemptView] = []
    asked_for: int | None = None
    for attempt in failed:
        shown.append(_failed_attempt(attempt, _queued_at(asked_for, attempt.started_at)))
        asked_for = attempt.retry_at
    if step.status == StepStatus.COMPLETED and step.has_body:
        last = AttemptView(
            attempt=step.attempt,
            status=StepStatus.COMPLETED,
            queued_at=rfc3339(_queued_at(asked_for, step.started_at)),
            started_at=rfc3339(step.started_at),
            ended_at=moment(step.ended_at),
            output_bytes=len(step.output or b""),
            error=None,
            retry_at=None,
        )
        shown.append(last)
    return shown


def own_attempts(run: Run, steps: Sequence[Step], attempts: Sequence[Attempt]) -> list[AttemptView]:
    """The attempts at the function's own code that failed. ``attempts`` are all of the run.

    Each stretch of code between two results counts from 0, so what made a call due is told by its time: the start that
    was planned for the run, the end of a rest, the moment of a retry.
    """
    own = [attempt for attempt in attempts if attempt.step_id == ""]
    if not own:
        return []
    dues = [run.scheduled_at, *(step.ended_at for step in steps if step.ended_at is not None)]
    dues += [attempt.retry_at for attempt in attempts if attempt.retry_at is not None]
    dues.sort()
    shown: list[AttemptView] = []
    for attempt in own:
        before = bisect_right(dues, attempt.started_at)
        shown.append(_failed_attempt(attempt, dues[before - 1] if before else attempt.started_at))
    return shown


def _failed_attempt(attempt: Attempt, queued_at: int) -> AttemptView:
    return AttemptView(
        attempt=attempt.attempt,
        status=StepStatus.FAILED if attempt.retry_at is None else StepStatus.ERRORED,
        queued_at=rfc3339(queued_at),
        started_at=rfc3339(attempt.started_at),
        ended_at=rfc3339(attempt.ended_at),
        output_bytes=0,
        error=error_view(attempt.error),
        retry_at=moment(attempt.retry_at),
    )


def _running_attempt(body: Executing, asked_for: str | None) -> AttemptView:
    started_at = rfc3339(body.started_at)
    return AttemptView(
        attempt=body.attempt,
        status=RUNNING,
        queued_at=started_at if asked_for is None else min(asked_for, started_at),
        started_at=started_at,
        ended_at=None,
        output_bytes=0,
        error=None,
        retry_at=None,
    )


def _queued_at(asked_for: int | None, started_at: int) -> int:
    """A retry was due at the moment that was asked for. The clock of another machine may have it begin before."""
    return started_at if asked_for is None else min(asked_for, started_at)


def wait_view(wait: Wait) -> WaitView:
    return WaitView(
        id=wait.id,
        kind=wait.kind,
        event=signal_of(wait) if wait.kind == WaitKind.SIGNAL else wait.event_name,
        condition=wait.condition,
        expires_at=rfc3339(wait.expires_at),
    )


def note_view(note: Note) -> NoteView:
    return NoteView(at=rfc3339(note.at), kind=note.kind, text=note.text)


def gathered(notes: Sequence[NoteView]) -> list[NoteView]:
    """Notes for people: those that say the same again are one, the last, with how often."""
    found: list[NoteView] = []
    for _, alike in groupby(notes, lambda note: (note.kind, _IN_A_ROW.sub("", note.text))):
        same = list(alike)
        last = same[-1]
        text = f"{_IN_A_ROW.sub('', last.text)} ({len(same)} times)" if len(same) > 1 else last.text
        found.append(NoteView(at=last.at, kind=last.kind, text=text))
    return found


# The only way in which notes of lost leases differ.
_IN_A_ROW: Final = re.compile(r"(; it is left alone for [\d.]+ s)? \(\d+ in a row\)$")


class _Details(msgspec.Struct):
    run_id: str | None = None
    max_attempts: int | None = None


_decode_details: Final = msgspec.json.Decoder(_Details).decode


def child_run(step: Step) -> str | None:
    """The run that an invoke step started, or that was put off until this one's end."""
    return _decode_details(step.details).run_id if step.kind in ("invoke", DEFER) and step.details else None


def max_attempts(step: Step) -> int | None:
    """How many attempts a step had that failed at least once; not known of others."""
    return _decode_details(step.details).max_attempts if step.details else None
