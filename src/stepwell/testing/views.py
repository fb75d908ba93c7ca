"""What a test looks at: runs and steps as they now are, and the tree that a failing assertion shows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec

from stepwell.clock import to_datetime
from stepwell.errors import NotFound
from stepwell.model.duration import format_duration
from stepwell.model.event import Event
from stepwell.model.event import rfc3339 as iso
from stepwell.model.failure import Failure
from stepwell.model.item import Item
from stepwell.model.questions import Attempts, GetEvent, GetRun, GetSteps, Notes, Question, RunItems
from stepwell.model.run import Run, RunStatus
from stepwell.model.step import DEFER, Attempt, Step, StepStatus

A = TypeVar("A")

Ask = Callable[[Question[Any]], Any]

_TEXT_MAX: Final = 120
_WORDS: Final = {
    StepStatus.QUEUED: "to be run next",
    StepStatus.ERRORED: "to be tried again",
    StepStatus.SLEEPING: "sleeping",
    StepStatus.WAITING: "waiting",
    StepStatus.INVOKING: "waiting for the function it invoked",
}


class StepView:
    """A step of a run, as it was when it was looked at."""

    def __init__(self, step: Step, failures: list[Attempt]) -> None:
        self.record = step
        self._failures = failures

    @property
    def name(self) -> str:
        """What the function calls it; ``name:n`` for the n-th reuse of the same name."""
        return step_key(self.record)

    @property
    def status(self) -> str:
        return self.record.status

    @property
    def kind(self) -> str:
        return self.record.kind

    @property
    def attempts(self) -> int:
        """How often the body was tried, as far as was recorded; 0 for steps without a body."""
        return len(self._failures) + (self.record.status == StepStatus.COMPLETED and self.record.has_body)

    @property
    def output(self) -> Any:
        """The result, decoded; ``None`` while there is none."""
        if self.record.open or self.record.status == StepStatus.FAILED or self.record.output is None:
            return None
        return msgspec.json.decode(self.record.output)

    @property
    def error(self) -> Failure | None:
        """The latest error of a step that failed, for good or not."""
        if self.record.status in (StepStatus.FAILED, StepStatus.ERRORED) and self.record.output is not None:
            return msgspec.json.decode(self.record.output, type=Failure)
        return None

    @property
    def errors(self) -> list[Failure]:
        """The errors of all attempts that failed, oldest first."""
        return [msgspec.json.decode(attempt.error, type=Failure) for attempt in self._failures]

    @property
    def due(self) -> datetime | None:
        """When an open step moves by itself: the end of a sleep, a timeout, the next attempt."""
        return to_datetime(self.record.due) if self.record.open and self.record.due is not None else None

    @property
    def details(self) -> dict[str, Any]:
        return msgspec.json.decode(self.record.details) if self.record.details else {}

    def __repr__(self) -> str:
        return f"<step {self.name}: {self.status}>"


class RunView:
    """A run. Each look reads the store, so the same view shows what has become of the run meanwhile."""

    def __init__(self, ask: Ask, run_id: str) -> None:
        self.id = run_id
        self._ask = ask

    @property
    def record(self) -> Run:
        run: Run | None = self._ask(GetRun(self.id))
        if run is None:
            raise NotFound(f"there is no run {self.id}", "it was forgotten", "keep runs as long as you look at them")
        return run

    @property
    def status(self) -> str:
        """QUEUED, RUNNING, COMPLETED, FAILED or CANCELLED."""
        return self.record.status

    @property
    def ended(self) -> bool:
        return self.record.ended

    @property
    def function_id(self) -> str:
        return self.record.function_id

    @property
    def output(self) -> Any:
        """What the function returned, decoded; ``None`` unless it completed."""
        run = self.record
        return msgspec.json.decode(run.output) if run.status == RunStatus.COMPLETED and run.output else None

    @property
    def error(self) -> Failure | None:
        """The error of a run that failed."""
        run = self.record
        return msgspec.json.decode(run.output, type=Failure) if run.status == RunStatus.FAILED and run.output else None

    @property
    def reason(self) -> str | None:
        """Why it was cancelled."""
        return self.record.reason

    @property
    def event(self) -> dict[str, Any]:
        """The event that started it, as the function sees it."""
        event: Event | None = self._ask(GetEvent(self.record.event_id))
        return event.fields() if event is not None else {}

    @property
    def steps(self) -> dict[str, StepView]:
        """Its steps by name, in the order in which they were first seen; ``name:n`` is the n-th reuse of a name."""
        failures: dict[str, list[Attempt]] = {}
        for attempt in self._attempts():
            failures.setdefault(attempt.step_id, []).append(attempt)
        steps: list[Step] = self._ask(GetSteps(self.id))
        return {step_key(step): StepView(step, failures.get(step.id, [])) for step in steps if step.kind != DEFER}

    @property
    def deferred(self) -> dict[str, StepView]:
        """What it has put off until its end, by the id it was given, in the order in which it said so.

        Its ``status`` is ``DEFERRED``, ``ABORTED``, ``REJECTED``, or ``COMPLETED`` when it was started.
        """
        steps: list[Step] = self._ask(GetSteps(self.id))
        return {step.name: StepView(step, []) for step in steps if step.kind == DEFER}

    @property
    def errors(self) -> list[Failure]:
        """The errors of the function's own code, outside of steps, oldest first."""
        return [
            msgspec.json.decode(attempt.error, type=Failure) for attempt in self._attempts() if attempt.step_id == ""
        ]

    @property
    def waiting_for(self) -> str | None:
        """What an unfinished run waits for, in words; ``None`` if it ended or is being called right now."""
        run = self.record
        if run.ended:
            return None
        for step in self.steps.values():
            if step.record.open:
                due = step.record.due
                what = _WORDS.get(StepStatus(step.status), step.status)
                awaited = step.details.get("event") or f"signal {step.details.get('signal')}"
                event = f" for {awaited}" if step.status == StepStatus.WAITING else ""
                return f"step {step.name}: {what}{event}" + (f" until {iso(due)}" if due is not None else "")
        return _owed(run, self._items())

    @property
    def started_at(self) -> datetime | None:
        run = self.record
        return to_datetime(run.started_at) if run.started_at is not None else None

    @property
    def ended_at(self) -> datetime | None:
        run = self.record
        return to_datetime(run.ended_at) if run.ended_at is not None else None

    def trace(self) -> str:
        """The run as a tree of text: steps, attempts, errors, what it waits for."""
        return "\n".join(_lines(self, self._attempts(), self._ask(Notes(self.id))))

    def __repr__(self) -> str:
        try:
            run = self.record
        except AssertionError:
            return f"<run {self.id}>"  # shown after the harness was left, as pytest does
        return f"<run {self.id} of {run.function_id}: {run.status}>"

    def _attempts(self) -> list[Attempt]:
        found: list[Attempt] = self._ask(Attempts(self.id))
        return found

    def _items(self) -> list[Item]:
        found: list[Item] = self._ask(RunItems(self.id))
        return found


