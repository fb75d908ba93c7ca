"""A call in flight: what it makes durable while it goes on, and what it hears of its run meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

import msgspec

from stepwell.engine import progress
from stepwell.engine.draft import Draft
from stepwell.engine.leased import Leased
from stepwell.engine.pressure import queues
from stepwell.errors import StorageError, StorageUnavailable
from stepwell.model.changes import Decision, Plan, SaveLogs
from stepwell.model.log import Logs, Said
from stepwell.model.questions import GetStep, GetSteps, LoggedBytes, Question
from stepwell.model.run import Run
from stepwell.model.step import REQUESTS, Step
from stepwell.ops import Annotated, StepError, StepRun
from stepwell.ops import Op as Instruction
from stepwell.ops.defer import wire_id
from stepwell.protocol.gate import Gate
from stepwell.protocol.instructions import (
    ASKED_OF_US,
    UnknownOp,
    inputs,
    instruction,
    memo,
    pending,
    settled,
    with_input,
)
from stepwell.protocol.messages import (
    Answer,
    Call,
    Executing,
    Memo,
    Op,
    Ops,
    Pending,
    Settled,
    Superseded,
    WireError,
)
from stepwell.runtime.logs import log
from stepwell.runtime.loop import Timer, rest
from stepwell.runtime.requests import Requests

if TYPE_CHECKING:
    from stepwell.runtime.engine import Engine


A = TypeVar("A")
Given = TypeVarTuple("Given")

_KNOWN = Settled()  # a result the SDK just gave us is no news to it
_NO_DEFERS: Mapping[str, bool] = {}
UNSEEN_MS = 100  # for so long bodies of a run may begin without a look at what other processes have done to it
_LOOK_PAUSE_MS = 500


class LiveCall:
    """A call in flight. Everything it makes durable is fenced by its lease."""

    def __init__(self, engine: Engine, leased: Leased, asked: float) -> None:
        self.leased = leased
        if not leased.steps and not leased.attempt:
            leased.logged = 0  # nothing was ever written about it
        self.excused = 0.0  # until then a body may begin with what is known, because nothing newer can be
        self.seen = asked  # whatever others had done to this run by then is known (monotonic seconds)
        self.lost = False  # cancelled or taken over, as far as is known
        self.given_back = False  # nothing of its queue is to begin: it goes on when that is over
        self.broken: Exception | None = None  # why it cannot go on, if something beside it went wrong
        self.touched = False
        self.answered = False  # its end is being written down
        self.task: asyncio.Task[None] | None = None
        self.executing: dict[str, Executing] = {}
        self.keeps = True
        self.news: set[str] = set()
        self.gate = Gate(leased.width, self.widen) if leased.run.slots else None
        self._requests: Requests | None = None
        self._engine = engine
        self._watchers: dict[str, asyncio.Future[Settled]] = {}
        self._timer: Timer | None = None
        self._behind = False  # another process has written about the run, and nobody has begun to read it
        self._catching_up: asyncio.Task[None] | None = None
        self._afterwards: list[Callable[[], None]] | None = None

    async def save(self, op: Op) -> Settled:
        """Make one op durable while the call goes on. Raises ``Superseded`` if the lease is lost."""
        leased = self.leased
        new = op.id not in leased.steps and op.id not in leased.promised
        if new:
            leased.promised[op.id] = len(op.data or b"")
        try:
            return await self._save(op)
        finally:
            if new:
                del leased.promised[op.id]

    @property
    def call(self) -> Call:
        """The call as it would be made now."""
        return call_of(self.leased)

    async def report(self, ops: Sequence[Op], version: int | None) -> None:
        """Make several ops durable, all or none. Raises ``Superseded`` if the lease is lost."""
        leased = self.leased
        given, error = instructions(leased.run, ops)
        if error is not None:
            raise UnknownOp(error.message)
        leased.unheard += 1
        verdict = await self._engine.commit_patiently(lambda draft: progress.report(draft, leased, given, version))
        leased.unheard -= 1
        steps: list[Step] | None = verdict.result.value if verdict.held else None
        if steps is None:
            self._superseded()
            raise AssertionError
        for step in steps:
            leased.gain(step)
        self.begin_requests(steps)
        if version is not None and leased.run.execution_version == -1:
            leased.run = msgspec.structs.replace(leased.run, execution_version=version)

    async def _save(self, op: Op) -> Settled:
        engine = self._engine
        try:
            given = instruction(with_input(self.leased.run, op))
        except (UnknownOp, msgspec.MsgspecError) as error:
            return Settled(memo=Memo("error", WireError("InvalidOp", str(error)).json()))
        position = self.leased.position
        self.leased.position += 1
        logs = type(given) is Annotated and given.logs is not None
        if logs:
            await self._know_logged()
        work = progress.save(self.leased, given, position, engine.moment())
        if logs:
            self._count_logs(work)
        if isinstance(work, Decision):
            await self._write(work, lambda draft: _again(self.leased, draft, given, position))
            self.leased.gain(work.result)
            return _KNOWN
        self.leased.unheard += 1
        verdict = await engine.commit_patiently(work)
        self.leased.unheard -= 1
        step: Step | None = verdict.result.value if verdict.held else None
        if step is None:
            self._superseded()
            raise AssertionError
        self.leased.gain(step)
        if step.kind in REQUESTS:
            self.begin_requests((step,))
        return settled(step)

    async def keep(self, said: Sequence[Said]) -> None:
        """Make what was logged so far durable, where no op and no end of the call takes it along. Raises
        ``Superseded``."""
        position = self.leased.position
        self.leased.position += len(said)  # what is said next, within the same millisecond, is another report
        await self._know_logged()
        work = progress.keep(self.leased, said, position)
        self._count_logs(work)
        await self._write(work, lambda draft: _the_same(work, draft))

    def begin_requests(self, steps: Iterable[Step]) -> None:
        """Make those requests that these steps are owed."""
        if self._requests is None:
            if not any(step.open and step.kind in REQUESTS for step in steps):
                return
            self._requests = Requests(self, self._engine)
        self._requests.begin(steps)

    async def settle(self, op: StepRun | StepError) -> None:
        """Make what came of a request durable. Raises ``Superseded`` if the lease is lost."""
        leased, position = self.leased, self.leased.position
        leased.position += 1
        leased.unheard += 1
        verdict = await self._engine.commit_patiently(lambda draft: progress.answered(draft, leased, op, position))
        leased.unheard -= 1
        step: Step | None = verdict.result.value if verdict.held else None
        if step is None:
            self._superseded()
            raise AssertionError
        leased.gain(step)
        if not step.open:
            self._tell(step)

    async def rest_of(self, answer: Answer) -> Answer | None:
        """What is left to be written of the end of a call. ``None`` if the run is to be called again within this lease.

        While requests are in flight the lease is held; when one of them brings a result, or another step moves, the
        function goes on. Raises ``Superseded``.
        """
        if not isinstance(answer, Ops):
            return answer
        logs = answer.logs
        if answer.ops and (self.news or self._requests or any(op.op in ASKED_OF_US for op in answer.ops)):
            if instructions(self.leased.run, answer.ops)[1] is not None:
                return answer
            await self.report(answer.ops, answer.version)
            if any((step := self.leased.steps.get(op.id)) is not None and not step.open for op in answer.ops):
                await self._go_on(logs)
                return None
            answer = Ops(logs=logs)
        if self._requests is None or not self._requests.in_flight:
            if not self.news:
                return answer
            await self._go_on(logs)
            return None
        requests = self._requests
        moving = [
            asyncio.ensure_future(self.watch(step.id))
            for step in self.leased.steps.values()
            if step.open and step.kind not in REQUESTS
        ]
        try:
            while True:
                if self.lost:
                    raise Superseded
                if self.news or any(future.done() for future in moving):
                    await self._go_on(logs)
                    return None
                if not requests.in_flight:
                    return answer
                await asyncio.wait((*moving, *requests.in_flight.values()), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for future in moving:
                future.cancel()

    async def _go_on(self, logs: Logs | None) -> None:
        """The run is to be called again within this lease."""
        if logs is not None:
            await self.keep([Said(logs)])

    @property
    def unsure(self) -> bool:
        """Whether too much time has passed since it was known what other processes have done to this run, or nothing
        of its queue is to begin for a while."""
        if self._engine.pressed.known and self._pressed_until():
            return True
        return self._behindhand

    @property
    def stopping(self) -> bool:
        return self._engine.stopping

    async def look(self) -> None:
        """Find out whether another process has cancelled the run or taken it over. Waits while that cannot be read.

        While nothing of its queue is to begin the call is given back, or it waits if it has something under way.
        """
        while self.unsure and not self.lost:
            until = self._pressed_until()
            if until:
                if not (self.executing or self.leased.promised or self.leased.unheard):
                    self.given_back = True
                    self.drop()
                    return
                await rest(until - self._engine.clock.now_ms(), self._engine.clock, self._engine.timers)
                continue
            await self._look_at_all()

    async def catch_up(self) -> bool:
        """Read the steps that the app has reported to another process, if it has. Waits while they cannot be read.

        Requests that are about to be made together wait for the same.
        """
        if self._behind:
            self._behind = False
            self._catching_up = self._engine.spawn(self._read_all())
        if self._catching_up is None:
            return False
        await asyncio.shield(self._catching_up)
        return True

    async def hear(self) -> None:
        """Know all that the app has reported to other processes until now, as they give us time to do.

        What it tells us comes after that; held up, this process would put it before, and the function find its results
        in another order than before. Waits while it cannot be read.
        """
        if self._behindhand:
            while not self.lost and not await self._look_at_all():
                pass
        await self.catch_up()

    async def watch(self, step_id: str) -> Settled:
        """Wait until a pending step moves. Others tell us when they settle one; due moments we keep ourselves."""
        step = self.leased.steps.get(step_id)
        if step is not None and not step.open:
            return settled(step)
        future = self._watchers.get(step_id)
        if future is None:
            future = self._watchers[step_id] = asyncio.get_running_loop().create_future()
            self._arm()
            self._look(step_id)  # it may have moved before we began to watch
        return await asyncio.shield(future)

    async def widen(self, wanted: int) -> int:
        """More slots for the branches of this call, as far as there are any."""
        self.leased.unheard += 1
        verdict = await self._engine.commit_patiently(lambda draft: progress.widen(draft, self.leased, wanted))
        self.leased.unheard -= 1
        if not verdict.held:
            self._superseded()
        granted: int = verdict.result.value
        self.leased.width += granted
        return granted

    def afterwards(self, do: Callable[[], None]) -> None:
        """Do this once the end of the call is written down, or it is known that nobody wants it."""
        if self._afterwards is None:
            self._afterwards = []
        self._afterwards.append(do)

    def touch(self) -> None:
        """Something was settled for this run, or it was cancelled."""
        self.touched = True
        later = self._requests.later if self._requests is not None else ()
        for step_id in {*self._watchers, *later}:
            self._look(step_id)

    def poked(self) -> None:
        """Another process has written about the run."""
        self._behind = True
        self.touch()

    def close(self) -> None:
        """It is over: what is still on its way of it, such as a request that came twice, is to begin nothing."""
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
        if self._requests is not None:
            self._requests.stop()
        if self.gate is not None:
            self.gate.close()
        for future in self._watchers.values():
            future.cancel()
        self._watchers.clear()

    def tell_stored(self) -> None:
        """What the app has answered is written down, or nobody wants it."""
        if self._afterwards is not None:
            for do in self._afterwards:
                do()

    def drop(self) -> None:
        """The run is not this call's any more: it is to begin nothing else, and what it has asked others is in vain."""
        self.lost = True
        if self._requests is not None:
            self._requests.stop()

    def _pressed_until(self) -> int:
        """The moment before which nothing of its queue is to begin; 0 if there is none."""
        return self._engine.pressed.until(queues(self.leased.run, self.leased.function))

    def fail(self, error: Exception) -> None:
        """Something that goes on beside the call went wrong, as nobody foresaw: it ends, and spends an attempt.

        Whoever waits inside it would wait for ever.
        """
        if self.broken is None and self.task is not None and not self.lost and not self.answered:
            self.broken = error
            self.task.cancel()

    async def _write(self, work: Decision, again: Callable[[Draft], Plan]) -> None:
        """Make a decision durable that needed no plan; what it is ``again`` where that cannot be done at once. Raises
        ``Superseded``."""
        engine = self._engine
        try:
            verdict = await engine.store.commit(work)
            engine.refused = None
            if verdict.held and engine.observers:
                engine.tell(work.changes)
        except StorageUnavailable:
            verdict = await engine.commit_patiently(again)
        if not verdict.held:
            self._superseded()

    async def _know_logged(self) -> None:
        """Know how much is kept of what the run logs."""
        if self.leased.logged is None:
            kept = await self._patiently(LoggedBytes(self.leased.run.id))
            if self.leased.logged is None:  # else another branch has asked as well, and counted since
                self.leased.logged = kept

    def _count_logs(self, work: Decision | Callable[[Draft], Plan]) -> None:
        """What this writes is kept, so that what is logged next is held against it. A plan counts by itself."""
        leased = self.leased
        if isinstance(work, Decision) and leased.logged is not None:
            leased.logged += sum(len(change.logged.lines) for change in work.changes if isinstance(change, SaveLogs))
        else:
            leased.logged = None

    def _superseded(self) -> None:
        self.drop()
        raise Superseded

    async def _read_all(self) -> None:
        run = self.leased.run
        for step in await self._patiently(GetSteps(run.id)):
            known = self.leased.steps.get(step.id)
            if not step.open and (known is None or known.open):
                self.leased.gain(step)

    @property
    def _behindhand(self) -> bool:
        """Whether others may have written about this run so long ago that it must be known."""
        now = self._engine.monotonic()
        return self._engine.shared and (now - self.seen) * 1000 > UNSEEN_MS and now > self.excused

    async def _look_at_all(self) -> bool:
        """Read what others have done to the runs of all calls. False, after a pause, if that cannot be read."""
        try:
            await self._engine.caller.look()
        except StorageError as error:
            log.error("storage unavailable, holding on", error=error.what, again_in_ms=_LOOK_PAUSE_MS)
            await rest(_LOOK_PAUSE_MS, self._engine.clock, self._engine.timers)
            return False
        return True

    async def _patiently(self, question: Question[A]) -> A:
        while True:
            try:
                return await self._engine.store.read(question)
            except StorageError as error:
                log.error("storage unavailable, holding on", error=error.what, again_in_ms=_LOOK_PAUSE_MS)
                await rest(_LOOK_PAUSE_MS, self._engine.clock, self._engine.timers)

    def _tell(self, step: Step) -> None:
        """A step has moved by itself. Who does not watch it hears of it by the next call."""
        if not step.open:
            self.news.add(step.id)
        self._resolve(step.id, settled(step))

    def _look(self, step_id: str) -> None:
        self._engine.spawn(self._or_fail(self._read, step_id))

    async def _or_fail(self, work: Callable[[*Given], Coroutine[Any, Any, None]], *given: *Given) -> None:
        try:
            await work(*given)
        except Exception as error:  # nobody waits for this task: the call would wait for it for ever
            log.exception("a call cannot go on", run=self.leased.run.id)
            self.fail(error)

    async def _read(self, step_id: str) -> None:
        run = self.leased.run
        step, known = await self._patiently(GetStep(run.id, step_id)), self.leased.steps.get(step_id)
        if step is None:
            return
        if not step.open:
            self.leased.gain(step)
            self._resolve(step_id, settled(step))
        elif known is not None and known.due is not None and (step.due or 0) < known.due:
            self.leased.learn(step)  # a person does not want to wait for its next attempt
            if step.kind in REQUESTS and self._requests is not None:
                self._requests.sooner(step)
            else:
                self._arm()

    def _resolve(self, step_id: str, found: Settled) -> None:
        future = self._watchers.pop(step_id, None)
        if future is not None and not future.done():
            future.set_result(found)

    def _arm(self) -> None:
        """One timer serves the earliest of the watched steps."""
        if self._timer is not None:
            self._timer.cancel()
        steps = self.leased.steps
        watched = [step for step_id in self._watchers if (step := steps.get(step_id)) and step.kind not in REQUESTS]
        dues = [due for step in watched if (due := step.due) is not None]
        self._timer = self._engine.timers.call_at(min(dues), self._elapsed) if dues else None

    def _elapsed(self) -> None:
        self._timer = None
        self._engine.spawn(self._or_fail(self._settle_due))

    async def _settle_due(self) -> None:
        verdict = await self._engine.commit_patiently(lambda draft: progress.elapse(draft, self.leased))
        if not verdict.held:
            self.drop()
            return
        moved, later = verdict.result.value
        for step in moved:
            self.leased.gain(step)
            self._tell(step)
        for step in later:
            self.leased.learn(step)
        self._arm()


