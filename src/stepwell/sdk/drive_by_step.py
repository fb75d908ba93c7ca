"""Runs a function up to the next thing that is to be told, and no further (protocol §7.2, §7.3).

This is how every SDK of the protocol works whose server takes no reports during a call. A call finds out what comes
next, or runs the one step that it names. When each branch has come to a step that is not known, the call ends with all
of them; one alone that has a body is run at once. Nothing is known of steps that were told before and have no result:
they are found and told again, which changes nothing for the server.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Coroutine
from typing import Any, Final, NoReturn

import msgspec

from stepwell.clock import Clock
from stepwell.errors import ConfigurationError
from stepwell.protocol.messages import (
    STEP_ERROR,
    STEP_PLANNED,
    Answer,
    Call,
    Failed,
    Memo,
    Op,
    Ops,
    Progress,
    Settled,
    WireError,
)
from stepwell.sdk.bodies import Body
from stepwell.sdk.drive import AsyncDrive
from stepwell.sdk.execution import StepOptions, StepRef
from stepwell.sdk.pool import Pool
from stepwell.sdk.replay import Suspend

DISCOVERY: Final = "step"
_RACE: Final = "race"  # each branch goes on when its own step is done (semantics §5.6)
_OWN_OPTIONS: Final = ("lookback", "lookback_ms", "cancel_child")


class DriveByStep(AsyncDrive):
    """One call of which nothing is reported until it ends. ``foreign`` is whether its server is not one of ours."""

    def __init__(self, call: Call, progress: Progress, clock: Clock, pool: Pool) -> None:
        super().__init__(msgspec.structs.replace(call, pending={}), progress, clock, pool)
        self.foreign = not call.generation
        self.keeps_own = False  # each of these calls repeats the code up to its step
        self._target = None if call.step_id == DISCOVERY else call.step_id
        self._found: dict[str, Op] = {}

    async def run(self, function: Coroutine[Any, Any, Any]) -> Answer:
        answer = await super().run(function)
        if self._target is not None and answer == Ops():
            seen = "the code does not come to the step that is asked for: was it changed while the run was under way?"
            return Failed(WireError("StepNotFound", seen))
        return answer

    async def rest(self, name: str, kind: str, opcode: str, opts: bytes | Callable[[], bytes]) -> Memo:
        if self.foreign and isinstance(opts, bytes):  # else it is a request, for which we have no options of our own
            _refuse_own(name, opts)
        return await super().rest(name, kind, opcode, opts)

    async def _attempt(
        self,
        step: StepRef,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        about: Body,
        attempt: int,
        options: StepOptions | None,
    ) -> NoReturn:
        """Run the body if it is the one to be run, and end the call with how it went."""
        if step.id != self._target:
            await self._rest(step, Op(op=STEP_PLANNED, id=step.id, name=step.name, repeat=step.repeat, kind=step.kind))
        op, _ = await super()._attempt(step, fn, args, kwargs, about, self.call.attempt, options)
        if not self._ended:
            self._last = (_plain(op),) if self.foreign else (op,)
            self._end()
        raise Suspend

    async def _rest(self, step: StepRef, op: Op | None = None) -> Settled:
        """Wait until it is clear what there is besides. Comes back for a body that is to be run now."""
        if op is not None and self._target is None:
            self._found[step.id] = op
        if await self._stays_alone():
            if self._takes_one():
                return Settled()
            self._last = self._told()
            self._ended = True
            raise Suspend
        future: Future[Settled] = self._loop.create_future()
        self._rests[step.id] = future
        self.order.moves += 1
        self._consider()
        try:
            return await future
        finally:
            del self._rests[step.id]
            self.order.moves += 1
            if not self._ended:
                self._found.pop(step.id, None)

    def _quiet(self) -> None:
        if self._takes_one():
            (step_id,) = self._found
            self._rests[step_id].set_result(Settled())
        else:
            self._last = self._told()
            self._end()

    def _watch(self) -> None:
        """Nothing that rests moves within this call."""

    def _takes_one(self) -> bool:
        """Is a body all that was found, and may it be run without being asked for?"""
        return not self.call.plans_only and [op.op for op in self._found.values()] == [STEP_PLANNED]

    def _told(self) -> tuple[Op, ...]:
        found = tuple(self._found.values())
        return found if len(found) < 2 else tuple(msgspec.structs.replace(op, parallel=_RACE) for op in found)


def _plain(op: Op) -> Op:
    """The op without what only a server of ours knows of: attempts of its own, and its pauses as options."""
    retry_at, opts = op.retry_at, op.opts
    if op.op == STEP_ERROR and opts is not None:
        delays = msgspec.json.decode(opts).get("backoff_ms")
        if delays:
            retry_at = retry_at or op.ended_at + delays[min(op.attempt, len(delays) - 1)]
        opts = None
    return msgspec.structs.replace(op, attempt=0, max_attempts=None, retry_at=retry_at, opts=opts, logs=None)


def _refuse_own(name: str, opts: bytes) -> None:
    for option in _OWN_OPTIONS:
        if option in msgspec.json.decode(opts):
            raise ConfigurationError(
                what=f"step {name!r} has the option {option.removesuffix('_ms')!r}",
                why="the server that calls this app is not a Stepwell server, and does not know it",
                fix="leave it out, or run the app with Stepwell",
            )
