"""A run as a tree: its steps, the attempts at those that failed, the runs it invoked."""

from __future__ import annotations

from typing import Final

import msgspec
from rich.text import Text
from rich.tree import Tree

from stepwell.cli.show import STYLES, took
from stepwell.views.nouns import (
    NULL,
    ErrorView,
    MetadataView,
    RunView,
)
from stepwell.views.trace import (
    CANCELLED,
    RUNNING,
    AttemptView,
    StepView,
    TraceView,
    gathered,
)
from stepwell.views.why.ended import first_user_frame
from stepwell.views.wording import at, clock_time, count, nth_attempt, parse_moment, printable, relative, size, span

_MARKS: Final = {
    RUNNING: ("▶", "green"),
    "COMPLETED": ("✓", "green"),
    "FAILED": ("✗", "bold red"),
    "QUEUED": ("·", "cyan"),
    "ERRORED": ("↻", "yellow"),
    "SLEEPING": ("◷", "cyan"),
    "WAITING": ("◷", "cyan"),
    "INVOKING": ("↳", "blue"),
    "TIMED_OUT": ("⌛", "yellow"),
    CANCELLED: ("■", "yellow"),
    "DEFERRED": ("↳", "cyan"),
    "ABORTED": ("■", "yellow"),
    "REJECTED": ("✗", "yellow"),
}
_OUTPUT_SHOWN: Final = 400
_CHILD_OUTPUT_SHOWN: Final = 60  # on the line of the child
_ERROR_SHOWN: Final = 600
_AT_ONCE_MS: Final = 100
_LARGE_BYTES: Final = 1024


class _Details(msgspec.Struct, rename={"condition": "if"}):
    event: str = ""
    signal: str = ""
    condition: str | None = None
    function_id: str = ""
    matched: str | None = None
    run_id: str | None = None
    reason: str = ""
    method: str = ""
    url: str = ""
    status: int | None = None
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


_decode_details: Final = msgspec.json.Decoder(_Details).decode


def trace_tree(trace: TraceView, now: int) -> Tree:
    """The whole of a run."""
    label = Text("\n").join([_heading(trace.run, now), *_facts(trace.run, now)])
    tree = Tree(label, guide_style="dim")
    _fill(tree, trace, now, _OUTPUT_SHOWN)
    return tree


def _fill(tree: Tree, trace: TraceView, now: int, output_shown: int) -> None:
    run = trace.run
    begun = parse_moment(run.started_at or run.queued_at)
    for step in trace.steps:
        branch = tree.add(_step(step, begun, now))
        _add_metadata(branch, run.metadata, step.id)
        _add_attempts(branch, step.attempts, step.max_attempts, now)
        if step.child is not None:
            child = branch.add(_heading(step.child.run, now))
            _fill(child, step.child, now, _CHILD_OUTPUT_SHOWN)
    # When a step's error ended the function's own code, the step has told it; a single try is the run's own end.
    own = [each for each in trace.attempts if each.error is not None and each.error.code != "step_errored"]
    if len(own) > 1 or run.error is None:
        _add_attempts(tree, own, trace.max_attempts, now, own=True)
    for wait in trace.waits:
        if wait.kind == "cancel":
            condition = f" if {wait.condition}" if wait.condition else ""
            tree.add(Text(f"cancelled by {wait.event}{condition}", style="dim"))
    _add_metadata(tree, run.metadata, None)
    for note in gathered(trace.notes):
        if note.kind != "cancelled" or run.reason is None:
            tree.add(Text(f"note, {relative(parse_moment(note.at), now)}: {printable(note.text)}", style="yellow"))
    if run.error is not None:
        tree.add(Text.assemble(("error  ", "dim"), _error(run.error), _place(run.error)))
    elif run.status == "COMPLETED":
        output = bytes(run.output).decode(errors="replace")
        tree.add(Text.assemble(("output  ", "dim"), _shortened(output, output_shown)))
    if run.reason is not None:
        tree.add(Text.assemble(("reason  ", "dim"), printable(run.reason)))


def _add_metadata(branch: Tree, metadata: list[MetadataView], step_id: str | None) -> None:
    for one in metadata:
        if one.step_id == step_id:
            of = "" if one.attempt is None else f" of {nth_attempt(one.attempt, None)}"
            values = bytes(one.values).decode(errors="replace")
            said = f"{printable(one.kind)}  {_shortened(values, _OUTPUT_SHOWN)}"
            branch.add(Text.assemble((f"metadata{of}  ", "dim"), said))


