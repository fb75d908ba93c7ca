"""The SDK answered: steps are remembered, and it is decided what the run is owed next."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import msgspec

from stepwell.engine.admission import admit
from stepwell.engine.annotation import annotate_step
from stepwell.engine.deferral import put_off, so_far
from stepwell.engine.draft import Draft, Moment
from stepwell.engine.due import settle_due
from stepwell.engine.ending import finish, release
from stepwell.engine.intake import announce, publish
from stepwell.engine.leased import Leased
from stepwell.engine.lines import lines_so_far, log_call, log_step, with_step
from stepwell.engine.pressure import press
from stepwell.flow import GRANT
from stepwell.flow.limit import pairs
from stepwell.flow.verdicts import Blocked
from stepwell.lifecycle.retry import RetryAt, next_attempt
from stepwell.limits import ANSWER_BYTES_MAX, OPS_PER_ANSWER_MAX, RUN_STATE_BYTES_MAX
from stepwell.model.changes import (
    Change,
    CloseWait,
    Decision,
    DropRequest,
    OpenWait,
    Park,
    Plan,
    Retry,
    SaveAttempt,
    SaveNote,
    SaveStep,
    SetExecutionVersion,
    TakeSlots,
)
from stepwell.model.event import INVOKED, Event, routed
from stepwell.model.failure import Failure, answer_too_large, invoke_skipped, state_too_large, too_many_steps
from stepwell.model.function import Function, app_uuid, function_uuid
from stepwell.model.history import Note, Outcome
from stepwell.model.log import Logs, Said
from stepwell.model.place import EVERYWHERE, place_for
from stepwell.model.questions import CountHeld, CountSlots, FindEvents, FindWaits, GetStep, GetSteps, Lock, ask
from stepwell.model.run import RunStatus
from stepwell.model.step import DEFER, REQUESTS, TO_RUN, Attempt, Step, StepStatus
from stepwell.model.wait import Wait
from stepwell.ops import (
    Annotated,
    DeferAbort,
    DeferAdd,
    Gateway,
    Invocation,
    Op,
    StepError,
    StepPlanned,
    StepRun,
    Turn,
    WaitForEvent,
    WaitForSignal,
    plain,
)


def save(leased: Leased, op: Op, position: int, moment: Moment) -> Decision | Callable[[Draft], Plan]:
    """Remember one op of a call that goes on. The value is the step as it now is.

    ``position`` was taken when the op was reported, so that results are ordered as they were given although several are
    on their way to the disk. A result is one fenced row and nothing else, so it needs no plan: this is the hot path.
    Nor does one with what was logged, where it is known how much of that is kept.
    """
    ran, said = (op.op, op) if type(op) is Annotated and op.only_logs and leased.logged is not None else (op, None)
    if type(ran) is StepRun and leased.steps_besides(ran.id) < moment.settings.steps_max and ran.id not in leased.steps:
        effect = ran.decide(_turn(leased, moment, position))
        step = effect.step
        if step is not None and not effect.changes and _fits(leased, step):
            lines = () if said is None else with_step(leased, said, position)
            return Decision((SaveStep(step), *_new_attempts(leased, step), *lines), leased.lease, step)

    def plan(draft: Draft) -> Plan:
        step = yield from _apply(draft, leased, op, position)
        if step is not None:
            draft.add(*_new_attempts(leased, step))
        yield from announce(draft)
        return draft.decision(step, holds=leased.lease)

    return plan


def report(draft: Draft, leased: Leased, ops: Sequence[Op], version: int | None = None) -> Plan:
    """Remember several ops at once, of a call that goes on. The value is the list of the steps as they now are.

    ``version`` is the dialect in which the app has answered, if it is to be remembered.
    """
    _speak(draft, leased, version)
    if (yield from _overflows(draft, leased, ops)):
        return draft.decision(None, holds=leased.lease)
    steps: list[Step] = []
    for number, op in enumerate(_waits_first(ops)):
        step = yield from _apply(draft, leased, op, leased.position + number)
        if step is None or leased.run.id in draft.ended:
            break
        steps.append(step)
    if leased.attempt and any(not step.open and step.kind != DEFER for step in steps):
        draft.add(Retry(leased.lease, 0))
    yield from announce(draft)
    return draft.decision(steps if leased.run.id not in draft.ended else None, holds=leased.lease)


def keep(leased: Leased, said: Sequence[Said], position: int) -> Decision:
    """Remember what was logged so far, of a call that goes on. ``position`` as in ``save``.

    It must be known how much of that is kept.
    """
    return Decision(lines_so_far(leased, said, position), leased.lease)


def answered(draft: Draft, leased: Leased, op: StepRun | StepError, position: int) -> Plan:
    """A request was made for a step. The value is the step as it now is, ``None`` if that ends the run."""
    step = yield from _apply(draft, leased, op, position)
    if step is not None:
        draft.add(*_new_attempts(leased, step))
        if not step.open:
            draft.add(DropRequest(step.run_id, step.id))
    yield from announce(draft)
    return draft.decision(step, holds=leased.lease)


def suspend(
    draft: Draft, leased: Leased, ops: Sequence[Op], version: int | None = None, logs: Logs | None = None
) -> Plan:
    """The call ended and the run did not: remember what it reported, and rest until something moves.

    Waits come first, so that an event sent by another op of the same answer is not missed (semantics §5.3). With
    nothing reported and nothing open the function is called again at once.
    """
    _speak(draft, leased, version)
    yield from log_call(draft, leased, logs)
    if (yield from _overflows(draft, leased, ops)):
        return draft.decision(None, holds=leased.lease)
    known, width = yield from _known(leased)
    steps = {step_id: step for step_id, step in known.items() if step.open}
    again = not steps and all(isinstance(plain(op), DeferAdd | DeferAbort) for op in ops)
    for number, op in enumerate(_waits_first(ops)):
        step = yield from _apply(draft, leased, op, leased.position + number)
        if leased.run.id in draft.ended:
            yield from announce(draft)
            return draft.decision(None, holds=leased.lease)
        if step is not None and step.open and step.kind != DEFER:
            steps[step.id] = step
        elif step is None or step.kind != DEFER:
            again = True
    dues = [step.due for step in steps.values() if step.due is not None]
    at = draft.now if again else min(dues, default=None)
    draft.changes.insert(0, Park(leased.lease, at, draft.now))
    draft.due(at)
    if leased.run.slots:
        draft.add(*release(draft, leased.run, width))
    yield from announce(draft)
    return draft.decision(None, holds=leased.lease)


def elapse(draft: Draft, leased: Leased) -> Plan:
    """Moments came while the call is in flight: sleeps that are over, waits and invokes that are too late.

    The value is the list of the steps that moved, as they now are, and of those that have got another moment: a step
    that is to be tried again has moved, but it may have failed again meanwhile, and the call not have heard of it yet.
    """

    def due(step: Step) -> bool:
        return step.due is not None and step.due <= draft.now

    watched = {step.id for step in leased.steps.values() if step.open and due(step)}
    steps = yield from ask(GetSteps(leased.run.id))
    moved: list[Step] = []
    later: list[Step] = []
    for step in settle_due(draft, steps):
        if step.id in watched:
            (later if step.open and not due(step) else moved).append(step)
    return draft.decision((moved, later), holds=leased.lease)


def widen(draft: Draft, leased: Leased, wanted: int) -> Plan:
    """The call has more branches than slots. The value is how many more it has now: at most ``wanted``, but for what an
    earlier try took, of which nobody heard.

    What is free is free: were anybody blocked by this limit, the slot would have gone to them. The limits are those
    that there are by now: they may have changed since the call began.
    """
    run = leased.run
    function = draft.registry.of_run(run.function_id) or leased.function
    held = max(leased.width, (yield from ask(CountHeld(run.slots[0], run.id))))
    room = max(0, wanted - (held - leased.width))
    limits = [control for control in function.controls if isinstance(control, GRANT)]
    for slot, control in pairs(run.slots, limits, function.id):
        used = yield from ask(CountSlots(slot, run.place))
        while room > 0 and isinstance(control.grant(used + room - 1), Blocked):
            room -= 1
    for number in range(held, held + room):
        draft.add(TakeSlots(run.slots, f"{run.id}/{number}"))
    return draft.decision(held + room - leased.width, holds=leased.lease)


def complete(draft: Draft, leased: Leased, output: bytes, note: str | None = None, logs: Logs | None = None) -> Plan:
    """The function returned."""
    run = leased.run
    if logs is not None:
        yield from log_call(draft, leased, logs)
    if len(output) > ANSWER_BYTES_MAX:
        failure = answer_too_large(len(output), ANSWER_BYTES_MAX)
        yield from _end(draft, leased, RunStatus.FAILED, failure=failure)
    elif leased.state_bytes + len(output) > RUN_STATE_BYTES_MAX:
        yield from _end(draft, leased, RunStatus.FAILED, failure=state_too_large(RUN_STATE_BYTES_MAX))
    else:
        yield from _end(draft, leased, RunStatus.COMPLETED, output=output)
        if note is not None:
            draft.add(SaveNote(Note(run_id=run.id, at=draft.now, kind="code-changed", text=note)))
    yield from announce(draft)
    return draft.decision(None, holds=leased.lease)


def fail(
    draft: Draft,
    leased: Leased,
    failure: Failure,
    *,
    final: bool,
    requested_at: int | None,
    started_at: int,
    logs: Logs | None = None,
) -> Plan:
    """The function's own code raised, or could not be called. It has its own attempts (semantics §6.1)."""
    attempt = leased.attempt
    yield from log_call(draft, leased, logs)
    following = next_attempt(
        attempt,
        leased.function.retries + 1,
        now=draft.now,
        policy=leased.function.backoff,
        chance=draft.moment.chance,
        fixed_ms=draft.moment.settings.retry_ms,
        requested_at=requested_at,
        final=final,
    )
    at = following.at if isinstance(following, RetryAt) else None
    error = failure.json()
    tried = Attempt(
        run_id=leased.run.id,
        step_id="",
        attempt=attempt,
        started_at=started_at or draft.now,
        ended_at=draft.now,
        error=error,
        retry_at=at,
    )
    if at is None:
        yield from _end(draft, leased, RunStatus.FAILED, output=error)
    else:
        draft.add(Park(leased.lease, at, draft.now, attempt + 1))
        draft.due(at)
        if leased.run.slots:
            _, width = yield from _known(leased)
            draft.add(*release(draft, leased.run, width))
    draft.add(SaveAttempt(tried))
    yield from press(draft, leased.run, leased.function, failure, None, due=at, requested_at=requested_at)
    yield from announce(draft)
    return draft.decision(None, holds=leased.lease)


