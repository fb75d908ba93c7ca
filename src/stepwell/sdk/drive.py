"""Runs an ``async def`` function, in the task in which its call was received, as far as it goes.

A step that is known returns without a pause, and one that can run is run and saved while the call goes on. A step that
must rest (a sleep, a wait, a retry later) ends the call if the code has nothing else to do. In a function that does one
thing at a time that is plain. With parallel branches it is so when nothing has moved for some turns of the event loop
although nothing is being run or saved: then each branch rests on a step. What a branch awaits outside of steps is not
seen, and is cut off; it is repeated by the next call, as all code outside of steps is.
"""

from __future__ import annotations

import asyncio
import inspect
from asyncio import CancelledError, Future, Task
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextvars import copy_context
from typing import Any, Final

import msgspec

from stepwell.clock import Clock
from stepwell.model.log import Said
from stepwell.protocol.messages import (
    STEP_ERROR,
    STEP_RUN,
    Answer,
    Call,
    Executing,
    Memo,
    Op,
    Ops,
    Pending,
    Progress,
    Settled,
    Superseded,
)
from stepwell.sdk.bodies import Body, body
from stepwell.sdk.execution import (
    AI_WRAP,
    BODIES,
    EXECUTION,
    RUN,
    RUNNING,
    Execution,
    Running,
    StepOptions,
    StepRef,
    recorded,
)
from stepwell.sdk.failures import StepTimeout, code_changed
from stepwell.sdk.family import Family
from stepwell.sdk.metadata import annotated
from stepwell.sdk.order import Order
from stepwell.sdk.pool import Pool
from stepwell.sdk.replay import Suspend
from stepwell.sdk.teller import Teller

# Turns of the event loop. A result reaches the next step through a task, a gather and its parent in about two turns per
# level, so these allow for ten levels.
_QUIET_TURNS: Final = 20
_START_TURNS: Final = 2  # a task that was just created begins in the next one
_CODE_S: Final = 60.0  # how long a call waits for code that is on its way to a step that is due
CLEANUP_S: Final = 5.0  # how long the code of a call may take to end after the call has: the next must find it gone
STOP_S: Final = 0.2  # the same where the engine stops, so that nothing comes after it; its grace is over by then


