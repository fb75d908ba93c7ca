"""Rest until an event arrives that satisfies a condition, or until it is too late."""

from __future__ import annotations

from typing import Any

import msgspec

from stepwell.errors import InvalidExpression
from stepwell.expressions import EvaluationError, compile_expression
from stepwell.limits import SLEEP_MAX, WAIT_DEFAULT
from stepwell.model.changes import OpenWait
from stepwell.model.event import Event
from stepwell.model.failure import Failure, timeout_too_long
from stepwell.model.questions import FindEvents, Question
from stepwell.model.step import Step, StepStatus
from stepwell.model.wait import Wait, WaitKind
from stepwell.ops.base import Effect, Turn

_MS = type(SLEEP_MAX)(milliseconds=1)
_SLEEP_MAX_MS = SLEEP_MAX // _MS
_WAIT_DEFAULT_MS = WAIT_DEFAULT // _MS
_LOOKBACK_EVENTS_MAX = 1_000  # an older match than this many same-named events ago is not searched for

_encode = msgspec.json.Encoder().encode


class WaitForEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Wait for an event named ``event`` for which ``condition`` over ``event`` and ``async`` is true (semantics §5.3).

    ``lookback_ms`` also considers events received up to that long ago, the newest first (design D9).
    """

    id: str
    name: str
    repeat: int
    event: str
    condition: str | None = None
    timeout_ms: int | None = None
    until_ms: int | None = None
    lookback_ms: int | None = None
    lookback_run: bool = False
    parallel: str | None = None

    def ask(self, turn: Turn) -> Question[Any] | None:
        if self.lookback_run:
            after = turn.run.queued_at
        elif self.lookback_ms is not None:
            after = turn.now - self.lookback_ms
        else:
            return None
        return FindEvents(self.event, after, turn.now + 1, _LOOKBACK_EVENTS_MAX)

    def decide(self, turn: Turn) -> Effect:
        expires_at = self._expires_at(turn.now)
        if expires_at - turn.now > _SLEEP_MAX_MS:
            return Effect(failure=timeout_too_long(SLEEP_MAX.days))
        trigger = turn.event.fields()
        bound = None
        if self.condition:
            try:
                expression = compile_expression(self.condition, variables=("event", "async"))
                bound = expression.bind(trigger)
            except (InvalidExpression, EvaluationError) as error:
                return Effect(failure=Failure("InvalidExpression", str(error)))
            for event in turn.answer or ():
                if event.id != turn.run.event_id and _matches(expression, trigger, event, turn.now):
                    return Effect(self._matched(turn, event, bound.text))
        elif turn.answer:
            for event in turn.answer:
                if event.id != turn.run.event_id:
                    return Effect(self._matched(turn, event))
        details = {"event": self.event, "expires_at": expires_at}
        if bound:
            details["if"] = bound.text
        over = expires_at <= turn.now
        step = self._step(
            turn,
            status=StepStatus.TIMED_OUT if over else StepStatus.WAITING,
            ended_at=turn.now if over else None,
            due=expires_at,
            output=b"null" if over else None,
            details=_encode(details),
        )
        if over or (bound and bound.never):
            # A condition that can no longer become true needs no listener; the timeout ends it (semantics §3.5).
            return Effect(step)
        path, value = (bound.probe if bound else None) or ("", "")
        wait = Wait(
            run_id=turn.run.id,
            id=self.id,
            kind=WaitKind.EVENT,
            event_name=self.event,
            since=turn.now,
            expires_at=expires_at,
            condition=bound.text if bound else None,
            path=path,
            value=value,
        )
        return Effect(step, (OpenWait(wait),))

    def _expires_at(self, now: int) -> int:
        if self.until_ms is not None:
            return self.until_ms
        return now + (self.timeout_ms if self.timeout_ms is not None else _WAIT_DEFAULT_MS)

    def _matched(self, turn: Turn, event: Event, condition: str | None = None) -> Step:
        details = {"event": self.event, "matched": event.id, "lookback": True}
        return self._step(
            turn,
            status=StepStatus.COMPLETED,
            ended_at=turn.now,
            due=None,
            output=event_memo(event),
            details=_encode(details | {"if": condition} if condition else details),
        )

    def _step(
        self, turn: Turn, *, status: str, ended_at: int | None, due: int | None, output: bytes | None, details: bytes
    ) -> Step:
        return Step(
            run_id=turn.run.id,
            id=self.id,
            name=self.name,
            kind="waitForEvent",
            status=status,
            repeat=self.repeat,
            position=turn.position,
            started_at=turn.now,
            ended_at=ended_at,
            due=due,
            output=output,
            details=details,
        )


def event_memo(event: Event) -> bytes:
    """The JSON of an event as a wait returns it (protocol §5.3: bare, not wrapped)."""
    return _encode(event.fields())


def _matches(expression: Any, trigger: dict[str, object], event: Event, now: int) -> bool:
    try:
        return bool(expression.matches({"event": trigger, "async": event.fields()}, now_ms=now))
    except EvaluationError:
        return False  # an event that cannot be compared does not match; the wait stays (semantics §5.3)
