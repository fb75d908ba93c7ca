"""Calls functions: one call per lease, from what is remembered to the next thing the run must wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from stepwell.engine import progress
from stepwell.engine.draft import Draft
from stepwell.engine.leased import Leased
from stepwell.engine.recovery import give_back
from stepwell.errors import StorageUnavailable
from stepwell.model.changes import Decision, Extend, Plan
from stepwell.model.place import place_of
from stepwell.model.questions import Standings
from stepwell.protocol.messages import Answer, Completed, Failed, Ops, Superseded, Transport, WireError
from stepwell.runtime.live_call import UNSEEN_MS, LiveCall, instructions
from stepwell.runtime.logs import log
from stepwell.storage.interface import Verdict

if TYPE_CHECKING:
    from stepwell.runtime.engine import Engine

_MANY = 16
_SLOW_MS = UNSEEN_MS * 3 // 4  # a look that takes longer leaves too little time to begin anything
_SLOW_LOOKS = 3
_EXCUSED_S = 0.05


class Caller:
    """Keeps the calls in flight: starts them, extends their leases, writes down how they ended."""

    def __init__(self, engine: Engine, transport: Transport) -> None:
        self.transport = transport
        self.live: dict[str, LiveCall] = {}
        self._engine = engine
        self._last_look: asyncio.Task[None] | None = None
        self._next_look: asyncio.Task[None] | None = None
        self._slow_looks = 0  # in a row

    def start(self, leased: Sequence[Leased], asked: float) -> None:
        """Call these runs, whose leases were asked for at this moment. They count as in flight from now on."""
        calls = [LiveCall(self._engine, one, asked) for one in leased]
        idle = not self.live
        for call in calls:
            before = self.live.get(call.leased.run.id)
            if before is not None and not before.answered:
                before.drop()  # its lease ran out, and nobody here looks after it any more
            self.live[call.leased.run.id] = call
        if idle:
            self._engine.mind_leases()
        if len(calls) < _MANY:
            self._begin(calls)
        else:
            # A turn later, so that whoever claimed them can ask for the next lot while these run.
            asyncio.get_running_loop().call_soon(self._begin, calls)

    def _begin(self, calls: Sequence[LiveCall]) -> None:
        create_task = asyncio.get_running_loop().create_task
        for call in calls:
            call.task = create_task(self._run(call))

    def token_of(self, run_id: str) -> int:
        """The token of the call of this run that is in flight here; 0 if none is."""
        call = self.live.get(run_id)
        return call.leased.lease.token if call is not None else 0

    def touch(self, run_id: str) -> None:
        call = self.live.get(run_id)
        if call is not None:
            call.touch()

    def lose(self, run_id: str) -> None:
        """The run has ended: if that was not by its call, the call is to begin nothing more."""
        call = self.live.get(run_id)
        if call is not None:
            call.drop()

    def undisturbed(self, since: float, until: float) -> None:
        """No other process has written in this time. It says nothing of calls that were not known to be well before."""
        for call in self.live.values():
            if call.seen >= since:
                call.seen = max(call.seen, until)

    async def look(self) -> None:
        """Another process has written: which calls have lost their runs, and which have something to hear?

        When the event loop was held up many ask at once: one look serves all who came before it began.
        """
        if self._next_look is None:
            self._next_look = asyncio.get_running_loop().create_task(self._look_after(self._last_look))
            self._next_look.add_done_callback(_heard)
        await asyncio.shield(self._next_look)

    async def _look_after(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        self._last_look, self._next_look = self._next_look, None
        await self._look()

    async def _look(self) -> None:
        calls = list(self.live.values())  # their leases were written before we ask, so what we see is not older
        now = self._engine.monotonic()
        if not calls:
            return
        standings = await self._engine.store.read(Standings(tuple(call.leased.lease.item_id for call in calls)))
        excused = self._excused(now)
        for call in calls:
            call.seen, call.excused = max(call.seen, now), excused
            token, poked = standings.get(call.leased.lease.item_id, (0, False))
            if token != call.leased.lease.token:
                call.drop()
            elif poked:
                call.poked()

    def _excused(self, began: float) -> float:
        """Until when bodies may begin although what is known is too old; 0 if that is no matter of the store.

        Where every look takes longer than anything may stay unseen, none would ever begin (ADR 0037). One that was held
        up for as long as leases last may have been the process, whose runs are others' by now.
        """
        now = self._engine.monotonic()
        took_ms = (now - began) * 1000
        self._slow_looks = self._slow_looks + 1 if took_ms > _SLOW_MS else 0
        if self._slow_looks < _SLOW_LOOKS or took_ms > self._engine.lease_ms / 6:
            return 0.0
        if self._slow_looks == _SLOW_LOOKS:
            log.warning("the store is slow: a cancelled run may begin one step more", took_ms=round(took_ms))
        return now + _EXCUSED_S

    async def extend(self, now: int) -> int | None:
        """Hold on to the leases of which a third is left, and say when to look again: never if there are none.

        All at once: one after the other, each waiting for the one before, a thousand would take longer than a lease on
        a database that is some milliseconds away. Raises ``StorageUnavailable`` when all have been tried.
        """
        engine = self._engine
        asked: list[tuple[LiveCall, int, asyncio.Future[Verdict]]] = []
        for call in list(self.live.values()):
            leased = call.leased
            if not call.lost and leased.until - now <= engine.lease_ms // 3:
                until = engine.clock.now_ms() + engine.lease_ms  # not from when this began: much may be asked before
                asked.append((call, until, engine.store.commit(Decision((Extend(leased.lease, until),), leased.lease))))
        refused: BaseException | None = None
        for call, until, verdict in asked:
            try:
                held = (await verdict).held
            except StorageUnavailable as error:  # those of other shards may well be written
                refused = error
                continue
            if held:
                call.leased.until = max(call.leased.until, until)  # a claim may have extended it further meanwhile
            else:
                call.drop()
        if refused is not None:
            raise refused
        return now + engine.lease_ms // 6 if self.live else None

    async def _run(self, call: LiveCall) -> None:
        run_id = call.leased.run.id
        concluded = False
        try:
            try:
                if call.unsure:
                    await call.look()
                if call.lost:
                    concluded = await self._give_back(call)
                    return
                answer = await self._answer(call)
            except Superseded:
                concluded = await self._give_back(call)
                return
            except asyncio.CancelledError:
                if self._engine.stopping or call.task is None:
                    raise
                call.task.uncancel()
                answer = Failed(_cancelled(call.broken))
            except (KeyboardInterrupt, SystemExit) as error:
                # It ends the process, whose last words would otherwise not say which of its functions it was.
                log.error(
                    "the process ends because a function's code asked for it",
                    error=repr(error),
                    function=call.leased.function.id,
                    run=run_id,
                )
                raise
            except Exception as error:  # the transport's, not the function's: those come as answers
                log.exception("call failed", run=run_id, function=call.leased.function.id)
                answer = Failed(WireError(type(error).__name__, str(error)))
            call.answered = True
            concluded = await self._conclude(call, answer)
        except asyncio.CancelledError:
            if not self._engine.stopping:
                raise
        except Exception:  # a bug of ours: the run goes on when the lease has run out
            log.exception("a call broke off", run=run_id, function=call.leased.function.id)
        finally:
            call.close()
            if concluded or not self._engine.stopping:
                call.tell_stored()
            if self.live.get(run_id) is call:
                del self.live[run_id]
                if not self.live:
                    self._engine.mind_leases()
            self._engine.call_ended(seen=call.seen, touched=call.touched, left=None if concluded else call.leased.until)

    async def _answer(self, call: LiveCall) -> Answer:
        """Call the function, and again while requests that the engine makes for it bring results."""
        if call.leased.steps:
            call.begin_requests(call.leased.steps.values())
        while True:
            call.news.clear()
            answer = await self.transport.call(call.call, call)
            rest = await call.rest_of(answer)
            if rest is not None:
                return rest

    async def _give_back(self, call: LiveCall) -> bool:
        """A call that has ended without an answer: its run is not its own any more, or is to wait."""
        if not call.given_back:
            return False
        verdict = await self._engine.commit_patiently(lambda draft: give_back(draft, call.leased))
        return verdict.held

    async def _conclude(self, call: LiveCall, answer: Answer) -> bool:
        """Write down how a call ended. False if its lease was not its own any more."""
        # Ours to say until it is said: the run must not be claimed a second time before the first end is written.
        plan = _conclusion(call.leased, answer)
        try:
            verdict = await self._engine.commit(plan, place_of(call.leased.run.id))
        except StorageUnavailable:
            verdict = await self._engine.commit_patiently(plan)
        return verdict.held


def _cancelled(broken: Exception | None) -> WireError:
    if broken is None:
        return WireError("CancelledError", "the function's own code cancelled the task it runs in")
    return WireError(type(broken).__name__, f"the call could not go on: {broken}")


def _heard(look: asyncio.Task[None]) -> None:
    """Whoever waited for it knows how it went; if nobody did, nobody needs to."""
    if not look.cancelled():
        look.exception()


def _conclusion(leased: Leased, answer: Answer) -> Callable[[Draft], Plan]:
    """What the end of a call means for its run."""
    if isinstance(answer, Completed):
        data, note, logs = answer.data, answer.note, answer.logs
        return lambda draft: progress.complete(draft, leased, data, note, logs)
    failed = answer if isinstance(answer, Failed) else None
    if failed is None and isinstance(answer, Ops):
        ops, error = instructions(leased.run, answer.ops)
        if error is None:
            return lambda draft: progress.suspend(draft, leased, ops, answer.version, answer.logs)
        failed = Failed(error, logs=answer.logs)
    assert failed is not None, "an answer is one of three"
    error, final, requested_at, started_at = failed.error, failed.no_retry, failed.retry_at, failed.started_at
    return lambda draft: progress.fail(
        draft, leased, error, final=final, requested_at=requested_at, started_at=started_at, logs=failed.logs
    )
