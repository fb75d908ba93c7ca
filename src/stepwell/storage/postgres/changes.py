"""Each kind of change as one SQL text and the row it takes, and what it touches: changes of different kinds may change
places where they touch different things."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from stepwell.limits import FUNCTION_VERSIONS_KEPT
from stepwell.model import changes as c
from stepwell.model.place import shard_of
from stepwell.storage import rows
from stepwell.storage.postgres import statements as sql

ToRow = Callable[[Any, int, int], tuple[Any, ...]]
"""The row of a change in a shard. The second number rises with each change there."""


class Touch(NamedTuple):
    """What a statement reads or writes: rows of a table that belong to ``key``, or with ``None`` any of them."""

    table: str
    key: str | None


class Write(NamedTuple):
    text: str
    row: tuple[Any, ...]
    touch: Touch


def root(item_id: str) -> str:
    """Items and slots of a run are named ``<run>/…``, and what is said of the run is said of them."""
    return item_id.partition("/")[0]


def _row_of_outcome(change: c.SaveOutcome, s: int, _: int) -> tuple[Any, ...]:
    o = change.outcome
    return (s, o.event_id, o.function_id, o.kind, o.at, o.reason, o.run_id)


def _row_of_attempt(change: c.SaveAttempt, s: int, seen: int) -> tuple[Any, ...]:
    a = change.attempt
    return (s, a.run_id, a.step_id, a.attempt, a.started_at, a.ended_at, a.error, a.retry_at, seen)


def _row_of_note(change: c.SaveNote, s: int, seen: int) -> tuple[Any, ...]:
    n = change.note
    return (s, n.run_id, n.at, n.kind, n.text, seen)


def _row_of_park(change: c.Park, s: int, _: int) -> tuple[Any, ...]:
    lease = change.lease
    return (s, lease.item_id, lease.token, change.at, change.now, change.attempt)


def _row_of_cell(change: c.PutCell, s: int, _: int) -> tuple[Any, ...]:
    cell = change.cell
    return (s, cell.key, cell.value, cell.expires_at)


# The text, the row, the table, and of it what belongs to whom.
_WRITE: Final[Mapping[type, tuple[str, ToRow, str, Callable[[Any], str | None]]]] = {
    c.SaveOutcome: (sql.SAVE_OUTCOME, _row_of_outcome, "outcomes", lambda x: x.outcome.event_id),
    c.DropOutcome: (
        sql.DROP_OUTCOME,
        lambda x, s, _: (s, x.event_id, x.function_id),
        "outcomes",
        lambda x: x.event_id,
    ),
    c.CreateRun: (sql.CREATE_RUN, lambda x, s, _: rows.run_row(x.run, s), "runs", lambda x: x.run.id),
    c.StartRun: (sql.START_RUN, lambda x, s, _: (s, x.run_id, x.started_at), "runs", lambda x: x.run_id),
    c.SetExecutionVersion: (
        sql.SET_EXECUTION_VERSION,
        lambda x, s, _: (s, x.run_id, x.version),
        "runs",
        lambda x: x.run_id,
    ),
    c.FinishRun: (
        sql.FINISH_RUN,
        lambda x, s, _: (s, x.run_id, x.status, x.ended_at, x.output, x.reason),
        "runs",
        lambda x: x.run_id,
    ),
    c.SaveStep: (sql.SAVE_STEP, lambda x, s, seen: (*rows.step_row(x.step, s), seen), "steps", lambda x: x.step.run_id),
    c.SaveAttempt: (sql.SAVE_ATTEMPT, _row_of_attempt, "attempts", lambda x: x.attempt.run_id),
    c.SaveNote: (sql.SAVE_NOTE, _row_of_note, "notes", lambda x: x.note.run_id),
    c.SaveMetadata: (
        sql.SAVE_METADATA,
        lambda x, s, _: rows.metadata_row(x.metadata, s),
        "metadata",
        lambda x: x.metadata.run_id,
    ),
    c.SaveLogs: (sql.SAVE_LOGS, lambda x, s, _: rows.logged_row(x.logged, s), "logs", lambda x: x.logged.run_id),
    c.Enqueue: (sql.ENQUEUE, lambda x, s, _: rows.item_row(x.item, s), "items", lambda x: root(x.item.id)),
    c.Schedule: (sql.SCHEDULE, lambda x, s, _: rows.item_row(x.item, s), "items", lambda x: root(x.item.id)),
    c.Park: (sql.PARK, _row_of_park, "items", lambda x: root(x.lease.item_id)),
    c.Block: (
        sql.BLOCK,
        lambda x, s, _: (s, x.item_id, x.backlog, x.losses, x.mark),
        "items",
        lambda x: root(x.item_id),
    ),
    c.Grant: (
        sql.GRANT,
        lambda x, s, _: (s, x.item_id, x.token, x.until, x.losses, x.mark),
        "items",
        lambda x: root(x.item_id),
    ),
    c.Postpone: (
        sql.POSTPONE,
        lambda x, s, _: (s, x.item_id, x.at, x.losses, x.mark),
        "items",
        lambda x: root(x.item_id),
    ),
    c.Extend: (
        sql.EXTEND,
        lambda x, s, _: (s, x.lease.item_id, x.lease.token, x.until),
        "items",
        lambda x: root(x.lease.item_id),
    ),
    c.Retry: (
        sql.RETRY,
        lambda x, s, _: (s, x.lease.item_id, x.lease.token, x.attempt),
        "items",
        lambda x: root(x.lease.item_id),
    ),
    c.Wake: (sql.WAKE, lambda x, s, _: (s, x.item_id, x.at), "items", lambda x: root(x.item_id)),
    c.Drop: (sql.DROP, lambda x, s, _: (s, x.item_id), "items", lambda x: root(x.item_id)),
    c.DropRunItems: (sql.DROP_RUN_ITEMS, lambda x, s, _: (s, x.run_id), "items", lambda x: root(x.run_id)),
    c.Release: (sql.RELEASE, lambda x, s, _: (s, x.backlog, x.now, x.count), "items", lambda x: None),
    c.ReleaseItem: (sql.RELEASE_ITEM, lambda x, s, _: (s, x.item_id, x.now), "items", lambda x: root(x.item_id)),
    c.LapseLeases: (sql.LAPSE_LEASES, lambda x, s, _: (s, x.token, x.now), "items", lambda x: None),
    c.HoldEvent: (
        sql.HOLD_EVENT,
        lambda x, s, _: (s, x.run_id, x.position, x.event_id),
        "run_events",
        lambda x: x.run_id,
    ),
    c.DropHeld: (sql.DROP_HELD_EVENTS, lambda x, s, _: (s, x.run_id), "run_events", lambda x: x.run_id),
    c.OpenWait: (sql.OPEN_WAIT, lambda x, s, _: rows.wait_row(x.wait, s), "waits", lambda x: x.wait.run_id),
    c.CloseWait: (sql.CLOSE_WAIT, lambda x, s, _: (s, x.run_id, x.wait_id), "waits", lambda x: x.run_id),
    c.CloseWaits: (sql.CLOSE_WAITS, lambda x, s, _: (s, x.run_id), "waits", lambda x: x.run_id),
    c.SaveRequest: (
        sql.SAVE_REQUEST,
        lambda x, s, _: rows.request_row(x.request, s),
        "requests",
        lambda x: x.request.run_id,
    ),
    c.DropRequest: (sql.DROP_REQUEST, lambda x, s, _: (s, x.run_id, x.step_id), "requests", lambda x: x.run_id),
    c.DropRequests: (sql.DROP_REQUESTS, lambda x, s, _: (s, x.run_id), "requests", lambda x: x.run_id),
    c.PutCell: (sql.PUT_CELL, _row_of_cell, "cells", lambda x: x.cell.key),
    c.FreeSlots: (sql.FREE_SLOTS, lambda x, s, _: (s, x.holder), "slots", lambda x: root(x.holder)),
    c.SaveOrder: (sql.SAVE_ORDER, lambda x, s, _: rows.order_row(x.order, s), "orders", lambda x: x.order.id),
    c.DropOrder: (sql.DROP_ORDER, lambda x, s, _: (s, x.order_id), "orders", lambda x: x.order_id),
    c.SaveApp: (sql.SAVE_APP, lambda x, s, _: rows.app_row(x.app), "apps", lambda x: None),
    c.DropApp: (sql.DROP_APP, lambda x, s, _: (x.app_id,), "apps", lambda x: None),
    c.PauseFunction: (
        sql.PAUSE_FUNCTION,
        lambda x, s, _: (x.function_id, rows.pause_text(x.pause)),
        "registry",
        lambda x: None,
    ),
    c.ArchiveFunction: (sql.ARCHIVE_FUNCTION, lambda x, s, _: (x.function_id, x.at), "registry", lambda x: None),
    c.Unlisten: (sql.UNLISTEN, lambda x, s, _: (x.listener,), "realtime", lambda x: None),
    c.SaveUser: (sql.SAVE_USER, lambda x, s, _: rows.user_row(x.user), "users", lambda x: None),
    c.DropUser: (sql.DROP_USER, lambda x, s, _: (x.name,), "users", lambda x: None),
    c.SeeSession: (sql.SEE_SESSION, lambda x, s, _: (x.session_id, x.at), "sessions", lambda x: None),
    c.EndSession: (sql.END_SESSION, lambda x, s, _: (x.session_id,), "sessions", lambda x: None),
    c.EndSessions: (sql.END_SESSIONS, lambda x, s, _: (x.who,), "sessions", lambda x: None),
    c.SaveAudit: (sql.SAVE_AUDIT, lambda x, s, _: rows.audit_row(x.entry, s), "audit", lambda x: x.entry.id),
}


def writes(change: c.Change, shard: int, shards: int, number: Callable[[], int]) -> Iterator[Write]:
    """The statements of a change in one shard, in their order; ``number`` gives the next number there."""
    any_change: Any = change
    known = _WRITE.get(type(change))
    if known is not None:
        text, to_row, table, key = known
        yield Write(text, to_row(any_change, shard, number()), Touch(table, key(any_change)))
    elif isinstance(change, c.SaveEvent):
        copied = change.place is not None and shard != shard_of(change.event.id, shards)
        row = rows.event_row(change.event, shard, copied=copied)
        yield Write(sql.SAVE_EVENT, row, Touch("events", change.event.id))
    elif isinstance(change, c.Post):
        yield from _post(change, number)
    else:
        yield from _COMPOSED[type(change)](change, shard)


def touches(change: c.Change) -> Iterator[Touch]:
    """What the statements of a change touch, whatever the shard."""
    known = _WRITE.get(type(change))
    if known is not None:
        _, _, table, key = known
        yield Touch(table, key(change))
    else:
        yield from (write.touch for write in writes(change, 0, 1, lambda: 0))


def _take_slots(x: c.TakeSlots, s: int) -> Iterator[Write]:
    for key in x.keys:
        yield Write(sql.TAKE_SLOT, (s, key, x.holder), Touch("slots", root(x.holder)))


def _release_shared(x: c.ReleaseShared, s: int) -> Iterator[Write]:
    row = (s, x.backlog, x.now, x.count)
    touch = Touch("items", None)
    if x.function_id is None:
        yield Write(sql.RELEASE_SHARED_BY_ALL, row, touch)
    else:
        yield Write(sql.RELEASE_SHARED, (*row, x.function_id), touch)


def _settle(x: c.SettleStep, s: int) -> Iterator[Write]:
    row = (s, x.run_id, x.step_id, x.status, x.ended_at, x.output, x.details)
    touch = Touch("steps", x.run_id)
    if x.position is None:
        yield Write(sql.SETTLE_STEP_NEXT, row, touch)
    else:
        yield Write(sql.SETTLE_STEP, (*row, x.position), touch)


def _save_function(x: c.SaveFunction, _: int) -> Iterator[Write]:
    f, touch = x.function, Touch("function_versions", x.function.id)
    yield Write(sql.SAVE_FUNCTION, rows.function_row(x), _REGISTRY)
    yield Write(sql.KEEP_VERSION, rows.version_row(x), touch)
    yield Write(sql.FORGET_VERSIONS, (f.id, f.version - FUNCTION_VERSIONS_KEPT), touch)


def _give_order(x: c.GiveOrder, _: int) -> Iterator[Write]:
    yield Write(sql.GIVE_ORDER, rows.standing_order_row(x.order), _REGISTRY)
    yield Write(sql.MOVE_STAMP, (), _REGISTRY)


def _withdraw_order(x: c.WithdrawOrder, _: int) -> Iterator[Write]:
    yield Write(sql.WITHDRAW_ORDER, (x.kind, x.target), _REGISTRY)
    yield Write(sql.MOVE_STAMP, (), _REGISTRY)


def _listen(x: c.Listen, _: int) -> Iterator[Write]:
    yield Write(sql.FORGET_LISTENERS, (x.now,), _REALTIME)
    yield Write(sql.LISTEN, (x.listener, x.expires_at), _REALTIME)


def _post(x: c.Post, number: Callable[[], int]) -> Iterator[Write]:
    last = 0
    for p in x.postings:
        last = number()
        yield Write(sql.POST, (p.origin, p.channel, p.topic, p.body, p.raw, p.expires_at, last), _REALTIME)
    if last:
        yield Write(sql.POSTED, (last,), _REALTIME)
    yield Write(sql.FORGET_POSTINGS, (x.now,), _REALTIME)
    yield Write(sql.FORGET_ALL_BUT, (x.kept,), _REALTIME)


def _begin_session(x: c.BeginSession, _: int) -> Iterator[Write]:
    touch = Touch("sessions", None)
    yield Write(sql.FORGET_SESSIONS, (x.now,), touch)
    yield Write(sql.BEGIN_SESSION, rows.session_row(x.session), touch)
    yield Write(sql.END_OLDEST, (x.session.who, x.kept), touch)


_REGISTRY: Final = Touch("registry", None)
_REALTIME: Final = Touch("realtime", None)
_COMPOSED: Final[Mapping[type, Callable[[Any, int], Iterator[Write]]]] = {
    c.TakeSlots: _take_slots,
    c.ReleaseShared: _release_shared,
    c.SettleStep: _settle,
    c.SaveFunction: _save_function,
    c.GiveOrder: _give_order,
    c.WithdrawOrder: _withdraw_order,
    c.Listen: _listen,
    c.BeginSession: _begin_session,
}
