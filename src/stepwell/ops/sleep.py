"""Rest until a moment in time. The run holds no worker and no slot meanwhile."""

from __future__ import annotations

from typing import Any

import msgspec

from stepwell.limits import SLEEP_MAX
from stepwell.model.failure import timeout_too_long
from stepwell.model.questions import Question
from stepwell.model.step import Step, StepStatus
from stepwell.ops.base import Effect, Turn

_SLEEP_MAX_MS = SLEEP_MAX // type(SLEEP_MAX)(milliseconds=1)


class Sleep(msgspec.Struct, frozen=True, kw_only=True):
    """Rest for ``duration_ms`` from the moment this is decided, or until ``until_ms`` (semantics §5.2)."""

    id: str
    name: str
    repeat: int
    duration_ms: int | None = None
    until_ms: int | None = None
    parallel: str | None = None

    def ask(self, turn: Turn) -> Question[Any] | None:
        return None

    def decide(self, turn: Turn) -> Effect:
        until = self.until_ms if self.until_ms is not None else turn.now + (self.duration_ms or 0)
        if until - turn.now > _SLEEP_MAX_MS:
            return Effect(failure=timeout_too_long(SLEEP_MAX.days))
        over = until <= turn.now
        return Effect(
            Step(
                run_id=turn.run.id,
                id=self.id,
                name=self.name,
                kind="sleep",
                status=StepStatus.COMPLETED if over else StepStatus.SLEEPING,
                repeat=self.repeat,
                position=turn.position,
                started_at=turn.now,
                ended_at=turn.now if over else None,
                due=until,
                output=b"null" if over else None,
            )
        )
