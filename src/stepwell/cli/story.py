"""What the changes of decisions mean to people: one line for each thing that happened to an event, run or step."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from stepwell.model.changes import (
    Block,
    Change,
    CreateRun,
    FinishRun,
    Grant,
    SaveAttempt,
    SaveEvent,
    SaveNote,
    SaveOutcome,
    SaveStep,
    SettleStep,
    StartRun,
)
from stepwell.model.event import INTERNAL_PREFIX, Event
from stepwell.model.run import Run, RunStatus
from stepwell.model.step import DEFER, Attempt, Step, StepStatus
from stepwell.views.nouns import error_view
from stepwell.views.why.ended import BY_PARENT
from stepwell.views.wording import clock_time, count, span

Lookup = Callable[[str], tuple[Run, list[Step]] | None]

_RUNS_MAX: Final = 10_000  # runs whose names are remembered; others are looked up
_ERROR_CHARS: Final = 300
_BACKLOGS: Final = {
    "unserved": "no process serves it",
    "paused": "its function is paused",
    "throttle": "its turn to start has not come",
    "run": "its limit of runs under way is reached",
}
"""Why a run is in a backlog whose key begins so."""
_WHY_OR_FIX: Final = re.compile(r"\n(?=  (?:why|fix): )")  # as ``StepwellError`` lays them out


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened. ``text`` says it; the rest is for programs."""

    at: int
    kind: str
    mark: str = "·"
    colour: str | None = None
    function: str = ""
    run: str = ""
    text: str = ""
    event: str | None = None
    step: str | None = None
    status: str | None = None
    ms: int | None = None
    error: str | None = None


class _Known:
    """What is remembered of a live run."""

    __slots__ = ("begun", "function", "held", "steps")

    def __init__(self, function: str, begun: int | None) -> None:
        self.function = function
        self.begun = begun
        self.held = False
        self.steps: dict[str, tuple[str, str, int]] = {}  # id -> name, kind, start


