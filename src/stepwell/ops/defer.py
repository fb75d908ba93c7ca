"""Put a function off until the run ends, and think better of it (semantics §5.11, ADR 0017)."""

from __future__ import annotations

from typing import Any

import msgspec

from stepwell.limits import DEFER_BYTES_MAX, DEFER_META_BYTES_MAX, DEFERS_PER_RUN_MAX
from stepwell.model.changes import SaveNote
from stepwell.model.history import Note
from stepwell.model.questions import Question
from stepwell.model.step import DEFER, Step, StepStatus
from stepwell.ops.base import Effect, Turn

_PLACE = f"{DEFER}/"  # a step of the same name has the same hashed id, and is something else

_encode = msgspec.json.Encoder().encode


def row_id(hashed: str) -> str:
    """Under what id a run remembers what it has put off."""
    return _PLACE + hashed


def wire_id(step_id: str) -> str:
    """The hashed id by which its app knows it."""
    return step_id.removeprefix(_PLACE)


class DeferAdd(msgspec.Struct, frozen=True, kw_only=True):
    """Start ``function_id`` when this run has ended, however it ends.

    ``data`` is JSON text and becomes the data of an event, ``meta`` its sessions. ``problem`` is what is wrong with
    them, if anything is. What cannot be taken is noted on the run and never fails it.
    """

    id: str
    name: str
    function_id: str
    data: bytes = b"{}"
    meta: bytes | None = None
    problem: str | None = None
    parallel: str | None = None

    def ask(self, turn: Turn) -> Question[Any] | None:
        return None

    def decide(self, turn: Turn) -> Effect:
        problem = self.problem or self._problem(turn)
        details: dict[str, Any] = {"function_id": self.function_id}
        if problem is not None:
            details["reason"] = problem
        elif self.meta is not None:
            details["meta"] = msgspec.Raw(self.meta)
        step = Step(
            run_id=turn.run.id,
            id=row_id(self.id),
            name=self.name,
            kind=DEFER,
            status=StepStatus.DEFERRED if problem is None else StepStatus.REJECTED,
            started_at=turn.now,
            ended_at=None if problem is None else turn.now,
            output=self.data if problem is None else None,
            details=_encode(details),
        )
        if problem is None:
            return Effect(step)
        text = f"{self.name!r} is not put off: {problem}"
        return Effect(
            step,
            (SaveNote(Note(run_id=turn.run.id, at=turn.now, kind="defer-rejected", text=text)),),
        )

    def _problem(self, turn: Turn) -> str | None:
        taken = [step for step in turn.defers.values() if step.status != StepStatus.REJECTED]
        if len(taken) >= DEFERS_PER_RUN_MAX:
            return f"the run has put off {DEFERS_PER_RUN_MAX} functions, which is the limit"
        if len(self.data) > DEFER_BYTES_MAX:
            return f"its data has {len(self.data):,} bytes; the limit is {DEFER_BYTES_MAX:,}"
        if len(self.data) + sum(len(step.output or b"") for step in taken if step.open) > DEFER_BYTES_MAX:
            return f"its data and that of the others would have more than {DEFER_BYTES_MAX:,} bytes together"
        if len(self.meta or b"") > DEFER_META_BYTES_MAX:
            return f"its meta has {len(self.meta or b''):,} bytes; the limit is {DEFER_META_BYTES_MAX:,}"
        return None


class DeferAbort(msgspec.Struct, frozen=True, kw_only=True):
    """Do not start ``target`` after all. It stays so: the app, which repeats its code, cannot put it off again."""

    id: str
    name: str
    target: str
    function_id: str
    parallel: str | None = None

    def ask(self, turn: Turn) -> Question[Any] | None:
        return None

    def decide(self, turn: Turn) -> Effect:
        known = turn.defers.get(row_id(self.target))
        return Effect(
            Step(
                run_id=turn.run.id,
                id=row_id(self.target),
                name=self.name if known is None else known.name,
                kind=DEFER,
                status=StepStatus.ABORTED,
                started_at=turn.now if known is None else known.started_at,
                ended_at=turn.now,
                details=_encode({"function_id": self.function_id}) if known is None else known.details,
            )
        )
