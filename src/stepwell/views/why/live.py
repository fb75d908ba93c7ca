"""What a run that has not ended is waiting for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

import msgspec

from stepwell.engine.admission import paused, ready, unserved
from stepwell.engine.ending import places
from stepwell.engine.endpoints import is_of_app
from stepwell.engine.pressure import PREFIX, decode
from stepwell.engine.registry import Registry
from stepwell.flow import Concurrency, RunConcurrency, Throttle
from stepwell.flow.limit import pairs
from stepwell.limits import LEASE_LOSSES_MAX
from stepwell.model.duration import to_ms
from stepwell.model.event import rfc3339
from stepwell.model.item import Item, ItemKind
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import (
    Attempts,
    BacklogPosition,
    CountSlots,
    GetCell,
    GetItem,
    GetRun,
    GetSteps,
    GetWaits,
    ListStandingOrders,
    RunItems,
)
from stepwell.model.run import Run
from stepwell.model.standing import Orders, StandingKind
from stepwell.model.step import DEFER, TO_RUN, Attempt, Step, StepStatus
from stepwell.model.wait import Wait, WaitKind
from stepwell.views.nouns import Reader, error_view
from stepwell.views.queues.holders import holders
from stepwell.views.queues.shapes import COUNT_MAX
from stepwell.views.trace import child_run, max_attempts
from stepwell.views.why.shapes import (
    Deadline,
    Due,
    Executing,
    Gate,
    Invoking,
    Lapsed,
    Leaderless,
    Limited,
    Listener,
    Lost,
    Paused,
    Postponed,
    Pressed,
    Reporting,
    Retrying,
    RunWhy,
    Scheduled,
    Situation,
    Sleeping,
    Throttled,
    Unserved,
    Waiting,
    WaitingForSignal,
)

Explain = Callable[[Run], Awaitable[RunWhy | None]]


class _Details(msgspec.Struct, rename={"condition": "if"}):
    event: str = ""
    signal: str = ""
    condition: str | None = None
    function_id: str = ""


_TIMEOUTS: Final[dict[str, Literal["start", "finish"]]] = {
    ItemKind.START_TIMEOUT: "start",
    ItemKind.FINISH_TIMEOUT: "finish",
}
_decode_details: Final = msgspec.json.Decoder(_Details).decode


async def gates(reader: Reader, registry: Registry, run: Run, situation: Situation, explain: Explain) -> list[Gate]:
    """The gates of a live run: its item's state first, then one for each step that is open.

    ``explain`` is asked about runs it invoked, and answers ``None`` if that goes too deep.
    """
    found = await _gates(reader, registry, run, situation, explain)
    return found if situation.led else [Leaderless(), *found]


async def deadlines(reader: Reader, run: Run) -> tuple[Deadline, ...]:
    """When a timeout of its function cancels a live run."""
    items = [item for item in await reader.read(RunItems(run.id)) if item.kind in _TIMEOUTS and item.at is not None]
    return tuple(Deadline(timeout=_TIMEOUTS[item.kind], at=rfc3339(item.at or 0)) for item in items)


async def listeners(reader: Reader, run: Run, now: int) -> tuple[Listener, ...]:
    """The events that cancel a live run."""
    found: list[Wait] = await reader.read(GetWaits(run.id))
    return tuple(
        Listener(event=wait.event_name, condition=wait.condition, until=rfc3339(wait.expires_at))
        for wait in sorted(found, key=lambda wait: wait.id)
        if wait.kind == WaitKind.CANCEL and wait.expires_at > now
    )


async def _gates(reader: Reader, registry: Registry, run: Run, situation: Situation, explain: Explain) -> list[Gate]:
    item = next((i for i in await reader.read(RunItems(run.id)) if i.kind == ItemKind.RUN), None)
    if item is None:
        return [Lost()]
    if item.backlog is not None and item.at is None:
        return [await _backlog(reader, registry, run, item, situation)]
    steps = [step for step in await reader.read(GetSteps(run.id)) if step.kind != DEFER]
    attempts = await reader.read(Attempts(run.id))
    if is_of_app(item.lease) and item.at is not None and item.at > situation.now:
        return [_reporting(run, item.at, steps)]
    if item.lease:
        bodies = situation.bodies(run.id)
        busy: list[Gate] = [
            Executing(since=rfc3339(body.started_at), step=body.name, retry=body.attempt, after=None)
            for body in bodies.values()
        ]
        others = [step for step in steps if step.open and not _being_tried(step, situation.now)]
        return [
            *(busy or [_executing(run, item, steps, attempts, situation.now)]),
            *[await _open_step(reader, run, step, explain) for step in others],
        ]
    if item.at is not None and item.at <= situation.now:
        return [_due(item.at, situation)]
    if item.losses and item.at is not None:
        return [Postponed(at=rfc3339(item.at), losses=item.losses, losses_max=LEASE_LOSSES_MAX)]
    if run.started_at is None and item.at is not None:
        return [Scheduled(at=rfc3339(item.at))]
    found = [await _open_step(reader, run, step, explain) for step in steps if step.open]
    if item.at is not None and item.attempt > 0 and not any(step.due == item.at for step in steps if step.open):
        found.insert(0, _function_retry(registry, run, item, attempts))
    return found or [Lost()]


def _due(at: int, situation: Situation) -> Due:
    because: Literal["draining", "all-busy"] | None = None
    if situation.draining:
        because = "draining"
    elif situation.calls_max and situation.calls >= situation.calls_max:
        because = "all-busy"
    return Due(since=rfc3339(at), because=because, calls=situation.calls, calls_max=situation.calls_max)


async def _backlog(reader: Reader, registry: Registry, run: Run, item: Item, situation: Situation) -> Gate:
    assert item.backlog is not None
    function = registry.of_run(run.function_id)
    if item.backlog == ready(run.function_id):
        return _due(item.queued_at, situation)
    if item.backlog == unserved(run.function_id):
        return Unserved(function_id=run.function_id, registered=registry.get(run.function_id) is not None)
    if item.backlog == paused(run.function_id):
        pause = function.pause if function is not None else None
        if pause is None:
            return _due(item.queued_at, situation)  # it is being let go
        standing = await reader.read(ListStandingOrders())
        orders = Orders(standing)
        order = orders.find(StandingKind.PAUSE, run.function_id, function.app_id) if function is not None else None
        return Paused(
            function_id=run.function_id,
            app_id=function.app_id if function is not None and order is not None and order.pause == pause else None,
            since=rfc3339(pause.since),
            reason=pause.reason,
        )
    if item.backlog.startswith(PREFIX):
        return await _pressed(reader, run, item, item.backlog, situation)
    controls = function.controls if function else ()
    throttle = next((control for control in controls if isinstance(control, Throttle)), None)
    if item.backlog == run.throttle and throttle is not None:
        return await _throttled(reader, throttle, run, item)
    of_steps = [control for control in controls if isinstance(control, Concurrency)]
    of_runs = [control for control in controls if isinstance(control, RunConcurrency)]
    limits: dict[str, Concurrency | RunConcurrency] = {}
    limits.update(pairs(run.slots, of_steps, run.function_id))
    limits.update(pairs(places(run), of_runs, run.function_id))
    control = limits.get(item.backlog)
    place = await _place(reader, run, item)
    held_by = await holders(reader, item.backlog, situation.bodies)
    return Limited(
        key=item.backlog,
        value=item.backlog.rpartition("/")[2] if control is None or control.key is not None else None,
        expression=control.key if control else None,
        scope=control.scope if control else item.backlog.removeprefix("run/").partition("/")[0],
        of_runs=item.backlog in places(run),
        limit=control.limit if control else None,
        used=await reader.read(CountSlots(item.backlog, run.place)),
        held_by=list(dict.fromkeys(holder.run_id for holder in held_by)),
        holders=tuple(held_by),
        **place,
    )


async def _pressed(reader: Reader, run: Run, item: Item, backlog: str, situation: Situation) -> Pressed | Due:
    cell = await reader.read(GetCell(backlog, situation.now, EVERYWHERE))
    if cell is None:
        return _due(item.queued_at, situation)  # it is being let go
    said = decode(cell.value)
    return Pressed(
        queue=backlog.removeprefix(PREFIX),
        until=rfc3339(cell.expires_at),
        run_id=said.run_id,
        step=said.step,
        message=said.message,
        **(await _place(reader, run, item)),
    )


async def _place(reader: Reader, run: Run, item: Item) -> dict[str, Any]:
    """Where it stands in its backlog, counted up to a number: the members of a gate."""
    place: tuple[int, int] | None = await reader.read(BacklogPosition(item.id, COUNT_MAX))
    before, queued = place or (0, 1)
    return {
        "position": before + 1,
        "queued": max(queued, before + 1),  # both were counted no further than so
        "position_more": before >= COUNT_MAX,
        "queued_more": queued >= COUNT_MAX,
        "head_start_ms": run.scheduled_at - item.queued_at,
    }


async def _throttled(reader: Reader, throttle: Throttle, run: Run, item: Item) -> Throttled:
    timer = await reader.read(GetItem(item.backlog or "", EVERYWHERE))
    return Throttled(
        value=(item.backlog or "").split("/", 2)[2] if throttle.key is not None else None,
        expression=throttle.key,
        limit=throttle.limit,
        period_ms=to_ms(throttle.period),
        next_at=rfc3339(timer.at if timer is not None and timer.at is not None else item.queued_at),
        **await _place(reader, run, item),
    )


def _reporting(run: Run, until: int, steps: list[Step]) -> Reporting:
    since, after = run.started_at or run.queued_at, None
    for step in steps:
        if step.ended_at is not None and step.ended_at >= since:
            since, after = step.ended_at, step.name
    return Reporting(since=rfc3339(since), until=rfc3339(until), after=after)


def _executing(run: Run, item: Item, steps: list[Step], attempts: list[Attempt], now: int) -> Executing | Lapsed:
    if item.at is not None and item.at <= now:
        return Lapsed(at=rfc3339(item.at))
    since, after = run.started_at or run.queued_at, None
    for step in steps:
        moment = step.ended_at
        if moment is not None and moment >= since:
            since, after = moment, step.name
    since = max([since, *(attempt.ended_at for attempt in attempts)])
    tried = [step for step in steps if _being_tried(step, now)]
    if len(tried) == 1:
        step = tried[0]
        return Executing(since=rfc3339(max(since, step.due or 0)), step=step.name, retry=step.attempt, after=after)
    if item.attempt > 0:  # a function that is tried again began at the moment its last attempt asked for
        since = max([since, *(a.retry_at for a in attempts if a.retry_at is not None and a.retry_at <= now)])
    return Executing(since=rfc3339(since), step=None, retry=item.attempt, after=after)


def _being_tried(step: Step, now: int) -> bool:
    return step.status in TO_RUN and step.due is not None and step.due <= now


def _function_retry(registry: Registry, run: Run, item: Item, attempts: list[Attempt]) -> Retrying:
    own = [attempt for attempt in attempts if not attempt.step_id]
    function = registry.of_run(run.function_id)
    assert item.at is not None
    return Retrying(
        step=None,
        retry=item.attempt,
        retries=max(function.retries if function else 0, item.attempt),
        at=rfc3339(item.at),
        error=error_view(own[-1].error) if own else None,
    )


async def _open_step(reader: Reader, run: Run, step: Step, explain: Explain) -> Gate:
    due = rfc3339(step.due) if step.due is not None else ""
    if step.status == StepStatus.SLEEPING:
        return Sleeping(step=step.name, until=due)
    if step.status in TO_RUN:
        return Retrying(
            step=step.name,
            retry=step.attempt,
            retries=(max_attempts(step) or step.attempt + 1) - 1,
            at=due,
            error=error_view(step.output) if step.output is not None else None,
        )
    details = _decode_details(step.details) if step.details else _Details()
    if step.status == StepStatus.WAITING and details.signal:
        return WaitingForSignal(step=step.name, signal=details.signal, until=due)
    if step.status == StepStatus.WAITING:
        return Waiting(step=step.name, event=details.event, condition=details.condition, until=due)
    child_id = child_run(step)
    child = await reader.read(GetRun(child_id)) if child_id else None
    return Invoking(
        step=step.name,
        function_id=details.function_id,
        run_id=child_id,
        until=due or None,
        child=await explain(child) if child else None,
    )
