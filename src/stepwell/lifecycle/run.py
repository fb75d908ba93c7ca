"""The states of a run (semantics §4.1). Sleeping, waiting and backing off are all Running."""

from __future__ import annotations

from typing import Final

from stepwell.lifecycle import table
from stepwell.model.run import RunStatus

BORN: Final = frozenset({RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.SKIPPED})
"""A run that nothing holds back is Running from the start; a Skipped one only records why there is none."""

RUN: Final[dict[str, frozenset[str]]] = {
    RunStatus.QUEUED: frozenset({RunStatus.RUNNING, RunStatus.CANCELLED}),
    RunStatus.RUNNING: frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED}),
    RunStatus.COMPLETED: frozenset(),
    RunStatus.FAILED: frozenset(),
    RunStatus.CANCELLED: frozenset(),
    RunStatus.SKIPPED: frozenset(),
}

ENDED: Final = table.ends(RUN)


def advance(old: str, new: str) -> str:
    """``new``, if a run that is ``old`` may become so; raises ``IllegalTransition``."""
    return table.advance(RUN, old, new)
