"""Durable endpoints: runs that their app has begun by itself, and reports (protocol §8.3, ADR 0019).

Until such a run goes async it is leased to its app. That is a lease like any other: what the app reports is fenced by
it, each report extends it, and when it runs out the run is called like one whose process has died. No process of ours
holds it, so none takes it along when it ends.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Final

import msgspec

from stepwell.engine import progress
from stepwell.engine.draft import Draft
from stepwell.engine.intake import announce, publish
from stepwell.engine.leased import Leased
from stepwell.engine.reports import Standing, held, too_large
from stepwell.errors import ConfigurationError, LimitExceeded
from stepwell.limits import ENDPOINTS_PER_APP_MAX
from stepwell.model.changes import CreateRun, Enqueue, Extend, Plan, SaveFunction
from stepwell.model.event import HTTP_REQUEST, Event
from stepwell.model.failure import Failure
from stepwell.model.function import Function
from stepwell.model.item import Item, ItemKind
from stepwell.model.place import EVERYWHERE, place_of
from stepwell.model.questions import GetEvent, GetRun, GetSteps, ListFunctions, Lock, ask
from stepwell.model.run import Run, RunStatus
from stepwell.model.step import Step
from stepwell.ops import Op

_HELD_BY_APPS: Final = 1 << 62  # higher than any token of ours will ever be


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What an app says of a run that it executes by itself.

    At most one of ``output`` and ``failure``, which is that of the function's own code, ends the app's part in it.
    With ``rests`` it has left the run to us. ``step_ids`` are the steps by which it is seen whether it came before.
    """

    ops: Sequence[Op] = ()
    step_ids: Sequence[str] = ()
    version: int | None = None
    output: bytes | None = None
    failure: Failure | None = None
    final: bool = False
    retry_at: int | None = None
    rests: bool = False


def declare(draft: Draft, function: Function) -> Plan:
    """An endpoint has a run: its function is there from now on. The value is whether anything changed.

    The other functions of its app stay. Raises ``ConfigurationError`` if another app has a function of the same id, and
    ``LimitExceeded``.
    """
    yield from ask(Lock((EVERYWHERE,)))
    stored = yield from ask(ListFunctions(archived=True))
    known = next((each for each in stored if each.id == function.id), None)
    if known is not None and known.app_id != function.app_id:
        raise ConfigurationError(
            what=f"there is a function {function.id!r} already, of app {known.app_id!r}",
            why="an endpoint is known by its domain, a dash and its name",
            fix="give the endpoint another name",
        )
    if known is not None and known.config == function.config and known.archived_at is None:
        return draft.decision(False)
    if known is None and sum(each.app_id == function.app_id for each in stored) >= ENDPOINTS_PER_APP_MAX:
        raise LimitExceeded(
            what=f"{function.app_id} has {ENDPOINTS_PER_APP_MAX:,} durable endpoints",
            why="without a name of its own an endpoint is known by its path, and each path makes another",
            fix="give endpoints whose paths have ids in them a name (functionId)",
        )
    version = 1 if known is None else known.version + 1
    draft.add(SaveFunction(msgspec.structs.replace(function, version=version), draft.now))
    draft.due(draft.now)
    return draft.decision(True)


def take_on(draft: Draft, function: Function, run_id: str, data: bytes, version: int, silence_ms: int) -> Plan:
    """An app has begun this run, with this request of its user. The value is its standing: the same again is stored."""
    known = yield from ask(GetRun(run_id))
    if known is not None:
        first = yield from ask(GetEvent(known.event_id, known.place))
        same = known.function_id == function.id and first is not None and first.data == data
        return draft.decision(Standing.STORED if same else Standing.TAKEN)
    event = Event(
        id=draft.moment.new_id(place_of(run_id)),
        name=HTTP_REQUEST,
        ts=draft.now,
        received_at=draft.now,
        data=data,
        source="endpoint",
    )
    yield from publish(draft, event, besides=function.id)
    run = Run(
        id=run_id,
        function_id=function.id,
        function_version=function.version,
        event_id=event.id,
        queued_at=draft.now,
        scheduled_at=draft.now,
        status=RunStatus.RUNNING,
        started_at=draft.now,
        execution_version=version,
    )
    until = draft.now + silence_ms
    item = Item(
        id=run_id,
        kind=ItemKind.RUN,
        function_id=function.id,
        run_id=run_id,
        at=until,
        lease=_token(run_id),
        queued_at=draft.now,
    )
    draft.add(CreateRun(run), Enqueue(item))
    draft.due(until)
    yield from announce(draft)
    return draft.decision(Standing.STORED)


def carry_on(draft: Draft, run_id: str, report: Report, silence_ms: int) -> Plan:
    """An app reports of a run that it has begun. The value is the standing of the report.

    What is known already is stored, whoever holds the run by now: SDKs send a report again whose answer they did not
    get.
    """
    run = yield from ask(GetRun(run_id))
    if run is None:
        return draft.decision(Standing.STALE)
    steps = yield from ask(GetSteps(run_id))
    leased = yield from held(draft, run, steps, _token(run_id))
    if leased is None:
        return draft.decision(Standing.STORED if _is_known(run, steps, report) else Standing.STALE)
    if too_large(leased, report.ops, report.output or b""):
        return draft.decision(Standing.TOO_LARGE)
    yield from _write(draft, leased, report, silence_ms)
    return draft.decision(Standing.STORED, holds=leased.lease)


def _write(draft: Draft, leased: Leased, report: Report, silence_ms: int) -> Generator[Any, Any, None]:
    if report.rests and report.output is None and report.failure is None:
        yield from progress.suspend(draft, leased, report.ops, report.version)
        return
    if report.ops:
        decision = yield from progress.report(draft, leased, report.ops, report.version)
        if leased.run.id in draft.ended:
            return
        for step in decision.result.value:
            leased.gain(step)
    if report.output is not None:
        yield from progress.complete(draft, leased, report.output)
    elif report.failure is not None:
        final, retry_at = report.final, report.retry_at
        yield from progress.fail(
            draft, leased, report.failure, final=final, requested_at=retry_at, started_at=draft.now
        )
    else:
        draft.changes.insert(0, Extend(leased.lease, draft.now + silence_ms))
        draft.due(draft.now + silence_ms)


def _is_known(run: Run, steps: Sequence[Step], report: Report) -> bool:
    known = {step.id for step in steps}
    if report.output is not None and run.output != report.output:
        return False
    return all(
        step_id in known for step_id in report.step_ids
    )  # of a failure it is enough that somebody else has the run by now


def is_of_app(token: int) -> bool:
    """Is this the lease of an app that executes a run by itself?"""
    return token >= _HELD_BY_APPS


def _token(run_id: str) -> int:
    """The token of an app's lease: never one of ours, and another for each run."""
    return _HELD_BY_APPS | int(run_id[-11:], 36)