def step_key(step: Step) -> str:
    return f"{step.name}:{step.repeat}" if step.repeat else step.name


def _owed(run: Run, items: list[Item]) -> str | None:
    own = next((item for item in items if item.id == run.id), None)
    if own is None:
        return "nothing: no work is owed to it"
    if own.lease:
        return None
    if own.backlog is not None:
        return f"room in {own.backlog}"
    return f"its next call at {iso(own.at)}" if own.at is not None else "something that wakes it"


def _lines(view: RunView, attempts: list[Attempt], notes: list[Any]) -> list[str]:
    run = view.record
    took = f" in {format_duration(run.ended_at - run.queued_at)}" if run.ended_at is not None else ""
    lines = [f"run {run.id} of {run.function_id}: {run.status}{took} (queued {iso(run.queued_at)})"]
    branches = [
        [_step_line(step), *(_attempt_line(attempt) for attempt in attempts if attempt.step_id == step.record.id)]
        for step in view.steps.values()
    ]
    own = [_attempt_line(attempt) for attempt in attempts if attempt.step_id == ""]
    if own:
        branches.append(["the function's own code", *own])
    branches += [[f"note: {note.text}"] for note in notes]
    branches.append([_end_line(view, run)])
    for index, branch in enumerate(branches):
        last = index == len(branches) - 1
        lines.append(("└─ " if last else "├─ ") + branch[0])
        for number, leaf in enumerate(branch[1:], 2):
            lines.append(("   " if last else "│  ") + ("└─ " if number == len(branch) else "├─ ") + leaf)
    return lines


def _step_line(step: StepView) -> str:
    line = f"{step.name}  {step.kind}  {step.status}"
    if step.attempts > 1:
        line += f"  {step.attempts} attempts"
    if step.record.open:
        return line + (f"  until {iso(step.record.due)}" if step.record.due is not None else "")
    if step.error is not None:
        return line + f"  {_failure(step.error)}"
    return line + (f"  → {short(step.record.output)}" if step.record.output is not None else "")


def _attempt_line(attempt: Attempt) -> str:
    again = f", again at {iso(attempt.retry_at)}" if attempt.retry_at is not None else ""
    return f"attempt {attempt.attempt}: {_failure(msgspec.json.decode(attempt.error, type=Failure))}{again}"


def _end_line(view: RunView, run: Run) -> str:
    if not run.ended:
        return f"waits for {view.waiting_for}" if view.waiting_for else "is being called"
    if view.error is not None:
        return f"error: {_failure(view.error)}"
    if run.status == RunStatus.CANCELLED:
        return f"cancelled: {run.reason}"
    return f"returned {short(run.output)}"


def _failure(failure: Failure) -> str:
    return f"{failure.name}: {failure.message}"


def short(text: bytes | None) -> str:
    if text is None:
        return "null"
    whole = text.decode(errors="replace")
    return whole if len(whole) <= _TEXT_MAX else whole[:_TEXT_MAX] + "…"
