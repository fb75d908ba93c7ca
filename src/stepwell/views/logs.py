"""What people are shown of what the code of a run has logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from stepwell.model.event import rfc3339
from stepwell.model.log import Logged, StepLine, all_lines
from stepwell.model.questions import GetLogs, GetSteps
from stepwell.model.run import Run
from stepwell.model.step import Step
from stepwell.views.nouns import Reader, View

LEVELS: Final = {"debug": 0, "info": 20, "warning": 30, "error": 40, "critical": 50}
"""The levels of ``logging``, by the least number that each has here."""


class LineView(View, frozen=True):
    """A line. ``step`` and ``stepId`` are the step in whose body it was logged, and ``attempt`` which attempt at it;
    null for the function's own code."""

    at: str
    level: str
    logger: str
    text: str
    step: str | None
    step_id: str | None
    attempt: int | None


class LogsView(View, frozen=True):
    """Lines in the order in which they were logged. ``dropped`` is how many more there were, beyond the limits of an
    attempt or of the run: they are in the app's own log only."""

    lines: list[LineView]
    dropped: int


def level_name(number: int) -> str:
    """The name of the highest level that this reaches."""
    return max((least, name) for name, least in LEVELS.items() if least <= max(number, 0))[1]


def step_names(logged: Sequence[Logged], steps: Sequence[Step]) -> dict[str, str]:
    """What people call the steps of a run, by id. One whose body has only logged so far comes last."""
    names = {each.id: each.name for each in steps}
    return names | {each.step_id: each.name for each in logged if each.name and each.step_id not in names}


def lines_of(
    logged: Sequence[Logged], names: Mapping[str, str], *, level: str | None = None, step: str | None = None
) -> list[StepLine]:
    """From this level on, and of the steps of this name or id. An empty ``step`` is the function's own code."""
    least = LEVELS[level] if level else 0
    meant = None if step is None else {id for id, name in names.items() if step in (id, name)} or {step}
    return [each for each in all_lines(logged) if each.line.level >= least and (meant is None or each.step_id in meant)]


def dropped_of(logged: Sequence[Logged]) -> int:
    return sum(each.dropped for each in logged)


async def logs_view(reader: Reader, run: Run, *, level: str | None = None, step: str | None = None) -> LogsView:
    """What the run has logged."""
    logged: list[Logged] = await reader.read(GetLogs(run.id))
    steps: list[Step] = await reader.read(GetSteps(run.id)) if logged else []
    names = step_names(logged, steps)
    return LogsView(
        lines=[
            LineView(
                at=rfc3339(each.line.at),
                level=level_name(each.line.level),
                logger=each.line.logger,
                text=each.line.text,
                step=names.get(each.step_id),
                step_id=each.step_id or None,
                attempt=each.attempt if each.step_id else None,
            )
            for each in lines_of(logged, names, level=level, step=step)
        ],
        dropped=dropped_of(logged),
    )
