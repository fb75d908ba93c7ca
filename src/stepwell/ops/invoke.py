"""Start another function and rest until it has ended."""

from __future__ import annotations

from typing import Any

import msgspec

from stepwell.limits import SLEEP_MAX, STEP_BYTES_MAX, WAIT_DEFAULT
from stepwell.model.failure import (
    Failure,
    function_not_found,
    input_no_object,
    input_too_large,
    timeout_too_long,
)
from stepwell.model.questions import Question
from stepwell.model.step import Step, StepStatus
from stepwell.ops.base import Effect, Invocation, Turn

_MS = type(SLEEP_MAX)(milliseconds=1)

_encode = msgspec.json.Encoder().encode


class Invoke(msgspec.Struct, frozen=True, kw_only=True):
    """Start one run of ``function_id`` and take its result, or its error, as this step's (semantics §5.5).

    ``data``, ``key``, ``ts``, ``v``, ``user`` and ``meta`` become those of the event that starts it; ``problem`` is
    what is wrong with them.
    """

    id: str
    name: str
    repeat: int
    function_id: str
    data: bytes = b"{}"
    timeout_ms: int | None = None
    cancel_child: bool = False
    key: str | None = None
    ts: int = 0
    v: str | None = None
    user: bytes | None = None
    meta: bytes | None = None
    problem: Failure | None = None
    parallel: str | None = None

    def ask(self, turn: Turn) -> Question[Any] | None:
        return None

    def decide(self, turn: Turn) -> Effect:
        timeout = self.timeout_ms if self.timeout_ms is not None else WAIT_DEFAULT // _MS
        if timeout > SLEEP_MAX // _MS:
            return Effect(failure=timeout_too_long(SLEEP_MAX.days))
        target = turn.function_of(self.function_id)
        if target is None:
            return Effect(self._step(turn, failure=function_not_found(self.function_id), due=None))
        problem = self.problem or (None if self.data.startswith(b"{") else input_no_object())
        if problem is not None:
            return Effect(self._step(turn, failure=problem, due=None))
        if len(self.data) > STEP_BYTES_MAX:
            return Effect(self._step(turn, failure=input_too_large(len(self.data), STEP_BYTES_MAX), due=None))
        invocation = Invocation(target, self.data, self.key, self.ts, self.v, self.user, self.meta)
        return Effect(self._step(turn, failure=None, due=turn.now + timeout), invoke=invocation)

    def _step(self, turn: Turn, *, failure: Failure | None, due: int | None) -> Step:
        details = {"function_id": self.function_id, "cancel_child": self.cancel_child}
        return Step(
            run_id=turn.run.id,
            id=self.id,
            name=self.name,
            kind="invoke",
            status=StepStatus.FAILED if failure else StepStatus.INVOKING,
            repeat=self.repeat,
            position=turn.position,
            started_at=turn.now,
            ended_at=turn.now if failure else None,
            due=due,
            output=failure.json() if failure else None,
            details=_encode(details),
        )