def _heading(run: RunView, now: int) -> Text:
    text = Text(run.function_id, style="bold")
    text.append(f"  {run.id}  ", style="not bold")
    text.append(run.status, style=STYLES.get(run.status, ""))
    if run.started_at is not None:
        text.append(f" in {took(run, now)}" if run.ended_at else f" for {took(run, now)}", style="not bold")
    return text


def _facts(run: RunView, now: int) -> list[Text]:
    cause = f"{run.event_name or 'event'}  {run.event_id}" if run.cron is None else f"cron {run.cron}"
    queued = parse_moment(run.queued_at)
    facts = [Text.assemble(("by  ", "dim"), cause), Text.assemble(("queued  ", "dim"), at(queued, now, None))]
    if run.started_at is not None:
        waited = parse_moment(run.started_at) - queued
        facts[1].append(f", started {span(waited)} later" if waited >= _AT_ONCE_MS else ", started at once")
    elif parse_moment(run.scheduled_at) > now:
        facts[1].append(f", scheduled for {at(parse_moment(run.scheduled_at), now, None)}")
    if run.function_version > 1:
        facts[1].append(f", under version {run.function_version:,} of the function")
    if run.parent_run_id is not None:
        facts.append(Text.assemble(("invoked by  ", "dim"), run.parent_run_id))
    if run.deferred_by is not None:
        facts.append(Text.assemble(("deferred by  ", "dim"), run.deferred_by))
    if run.original_run_id is not None:
        facts.append(Text.assemble(("again  ", "dim"), run.original_run_id, printable(_changed(run))))
    if run.replay_id is not None:
        facts.append(Text.assemble(("replay  ", "dim"), run.replay_id))
    if run.rerun_ids:
        facts.append(Text.assemble(("run again as  ", "dim"), ", ".join(run.rerun_ids)))
    return facts


def _changed(run: RunView) -> str:
    """In what it differs from the run that it repeats."""
    said: list[str] = []
    if run.from_step is not None:
        taken = f", with {count(run.copied_steps, 'step')} of it" if run.copied_steps else ""
        said.append(f"from step {run.from_step!r}{taken}")
    if run.input_replaced:
        said.append("with another input")
    if run.overridden_steps:
        said.append(f"with {count(len(run.overridden_steps), 'output')} given by hand")
    if run.event_edited:
        said.append("with edited data")
    return f"  {', '.join(said)}" if said else ""


def _step(step: StepView, begun: int, now: int) -> Text:
    mark, style = _MARKS.get(step.status, ("·", ""))
    text = Text(f"{mark} ", style=style)
    text.append(printable(step.name) + (f" #{step.repeat}" if step.repeat else ""), style="bold")
    started = parse_moment(step.started_at)
    if step.ended_at is not None and step.kind != "defer":
        text.append(f"  {span(parse_moment(step.ended_at) - started)}", style="not bold default")
    text.append(printable(_story(step, now)), style="not bold default")
    if step.status == "COMPLETED" and step.output_bytes >= _LARGE_BYTES:
        text.append(f"  {size(step.output_bytes)}", style="not bold default")
    text.append("  copied" if step.copied else f"  +{span(started - begun)}", style="dim not bold")
    if step.status == "FAILED" and step.error is not None and not step.attempts and step.child is None:
        text.append("  ").append_text(_error(step.error))
    return text


def _story(step: StepView, now: int) -> str:
    """What there is to say about a step beside its times."""
    details = _details(step)
    if step.status == CANCELLED:
        return f"  cancelled {_unfinished(step, details)}"
    until = f" until {at(parse_moment(step.due), now, None)}" if step.due else ""
    if step.kind == "sleep":
        return f"  sleeps{until}" if step.status == "SLEEPING" else "  slept"
    if step.kind == "waitForEvent":
        condition = f" if {details.condition}" if details.condition else ""
        if step.status == "WAITING":
            return f"  waits for {details.event}{condition}{until}"
        if step.status == "TIMED_OUT":
            return f"  no {details.event} came"
        return f"  got {details.event} {details.matched or ''}".rstrip()
    if step.kind == "waitForSignal":
        if step.status == "WAITING":
            return f"  waits for signal {details.signal}{until}"
        return f"  no signal {details.signal} came" if step.status == "TIMED_OUT" else f"  got signal {details.signal}"
    if step.kind == "invoke":
        return f"  invokes {details.function_id}" + (f" {details.run_id}" if details.run_id and not step.child else "")
    if step.kind == "defer":
        return _deferral(step, details)
    if details.method:
        return _asked(details) + _tried(step, now, until)
    return _tried(step, now, until)


