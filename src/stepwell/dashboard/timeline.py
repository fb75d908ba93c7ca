"""The steps of a run as rows of a timeline, as few bytes and objects as ten thousand of them allow.

Moments are milliseconds, as the browser counts them; everything else about a step is asked for when it is looked at.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from stepwell.dashboard.spent import Failed, Spent, spent
from stepwell.dashboard.states import State, state_of
from stepwell.model.run import Run
from stepwell.model.step import Attempt, Step, StepStatus
from stepwell.protocol.messages import Executing
from stepwell.views.trace import CANCELLED, RUNNING, child_run

OWN_CODE: Final = "-"
"""In place of the id of a step: the function's own code, between its steps."""

_WORDS: Final = {
    "run": "step",
    "sleep": "sleep",
    "waitForEvent": "wait for event",
    "waitForSignal": "wait for signal",
    "invoke": "invoke",
    "sendEvent": "send event",
    "aiInfer": "model",
    "fetch": "request",
    "defer": "deferred",
}
"""The kinds of steps as people call them."""
_DEFERRED: Final = _WORDS["defer"]
_FOR_EVER: Final = 1 << 62


class Bar(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One row. ``failed`` are its attempts that did; ``kind`` is a word for people. ``group`` is the number of those
    that it ran beside, 0 if there are none. ``last`` is when the last attempt began, if one had failed before. The
    first members are those that every row has."""

    id: str
    name: str
    kind: str
    status: str
    start: int
    end: int | None
    due: int | None = None
    failed: Sequence[Failed] = ()
    child: str | None = None
    copied: bool = False
    group: int = 0
    last: int | None = None


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """All rows, and the run that they belong to. ``looks`` tells how each of the states looks: word, tone, shape.
    ``spent`` says where its time went."""

    status: str
    queued: int
    started: int | None
    ended: int | None
    now: int
    rows: Sequence[Bar]
    looks: Mapping[str, State]
    spent: Spent


def kind_word(kind: str) -> str:
    return _WORDS.get(kind, kind)


def step_name(step: Step) -> str:
    """What the user wrote, and the how manieth of that name it is if it is not the first."""
    name = step.name or kind_word(step.kind)
    return f"{name} #{step.repeat + 1}" if step.repeat else name


def timeline(
    run: Run, steps: Sequence[Step], attempts: Sequence[Attempt], bodies: Mapping[str, Executing], now: int
) -> Timeline:
    tried: defaultdict[str, list[Failed]] = defaultdict(list)
    for attempt in attempts:
        tried[attempt.step_id].append((attempt.started_at, attempt.ended_at, attempt.retry_at))
    copied = run.rerun.copied if run.rerun is not None else 0
    rows = [
        _bar(step, tried.get(step.id, ()), run, bodies.get(step.id), copied=number < copied)
        for number, step in enumerate(steps)
    ]
    known = {step.id for step in steps}
    rows += [
        Bar(
            id=id,
            name=body.name,
            kind=kind_word(body.kind),
            status=RUNNING,
            start=body.started_at,
            end=None,
            failed=tried.get(id, ()),
        )
        for id, body in bodies.items()
        if id not in known
    ]
    rows = grouped(rows)
    own = tried.get("")
    if own:
        status = StepStatus.FAILED if run.status == "FAILED" else StepStatus.ERRORED
        code = Bar(
            id=OWN_CODE, name="function code", kind="code", status=status, start=own[0][0], end=own[-1][1], failed=own
        )
        rows.append(code)
    return Timeline(
        status=run.status,
        queued=run.queued_at,
        started=run.started_at,
        ended=run.ended_at,
        now=now,
        rows=rows,
        looks={status: state_of(status) for status in {run.status, *(row.status for row in rows)}},
        spent=spent(run, rows, now),
    )


def grouped(rows: Sequence[Bar]) -> list[Bar]:
    """The rows, with those numbered that ran at the same time: neighbours of which each began before all of the others
    had ended. A row that ran by itself is in no group."""
    found: list[Bar] = []
    group, members, until = 0, 0, 0
    for row in rows:
        beside = members > 0 and row.start < until and not row.copied and row.kind != _DEFERRED
        if not beside:
            group, members, until = group + 1, 0, 0
        members += 1
        until = max(until, _FOR_EVER if row.end is None else row.end)
        if row.copied or row.kind == _DEFERRED:
            until = 0
        found.append(msgspec.structs.replace(row, group=group))
    sizes = Counter(row.group for row in found)
    numbers: dict[int, int] = {}
    return [
        msgspec.structs.replace(row, group=numbers.setdefault(row.group, len(numbers) + 1))
        if sizes[row.group] > 1
        else msgspec.structs.replace(row, group=0)
        for row in found
    ]


def _bar(step: Step, failed: Sequence[Failed], run: Run, body: Executing | None, *, copied: bool) -> Bar:
    cut_off = step.open and run.ended_at is not None
    status = CANCELLED if cut_off else step.status
    return Bar(
        id=step.id,
        name=step_name(step),
        kind=kind_word(step.kind),
        status=RUNNING if body is not None and step.open else status,
        start=failed[0][0] if failed else step.started_at,
        end=run.ended_at if cut_off else step.ended_at,
        due=step.due if step.open and not cut_off else None,
        failed=failed,
        child=child_run(step),
        copied=copied,
        last=_last(step, body) if failed else None,
    )


def _last(step: Step, body: Executing | None) -> int | None:
    if not step.open:
        return step.started_at
    return body.started_at if body is not None else None
