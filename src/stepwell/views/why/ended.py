"""What ended a run, with the evidence."""

from __future__ import annotations

import re
from typing import Final

from stepwell.model.questions import Attempts, GetRun, GetSteps
from stepwell.model.run import Run, RunStatus
from stepwell.model.step import DEFER, Attempt, Step, StepStatus
from stepwell.views.nouns import ErrorView, Reader, error_view
from stepwell.views.trace import child_run, own_attempts, step_attempts
from stepwell.views.why.live import Explain
from stepwell.views.why.shapes import Cancelled, Cause, Completed, Failed, Frame

_UNSAID: Final = ErrorView(name="Error", message="Function execution error")
_BY_EVENT: Final = re.compile(
    r"event (?P<name>.+?) (?P<id>[0-9A-HJKMNP-TV-Z]{26})(?: \((?P<condition>.*)\))?", re.DOTALL
)
_BY_SINGLETON: Final = re.compile(r"singleton: run ([0-9A-Z]{26}) took its place")
BY_PARENT: Final = re.compile(r"run ([0-9A-Z]{26}), which invoked it, was cancelled")

_PYTHON: Final = re.compile(r'^ *File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?$')
_JAVASCRIPT: Final = re.compile(r"^ *at (?:(?P<function>[^(]+) \()?(?:file://)?(?P<file>[^()]+?):(?P<line>\d+):\d+\)?$")
_LIBRARY: Final = ("/site-packages/", "/dist-packages/", "/lib/python3", "/node_modules/", "<frozen ", "node:")


async def cause(reader: Reader, run: Run, explain: Explain) -> Cause:
    """The root cause of an ended run. ``explain`` is asked about the child run whose error it passed on."""
    steps = [step for step in await reader.read(GetSteps(run.id)) if step.kind != DEFER]
    if run.status == RunStatus.FAILED:
        return await _failed(reader, run, steps, explain)
    if run.status == RunStatus.CANCELLED:
        return _cancelled(run.reason or "")
    begun = run.started_at if run.started_at is not None else run.queued_at
    return Completed(duration_ms=(run.ended_at or begun) - begun, steps=len(steps))


async def _failed(reader: Reader, run: Run, steps: list[Step], explain: Explain) -> Failed:
    error = error_view(run.output) if run.output is not None else _UNSAID
    attempts = await reader.read(Attempts(run.id))
    failing = [step for step in steps if step.status == StepStatus.FAILED]
    guilty = next((step for step in reversed(failing) if _is_error_of(step, error)), None)
    tried = [attempt for attempt in attempts if attempt.step_id == (guilty.id if guilty else "")]
    tries = _tries(guilty, tried, run.output)
    child_id = child_run(guilty) if guilty else None
    child = await reader.read(GetRun(child_id)) if child_id else None
    return Failed(
        step=guilty.name if guilty else None,
        error=error,
        attempts=step_attempts(guilty, tried) if guilty else own_attempts(run, steps, attempts),
        tries=tries,
        frame=first_user_frame(error.stack or (error_view(tried[-1].error).stack if tried and tries else None)),
        caught=[step.name for step in failing if step is not guilty],
        child=await explain(child) if child and child.status == RunStatus.FAILED else None,
    )


def _is_error_of(step: Step, error: ErrorView) -> bool:
    """An error that a function let pass is the step's own, or wrapped in one that repeats its message."""
    if step.output is None:
        return False
    own = error_view(step.output)
    return own.message == error.message or (bool(own.message) and own.message in error.message)


def _tries(step: Step | None, attempts: list[Attempt], error: bytes | None) -> int:
    if step is not None:
        return step.attempt + 1 if step.kind != "invoke" else max(len(attempts), 1)
    # Each try of the function's own code leaves an attempt with its error. What ends a run without one is our doing.
    return len(attempts) if attempts and attempts[-1].error == error else 0


def _cancelled(reason: str) -> Cancelled:
    if match := _BY_EVENT.fullmatch(reason):
        return Cancelled(
            by="event",
            reason=reason,
            event_id=match["id"],
            event_name=match["name"],
            condition=match["condition"],
        )
    if reason.startswith("start timeout"):
        return Cancelled(by="start-timeout", reason=reason)
    if reason.startswith("finish timeout"):
        return Cancelled(by="finish-timeout", reason=reason)
    if match := _BY_SINGLETON.fullmatch(reason):
        return Cancelled(by="singleton", reason=reason, run_id=match[1])
    return Cancelled(by="parent" if BY_PARENT.fullmatch(reason) else "operator", reason=reason)


def first_user_frame(stack: str | None) -> Frame | None:
    """The innermost line of a stack that is neither the language's, nor a library's, nor ours."""
    if not stack:
        return None
    lines = stack.splitlines()
    python = [(number, match) for number, line in enumerate(lines) if (match := _PYTHON.match(line))]
    # Python tells the innermost call last, JavaScript first.
    for number, match in reversed(python):
        if not _is_library(match["file"]):
            following = lines[number + 1].strip() if number + 1 < len(lines) else ""
            code = following if following and not _PYTHON.match(lines[number + 1]) else None
            return Frame(file=match["file"], line=int(match["line"]), function=match["function"], code=code)
    for line in lines:
        match = _JAVASCRIPT.match(line)
        if match and not _is_library(match["file"]):
            return Frame(file=match["file"], line=int(match["line"]), function=match["function"], code=None)
    return None


def _is_library(file: str) -> bool:
    return any(part in file for part in _LIBRARY)
