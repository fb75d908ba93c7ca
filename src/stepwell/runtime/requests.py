"""Makes the HTTP requests that a run owes to its steps, while its lease is held (ADR 0016)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from stepwell.errors import InvalidMessage, StorageError
from stepwell.limits import FETCH_TIME_MAX
from stepwell.model.failure import Failure
from stepwell.model.questions import GetRequest
from stepwell.model.step import REQUESTS, Step
from stepwell.ops import StepError, StepRun
from stepwell.protocol.gate import Gate
from stepwell.protocol.messages import Executing, Superseded
from stepwell.protocol.realtime import address, whole_stream
from stepwell.protocol.requests import (
    Bad,
    Good,
    Outgoing,
    Place,
    answered,
    decode_request,
    lost,
    shown_url,
    unanswered,
    unwritten,
)
from stepwell.runtime.logs import log
from stepwell.runtime.loop import Timer, rest
from stepwell.runtime.outbound import ADDRESS_NOT_ALLOWED, Unreachable

if TYPE_CHECKING:
    from stepwell.engine.leased import Leased
    from stepwell.runtime.engine import Engine

_READ_PAUSE_MS: Final = 500
_TIME_S_MAX: Final = FETCH_TIME_MAX.total_seconds()


class Holder(Protocol):
    """The call in whose lease requests are made."""

    leased: Leased
    lost: bool
    executing: dict[str, Executing]

    @property
    def unsure(self) -> bool: ...

    @property
    def gate(self) -> Gate | None: ...

    async def look(self) -> None: ...

    async def settle(self, op: StepRun | StepError) -> None:
        """Make what came of a request durable. Raises ``Superseded``."""
        ...

    def fail(self, error: Exception) -> None:
        """End the call, which spends an attempt of its run: nothing can be written down of a request."""
        ...


class Requests:
    """Those of one call: in flight, or to be made again at some moment. They end with the lease.

    One whose answer was not written down is made again by whoever has the run next: at least once, like a body.
    """

    def __init__(self, holder: Holder, engine: Engine) -> None:
        self.in_flight: dict[str, asyncio.Task[Any]] = {}
        self._holder = holder
        self._engine = engine
        self._later: dict[str, Timer] = {}

    def begin(self, steps: Iterable[Step]) -> None:
        """Make those of these steps that are due, and the others when they are."""
        now = self._engine.clock.now_ms()
        for step in steps:
            if step.kind not in REQUESTS or not step.open or step.id in self.in_flight or step.id in self._later:
                continue
            if step.due is not None and step.due > now:
                self._later[step.id] = self._engine.timers.call_at(step.due, partial(self._again, step.id))
            else:
                self.in_flight[step.id] = self._engine.spawn(self._make(step.id))

    @property
    def later(self) -> Collection[str]:
        """The steps whose requests are to be made again at some moment."""
        return self._later.keys()

    def sooner(self, step: Step) -> None:
        """This one is to be made again at another moment than was known."""
        timer = self._later.pop(step.id, None)
        if timer is not None:
            timer.cancel()
            self.begin((step,))

    def stop(self) -> None:
        """Abort all of them: what they bring is not wanted any more."""
        for timer in self._later.values():
            timer.cancel()
        self._later.clear()
        for task in self.in_flight.values():
            task.cancel()

    def _again(self, step_id: str) -> None:
        del self._later[step_id]
        self.begin((self._holder.leased.steps[step_id],))

    async def _make(self, step_id: str) -> None:
        holder = self._holder
        began_at = self._engine.clock.now_ms()
        try:
            try:
                made = await self._in_turn(step_id)
                if made is None:
                    return
                op, heard = made
                await holder.settle(op)
                if heard is not None:
                    await self._publish(*heard)
            except Superseded:
                raise
            except Exception as error:  # ours
                # An attempt is spent whatever happens: else the same request would be made again at once, for ever.
                log.exception("a request went wrong", run=holder.leased.run.id, step=step_id)
                step, now = holder.leased.steps[step_id], self._engine.clock.now_ms()
                await holder.settle(_failed(step, unwritten(step.kind, error), began_at, now))
        except Superseded:
            return  # the call knows
        except Exception as error:  # the disk, or ours: the call ends, and its run is tried again
            log.exception("what became of a request cannot be written down", run=holder.leased.run.id, step=step_id)
            holder.fail(error)
            return
        finally:
            del self.in_flight[step_id]
        self.begin((self._holder.leased.steps[step_id],))  # if it failed, it has another attempt

    async def _in_turn(self, step_id: str) -> tuple[StepRun | StepError, tuple[Place, str] | None] | None:
        """Make the request when the limits of the function have room for it. ``None`` if it may not begin (I18)."""
        holder = self._holder
        gate = holder.gate
        if gate is not None:
            await gate.enter()
        try:
            step = holder.leased.steps[step_id]
            request = await self._find(step)
            if holder.unsure:
                await holder.look()
            if holder.lost:
                return None
            started_at = self._engine.clock.now_ms()
            holder.executing[step_id] = Executing(step.name, step.repeat, step.kind, step.attempt, started_at)
            try:
                came = None if request is None else await self._send(request, started_at)
            finally:
                del holder.executing[step_id]
            publish = request.publish if request is not None and isinstance(came, Good) else None
            heard = None if publish is None or not isinstance(came, Good) else (publish, came.text)
            return _op(step, came, started_at, self._engine.clock.now_ms()), heard
        finally:
            if gate is not None:
                gate.leave()

    async def _publish(self, to: Place, text: str) -> None:
        """Let those hear the answer who listen. It is the step's result by now, whether or not anybody did."""
        hub = self._engine.realtime
        try:
            place = address(to.channel, to.topic)
            await hub.publish(*whole_stream(place, hub.new_id(), text, self._engine.clock.now_ms()))
        except InvalidMessage as error:
            log.warning("an answer cannot be published", channel=to.channel[:80], why=error.what)

    async def _find(self, step: Step) -> Outgoing | None:
        while True:
            try:
                found = await self._engine.store.read(GetRequest(step.run_id, step.id))
                return None if found is None else decode_request(found.content)
            except StorageError as error:
                log.error("storage unavailable, holding on", error=error.what, again_in_ms=_READ_PAUSE_MS)
            await rest(_READ_PAUSE_MS, self._engine.clock, self._engine.timers)

    async def _send(self, request: Outgoing, started_at: int) -> Good | Bad:
        clock = self._engine.clock
        body = (request.body or "").encode(errors="replace")
        try:
            reply = await self._engine.outbound.request(
                request.method, request.url, request.headers, body, seconds=_TIME_S_MAX
            )
        except Unreachable as error:
            final = error.code == ADDRESS_NOT_ALLOWED
            return unanswered(request, str(error), now=clock.now_ms(), started_at=started_at, final=final)
        except Exception as error:  # of the HTTP library; its text may have a header in it
            why = f"{type(error).__name__} while the request was made"
            return unanswered(request, why, now=clock.now_ms(), started_at=started_at)
        now = clock.now_ms()
        try:
            return answered(request, reply.status, reply.headers, reply.body, now=now, started_at=started_at)
        except Exception as error:  # ours: the answer may be anything
            # An attempt is spent whatever happens: else the same request would be made again at once, for ever.
            log.exception("the answer to a request cannot be read", url=shown_url(request.url))
            why = f"{type(error).__name__} while the answer was read"
            return unanswered(request, why, now=now, started_at=started_at)


def _op(step: Step, came: Good | Bad | None, started_at: int, ended_at: int) -> StepRun | StepError:
    told = None if came is None else came.told.fields()
    if isinstance(came, Good):
        return StepRun(
            id=step.id,
            name=step.name,
            repeat=step.repeat,
            kind=step.kind,
            output=came.output,
            attempt=step.attempt,
            started_at=started_at,
            ended_at=ended_at,
            details=told,
        )
    failure: Failure = lost(step.kind) if came is None else came.failure
    final, retry_at = (True, None) if came is None else (came.final, came.retry_at)
    return _failed(step, failure, started_at, ended_at, final=final, retry_at=retry_at, details=told)


def _failed(step: Step, error: Failure, started_at: int, ended_at: int, **more: Any) -> StepError:
    return StepError(
        id=step.id,
        name=step.name,
        repeat=step.repeat,
        kind=step.kind,
        error=error,
        attempt=step.attempt,
        started_at=started_at,
        ended_at=ended_at,
        **more,
    )
