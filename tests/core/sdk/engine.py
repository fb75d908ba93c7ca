"""A small engine for tests of the SDK: one run, in memory, with a clock that only moves when told.

It keeps the promises of ``protocol.messages.Progress``: what is saved is remembered, a step is written once, a failed
attempt is due again later, and the stack lists results in the order in which they became known.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import msgspec

from stepwell.model.event import Event
from stepwell.model.log import Said
from stepwell.protocol.gate import Gate
from stepwell.protocol.messages import (
    INVOKE_FUNCTION,
    SLEEP,
    STEP_ERROR,
    STEP_FAILED,
    STEP_RUN,
    WAIT_FOR_EVENT,
    Answer,
    Call,
    Completed,
    Executing,
    Failed,
    Memo,
    Op,
    Ops,
    Pending,
    Settled,
    Superseded,
)
from stepwell.sdk.app import Stepwell
from stepwell.sdk.client import EventPayload

START_MS = 1_700_000_000_000
RETRY_MS = 10_000
YEAR_MS = 365 * 86_400_000
RUN_ID = "01HF7YAT00000000000000000A"


class Clock:
    def __init__(self, now: int = START_MS) -> None:
        self.now = now

    def now_ms(self) -> int:
        return self.now


class Run:
    """One run of one function of an app, and everything the engine knows of it."""

    def __init__(
        self,
        app: Stepwell,
        function_id: str,
        data: object = None,
        *,
        name: str = "test/started",
        retries: int = 4,
        parallel_max: int | None = None,
        turns: int = 1,
    ) -> None:
        self.clock = Clock()
        self.transport = app.transport(self.clock)
        self.function_id = function_id
        self.event = Event(
            id="01HF7YAT000000000000000001",
            name=name,
            ts=START_MS,
            received_at=START_MS,
            data=msgspec.json.encode(data if data is not None else {}),
        )
        self.retries = retries
        self.parallel_max = parallel_max
        self.spare = 0  # what widen() may grant
        self.turns = turns  # of the event loop that a save takes
        self.memos: dict[str, Memo] = {}
        self.stack: list[str] = []
        self.pending: dict[str, Pending] = {}
        self.ops: list[Op] = []  # all that were accepted, in order
        self.calls = 0
        self.attempt = 0
        self.due: int | None = START_MS
        self.answer: Answer | None = None
        self.lost = False  # properties of Progress, set by tests
        self.unsure = False
        self.stopping = False
        self.keeps = True
        self.kept: list[Said] = []  # what was logged of bodies that run on
        self.lost_unnoticed = False  # what a look finds out
        self.executing: dict[str, Executing] = {}
        self.gate: Gate | None = None
        self.news: set[str] = set()
        self._watchers: dict[str, asyncio.Future[Settled]] = {}

    # What the SDK asks ------------------------------------------------------------------------------------------------

    async def save(self, op: Op) -> Settled:
        for _ in range(self.turns):
            await asyncio.sleep(0)
        if self.lost:
            raise Superseded
        return self._accept(op)

    async def keep(self, said: Sequence[Said]) -> None:
        await asyncio.sleep(0)
        if self.lost:
            raise Superseded
        self.kept += said

    async def look(self) -> None:
        self.unsure, self.lost = False, self.lost_unnoticed

    async def watch(self, step_id: str) -> Settled:
        future = self._watchers.setdefault(step_id, asyncio.get_running_loop().create_future())
        return await asyncio.shield(future)

    async def widen(self, wanted: int) -> int:
        await asyncio.sleep(0)
        granted = min(wanted, self.spare)
        self.spare -= granted
        return granted

    # What the test does -----------------------------------------------------------------------------------------------

    async def call(self) -> Answer:
        """One call, from what is remembered to where it ends."""
        self.calls += 1
        self.gate = Gate(self.parallel_max, self.widen) if self.parallel_max else None
        call = Call(
            function_id=self.function_id,
            run_id=RUN_ID,
            request_id=f"call-{self.calls}",
            attempt=self.attempt,
            max_attempts=self.retries + 1,
            events=(self.event,),
            steps=dict(self.memos),
            stack=list(self.stack),
            pending=dict(self.pending),
            parallel_max=self.parallel_max,
            started_at=START_MS,
        )
        answer = await self.transport.call(call, self)
        self._watchers.clear()
        match answer:
            case Ops(ops):
                settled = [self._accept(op) for op in sorted(ops, key=lambda op: op.op != WAIT_FOR_EVENT)]
                self.attempt = 0
                moved = any(one.memo is not None for one in settled) or not (ops or self.pending)
                dues = [known.due for known in self.pending.values() if known.due is not None]
                self.due = self.clock.now if moved else min(dues, default=None)
            case Failed() if not answer.no_retry and self.attempt < self.retries:
                self.attempt += 1
                self.due = answer.retry_at or self.clock.now + RETRY_MS
            case _:
                self.answer = answer
                self.due = None
        return answer

    async def until_rest(self) -> Answer:
        """Call the function again as long as it is due now."""
        answer = await self.call()
        while self.answer is None and self.due is not None and self.due <= self.clock.now:
            answer = await self.call()
        return answer

    async def to_end(self) -> Any:
        """Let time pass until the run has ended: the result, or the error as an exception."""
        for _ in range(200):
            await self.until_rest()
            if self.answer is not None:
                return self.result()
            assert self.due is not None, "the run waits for something that time does not bring"
            self.advance(self.due - self.clock.now)
        raise AssertionError("the run does not end")

    def result(self) -> Any:
        if isinstance(self.answer, Completed):
            return msgspec.json.decode(self.answer.data)
        assert isinstance(self.answer, Failed), self.answer
        raise RunFailed(self.answer.error.name, self.answer.error.message)

    def advance(self, ms: int) -> None:
        self.clock.now += ms
        for step_id, known in list(self.pending.items()):
            if known.due is None or known.due > self.clock.now:
                continue
            if known.kind in ("sleep", "waitForEvent"):
                self.settle(step_id, Memo("bare", b"null", self.clock.now))
            elif known.kind == "invoke":
                self.settle(step_id, Memo("error", b'{"name":"InngestInvokeTimeoutError","message":"too late"}'))
            else:
                self._tell(step_id, Settled(pending=known))

    def settle(self, step_id: str, memo: Memo) -> None:
        """The engine has got a result for a pending step."""
        self.pending.pop(step_id, None)
        self._remember(step_id, memo)
        self._tell(step_id, Settled(memo=memo))
        self.due = self.clock.now

    def named(self, name: str, repeat: int = 0) -> str:
        """The hashed id of the step that was reported under this name."""
        return next(op.id for op in self.ops if op.name == name and op.repeat == repeat)

    def said(self) -> list[str]:
        """Opcode and name of everything that was accepted, in order."""
        return [f"{op.op} {op.name}" for op in self.ops]

    # ------------------------------------------------------------------------------------------------------------------

    def _accept(self, op: Op) -> Settled:
        known = self.pending.get(op.id)
        if op.id in self.memos:
            return Settled(memo=self.memos[op.id])
        if known is not None and known.kind not in ("run", "sendEvent"):
            return Settled(pending=known)
        self.ops.append(op)
        opts = msgspec.json.decode(op.opts or b"{}")
        if op.op == STEP_RUN:
            self.pending.pop(op.id, None)
            assert op.data is not None
            self._remember(op.id, Memo("data", op.data, op.ended_at))
            return Settled()
        if op.op == STEP_FAILED:
            assert op.error is not None
            self.pending.pop(op.id, None)
            self._remember(op.id, Memo("error", op.error.json(), op.ended_at))
            return Settled(memo=self.memos[op.id])
        if op.op == STEP_ERROR:
            delays = opts.get("backoff_ms") or [RETRY_MS]
            due = op.retry_at or self.clock.now + delays[min(op.attempt, len(delays) - 1)]
            pending = Pending(op.kind, op.attempt + 1, due)
        elif op.op == SLEEP:
            pending = Pending("sleep", 0, opts.get("until_ms", self.clock.now + opts.get("duration_ms", 0)))
        elif op.op == WAIT_FOR_EVENT:
            pending = Pending("waitForEvent", 0, opts.get("until_ms", self.clock.now + opts.get("timeout_ms", 0)))
        else:
            assert op.op == INVOKE_FUNCTION, op
            pending = Pending("invoke", 0, self.clock.now + opts.get("timeout_ms", YEAR_MS))
        self.pending[op.id] = pending
        if pending.due is not None and pending.due <= self.clock.now and op.op in (SLEEP, WAIT_FOR_EVENT):
            self.settle(op.id, Memo("bare", b"null", self.clock.now))
            return Settled(memo=self.memos[op.id])
        return Settled(pending=pending)

    def _remember(self, step_id: str, memo: Memo) -> None:
        assert step_id not in self.memos, "a step is written once"
        self.memos[step_id] = memo
        self.stack.append(step_id)

    def _tell(self, step_id: str, settled: Settled) -> None:
        future = self._watchers.pop(step_id, None)
        if future is not None and not future.done():
            future.set_result(settled)


class RunFailed(Exception):
    """The run ended with this error."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name, self.message = name, message


class Outbox:
    """A sender that remembers what it was given."""

    def __init__(self) -> None:
        self.sent: list[EventPayload] = []
        self.seeds: list[str | None] = []
        self._ids = itertools.count(1)

    async def send(self, payloads: Any, *, seed: str | None = None) -> list[str]:
        self.sent += payloads
        self.seeds.append(seed)
        return [f"event-{next(self._ids)}" for _ in payloads]


async def started(count: int = 3) -> None:
    """Let everything that is ready go on for a while."""
    for _ in range(count):
        await asyncio.sleep(0)
