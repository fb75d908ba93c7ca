"""Two runs of a function beside one another: which steps both have, and what came of them differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from stepwell.dashboard.json_diff import Difference, json_diff
from stepwell.dashboard.timeline import kind_word, step_name
from stepwell.model.run import Run
from stepwell.model.step import Step, StepStatus
from stepwell.views.trace import CANCELLED

_DIFFS_MAX: Final = 50  # that are worked out and shown: who wants more looks at the steps themselves


class What(StrEnum):
    """How the same step of two runs differs, as people read it."""

    SAME = "the same"
    OUTPUT = "other result"
    ERROR = "other error"
    STATE = "other state"
    GONE = "only in the first"
    NEW = "only in the second"


class Side(NamedTuple):
    """A step in one of the two runs. ``took`` is in milliseconds, ``None`` if it has not ended."""

    id: str
    status: str
    took: int | None


class Pair(NamedTuple):
    """A step in both runs or in one of them; ``difference`` is there for what both gave, if it is not the same."""

    name: str
    kind: str
    what: What
    left: Side | None
    right: Side | None
    difference: Difference | None = None

    @property
    def slower(self) -> int | None:
        """By how many milliseconds it took longer in the second run."""
        if self.left is None or self.right is None or self.left.took is None or self.right.took is None:
            return None
        return self.right.took - self.left.took


def aligned(left: Sequence[Step], right: Sequence[Step]) -> list[tuple[Step | None, Step | None]]:
    """The same steps beside one another: those of one name and number. The order is that of the first run; what only
    the second has comes after what it came after there."""
    ours = {step.id for step in left}
    theirs: Mapping[str, Step] = {step.id: step for step in right}
    after: dict[str | None, list[Step]] = {}
    last: str | None = None
    for step in right:
        if step.id in ours:
            last = step.id
        else:
            after.setdefault(last, []).append(step)
    found: list[tuple[Step | None, Step | None]] = [(None, step) for step in after.get(None, ())]
    for step in left:
        found.append((step, theirs.get(step.id)))
        found += [(None, each) for each in after.get(step.id, ())]
    return found


def pairs(first: Run, left: Sequence[Step], second: Run, right: Sequence[Step]) -> list[Pair]:
    found: list[Pair] = []
    told = 0
    for one, other in aligned(left, right):
        named = one or other
        assert named is not None, "each of them is in one of the runs"
        what = _what(first, one, second, other)
        difference = None
        if one is not None and other is not None and what in (What.OUTPUT, What.ERROR) and told < _DIFFS_MAX:
            difference = json_diff(one.output, other.output)
            told += 1
            if difference.same:
                what, difference = What.SAME, None
        found.append(
            Pair(step_name(named), kind_word(named.kind), what, _side(first, one), _side(second, other), difference)
        )
    return found


def _what(first: Run, one: Step | None, second: Run, other: Step | None) -> What:
    if one is None:
        return What.NEW
    if other is None:
        return What.GONE
    if _status(first, one) != _status(second, other):
        return What.STATE
    if one.output == other.output:
        return What.SAME
    return What.ERROR if one.status in (StepStatus.FAILED, StepStatus.ERRORED) else What.OUTPUT


def _side(run: Run, step: Step | None) -> Side | None:
    if step is None:
        return None
    ended = step.ended_at if not step.open else run.ended_at
    return Side(step.id, _status(run, step), None if ended is None else max(0, ended - step.started_at))


def _status(run: Run, step: Step) -> str:
    return CANCELLED if step.open and run.ended else step.status