def _waits_first(ops: Sequence[Op]) -> list[Op]:
    return sorted(ops, key=lambda op: not isinstance(plain(op), WaitForEvent | WaitForSignal | DeferAdd | DeferAbort))


def _overflows(draft: Draft, leased: Leased, ops: Sequence[Op]) -> Generator[Any, Any, bool]:
    """Whether the answer has more ops than any may, or opens more steps than a run may have: that ends the run.

    Steps that others save at the same moment are counted when these are saved: here only what comes together.
    """
    steps_max = draft.moment.settings.steps_max
    most = max(OPS_PER_ANSWER_MAX, steps_max)
    if len(ops) <= most:
        most = steps_max
        found = {op.id for op in ops if not isinstance(plain(op), DeferAdd | DeferAbort)}
        if len(found) < 2 or len(leased.steps.keys() | found) <= most:
            return False
    _refuse(draft, leased, too_many_steps(most))
    yield from announce(draft)
    return True


def _speak(draft: Draft, leased: Leased, version: int | None) -> None:
    if version is not None and leased.run.execution_version == -1:
        draft.add(SetExecutionVersion(leased.run.id, version))


def _apply(draft: Draft, leased: Leased, op: Op, position: int) -> Generator[Any, Any, Step | None]:
    """One op, unless it is about a step that is known: SDKs report unfinished steps again (protocol §6.1)."""
    if isinstance(op, Annotated):
        step = yield from _apply(draft, leased, op.op, position)
        if step is not None:
            yield from annotate_step(draft, leased.run, op)
            yield from log_step(draft, leased, op, position)
        return step
    if isinstance(op, DeferAdd | DeferAbort):
        turn = _turn(leased, draft.moment, position, draft.registry.get)
        turn.defers = so_far(draft, leased)
        return (yield from put_off(draft, op, turn))
    known = leased.steps.get(op.id)
    if known is None:
        # An earlier try of this very decision may have been written although nobody was told so.
        known = yield from ask(GetStep(leased.run.id, op.id))
    if known is not None and (known.status not in TO_RUN or isinstance(op, StepPlanned | Gateway)):
        settled = known.status != StepStatus.ERRORED or known.parallel is not None or op.parallel is None
        if settled or known.kind in REQUESTS:
            return known
        planned = msgspec.structs.replace(
            known, parallel=op.parallel
        )  # it failed, and is asked for by name from now on
        draft.add(SaveStep(planned))
        return planned
    steps_max = draft.moment.settings.steps_max
    if known is None and leased.steps_besides(op.id) >= steps_max:
        _refuse(draft, leased, too_many_steps(steps_max))
        return None
    turn = _turn(leased, draft.moment, position, draft.registry.get)
    question = op.ask(turn)
    if question is not None:
        if isinstance(question, FindWaits | FindEvents):
            yield from _alone(question)
        turn.answer = yield question
        if isinstance(question, FindWaits):
            turn.answer = _with_those_opened(draft, question, turn.answer)
    effect = op.decide(turn)
    step = effect.step
    if effect.failure is not None or step is None:
        _refuse(draft, leased, effect.failure)
        return None
    if not _fits(leased, step):
        _refuse(draft, leased, state_too_large(RUN_STATE_BYTES_MAX))
        return None
    if isinstance(op, StepError):
        run, function = leased.run, leased.function
        yield from press(draft, run, function, op.error, step.name, due=step.due, requested_at=op.retry_at)
    parallel = op.parallel or (known.parallel if known is not None else None)
    if parallel is not None:
        step = msgspec.structs.replace(step, parallel=parallel)
    if effect.invoke is not None:
        step = yield from _invoke(draft, leased, step, effect.invoke)
        if step is None:
            return None
    draft.add(SaveStep(step), *effect.changes)
    return step


