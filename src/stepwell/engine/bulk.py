"""Many runs are cancelled: an order that is a row, worked off by an item, a bounded number of runs in each decision."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Final

from msgspec.structs import replace

from stepwell.engine.draft import Draft
from stepwell.engine.ending import cancel
from stepwell.expressions import EvaluationError, compile_expression
from stepwell.model.cancellation import Cancellation
from stepwell.model.changes import Drop, DropCancellation, Enqueue, Plan, SaveCancellation, Schedule
from stepwell.model.event import Event
from stepwell.model.item import Item, ItemKind
from stepwell.model.questions import GetCancellation, GetEvent, LiveRuns, ask
from stepwell.model.run import Run, RunStatus

RUNS_PER_DECISION_MAX: Final = 50  # a decision holds the writer for some milliseconds at most
_PAUSE_MS: Final = 10  # others have it for longer than that (ADR 0031)


def begin(
    draft: Draft,
    app_id: str,
    function_id: str,
    *,
    started_before: int,
    started_after: int | None = None,
    condition: str | None = None,
) -> Plan:
    """Order all runs of a function to be cancelled that fit. The value is the order."""
    found = order(
        draft,
        app_id,
        function_id,
        started_before=started_before,
        started_after=started_after,
        condition=condition,
    )
    yield from ()  # a plan, though there is nothing to ask
    return draft.decision(found)


def order(
    draft: Draft,
    app_id: str,
    function_id: str,
    *,
    started_before: int,
    started_after: int | None = None,
    condition: str | None = None,
) -> Cancellation:
    """The same as part of a decision: the order is worked off from now on.

    The caller has checked that the condition can be compiled.
    """
    cancellation = Cancellation(
        id=draft.moment.new_id(),
        app_id=app_id,
        function_id=function_id,
        created_at=draft.now,
        started_before=started_before,
        started_after=started_after,
        condition=condition,
    )
    draft.add(SaveCancellation(cancellation), Enqueue(_item(cancellation, draft.now)))
    draft.due(draft.now)
    return cancellation


def end(draft: Draft, cancellation_id: str) -> Plan:
    """Cancel no more runs for this order, and forget it. The value is false if there is none."""
    found = yield from ask(GetCancellation(cancellation_id))
    if found is None:
        return draft.decision(False)
    draft.add(DropCancellation(found.id, found.shard), Drop(_item_id(found.id), found.shard))
    return draft.decision(True)


def go_on(draft: Draft, item: Item) -> Generator[Any, Any, None]:
    """The next runs of an order, and the moment of those after them.

    How far it has come is written in the decision that ends the runs, so nothing is done twice, however often the
    process dies.
    """
    cancellation = yield from ask(GetCancellation(item.id.removeprefix(_item_id("")), item.shard))
    if cancellation is None or cancellation.ended_at is not None:
        draft.add(Drop(item.id, item.shard))
        return
    runs = yield from ask(next_runs(cancellation))
    fitting = yield from fit(cancellation, runs, draft.now)
    cancelled = 0
    for run in fitting:
        cancelled += yield from cancel(draft, run.id, f"cancellation {cancellation.id}")
    cancellation = replace(
        cancellation,
        examined=cancellation.examined + sum(run.function_id == cancellation.function_id for run in runs),
        cancelled=cancellation.cancelled + cancelled,
    )
    following = after(cancellation, runs)
    if following is None:
        draft.add(SaveCancellation(replace(cancellation, ended_at=draft.now)), Drop(item.id, item.shard))
        return
    at = draft.now + _PAUSE_MS if runs else draft.now
    draft.add(SaveCancellation(following), Schedule(_item(following, at)))
    draft.due(at)


def next_runs(cancellation: Cancellation) -> LiveRuns:
    """What to look at next."""
    return LiveRuns(
        cancellation.status, cancellation.position, cancellation.id, RUNS_PER_DECISION_MAX, cancellation.shard
    )


def after(cancellation: Cancellation, runs: Sequence[Run]) -> Cancellation | None:
    """The order once these runs, the answer to ``next_runs``, are done with. ``None`` after the last."""
    if len(runs) == RUNS_PER_DECISION_MAX:
        return replace(cancellation, position=runs[-1].id)
    if cancellation.status == RunStatus.QUEUED:
        return replace(cancellation, status=RunStatus.RUNNING, position="")
    return None


def fit(cancellation: Cancellation, runs: Sequence[Run], now: int) -> Generator[Any, Any, list[Run]]:
    """Those of the runs that are to be cancelled. Asks for their events only if there is a condition."""
    least = cancellation.started_after if cancellation.started_after is not None else 0
    found = [
        run
        for run in runs
        if run.function_id == cancellation.function_id and least <= run.queued_at <= cancellation.started_before
    ]
    if cancellation.condition is None:
        return found
    fitting: list[Run] = []
    for run in found:
        event = yield from ask(GetEvent(run.event_id, run.shard))
        if event is not None and _is_true(cancellation.condition, event, now):
            fitting.append(run)
    return fitting


def _is_true(condition: str, event: Event, now: int) -> bool:
    try:
        return compile_expression(condition, boolean=True).matches({"event": event.fields()}, now_ms=now)
    except EvaluationError:
        return False  # it says nothing about this event, and what is not meant is not cancelled


def _item(cancellation: Cancellation, at: int) -> Item:
    # It is of no function: what a function is owed while it has no run are its ticks.
    return Item(
        id=_item_id(cancellation.id),
        kind=ItemKind.CANCELLATION,
        function_id="",
        at=at,
        shard=cancellation.shard,
        queued_at=cancellation.created_at,
    )


def _item_id(cancellation_id: str) -> str:
    return f"cancellation/{cancellation_id}"
