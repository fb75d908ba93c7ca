"""The states of a step (semantics §4.2). A result is never left: whoever reports first in commit order wins (I16)."""

from __future__ import annotations

from typing import Final

from stepwell.lifecycle import table
from stepwell.model.step import StepStatus

STEP: Final[dict[str, frozenset[str]]] = {
    StepStatus.QUEUED: frozenset({StepStatus.ERRORED, StepStatus.COMPLETED, StepStatus.FAILED}),
    StepStatus.ERRORED: frozenset({StepStatus.ERRORED, StepStatus.COMPLETED, StepStatus.FAILED}),
    StepStatus.SLEEPING: frozenset({StepStatus.COMPLETED}),
    StepStatus.WAITING: frozenset({StepStatus.COMPLETED, StepStatus.TIMED_OUT}),
    StepStatus.INVOKING: frozenset({StepStatus.COMPLETED, StepStatus.FAILED}),
    StepStatus.DEFERRED: frozenset({StepStatus.COMPLETED, StepStatus.ABORTED}),
    StepStatus.COMPLETED: frozenset(),
    StepStatus.FAILED: frozenset(),
    StepStatus.TIMED_OUT: frozenset(),
    StepStatus.ABORTED: frozenset(),
    StepStatus.REJECTED: frozenset(),
}

BORN: Final = frozenset(STEP)
"""A step is first seen in any state: its first attempt may succeed, a sleep may be over at once."""

ENDED: Final = table.ends(STEP)


def advance(old: str, new: str) -> str:
    """``new``, if a step that is ``old`` may become so; raises ``IllegalTransition``."""
    return table.advance(STEP, old, new)
