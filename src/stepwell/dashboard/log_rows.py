"""Lines that the code of a run has logged, as pages show them."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import NamedTuple

from stepwell.model.log import Logged
from stepwell.model.run import Run
from stepwell.model.step import Step
from stepwell.views.logs import dropped_of, level_name, lines_of, step_names


class LogRow(NamedTuple):
    """A line. ``since`` is when it was logged, in milliseconds since the run was queued; ``attempt`` counts from 1.
    ``known`` is whether there is more to see of its step."""

    at: int
    since: int
    level: str
    logger: str
    text: str
    step_id: str
    step: str
    attempt: int
    known: bool


class Log(NamedTuple):
    """The last lines of those that were asked for. ``earlier`` is how many come before them, ``dropped`` how many the
    run has logged beyond what is kept."""

    rows: Sequence[LogRow]
    earlier: int
    dropped: int

    @property
    def found(self) -> int:
        return self.earlier + len(self.rows)


def log_of(
    run: Run,
    logged: Sequence[Logged],
    steps: Sequence[Step],
    most: int,
    *,
    bodies: Container[str] = (),
    level: str = "",
    step: str | None = None,
    text: str = "",
) -> Log:
    """The last lines, at most so many, from this level on, of this step, and with this in their text. ``bodies`` are
    the steps that run in this very process."""
    names = step_names(logged, steps)
    known = {each.id for each in steps}
    found = lines_of(logged, names, level=level or None, step=step)
    if text:
        found = [each for each in found if text.casefold() in each.line.text.casefold()]
    rows = [
        LogRow(
            at=each.line.at,
            since=max(0, each.line.at - run.queued_at),
            level=level_name(each.line.level),
            logger=each.line.logger,
            text=each.line.text,
            step_id=each.step_id,
            step=names.get(each.step_id, each.step_id) if each.step_id else "",
            attempt=each.attempt + 1,
            known=each.step_id in known or each.step_id in bodies,
        )
        for each in found[-most:]
    ]
    return Log(rows, len(found) - len(rows), dropped_of(logged))
