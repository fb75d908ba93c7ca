"""Ops that were found together, and how a run goes on when one of them is done (protocol §7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from stepwell.protocol.messages import (
    DISCOVERY_REQUEST,
    INVOKE_FUNCTION,
    LAZY,
    SLEEP,
    STEP_ERROR,
    STEP_FAILED,
    STEP_PLANNED,
    STEP_RUN,
    WAIT_FOR_EVENT,
    WAIT_FOR_SIGNAL,
    Call,
    Op,
    Ops,
)

RACE: Final = "race"
WAIT: Final = "wait"
ALONE: Final = "alone"
_UNCOUNTED: Final = LAZY | {DISCOVERY_REQUEST}
_DONE: Final = frozenset({STEP_RUN, STEP_FAILED})
_RESTING: Final = frozenset({SLEEP, WAIT_FOR_EVENT, WAIT_FOR_SIGNAL, INVOKE_FUNCTION, STEP_ERROR})


def careful(told: Call, call: Call) -> Call:
    """A discovery that is told less than is known by now may find a step that has run meanwhile, or runs: it is to run
    nothing by itself."""
    stale = told.steps.keys() != call.steps.keys()
    return msgspec.structs.replace(told, plans_only=True) if stale or call.plans_only else told


def all_rest(ops: Sequence[Op]) -> bool:
    """What is put off moves nothing, so by itself it is no reason to rest."""
    counted = [op for op in ops if op.op not in LAZY]
    return all(op.op in _RESTING and not op.no_retry for op in counted) and (bool(counted) or not ops)


def in_groups(answer: Ops, version: int) -> list[Op]:
    """The ops, each with how the run goes on when it is done, if there are several (protocol §7.3).

    What is planned stays planned also if it fails, be it the only one: the app would not run it when it is found. An
    app that runs all its branches in one call plans nothing, and goes on after each.
    """
    if answer.in_one_call or sum(op.op not in _UNCOUNTED for op in answer.ops) < 2:
        return [msgspec.structs.replace(op, parallel=ALONE if op.op == STEP_PLANNED else None) for op in answer.ops]
    every = (answer.version or version) == 1
    return [
        msgspec.structs.replace(op, parallel=None if op.op in _DONE else RACE if every else op.parallel or WAIT)
        for op in answer.ops
    ]
