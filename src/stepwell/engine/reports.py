"""What apps report of runs that we do not call in this very process: held by the lease that is named, or refused."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from enum import StrEnum
from typing import Any

from stepwell.engine import progress
from stepwell.engine.draft import Draft
from stepwell.engine.leased import Leased
from stepwell.limits import ANSWER_BYTES_MAX, RUN_STATE_BYTES_MAX, STEP_BYTES_MAX
from stepwell.model.changes import Plan, Wake
from stepwell.model.item import Lease
from stepwell.model.questions import CountHeld, GetEvent, GetItem, GetRun, GetSteps, ask
from stepwell.model.run import Run
from stepwell.model.step import Step
from stepwell.ops import Annotated, Op, StepRun


class Standing(StrEnum):
    """What became of a report."""

    STORED = "stored"  # now, or when it came for the first time
    TAKEN = "taken"  # there is another run of that id
    STALE = "stale"  # whoever reports does not hold the run any more
    TOO_LARGE = "too large"  # nothing of it is stored


def checkpoint(draft: Draft, run_id: str, token: int, ops: Sequence[Op]) -> Plan:
    """Steps of a call that another process makes, under the lease of this token (protocol §8.2). The value is their
    standing.

    Whoever holds the lease is told by a poke that there is something to read. A lease that has run out holds as long as
    nobody has taken it over: its process may have been cut off for a while, and an app that is told to stop would
    answer that process with an error, which costs the run an attempt.
    """
    run = yield from ask(GetRun(run_id))
    if run is None:
        return draft.decision(Standing.STALE)
    steps = yield from ask(GetSteps(run_id))
    leased = yield from held(draft, run, steps, token)
    if leased is None:
        return draft.decision(Standing.STALE)
    if too_large(leased, ops):
        return draft.decision(Standing.TOO_LARGE)
    yield from progress.report(draft, leased, ops)
    if run_id not in draft.ended:
        draft.add(Wake(run_id, draft.now))
    return draft.decision(Standing.STORED, holds=leased.lease)


def held(draft: Draft, run: Run, steps: Sequence[Step], token: int) -> Generator[Any, Any, Leased | None]:
    """The run in the hands of whoever has this token, if that is how it is."""
    item = None if run.ended else (yield from ask(GetItem(run.id)))
    function = draft.registry.of_run(run.function_id)
    if item is None or item.lease != token or function is None:
        return None
    event = yield from ask(GetEvent(run.event_id, run.place))
    if event is None:
        return None
    width = (yield from ask(CountHeld(run.slots[0], item.id))) if run.slots else 1
    leased = Leased(
        run=run,
        lease=Lease(item.id, item.lease),
        until=item.at or draft.now,
        attempt=item.attempt,
        function=function,
        events=(event,),
        steps={},
        width=max(1, width),
    )
    for step in steps:
        leased.learn(step)
    return leased


def too_large(leased: Leased, ops: Iterable[Op], output: bytes = b"") -> bool:
    """Is this more than is kept? It is refused before anything of it is stored, so that an app can say it otherwise."""
    plain = [op.op if isinstance(op, Annotated) else op for op in ops]
    sizes = [len(op.output) for op in plain if isinstance(op, StepRun) and op.id not in leased.steps]
    if any(size > STEP_BYTES_MAX for size in sizes) or len(output) > ANSWER_BYTES_MAX:
        return True
    return leased.bytes_besides("") + sum(sizes) + len(output) > RUN_STATE_BYTES_MAX
