"""One lease of a run that an app serves: what it is owed next, from its steps alone, until it rests or ends (ADR 0014).

Those that are planned are asked for by name, several at once; else the app is asked what comes next. So a process that
takes a run over needs to know nothing else (protocol §7).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from stepwell.model.log import Said
from stepwell.model.step import REQUESTS, RESTS
from stepwell.protocol.instructions import UnknownOp
from stepwell.protocol.messages import (
    DISCOVERY_REQUEST,
    LAZY,
    STEP_ERROR,
    STEP_FAILED,
    STEP_PLANNED,
    STEP_RUN,
    Answer,
    Call,
    Completed,
    Executing,
    Failed,
    Op,
    Ops,
    Pending,
    Reports,
    Settled,
    Superseded,
    WireError,
)
from stepwell.runtime.connected import Stored
from stepwell.runtime.groups import ALONE, RACE, WAIT, all_rest, careful, in_groups
from stepwell.runtime.workers import ALL_BUSY, NO_WORKER, SILENT, LeaseLost

if TYPE_CHECKING:
    from stepwell.runtime.remote import Remote

DISCOVERY: Final = "step"
NOBODY: Final = frozenset({NO_WORKER, ALL_BUSY})
_SILENT: Final = Failed(WireError("Error", "the workers that had the call went silent", code=SILENT))
_TRIED: Final = frozenset({STEP_RUN, STEP_ERROR, STEP_FAILED})
_NOT_ASKED: Final = RESTS | REQUESTS  # the kinds of steps that come by their results without the app


class Drive:
    """One lease of one run: the requests in flight, and what their answers make necessary."""

    def __init__(self, remote: Remote, call: Call, progress: Reports) -> None:
        self._remote = remote
        self._progress = progress
        self._gate = progress.gate
        self._targets: dict[str, asyncio.Task[Answer]] = {}
        self._discovery: asyncio.Task[Answer] | None = None
        self._discovered: Call = call  # what the last discovery was told
        self._watchers: dict[str, asyncio.Task[Settled]] = {}
        self._open: dict[str, Pending] = {}  # what was pending when it was looked at last
        # Discoveries that are owed, one at a time: two at once might both run the step that they find. Each member of
        # a race brings one, which is told what was known when it was done, as the protocol counts them (§7.3).
        self._owed: list[Call | None] = [None] if self._may_go_on(call) else []
        self._in_vain = False
        self._end: Failed | Ops | None = None  # the run cannot go on, once what is in flight is written down
        self._stored: dict[str, Stored] = {}  # what to do when the answer to a request is written down, by its step

    async def run(self) -> Answer:
        try:
            while True:
                self._begin()
                tasks = {*self._targets.values(), *((self._discovery,) if self._discovery else ())}
                if not tasks:
                    return self._end or Ops()
                await asyncio.wait({*tasks, *self._watchers.values()}, return_when=asyncio.FIRST_COMPLETED)
                answer = await self._take()
                if answer is not None:
                    return answer
        finally:
            await self._clean_up()

    # What is asked ----------------------------------------------------------------------------------------------------

    def _may_go_on(self, call: Call) -> bool:
        """Is the app to be asked what comes next? Not while members of a group are pending that all are waited for, or
        one step alone, nor before the time of the one step which it would try again."""
        now, steps = self._remote.clock.now_ms(), call.pending.values()
        modes = {step.parallel for step in steps}
        if WAIT in modes or (ALONE in modes and RACE not in modes):
            return False
        return len(steps) != 1 or all(
            step.kind in _NOT_ASKED or step.planned or (step.due or 0) <= now for step in steps
        )

    def _begin(self) -> None:
        """Make the requests that the run is owed now."""
        if self._end is not None:
            return
        call, now = self._progress.call, self._remote.clock.now_ms()
        self._open = dict(call.pending)
        for step_id, step in call.pending.items():
            if step.planned and step_id not in self._targets and (step.due or 0) <= now:
                self._targets[step_id] = asyncio.create_task(self._target(call, step_id, step))
        if self._owed and self._discovery is None:
            self._discovered = careful(self._owed.pop(0) or call, call)
            self._discovery = asyncio.create_task(self._discover(self._discovered))
        if self._targets or self._discovery is not None:
            for step_id in call.pending.keys() - self._targets.keys() - self._watchers.keys():
                step = call.pending[step_id]
                # Of one that may be tried by now there is nothing to hear: the discovery that is under way tries it.
                if step.kind in _NOT_ASKED or (step.due or 0) > now:
                    self._watchers[step_id] = asyncio.ensure_future(_once(self._progress.watch(step_id)))

    async def _discover(self, call: Call) -> Answer:
        # A step that failed when it was found is found again, at the attempt it has come to (protocol §7.2).
        found = [step.attempt for step in call.pending.values() if step.kind not in _NOT_ASKED and not step.planned]
        return await self._ask(msgspec.structs.replace(call, attempt=max([call.attempt, *found]), step_id=DISCOVERY))

    async def _target(self, call: Call, step_id: str, step: Pending) -> Answer:
        executing = self._progress.executing
        executing[step_id] = Executing(step.name, step.repeat, step.kind, step.attempt, self._remote.clock.now_ms())
        try:
            return await self._ask(msgspec.structs.replace(call, attempt=step.attempt, step_id=step_id))
        finally:
            del executing[step_id]

    async def _ask(self, call: Call) -> Answer:
        if self._gate is not None:
            await self._gate.enter()
        try:
            if self._progress.unsure:
                await self._progress.look()
            if await self._progress.catch_up():
                call = self._renewed(call)
            if self._progress.lost:
                raise Superseded
            answer = await self._once_more(call)
            await self._progress.hear()
            return answer
        finally:
            if self._gate is not None:
                self._gate.leave()

    async def _once_more(self, call: Call) -> Answer:
        """One request, and another if its worker goes silent: the same attempt, told what that one has reported. A call
        that takes its workers with it must not go on for ever, also where there is no other for so long that the run
        is put aside in between."""
        remote, tried = self._remote, (call.run_id, call.step_id, call.attempt)
        outlived = tried in remote.outlived
        remote.outlived.pop(tried, None)
        try:
            answer, stored = await remote.ask(call)
        except LeaseLost:
            if outlived:
                return _SILENT
            try:
                await self._progress.catch_up()
                if self._progress.lost:
                    raise Superseded from None
                answer, stored = await remote.ask(self._renewed(call))
            except LeaseLost:
                return _SILENT
            outlived = True
        if outlived and isinstance(answer, Failed) and answer.error.code in NOBODY:
            remote.remember_outlived(tried)
        if stored is not None:
            self._stored[call.step_id] = stored
        return answer

    def _renewed(self, call: Call) -> Call:
        now = self._progress.call
        return msgspec.structs.replace(call, steps=now.steps, stack=now.stack, pending=now.pending)

    # What was answered ------------------------------------------------------------------------------------------------

    async def _take(self) -> Answer | None:
        """Write down what has come. Gives the answer with which the lease ends, if that was among it."""
        for step_id in [step_id for step_id, watcher in self._watchers.items() if watcher.done()]:
            found = await self._watchers.pop(step_id)
            if found.memo is not None:
                self._progress.news.discard(step_id)
                self._moved(step_id)
        for step_id in [step_id for step_id, target in self._targets.items() if target.done()]:
            answer = await self._targets[step_id]
            ended = await self._of_target(step_id, answer)
            del self._targets[step_id]
            self._settle(step_id, ended)
            if ended is not None:
                return ended
        if self._discovery is not None and self._discovery.done():
            answer, self._discovery = await self._discovery, None
            ended = await self._of_discovery(answer)
            self._settle(DISCOVERY, ended)
            return ended
        return None

    def _settle(self, step_id: str, ended: Answer | None) -> None:
        """The answer to a request is written down, or will be with the end of the lease."""
        stored = self._stored.pop(step_id, None)
        if stored is None:
            return
        if ended is None and self._end is None:
            stored()
        else:
            self._progress.afterwards(stored)

    async def _of_discovery(self, answer: Answer) -> Answer | None:
        if isinstance(answer, Completed):
            return answer
        if isinstance(answer, Failed):
            # It spends no attempt that there is nobody any more to run it.
            return self._fail(Ops() if self._remote.is_gone(self._discovered.function_id, answer) else answer)
        ops, version, logs = in_groups(answer, self._discovered.version), answer.version, answer.logs
        if answer.then is None and not any(op.op == DISCOVERY_REQUEST or self._is_news(op) for op in ops):
            if logs is not None:
                await self._progress.keep([Said(logs)])
            return await self._nothing_new()
        self._in_vain = False
        if any(op.op == DISCOVERY_REQUEST for op in ops):
            self._owed.append(None)
            ops = [op for op in ops if op.op != DISCOVERY_REQUEST]
        if answer.then is None and not self._owed and not self._targets and all_rest(ops):
            return Ops(tuple(ops), version, logs=logs)  # they and the rest of the run are one transaction
        if logs is not None:
            await self._progress.keep([Said(logs)])
        known = self._progress.call.steps  # SDKs report unfinished steps again, which may be finished by now
        try:
            await self._report(ops, version)
        except UnknownOp as error:
            return self._fail(Failed(WireError("InvalidOp", str(error))))
        if answer.then is not None:
            return self._fail(answer.then) if isinstance(answer.then, Failed) else answer.then
        pending = self._progress.call.pending
        opened = [pending[op.id] for op in ops if op.id in pending]
        settled = any(op.op not in LAZY and op.id not in pending and op.id not in known for op in ops)
        if settled and all(step.parallel == RACE for step in opened):
            self._owed.append(None)
        return None

    async def _of_target(self, step_id: str, answer: Answer) -> Answer | None:
        if isinstance(answer, Completed):
            return answer
        step = self._open.get(step_id) or self._progress.call.pending.get(step_id)
        if step is None:
            return None  # it has its result from elsewhere
        if isinstance(answer, Failed) and self._remote.is_gone(self._discovered.function_id, answer):
            return self._fail(Ops())
        if isinstance(answer, Ops):
            try:
                await self._report(in_groups(answer, self._discovered.version), answer.version)
            except UnknownOp as error:
                answer = Failed(WireError("InvalidOp", str(error)))
            else:
                if answer.then is not None:
                    return self._fail(answer.then) if isinstance(answer.then, Failed) else answer.then
        if isinstance(answer, Ops):
            now = self._progress.call.pending.get(step_id)
            if now is None:
                self._moved(step_id)
                return None
            if now != step:
                return None  # it failed, and has another attempt
            answer = Failed(WireError("Error", f"the app did not run the step {step.name!r} that it was asked for"))
        if answer.no_retry or step.attempt + 1 >= self._discovered.max_attempts:
            # The app could not even say that it was the step: its code never hears of this (protocol §5.5, 5).
            return self._fail(msgspec.structs.replace(answer, no_retry=True))
        await self._report([self._failure(step_id, step, answer)], None)
        return None

    def _failure(self, step_id: str, step: Pending, answer: Failed) -> Op:
        now = self._remote.clock.now_ms()
        return Op(
            op=STEP_ERROR,
            id=step_id,
            name=step.name,
            repeat=step.repeat,
            kind=step.kind,
            error=answer.error,
            attempt=step.attempt,
            retry_at=answer.retry_at,
            started_at=answer.started_at or now,
            ended_at=now,
        )

    async def _report(self, ops: Sequence[Op], version: int | None) -> None:
        if len(ops) == 1 and (version is None or self._progress.call.version != -1):
            await self._progress.save(ops[0])
        elif ops:
            await self._progress.report(ops, version)

    def _is_news(self, op: Op) -> bool:
        if op.op in LAZY:
            return op.id not in self._discovered.defers
        if op.id in self._discovered.steps:
            return False
        known = self._discovered.pending.get(op.id)
        # One that was found and failed is to be asked for by name from now on, if the app only plans.
        return known is None or op.op in _TRIED or (op.op == STEP_PLANNED and not known.planned)

    async def _nothing_new(self) -> Answer | None:
        """The app has nothing to say. Unless something is pending that moves by itself, that is an error, once it is
        sure of it. A step that failed and that its code does not come to any more has failed again: it would keep us
        asking for ever."""
        if self._owed or self._targets:
            return None
        pending = self._progress.call.pending
        missed = {step_id: step for step_id, step in pending.items() if self._is_found(step)}
        if len(missed) < len(pending):
            for step_id, step in missed.items():
                error = WireError("Error", f"the code does not come to the step {step.name!r} any more")
                await self._report([self._failure(step_id, step, Failed(error))], None)
            return None
        if self._in_vain:
            return self._fail(Failed(WireError("Error", "the app says neither what comes next nor that it is done")))
        self._in_vain = True
        self._owed.append(None)
        return None

    def _is_found(self, step: Pending) -> bool:
        """Would the app, asked what comes next, have run this step?"""
        return step.kind not in _NOT_ASKED and not step.planned and (step.due or 0) <= self._remote.clock.now_ms()

    def _moved(self, step_id: str) -> None:
        """A step has its result: does the function go on with it, or wait for others?"""
        step, call = self._open.get(step_id), self._progress.call
        if step is not None and step.parallel == RACE:
            self._owed.append(call)
        elif step is None or step.parallel != WAIT or self._may_go_on(call):
            self._owed.append(None)

    def _fail(self, failed: Failed | Ops) -> Answer | None:
        """What is in flight beside it is written down first: the next call would run it once more."""
        if not self._targets.keys() - {step_id for step_id, task in self._targets.items() if task.done()}:
            return failed
        self._end = self._end or failed
        return None

    async def _clean_up(self) -> None:
        tasks: list[asyncio.Task[Any]] = [*self._targets.values(), *self._watchers.values()]
        if self._discovery is not None:
            tasks.append(self._discovery)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for stored in self._stored.values():
            self._progress.afterwards(stored)


async def _once(found: Awaitable[Settled]) -> Settled:
    return await found
