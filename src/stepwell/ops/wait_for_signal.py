"""Rest until somebody sends a signal of this name, or until it is too late."""

from __future__ import annotations

from typing import Any

import msgspec

from stepwell.limits import SIGNAL_BYTES_MAX, SLEEP_MAX, WAIT_DEFAULT
from stepwell.model.changes import Change, CloseWait, OpenWait
from stepwell.model.failure import signal_conflict, signal_unusable, timeout_too_long
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import FindWaits, Question
from stepwell.model.step import Step, StepStatus
from stepwell.model.wait import Wait, WaitKind, signal_name
from stepwell.ops.base import Effect, Turn

_MS = type(SLEEP_MAX)(milliseconds=1)
_SLEEP_MAX_MS = SLEEP_MAX // _MS
_WAIT_DEFAULT_MS = WAIT_DEFAULT // _MS

_encode = msgspec.json.Encoder().encode


class WaitForSignal(msgspec.Struct, frozen=True, kw_only=True):
    """Wait for the signal named ``signal``, for which one step waits at a time (semantics §5.4).

    With ``replace`` this one takes the name over from another, which then can only time out; without it the run fails.
    """

    id: str
    name: str
    repeat: int
    signal: str
    timeout_ms: int | None = None
    until_ms: int | None = None
    replace: bool = False
    parallel: str | None = None

    def ask(self, turn: Turn) -> Question[Any] | None:
        return FindWaits(signal_name(self.signal), (("", ""),), turn.now, EVERYWHERE)

    def decide(self, turn: Turn) -> Effect:
        if not 0 < len(self.signal.encode()) <= SIGNAL_BYTES_MAX:
            return Effect(failure=signal_unusable(self.signal, SIGNAL_BYTES_MAX))
        expires_at = self._expires_at(turn.now)
        if expires_at - turn.now > _SLEEP_MAX_MS:
            return Effect(failure=timeout_too_long(SLEEP_MAX.days))
        others: list[Wait] = turn.answer or []
        if others and not self.replace:
            return Effect(failure=signal_conflict(self.signal))
        over = expires_at <= turn.now
        step = Step(
            run_id=turn.run.id,
            id=self.id,
            name=self.name,
            kind="waitForSignal",
            status=StepStatus.TIMED_OUT if over else StepStatus.WAITING,
            repeat=self.repeat,
            position=turn.position,
            started_at=turn.now,
            ended_at=turn.now if over else None,
            due=expires_at,
            output=b"null" if over else None,
            details=_encode({"signal": self.signal, "expires_at": expires_at}),
        )
        if over:
            return Effect(step)
        wait = Wait(
            run_id=turn.run.id,
            id=self.id,
            kind=WaitKind.SIGNAL,
            event_name=signal_name(self.signal),
            since=turn.now,
            expires_at=expires_at,
        )
        closed: list[Change] = [CloseWait(other.run_id, other.id) for other in others]
        return Effect(step, (*closed, OpenWait(wait)))

    def _expires_at(self, now: int) -> int:
        if self.until_ms is not None:
            return self.until_ms
        return now + (self.timeout_ms if self.timeout_ms is not None else _WAIT_DEFAULT_MS)
