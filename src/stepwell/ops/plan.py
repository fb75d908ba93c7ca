"""A step that the app has found and not run: it waits to be told to, because others are to run beside it."""

from __future__ import annotations

from typing import Any

import msgspec

from stepwell.model.questions import Question
from stepwell.model.step import Step, StepStatus
from stepwell.ops.base import Effect, Turn


class StepPlanned(msgspec.Struct, frozen=True, kw_only=True):
    """The app is to be asked for exactly this step, now (protocol §6.2)."""

    id: str
    name: str
    repeat: int
    kind: str
    parallel: str | None = None

    def ask(self, turn: Turn) -> Question[Any] | None:
        return None

    def decide(self, turn: Turn) -> Effect:
        return Effect(
            Step(
                run_id=turn.run.id,
                id=self.id,
                name=self.name,
                kind=self.kind,
                status=StepStatus.QUEUED,
                repeat=self.repeat,
                position=turn.position,
                started_at=turn.now,
                due=turn.now,
            )
        )
