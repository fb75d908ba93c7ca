"""What code logs while it runs, for people who look at the run (ADR 0050, ADR 0053)."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

import msgspec

_LINE_BYTES = 32  # what a line takes besides its texts: a moment, a level, and what stands between them


class Line(msgspec.Struct, frozen=True, array_like=True):
    """``at`` is in milliseconds, ``level`` a number of ``logging``, ``logger`` the name of one.

    ``own`` is true of what the function's own code has logged, on its way to the step that the line came with.
    """

    at: int
    level: int
    logger: str
    text: str
    own: bool = False

    @property
    def size(self) -> int:
        """What it counts towards the limits, in bytes."""
        return _LINE_BYTES + len(self.logger.encode()) + len(self.text.encode())


class Logs(msgspec.Struct, frozen=True):
    """What comes with the report of an attempt: the first lines of it, and how many more there were."""

    lines: tuple[Line, ...] = ()
    dropped: int = 0

    def and_then(self, later: Logs | None) -> Logs:
        """These, and after them the others."""
        return self if later is None else Logs((*self.lines, *later.lines), self.dropped + later.dropped)


class Said(msgspec.Struct, frozen=True):
    """What was logged so far, of a body that still runs: in this attempt at the step ``step_id``, which people know by
    its ``name``. Without a step it is the function's own code."""

    logs: Logs
    step_id: str = ""
    name: str = ""
    attempt: int = 0


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of an attempt at a step, or of a call (``step_id`` is ``""``): lines as JSON text, and how many are
    not kept.

    ``at`` is the moment of the first one. ``token`` is that of the lease under which it was said: with it, a report
    that is written a second time is known. ``position`` is that of the next result of the run at that time, which tells
    apart what was said within one millisecond: it is in the key as well. ``name`` is that of a step whose body still
    ran, which has no row of its own that tells it.
    """

    run_id: str
    at: int
    token: int
    step_id: str
    attempt: int
    position: int
    name: str = ""
    lines: bytes
    dropped: int = 0


class StepLine(msgspec.Struct, frozen=True):
    """A line, and the step and attempt in whose body it was logged; ``step_id`` is ``""`` for the function's own
    code."""

    line: Line
    step_id: str
    attempt: int


def all_lines(logged: Sequence[Logged]) -> list[StepLine]:
    """The lines of a run, in the order of their moments."""
    found = [
        (line.at, each.token, each.position, StepLine(line, "" if line.own else each.step_id, each.attempt))
        for each in logged
        for line in decode(each.lines)
    ]
    return [each for *_, each in sorted(found, key=itemgetter(0, 1, 2))]


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(list[Line]).decode