def _alone(question: FindWaits | FindEvents) -> Generator[Any, Any, None]:
    """Nobody else decides about the same meanwhile.

    A look back must not miss the event that arrives beside it, which does not see the wait yet: either the one or the
    other waits for all that is under way. And of two steps that want the same signal one is the first.
    """
    held = EVERYWHERE if isinstance(question, FindEvents) else place_for(question.event_name)
    yield from ask(Lock((held,)))


def _with_those_opened(draft: Draft, question: FindWaits, waits: Sequence[Wait]) -> list[Wait]:
    """The waits that were found, and as this very answer has left them so far."""
    found = {(wait.run_id, wait.id): wait for wait in waits}
    for change in draft.changes:
        if isinstance(change, OpenWait) and change.wait.event_name == question.event_name:
            found[change.wait.run_id, change.wait.id] = change.wait
        elif isinstance(change, CloseWait):
            found.pop((change.run_id, change.wait_id), None)
    return list(found.values())


def _invoke(draft: Draft, leased: Leased, step: Step, asked: Invocation) -> Generator[Any, Any, Step | None]:
    """Start the other function. ``None`` if the run has heard its own invoke, which cancels it."""
    run, function = leased.run, asked.function
    routing = {
        "fn_id": function.id,
        "correlation_id": f"{run.id}.{step.id}",
        "source_app_id": app_uuid(leased.function.app_id),
        "source_fn_id": function_uuid(run.function_id),
        "source_fn_v": run.function_version,
        "expire": step.due,
        "name": step.name,
    }
    event = Event(
        id=draft.moment.new_id(run.place),
        name=INVOKED,
        ts=asked.ts or draft.now,
        received_at=draft.now,
        data=routed(asked.data, routing),
        key=asked.key,
        v=asked.v,
        user=asked.user,
        meta=asked.meta,
        source="invoke",
        depth=run.depth + 1,
        sent_by=run.id,
    )
    # A function that watches the invokes of others must not watch its own: it would start itself for ever (S41).
    watches = leased.event.name == INVOKED and run.parent is None and draft.registry.listens(run.function_id, INVOKED)
    yield from publish(draft, event, besides=function.id, starts=not watches)
    if run.id in draft.ended:
        return None
    started = yield from admit(draft, function, event, event.fields(), parent=(run, step.id))
    if isinstance(started, Outcome):
        failure = invoke_skipped(function.id, started.reason)
        return msgspec.structs.replace(
            step, status=StepStatus.FAILED, ended_at=draft.now, due=None, output=failure.json()
        )
    details = (step.details or b"{}")[:-1] + b',"run_id":"%b"}' % started.id.encode()
    return msgspec.structs.replace(step, details=details)