def call_of(leased: Leased) -> Call:
    """What the holder of a lease knows, as a call."""
    memos: dict[str, Memo] = {}
    unfinished: dict[str, Pending] = {}
    order: list[tuple[int, int, str]] = []
    run, grouped = leased.run, False
    for step in leased.steps.values():
        known = memo(step)
        if step.parallel is not None and (step.open or run.execution_version == 1):
            grouped = True
        if known is None:
            unfinished[step.id] = pending(step)
        else:
            memos[step.id] = known
            order.append((step.position, step.ended_at or 0, step.id))
    order.sort()
    defers = {wire_id(step_id): step.open for step_id, step in leased.defers.items()} if leased.defers else _NO_DEFERS
    return Call(
        function_id=run.function_id,
        run_id=run.id,
        request_id=f"{run.id}.{leased.lease.token:x}",
        attempt=leased.attempt,
        max_attempts=leased.function.retries + 1,
        events=leased.events,
        steps=memos,
        stack=[step_id for _, _, step_id in order],
        pending=unfinished,
        parallel_max=leased.width if run.slots else None,
        started_at=run.started_at or run.queued_at,
        version=run.execution_version,
        plans_only=grouped,
        generation=leased.lease.token,
        defers=defers,
        endpoint=leased.function.endpoint,
        inputs=inputs(run, memos),
    )


def instructions(run: Run, ops: Sequence[Op]) -> tuple[list[Instruction], WireError | None]:
    """What these ops ask for, or why one of them means nothing."""
    found: list[Instruction] = []
    for op in ops:
        try:
            found.append(instruction(with_input(run, op)))
        except (UnknownOp, msgspec.MsgspecError) as error:
            return [], WireError("InvalidOp", str(error))
    return found, None


def _again(leased: Leased, draft: Draft, given: Instruction, position: int) -> Plan:
    work = progress.save(leased, given, position, draft.moment)
    if isinstance(work, Decision):
        draft.add(*work.changes)
        return draft.decision(work.result, holds=work.holds)
        yield
    return (yield from work(draft))


def _the_same(work: Decision, draft: Draft) -> Plan:
    draft.add(*work.changes)
    return draft.decision(holds=work.holds)
    yield
