"""A run that begins or ends too late is cancelled (semantics §8.2), by the timeouts that its function has then (§9.7).

A timer does it in time. When the configuration has changed meanwhile, the timer finds that there is more time, or no
end of it; and whoever is about to call a run finds that there is less, which no timer knows of.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from msgspec.structs import replace

from stepwell.engine.draft import Draft
from stepwell.engine.ending import cancel
from stepwell.model.changes import Drop, Schedule
from stepwell.model.function import Function
from stepwell.model.item import Item, ItemKind
from stepwell.model.questions import GetRun, ask
from stepwell.model.run import Run, RunStatus

_REASONS = {
    ItemKind.START_TIMEOUT: "start timeout: it was not started in time",
    ItemKind.FINISH_TIMEOUT: "finish timeout: it did not end in time",
}


def overdue(run: Run, function: Function, now: int) -> str | None:
    """Why a run that is about to be called comes too late for that."""
    if run.started_at is None:
        kind, timeout_ms, since = ItemKind.START_TIMEOUT, function.start_timeout_ms, run.queued_at
    else:
        kind, timeout_ms, since = ItemKind.FINISH_TIMEOUT, function.finish_timeout_ms, run.started_at
    return _REASONS[kind] if timeout_ms is not None and since + timeout_ms <= now else None


def expire(draft: Draft, item: Item) -> Generator[Any, Any, None]:
    """The moment has come that was the last one for this run when its timer was set."""
    assert item.run_id is not None, "a timeout is that of a run"
    run = yield from ask(GetRun(item.run_id))
    starting = item.kind == ItemKind.START_TIMEOUT
    if run is None or run.ended or (starting and run.status != RunStatus.QUEUED):
        draft.add(Drop(item.id, item.place))
        return
    function = draft.registry.of_run(run.function_id)
    if function is not None:  # else nothing has taken back what there was
        timeout_ms = function.start_timeout_ms if starting else function.finish_timeout_ms
        since = run.queued_at if run.started_at is None else run.started_at
        if timeout_ms is not None and since + timeout_ms > draft.now:
            draft.add(Schedule(replace(item, at=since + timeout_ms)))
            draft.due(since + timeout_ms)
            return
        if timeout_ms is None:
            draft.add(Drop(item.id, item.place))
            return
    draft.add(Drop(item.id, item.place))
    yield from cancel(draft, run.id, _REASONS[ItemKind(item.kind)])