class Story:
    """Tells what changes mean. ``lookup`` finds runs that began before it listened."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._runs: dict[str, _Known] = {}
        self._tell: dict[type, Callable[[Any, int], Line | None]] = {
            SaveEvent: lambda change, now: self._event(change.event),
            SaveOutcome: self._outcome,
            CreateRun: lambda change, now: self._created(change.run),
            StartRun: self._started,
            SaveStep: lambda change, now: self._step(change.step, now),
            SettleStep: self._settled,
            SaveAttempt: lambda change, now: self._attempt(change.attempt, now),
            Block: self._blocked,
            Grant: self._granted,
            SaveNote: self._note,
            FinishRun: self._finished,
        }

    def lines(self, changes: Sequence[Change], now: int) -> list[Line]:
        """What one decision did, in order."""
        lines: list[Line] = []
        for change in changes:
            tell = self._tell.get(type(change))
            line = tell(change, now) if tell is not None else None
            if line is not None:
                lines.append(line)
        return lines

    def summary(self, batches: Sequence[Sequence[Change]]) -> tuple[str, list[FinishRun]]:
        """Many changes in one sentence, and the ends of runs that failed: when more happens than can be read."""
        events = started = ended = steps = 0
        failed: list[FinishRun] = []
        for changes in batches:
            for change in changes:
                kind = type(change)
                if kind is SaveEvent:
                    events += 1
                elif kind is SaveStep:
                    steps += 1
                elif isinstance(change, CreateRun):
                    started += 1
                    self._remember(change.run)
                elif isinstance(change, FinishRun):
                    ended += 1
                    if change.status == RunStatus.FAILED:
                        failed.append(change)
                    else:
                        self._runs.pop(change.run_id, None)
        told = f"{count(events, 'event')}, {count(started, 'run')} started, {count(steps, 'step')}"
        return f"{told}, {count(ended, 'run')} ended, {len(failed):,} of them failed", failed

    def _event(self, event: Event) -> Line | None:
        if event.name.startswith(INTERNAL_PREFIX):
            return None
        return Line(at=event.received_at, kind="event", mark="→", event=event.id, text=f"{event.name}  {event.id}")

    def _outcome(self, change: SaveOutcome, now: int) -> Line:
        outcome = change.outcome
        reason = f": {outcome.reason}" if outcome.reason else ""
        return Line(
            at=outcome.at,
            kind="outcome",
            mark="○",
            colour="yellow",
            function=outcome.function_id,
            event=outcome.event_id,
            status=outcome.kind,
            text=f"not started, {outcome.kind}{reason}",
        )

    def _created(self, run: Run) -> Line:
        self._remember(run)
        if run.started_at is not None:
            return self._line(run.id, run.started_at, "started", mark="▶", text=f"started  {run.id}")
        later = run.scheduled_at > run.queued_at
        text = f"scheduled for {clock_time(run.scheduled_at, run.queued_at, None)}" if later else "queued"
        return self._line(run.id, run.queued_at, "queued", text=f"{text}  {run.id}")

    def _started(self, change: StartRun, now: int) -> Line:
        known = self._known(change.run_id)
        if known is not None:
            known.begun = change.started_at
        return self._line(change.run_id, change.started_at, "started", mark="▶", text=f"started  {change.run_id}")

    def _step(self, step: Step, now: int) -> Line | None:
        known = self._known(step.run_id)
        if known is not None and step.ended_at is None:
            known.steps[step.id] = (step.name, step.kind, step.started_at)
        name = step.name + (f" #{step.repeat}" if step.repeat else "")
        at = step.ended_at or step.started_at
        if step.kind == DEFER:
            return self._deferred(step, name)
        if step.status == StepStatus.QUEUED:
            return None  # it is about to run, and says so when it has
        if step.status == StepStatus.SLEEPING:
            return self._moved(step, at, name, "◷", "cyan", f"sleeps until {_until(step)}")
        if step.status == StepStatus.WAITING:
            signal = step.kind == "waitForSignal"
            awaited = f"signal {_detail(step, 'signal')}" if signal else _detail(step, "event")
            return self._moved(step, at, name, "◷", "cyan", f"waits for {awaited} until {_until(step)}")
        if step.status == StepStatus.INVOKING:
            return self._moved(step, at, name, "↳", "cyan", f"invokes {_detail(step, 'function_id')}")
        took = (step.ended_at or now) - step.started_at
        if step.status == StepStatus.ERRORED:
            error = _error(step.output)
            text = _and_then(error, f"retry {step.attempt} in {span((step.due or now) - now)}")
            return self._moved(step, now, name, "↻", "yellow", text, ms=took, error=error)
        if step.status == StepStatus.FAILED:
            error = _error(step.output)
            return self._moved(step, at, name, "✗", "red", f"failed: {error}", ms=took, error=error)
        return self._moved(step, at, name, "✓", "green", "" if step.kind == "sleep" else span(took), ms=took)

    def _settled(self, change: SettleStep, now: int) -> Line | None:
        known = self._known(change.run_id)
        found = known.steps.pop(change.step_id, None) if known is not None else None
        if found is None or found[1] == DEFER:  # the run that it starts tells of itself
            return None
        name, kind, started = found
        took = change.ended_at - started
        mark, colour, text = "✓", "green", span(took)
        if change.status == StepStatus.TIMED_OUT:
            mark, colour, text = "⌛", "yellow", f"timed out after {span(took)}"
        elif change.status == StepStatus.FAILED:
            mark, colour, text = "✗", "red", f"failed: {_error(change.output)}"
        elif kind == "sleep":
            text = f"slept {span(took)}"
        return self._line(
            change.run_id,
            change.ended_at,
            "step",
            mark=mark,
            colour=colour,
            text=f"{name}  {text}",
            step=name,
            status=change.status,
            ms=took,
        )

    def _attempt(self, attempt: Attempt, now: int) -> Line | None:
        if attempt.step_id or attempt.retry_at is None:
            return None  # told by its step, or by the end of the run
        error = _error(attempt.error)
        again = f"retry {attempt.attempt + 1} in {span(attempt.retry_at - now)}"
        text = _and_then(f"function's own code: {error}", again)
        self._known(attempt.run_id)
        return self._line(
            attempt.run_id, attempt.ended_at, "attempt", mark="↻", colour="yellow", text=text, error=error
        )

    def _blocked(self, change: Block, now: int) -> Line | None:
        known = self._known(change.item_id)
        if known is None or known.held:
            return None
        known.held = True
        why = _BACKLOGS.get(change.backlog.partition("/")[0], "its concurrency limit is reached")
        text = f"waits: {why}"
        return self._line(change.item_id, now, "held", mark="◌", colour="yellow", text=text, status=change.backlog)

    def _granted(self, change: Grant, now: int) -> Line | None:
        known = self._runs.get(change.item_id)
        if known is None or not known.held:
            return None
        known.held = False
        if known.begun is None:
            return None  # told by its start
        return self._line(change.item_id, now, "goes-on", mark="▶", text="goes on")

    def _note(self, change: SaveNote, now: int) -> Line | None:
        note = change.note
        if note.kind == "cancelled":
            return None  # told by the end of the run
        self._known(note.run_id)  # a lost lease is noted by the next process, which has not seen the run begin
        return self._line(note.run_id, note.at, "note", mark="!", colour="yellow", text=note.text)

    def _finished(self, change: FinishRun, now: int) -> Line:
        known = self._known(change.run_id)
        begun = known.begun if known is not None else None
        took = change.ended_at - begun if begun is not None else None
        text, colour, error = "completed", "green", None
        if change.status == RunStatus.FAILED:
            error = _error(change.output)
            text, colour = f"FAILED: {error}", "red"
        elif change.status == RunStatus.CANCELLED:
            text, colour = _cancelled(change.reason or ""), "yellow"
        line = self._line(
            change.run_id,
            change.ended_at,
            "ended",
            mark="■",
            colour=colour,
            text=f"{text}  {span(took)}" if took is not None and colour == "green" else text,
            status=change.status,
            ms=took,
            error=error,
        )
        self._runs.pop(change.run_id, None)
        return line

    def _deferred(self, step: Step, name: str) -> Line:
        at, target = step.ended_at or step.started_at, _detail(step, "function_id")
        if step.status == StepStatus.REJECTED:
            return self._moved(step, at, name, "✗", "yellow", f"is not put off: {_detail(step, 'reason')}")
        if step.status == StepStatus.ABORTED:
            return self._moved(step, at, name, "■", "yellow", f"{target} is not started after all")
        return self._moved(step, at, name, "↳", "cyan", f"{target} starts when the run ends")

    def _moved(self, step: Step, at: int, name: str, mark: str, colour: str, text: str, **more: Any) -> Line:
        return self._line(
            step.run_id,
            at,
            "step",
            mark=mark,
            colour=colour,
            text=f"{name}  {text}".rstrip(),
            step=name,
            status=step.status,
            **more,
        )

    def _line(self, run_id: str, at: int, kind: str, **more: Any) -> Line:
        known = self._runs.get(run_id)
        return Line(at=at, kind=kind, function=known.function if known else "", run=run_id, **more)

    def _remember(self, run: Run) -> _Known:
        while len(self._runs) >= _RUNS_MAX:
            self._runs.pop(next(iter(self._runs)))
        known = self._runs[run.id] = _Known(run.function_id, run.started_at)
        return known

    def _known(self, run_id: str) -> _Known | None:
        known = self._runs.get(run_id)
        if known is None:
            found = self._lookup(run_id)
            if found is None:
                return None
            run, steps = found
            known = self._remember(run)
            known.steps = {step.id: (step.name, step.kind, step.started_at) for step in steps}
        return known


def _cancelled(reason: str) -> str:
    """The end of a run in words that fit before its reason: an event, a timeout, the run that invoked it, or a person
    with words of their own."""
    if reason.startswith("cancelled") or not reason:
        return reason or "cancelled"
    if reason.startswith("event "):
        return f"cancelled by {reason}"
    if reason.startswith(("start timeout: ", "finish timeout: ")):
        return f"cancelled by its {reason}"
    if parent := BY_PARENT.fullmatch(reason):
        return f"cancelled together with run {parent[1]}, which invoked it"
    return f"cancelled: {reason}"


def _until(step: Step) -> str:
    return clock_time(step.due, step.started_at, None) if step.due is not None else "?"


def _detail(step: Step, name: str) -> str:
    details: dict[str, Any] = msgspec.json.decode(step.details) if step.details else {}
    return str(details.get(name, "?"))


def _error(output: bytes | None) -> str:
    """On one line, but for errors of ours: why and fix have a line each."""
    if output is None:
        return "Error"
    error = error_view(output)
    text = f"{error.name}: {error.message}" if error.message else error.name
    return "\n".join(_shortened(" ".join(part.split())) for part in _WHY_OR_FIX.split(text))


def _shortened(text: str) -> str:
    return text if len(text) <= _ERROR_CHARS else text[:_ERROR_CHARS] + "…"


def _and_then(error: str, what: str) -> str:
    """What follows from an error, beside the line that names it."""
    first, *more = error.split("\n")
    return "\n".join([f"{first}; {what}", *more])