class _Turn:
    """Await it to let everything else that is ready run once."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        yield


_turn: Final = _Turn()


NOT_NOW: Final = object()


class AsyncDrive(Execution):
    """One call of an async function."""

    def __init__(self, call: Call, progress: Progress, clock: Clock, pool: Pool) -> None:
        super().__init__(call, progress, clock)
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        main = asyncio.current_task()
        assert main is not None, "a call is received in a task"
        self._main: Task[Any] = main
        self._branches: set[Task[Any]] = set()
        self._branched = False
        self._family = Family(self._loop)
        self._doubted = False
        self._gate = progress.gate
        self._busy = 0  # bodies and saves in flight
        self._rests: dict[str, Future[Settled]] = {}
        self._watchers: dict[str, Task[None]] = {}
        self._registering: set[Future[None]] = set()
        self.order = Order(self._loop)
        self._threaded = False
        self._confirming = False
        self._patience: asyncio.TimerHandle | None = None
        self._impatient = False
        self._ended = False
        self._interrupted = False
        self._superseded = False
        self._last: tuple[Op, ...] = ()
        self._teller = Teller(self._loop)
        self.strict = False  # whether code that has changed is an error

    async def run(self, function: Coroutine[Any, Any, Any]) -> Answer:
        """Drive the function to its end or to its next rest. Raises ``Superseded``."""
        answer: Answer
        self._family.begin()
        outer = EXECUTION.set(self)
        try:
            result = await function
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if isinstance(error, CancelledError) and self._is_cancelled() and not self._ended:
                # Not ours: the engine stops, or the code has cancelled the task it runs in, and has another attempt.
                await self._clean_up(STOP_S if self.progress.stopping else CLEANUP_S)
                self._teller.drop()
                raise
            # The error is not kept: it would hold its frames, with all that the function knew, until the next
            # collection of garbage, and each rest raises one.
            answer = Ops(self._last) if self._ended else self.failed(error)
        else:
            answer = Ops(self._last) if self._ended else self.completed(result)
        finally:
            EXECUTION.reset(outer)
        await self._clean_up()
        await self._teller.over()
        if self._interrupted:
            self._main.uncancel()
        if self._superseded:
            raise Superseded
        if self.lines is not None:
            answer = msgspec.structs.replace(answer, logs=self.own_logs())
        return await self._with_lazy(answer) if self.lazy else answer

    def heard(self) -> None:
        if self.progress.keeps:
            self._teller.hear(self)

    async def tell(self, said: Sequence[Said]) -> None:
        """Have this kept, while what says it goes on."""
        try:
            await self.progress.keep(said)
        except Superseded:
            self._give_up()

    @property
    def changed(self) -> str | None:
        """What shows, at the end of the function, that its code was changed while the run was under way.

        Of parallel branches nothing does: they take turns in no fixed order, and some may be cut off rightly.
        """
        unreached = self.replay.unreached
        said = self.replay.drift or (f"{unreached} remembered step(s) were not asked for" if unreached else None)
        return None if said is None or self._branched or self._has_more_tasks() else said

    async def body(
        self,
        name: str,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: StepOptions | None = None,
        kind: str = RUN,
        known: Body | None = None,
    ) -> Any:
        """A step with a body: its remembered result, or that of running it now. Raises ``StepError``."""
        self._enter(name, kind)
        replay = self.replay
        step_id, repeat = replay.begin(name)
        about = known or body(fn)
        memo = self._recall(step_id, name)
        if memo is not None and not self._branches:
            return self.value(memo, about.decode, name)
        replay.hold(name)
        try:
            if memo is not None:
                await self.order.turn(replay.place(step_id))
                return self.value(memo, about.decode, name)
            if self.call.inputs:
                args, kwargs = self.edited(step_id, args, kwargs)
            step = StepRef(step_id, name, repeat, kind, recorded(args, kwargs) if kind == AI_WRAP else None)
            pending = replay.pending.get(step_id)
            attempt = 0
            if pending is not None:
                settled = await self._until_due(step, pending)
                if settled.memo is not None:
                    if self.order.applies:
                        await self.order.turn(replay.place(step_id))
                    return self.value(settled.memo, about.decode, name)
                attempt = _next_attempt(settled, 0)
            while True:
                op, value = await self._attempt(step, fn, args, kwargs, about, attempt, options)
                settled = await self._rest(step, op) if op.op == STEP_ERROR else await self._save(op)
                if settled.pending is None and self.order.applies:
                    await self.order.turn(replay.place(step_id))
                if settled.memo is not None:
                    return self.value(settled.memo, about.decode, name)
                if settled.pending is None:
                    assert op.op == STEP_RUN, "an error that is final has a memo"
                    return value
                attempt = _next_attempt(settled, attempt)
        finally:
            replay.end(name)

    async def rest(self, name: str, kind: str, opcode: str, opts: bytes | Callable[[], bytes]) -> Memo:
        """A step that others bring to its end: its memo, once it has one. ``opts`` that cost something are worked out
        only for a step that was not reported before."""
        self._enter(name, kind)
        replay = self.replay
        step_id, repeat = replay.begin(name)
        memo = self._recall(step_id, name)
        if memo is not None and not self._branches:
            return memo
        replay.hold(name)
        try:
            if memo is not None:
                await self.order.turn(replay.place(step_id))
                return memo
            step = StepRef(step_id, name, repeat, kind)
            op = None
            if step_id not in replay.pending:
                said = opts if isinstance(opts, bytes) else opts()
                op = Op(op=opcode, id=step_id, name=name, repeat=repeat, kind=kind, opts=said)
            while True:
                settled = await self._rest(step, op)
                if settled.memo is not None:
                    if self.order.applies:
                        await self.order.turn(replay.place(step_id))
                    return settled.memo
                op = None
        finally:
            replay.end(name)

    def hold(self) -> None:
        """A thread runs code of the function, which is not seen from here."""
        self._threaded = True
        self._busy += 1
        self.order.hold()

    def release(self) -> None:
        """It waits for a step, or has ended."""
        self.order.release()
        self._idle()

    @property
    def ended(self) -> bool:
        """Has the call come to its end? What is cancelled before that is cancelled by the engine, which stops."""
        return self._ended

    def cancel_branches(self) -> None:
        """Let whatever waits for a step go: the call has ended."""
        for task in tuple(self._branches):
            task.cancel()

    async def registered(self) -> None:
        """Let the other branches of this moment register their waits first: what is sent next may be the answer."""
        if self._branches:
            for _ in range(_START_TURNS):
                await _turn
            while self._registering:
                await asyncio.wait(self._registering)

    # Steps ------------------------------------------------------------------------------------------------------------

    def _enter(self, name: str, kind: str) -> None:
        running = RUNNING.get()
        if running is not None and running.execution is self:
            raise self.nested(running, name, kind)
        task = asyncio.current_task()
        if task is not self._main and task is not None and task not in self._branches:
            self._branches.add(task)
            # The steps of a plain function have tasks of their own, one after the other as long as it does one thing.
            if not self._threaded or len(self._branches) > 1 or self.order.threads:
                self._branched = True
            task.add_done_callback(self._branch_over)
        if self._ended:
            raise Suspend
        self.order.moves += 1

    def _recall(self, step_id: str, name: str) -> Memo | None:
        memo = self.replay.recall(step_id, alone=not self._branched)
        if self.replay.astray and not self._branched:
            self._doubt(name)
        return memo

    def _doubt(self, name: str) -> None:
        """Has the code changed, or has it branches that have not come to a step yet?

        What is remembered is known without a pause, so that the code is soon ahead of a task that it has just begun.
        """
        if not self._doubted:
            self._doubted = True
            self._branched = self._has_more_tasks()
        if self.strict and self.replay.drift is not None and not self._branched:
            raise code_changed(f"{self.replay.drift}: {name!r}")

    def _has_more_tasks(self) -> bool:
        """Are there tasks that may be branches, other than those that code has that does one thing at a time?"""
        # A plain function has one for its thread, and one for the step that this waits for.
        return self._family.count() > (1 if asyncio.current_task() is self._main else 3)

    def _branch_over(self, task: Task[Any]) -> None:
        self._branches.discard(task)
        self.order.moves += 1
        self._consider()

    async def _until_due(self, step: StepRef, pending: Pending) -> Settled:
        """A step that an earlier call has reported: wait until its next attempt may be made, or its result is there."""
        if pending.kind in BODIES and (pending.due is None or pending.due <= self.clock.now_ms()):
            return Settled(pending=pending)
        return await self._rest(step)

    async def _attempt(
        self,
        step: StepRef,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        about: Body,
        attempt: int,
        options: StepOptions | None,
    ) -> tuple[Op, Any]:
        """Run the body once. The op says how it went; the value is the result as replay will see it."""
        self._busy += 1
        outer = RUNNING.get()
        running: Running | None = None
        started_at = self.clock.now_ms()
        try:
            if self._gate is not None:
                await self._gate.enter()
                started_at = self.clock.now_ms()  # it had no slot until now
            try:
                await self.may_begin()
                running = Running(self, step, attempt, started_at)
                RUNNING.set(running)
                self.progress.executing[step.id] = Executing(step.name, step.repeat, step.kind, attempt, started_at)
                if options is not None and options.timeout_s is not None:
                    result = await self._in_time(fn, args, kwargs, about, options.timeout_s)
                elif about.is_async:
                    result = await fn(*args, **kwargs)
                else:
                    result = await self._in_thread(fn, args, kwargs)
            finally:
                RUNNING.set(outer)
                self.progress.executing.pop(step.id, None)
                if running is not None:
                    running.over = True
                    if running in self.speakers:
                        self.speakers.remove(running)
                if self._gate is not None:
                    self._gate.leave()
            own = None if options is None or options.retries is None else options.retries + 1
            op, value = self.result_op(step, result, about.decode, attempt, started_at, own)
            return annotated(op, running), value
        except (KeyboardInterrupt, GeneratorExit, Suspend):
            raise
        except BaseException as error:
            if isinstance(error, CancelledError) and self._is_cancelled():
                raise
            return annotated(self.error_op(step, error, attempt, started_at, options), running), None
        finally:
            self._idle()

    async def may_begin(self) -> None:
        """No code begins of a run that was cancelled, or that another process has (I18). Raises ``Suspend``."""
        progress = self.progress
        if progress.unsure:
            await progress.look()
        if progress.lost:
            raise self._give_up()

    def begin(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """In a thread: call it, or give ``NOT_NOW`` if ``may_begin`` has to be asked once more.

        It may have waited long until the thread was free.
        """
        progress = self.progress
        return NOT_NOW if progress.lost or progress.unsure else fn(*args, **kwargs)

    async def _in_thread(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        while (result := await self._pool.run(copy_context(), self.begin, fn, *args, **kwargs)) is NOT_NOW:
            await self.may_begin()
        # A plain function may give a coroutine, as lambdas like to.
        return await result if inspect.iscoroutine(result) else result

    async def _in_time(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], about: Body, seconds: float
    ) -> Any:
        """A thread cannot be stopped: after the timeout it works on, and what it returns is dropped."""
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await (fn(*args, **kwargs) if about.is_async else self._in_thread(fn, args, kwargs))
        except TimeoutError:
            if not limit.expired():
                raise
            raise StepTimeout(f"the body took longer than {seconds:g} s") from None

    async def _with_lazy(self, answer: Answer) -> Answer:
        if isinstance(answer, Ops):
            return msgspec.structs.replace(answer, ops=(*self.drain(), *answer.ops))
        for op in self.drain():
            await self.progress.save(op)
        return answer

    async def _save(self, op: Op) -> Settled:
        self._busy += 1
        try:
            if self.lazy:  # a body may have said it, which is not run again once its result is known
                for lazy in self.drain():
                    await self.progress.save(lazy)
            if self.lines is not None:
                op = msgspec.structs.replace(op, logs=self.own_logs(op.logs))
            settled = await self.progress.save(op)
        except Superseded:
            raise self._give_up() from None
        finally:
            self._idle()
        if settled.memo is not None:
            self.replay.learn(settled.memo.at)
        elif settled.pending is None:
            self.replay.learn(op.ended_at)
        return settled

    def _is_cancelled(self) -> bool:
        task = asyncio.current_task()
        return self._ended or (task is not None and task.cancelling() > 0)

    # Rest -------------------------------------------------------------------------------------------------------------

    async def _rest(self, step: StepRef, op: Op | None = None) -> Settled:
        """Report ``op`` and wait for the step to move. Where nothing else can happen the call ends instead."""
        if await self._stays_alone():
            # The only thing left to do: what is reported and what follows from it are one transaction.
            self._ended = True
            self._last = (op,) if op is not None else ()
            raise Suspend
        if op is not None:
            settled = await self._register(op)
            if settled.memo is not None:
                return settled
        future: Future[Settled] = self._loop.create_future()
        self._rests[step.id] = future
        self.order.moves += 1
        self._consider()
        try:
            settled = await future
        finally:
            del self._rests[step.id]
            self.order.moves += 1
        if settled.memo is not None:
            self.progress.news.discard(step.id)
            self.replay.learn(settled.memo.at)
        return settled

    async def _stays_alone(self) -> bool:
        """Is the present step all that the function is doing? Others may be about to begin, or a thread to go on."""
        for _ in range(_QUIET_TURNS if self._threaded else _START_TURNS):
            if not self._is_alone():
                return False
            await _turn
        # A branch that is several tasks deep takes longer to its step. To end now would leave a step that is due as it
        # is, and the next call, which is due at once, would do the same.
        return self._is_alone() and not self.replay.is_owed(self.clock.now_ms())

    def _is_alone(self) -> bool:
        return not self._branches or (self._threaded and not self.order.threads and len(self._branches) == 1)

    async def _register(self, op: Op) -> Settled:
        done: Future[None] = self._loop.create_future()
        self._registering.add(done)
        try:
            return await self._save(op)
        finally:
            self._registering.discard(done)
            done.cancel()

    def _idle(self) -> None:
        self._busy -= 1
        self.order.moves += 1
        if not self._busy and self._rests:
            self._consider()

    def _consider(self) -> None:
        """Something began to rest, or nothing is busy any more: is that all there is?"""
        if self._rests and not self._confirming and not self._ended:
            self._confirming = True
            self._loop.call_soon(self._confirm, self.order.moves, _QUIET_TURNS)

    def _confirm(self, stamp: int, turns: int) -> None:
        if self._ended or not self._rests:
            self._confirming = False
        elif self.order.threads:  # the next step of the thread, or its end, takes this up again
            self._confirming = False
            self._watch()
        elif stamp != self.order.moves or self.order.pending:
            self._loop.call_soon(self._confirm, self.order.moves, _QUIET_TURNS)
        elif turns:
            self._loop.call_soon(self._confirm, stamp, turns - 1)
        else:
            self._confirming = False
            if self._busy or self._is_on_the_way():
                self._watch()
            else:
                self._quiet()

    def _quiet(self) -> None:
        """Each branch rests on a step."""
        self._end()

    def _is_on_the_way(self) -> bool:
        """Is a step due that the code has not come to yet? Then it awaits something else on the way to it.

        To end the call would cut that off, and the next call, which is due at once, would come no further. But the step
        may not be there any more, as code changes: so this is not for ever.
        """
        if self._impatient or not self.replay.is_owed(self.clock.now_ms()):
            return False
        if self._patience is None:
            self._patience = self._loop.call_later(_CODE_S, self._lose_patience)
        return True

    def _lose_patience(self) -> None:
        self._impatient = True
        self._consider()

    def _watch(self) -> None:
        """Something else goes on meanwhile, so whatever rests may move while the call lives."""
        for step_id, future in self._rests.items():
            if step_id not in self._watchers:
                self._watchers[step_id] = self._loop.create_task(self._follow(step_id, future))

    async def _follow(self, step_id: str, future: Future[Settled]) -> None:
        try:
            settled = await self.progress.watch(step_id)
        except Superseded:
            self._give_up()
        else:
            if not future.done():
                future.set_result(settled)
            self.order.moves += 1
        finally:
            del self._watchers[step_id]

    def _give_up(self) -> Suspend:
        """The run was cancelled, or another process has it: nothing that this call does is written any more."""
        self._superseded = True
        self._end()
        return Suspend()

    # End --------------------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        """Nothing more is to happen in this call: unwind the function, whatever it awaits."""
        if self._ended:
            return
        self._ended = True
        if asyncio.current_task() is not self._main:
            self._interrupted = True
            self._main.cancel()

    async def _clean_up(self, seconds: float = CLEANUP_S) -> None:
        """The function is over: nothing of it may go on (semantics §5.6: whoever loses a race is ignored).

        That includes tasks that have not begun yet: their first step finds the call ended.
        """
        self._ended = True
        self._teller.close()
        if self._patience is not None:
            self._patience.cancel()
        left: set[Task[Any]] = {*self._branches, *self._watchers.values()}
        if left:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=seconds)


def _next_attempt(settled: Settled, attempt: int) -> int:
    return settled.pending.attempt if settled.pending is not None else attempt + 1