def _known(leased: Leased) -> Generator[Any, Any, tuple[Mapping[str, Step], int]]:
    """The steps of the run, and how many slots it holds.

    A call that cut branches off has not heard what became of their ops, so it asks.
    """
    if not leased.unheard:
        return leased.steps, leased.width
    run, width = leased.run, leased.width
    steps = yield from ask(GetSteps(run.id))
    if run.slots:
        width = max(1, (yield from ask(CountHeld(run.slots[0], run.id))))
    return {step.id: step for step in steps if step.kind != DEFER}, width


def _end(
    draft: Draft, leased: Leased, status: str, *, output: bytes | None = None, failure: Failure | None = None
) -> Generator[Any, Any, None]:
    steps, width = yield from _known(leased)
    tidy = any(step.open for step in steps.values())
    finish(
        draft,
        leased.run,
        leased.event,
        status,
        output=output,
        failure=failure,
        tidy=tidy,
        width=width,
        # An app may have said so to another process, of which the holder of the lease has not heard.
        deferred=bool(leased.defers or leased.unheard or leased.function.url),
    )


def _refuse(draft: Draft, leased: Leased, failure: Failure | None) -> None:
    """An op asks for what no run may have: the run fails, whatever else the same answer has opened."""
    finish(draft, leased.run, leased.event, RunStatus.FAILED, failure=failure, width=leased.width)


def _new_attempts(leased: Leased, step: Step) -> tuple[Change, ...]:
    """A result is progress: what comes after it is not on its second attempt (semantics §6.1)."""
    return (Retry(leased.lease, 0),) if leased.attempt and not step.open and step.kind != DEFER else ()


def _fits(leased: Leased, step: Step) -> bool:
    return leased.bytes_besides(step.id) + len(step.output or b"") <= RUN_STATE_BYTES_MAX


def _nobody(function_id: str) -> Function | None:
    """Whom a result asks for: none."""


def _turn(
    leased: Leased, moment: Moment, position: int, function_of: Callable[[str], Function | None] = _nobody
) -> Turn:
    return Turn(
        run=leased.run,
        function=leased.function,
        event=leased.events[0],
        steps=leased.steps,
        position=position,
        now=moment.now,
        chance=moment.chance,
        function_of=function_of,
        retry_ms=moment.settings.retry_ms,
    )