def _asked(details: _Details) -> str:
    """What the engine asks for a step, or has asked, and what came of it."""
    asked = f"  {details.method} {details.url}"
    if details.status is not None:
        asked += f" → {details.status}"
    if details.model is not None:
        asked += f"  {details.model}"
    if details.input_tokens is not None and details.output_tokens is not None:
        asked += f"  {details.input_tokens:,} + {details.output_tokens:,} tokens"
    return asked


def _tried(step: StepView, now: int, until: str) -> str:
    """How often the body of a step was executed, or the engine has asked for it."""
    attempt = nth_attempt(step.attempt, step.max_attempts)
    if step.status == RUNNING:
        so_far = span(now - parse_moment(step.started_at))
        return f"  executes {attempt}" if step.attempt else f"  executes, for {so_far} so far"
    if step.status == "QUEUED":
        return "  is next"
    if step.status == "ERRORED":
        return f"  {attempt}{until.replace('until', 'at', 1)}"
    return f"  {attempt}" if step.attempt and step.status == "COMPLETED" else ""


def _deferral(step: StepView, details: _Details) -> str:
    """What became of a function that was put off until the end of the run."""
    if step.status == "REJECTED":
        return f"  was not put off: {details.reason}"
    if step.status == "ABORTED":
        return f"  put {details.function_id} off, and did not start it after all"
    if step.status != "COMPLETED":
        return f"  starts {details.function_id} when the run ends"
    return f"  started {details.function_id}" + (f" {details.run_id}" if details.run_id and not step.child else "")


def _unfinished(step: StepView, details: _Details) -> str:
    """What a step was about when its run ended."""
    if step.kind == "sleep":
        return "while it slept"
    if step.kind == "waitForEvent":
        return f"while it waited for {details.event}"
    if step.kind == "waitForSignal":
        return f"while it waited for signal {details.signal}"
    if step.kind == "invoke":
        return f"while {details.function_id} {'' if step.child else details.run_id or ''}".rstrip() + " was to answer"
    return f"before {nth_attempt(step.attempt, step.max_attempts)}"


def _details(step: StepView) -> _Details:
    return _Details() if step.details == NULL else _decode_details(step.details)


def _add_attempts(branch: Tree, attempts: list[AttemptView], most: int | None, now: int, *, own: bool = False) -> None:
    """One line for each, if any of them failed; an error that is the same again is not written again."""
    if all(attempt.error is None for attempt in attempts):
        return  # the line of the step has told it
    before: ErrorView | None = None
    for attempt in attempts:
        line = _attempt(attempt, most, now, own=own)
        if attempt.error is not None:
            again = before is not None and (before.name, before.message) == (attempt.error.name, attempt.error.message)
            line.append("  ").append_text(Text("the same", style="dim") if again else _error(attempt.error))
            before = attempt.error
        branch.add(line)


def _attempt(attempt: AttemptView, most: int | None, now: int, *, own: bool) -> Text:
    mark, style = _MARKS[attempt.status] if attempt.error is None else ("✗", "red")
    started, queued = parse_moment(attempt.started_at), parse_moment(attempt.queued_at)
    which = ("function's own code, " if own else "") + nth_attempt(attempt.attempt, most)
    text = Text.assemble((f"{mark} ", style), which, (f"  {clock_time(started, now, None)}", "dim"))
    if attempt.ended_at is None:
        text.append(f"  for {span(now - started)} so far")
    else:
        text.append(f"  {span(parse_moment(attempt.ended_at) - started)}")
    if started - queued >= _AT_ONCE_MS:
        text.append(f"  queued for {span(started - queued)}")
    return text


def _error(error: ErrorView) -> Text:
    text = Text(printable(error.name), style="red not bold")
    message = error.message.strip()
    if message:
        text.append(f": {_shortened(message, _ERROR_SHOWN)}", style="default not bold")
    return text


def _place(error: ErrorView) -> Text:
    frame = first_user_frame(error.stack)
    if frame is None:
        return Text()
    code = f"  {frame.code}" if frame.code else ""
    return Text(printable(f"\nat     {frame.file}:{frame.line}{code}"), style="dim")


def _shortened(text: str, limit: int) -> str:
    text = printable(text)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"
