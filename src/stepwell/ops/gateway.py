"""Send an HTTP request on behalf of the app, which holds no process meanwhile (protocol §6.5)."""

from __future__ import annotations

from typing import Any

import msgspec

from stepwell.model.changes import SaveRequest
from stepwell.model.failure import Failure
from stepwell.model.questions import Question
from stepwell.model.request import Request
from stepwell.model.step import Step, StepStatus
from stepwell.ops.base import Effect, Turn


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """Owe the step a request, from now on. What comes of it is told by ``StepRun`` and ``StepError``, as of a body.

    ``content`` is what is to be sent, keys and all; ``details`` are for people. A request that can never be sent is
    ``refused``: that is the result of the step, which the function may catch.
    """

    id: str
    name: str
    repeat: int
    kind: str
    content: bytes
    details: bytes
    refused: Failure | None = None
    parallel: str | None = None

    def ask(self, turn: Turn) -> Question[Any] | None:
        return None

    def decide(self, turn: Turn) -> Effect:
        refused = self.refused
        step = Step(
            run_id=turn.run.id,
            id=self.id,
            name=self.name,
            kind=self.kind,
            status=StepStatus.FAILED if refused else StepStatus.QUEUED,
            repeat=self.repeat,
            position=turn.position,
            started_at=turn.now,
            ended_at=turn.now if refused else None,
            due=None if refused else turn.now,
            output=refused.json() if refused else None,
            details=self.details,
        )
        if refused:
            return Effect(step)
        request = Request(run_id=turn.run.id, step_id=self.id, content=self.content)
        return Effect(step, (SaveRequest(request),))
