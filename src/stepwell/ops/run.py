"""A step's body was run: it gave a result, or it failed."""

from __future__ import annotations

from typing import Any

import msgspec

from stepwell.lifecycle.retry import GiveUp, next_attempt
from stepwell.limits import STEP_BYTES_MAX
from stepwell.model.changes import SaveAttempt
from stepwell.model.failure import Failure, output_too_large
from stepwell.model.function import Backoff
from stepwell.model.questions import Question
from stepwell.model.step import Attempt, Step, StepStatus
from stepwell.ops.base import Effect, Turn

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class StepRun(msgspec.Struct, frozen=True, kw_only=True):
    """The body gave a result, which is from now on what the step is (semantics §5.1).

    After errors the step keeps how many attempts it had. A result at the first attempt says nothing about it: a row per
    step is to stay as small as it is (ADR 0007). ``details`` is what else people are to know.
    """

    id: str
    name: str
    repeat: int
    kind: str
    output: bytes
    attempt: int
    started_at: int
    ended_at: int
    max_attempts: int | None = None
    parallel: str | None = None
    details: dict[str, Any] | None = None

    def ask(self, turn: Turn) -> Question[Any] | None:
        return None

    def decide(self, turn: Turn) -> Effect:
        if len(self.output) > STEP_BYTES_MAX:
            return StepError(
                id=self.id,
                name=self.name,
                repeat=self.repeat,
                kind=self.kind,
                error=output_too_large(len(self.output), STEP_BYTES_MAX),
                attempt=self.attempt,
                max_attempts=self.max_attempts,
                started_at=self.started_at,
                ended_at=self.ended_at,
                details=self.details,
            ).decide(turn)
        failed = turn.steps.get(self.id) if self.attempt else None
        details = failed.details if failed is not None else None
        if self.details is not None:
            details = _encode((_decode(details) if details else {}) | self.details)
        return Effect(
            Step(
                run_id=turn.run.id,
                id=self.id,
                name=self.name,
                kind=self.kind,
                status=StepStatus.COMPLETED,
                repeat=self.repeat,
                position=turn.position,
                attempt=self.attempt,
                started_at=self.started_at,
                ended_at=self.ended_at,
                output=self.output,
                details=details,
            )
        )


class StepError(msgspec.Struct, frozen=True, kw_only=True):
    """The body failed. With attempts left the step is tried again later, else the error is its result (semantics §6).

    The step's details say how many attempts it had when it failed, which a new version of the function may change.
    """

    id: str
    name: str
    repeat: int
    kind: str
    error: Failure
    attempt: int
    started_at: int
    ended_at: int
    max_attempts: int | None = None
    final: bool = False
    retry_at: int | None = None
    backoff: tuple[int, ...] | None = None
    parallel: str | None = None
    details: dict[str, Any] | None = None

    def ask(self, turn: Turn) -> Question[Any] | None:
        return None

    def decide(self, turn: Turn) -> Effect:
        error = self.error.json()
        most = self.max_attempts if self.max_attempts is not None else turn.function.retries + 1
        following = next_attempt(
            self.attempt,
            most,
            now=turn.now,
            policy=Backoff(self.backoff) if self.backoff else turn.function.backoff,
            chance=turn.chance,
            fixed_ms=turn.retry_ms,
            requested_at=self.retry_at,
            final=self.final,
        )
        exhausted = isinstance(following, GiveUp)
        due = None if isinstance(following, GiveUp) else following.at
        step = Step(
            run_id=turn.run.id,
            id=self.id,
            name=self.name,
            kind=self.kind,
            status=StepStatus.FAILED if exhausted else StepStatus.ERRORED,
            repeat=self.repeat,
            position=turn.position,
            attempt=self.attempt if exhausted else self.attempt + 1,
            started_at=self.started_at,
            ended_at=self.ended_at if exhausted else None,
            due=due,
            output=error,
            details=_encode({**self.details, "max_attempts": most}) if self.details else b'{"max_attempts":%d}' % most,
        )
        attempt = Attempt(
            run_id=turn.run.id,
            step_id=self.id,
            attempt=self.attempt,
            started_at=self.started_at,
            ended_at=self.ended_at,
            error=error,
            retry_at=due,
        )
        return Effect(step, (SaveAttempt(attempt),))
