"""Writes decisions down: each kind of change is one SQL text and the row it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import apsw

from stepwell.model import changes as c
from stepwell.model.item import Lease
from stepwell.storage import rows
from stepwell.storage.sqlite.answers import Paths
from stepwell.storage.sqlite.driver import executor
from stepwell.storage.sqlite.statements import changes as sql
from stepwell.storage.sqlite.statements import realtime

ToRow = Callable[[Any], tuple[Any, ...]]


def _row_of_outcome(change: c.SaveOutcome) -> tuple[Any, ...]:
    o = change.outcome
    return (o.shard, o.event_id, o.function_id, o.kind, o.at, o.reason, o.run_id)


def _row_of_attempt(change: c.SaveAttempt) -> tuple[Any, ...]:
    a = change.attempt
    return (a.shard, a.run_id, a.step_id, a.attempt, a.started_at, a.ended_at, a.error, a.retry_at)


def _row_of_note(change: c.SaveNote) -> tuple[Any, ...]:
    n = change.note
    return (n.shard, n.run_id, n.at, n.kind, n.text)


def _row_of_park(change: c.Park) -> tuple[Any, ...]:
    lease = change.lease
    return (lease.shard, lease.item_id, lease.token, change.at, change.now, change.attempt)


def _row_of_cell(change: c.PutCell) -> tuple[Any, ...]:
    cell = change.cell
    return (cell.shard, cell.key, cell.value, cell.expires_at)


def _row_of_function(change: c.SaveFunction) -> tuple[Any, ...]:
    f = change.function
    return (f.id, f.app_id, f.config, f.version, change.at)


_WRITE: Final[Mapping[type, tuple[str, ToRow]]] = {
    c.SaveEvent: (sql.SAVE_EVENT, lambda x: rows.event_row(x.event, x.shard)),
    c.SaveOutcome: (sql.SAVE_OUTCOME, _row_of_outcome),
    c.DropOutcome: (sql.DROP_OUTCOME, lambda x: (x.shard, x.event_id, x.function_id)),
    c.CreateRun: (sql.CREATE_RUN, lambda x: rows.run_row(x.run)),
    c.StartRun: (sql.START_RUN, lambda x: (x.shard, x.run_id, x.started_at)),
    c.SetExecutionVersion: (sql.SET_EXECUTION_VERSION, lambda x: (x.shard, x.run_id, x.version)),
    c.FinishRun: (sql.FINISH_RUN, lambda x: (x.shard, x.run_id, x.status, x.ended_at, x.output, x.reason)),
    c.SaveStep: (sql.SAVE_STEP, lambda x: rows.step_row(x.step)),
    c.SaveAttempt: (sql.SAVE_ATTEMPT, _row_of_attempt),
    c.SaveNote: (sql.SAVE_NOTE, _row_of_note),
    c.SaveMetadata: (sql.SAVE_METADATA, lambda x: rows.metadata_row(x.metadata)),
    c.Enqueue: (sql.ENQUEUE, lambda x: rows.item_row(x.item)),
    c.Schedule: (sql.SCHEDULE, lambda x: rows.item_row(x.item)),
    c.Park: (sql.PARK, _row_of_park),
    c.Block: (sql.BLOCK, lambda x: (x.shard, x.item_id, x.backlog, x.losses, x.mark)),
    c.Grant: (sql.GRANT, lambda x: (x.shard, x.item_id, x.token, x.until, x.losses, x.mark)),
    c.Postpone: (sql.POSTPONE, lambda x: (x.shard, x.item_id, x.at, x.losses, x.mark)),
    c.Extend: (sql.EXTEND, lambda x: (x.lease.shard, x.lease.item_id, x.lease.token, x.until)),
    c.Retry: (sql.RETRY, lambda x: (x.lease.shard, x.lease.item_id, x.lease.token, x.attempt)),
    c.Wake: (sql.WAKE, lambda x: (x.shard, x.item_id, x.at)),
    c.Drop: (sql.DROP, lambda x: (x.shard, x.item_id)),
    c.DropRunItems: (sql.DROP_RUN_ITEMS, lambda x: (x.shard, x.run_id)),
    c.HoldEvent: (sql.HOLD_EVENT, lambda x: (x.shard, x.run_id, x.place, x.event_id)),
    c.DropHeld: (sql.DROP_HELD_EVENTS, lambda x: (x.shard, x.run_id)),
    c.CloseWait: (sql.CLOSE_WAIT, lambda x: (x.shard, x.run_id, x.wait_id)),
    c.CloseWaits: (sql.CLOSE_WAITS, lambda x: (x.shard, x.run_id)),
    c.SaveRequest: (sql.SAVE_REQUEST, lambda x: rows.request_row(x.request)),
    c.DropRequest: (sql.DROP_REQUEST, lambda x: (x.shard, x.run_id, x.step_id)),
    c.DropRequests: (sql.DROP_REQUESTS, lambda x: (x.shard, x.run_id)),
    c.PutCell: (sql.PUT_CELL, _row_of_cell),
    c.FreeSlots: (sql.FREE_SLOTS, lambda x: (x.shard, x.holder)),
    c.Release: (sql.RELEASE, lambda x: (x.shard, x.backlog, x.now, x.count)),
    c.ReleaseItem: (sql.RELEASE_ITEM, lambda x: (x.shard, x.item_id, x.now)),
    c.LapseLeases: (sql.LAPSE_LEASES, lambda x: (x.shard, x.token, x.now)),
    c.SaveOrder: (sql.SAVE_ORDER, lambda x: rows.order_row(x.order)),
    c.DropOrder: (sql.DROP_ORDER, lambda x: (x.shard, x.order_id)),
    c.SaveApp: (sql.SAVE_APP, lambda x: rows.app_row(x.app)),
    c.DropApp: (sql.DROP_APP, lambda x: (x.app_id,)),
    c.SaveFunction: (sql.SAVE_FUNCTION, _row_of_function),
    c.PauseFunction: (sql.PAUSE_FUNCTION, lambda x: (x.function_id, rows.pause_text(x.pause))),
    c.ArchiveFunction: (sql.ARCHIVE_FUNCTION, lambda x: (x.function_id, x.at)),
    c.Unlisten: (realtime.UNLISTEN, lambda x: (x.listener,)),
}


class Writer:
    """Applies decisions inside the transaction that is open on a connection.

    ``paths`` is what a reader keeps about waits.
    """

    def __init__(self, connection: apsw.Connection, paths: Paths) -> None:
        self._connection = connection
        self._execute = executor(connection)
        self._paths = paths
        self._composed: dict[type, Callable[[Any], None]] = {
            c.TakeSlots: self._take_slots,
            c.ReleaseShared: self._release_shared,
            c.SettleStep: self._settle,
            c.OpenWait: self._open_wait,
            c.GiveOrder: self._give_order,
            c.WithdrawOrder: self._withdraw_order,
            c.Listen: self._listen,
            c.Post: self._post,
        }

    def apply(self, decision: c.Decision) -> bool:
        """Write all changes in order; false, and nothing written, if the lease is lost."""
        changes = decision.changes
        lease = decision.holds or _own_lease(changes)
        written = 0 if lease is None else self._pass_fence(lease, changes)
        if written < 0:
            return False
        for change in changes[written:] if written else changes:
            self._write(change)
        return True

    def _pass_fence(self, lease: Lease, changes: tuple[c.Change, ...]) -> int:
        """How many changes the fence has already written: 0 or 1; -1 if the lease is lost."""
        if changes:
            fenced = self._write_fenced(lease, changes[0])
            if fenced is True:
                return 1
            # No row means lost, except for a step: there it may mean that the result is known already.
            if fenced is False and type(changes[0]) is not c.SaveStep:
                return -1
        held = self._execute(sql.HOLDS, (lease.shard, lease.item_id, lease.token)).fetchall()
        return 0 if held else -1

    def _write_fenced(self, lease: Lease, change: c.Change) -> bool | None:
        """Fence and change in one statement: whether a row was written; ``None`` if this change cannot carry it."""
        item = (lease.shard, lease.item_id, lease.token)
        if isinstance(change, c.SaveStep):
            if change.step.shard != lease.shard:
                return None
            self._execute(sql.SAVE_STEP_HELD, (*rows.step_row(change.step), lease.item_id, lease.token))
        elif isinstance(change, c.Drop):
            if (change.shard, change.item_id) != (lease.shard, lease.item_id):
                return None
            self._execute(sql.DROP_HELD, item)
        elif isinstance(change, c.Park | c.Extend | c.Retry):
            if change.lease != lease:
                return None
            self._write(change)
        else:
            return None
        return self._connection.changes() > 0

    def _write(self, change: c.Change) -> None:
        known = _WRITE.get(type(change))
        if known is None:
            self._composed[type(change)](change)
        else:
            text, to_row = known
            self._execute(text, to_row(change))

    def _take_slots(self, x: c.TakeSlots) -> None:
        for key in x.keys:
            self._execute(sql.TAKE_SLOT, (x.shard, key, x.holder))

    def _release_shared(self, x: c.ReleaseShared) -> None:
        if x.function_id is not None:
            self._execute(sql.RELEASE_SHARED, (x.shard, x.backlog, x.now, x.count, x.function_id))
            return
        function_id = ""
        while found := self._execute(sql.NEXT_SHARING, (x.shard, x.backlog, function_id)).fetchall():
            ((function_id,),) = found
            self._execute(sql.RELEASE_SHARED, (x.shard, x.backlog, x.now, x.count, function_id))

    def _settle(self, x: c.SettleStep) -> None:
        row = (x.shard, x.run_id, x.step_id, x.status, x.ended_at, x.output, x.details)
        if x.position is None:
            self._execute(sql.SETTLE_STEP_NEXT, row)
        else:
            self._execute(sql.SETTLE_STEP, (*row, x.position))

    def _open_wait(self, x: c.OpenWait) -> None:
        self._execute(sql.OPEN_WAIT, rows.wait_row(x.wait))
        self._paths.clear()

    def _give_order(self, x: c.GiveOrder) -> None:
        self._execute(sql.GIVE_ORDER, rows.standing_order_row(x.order))
        self._execute(sql.MOVE_STAMP, ())

    def _withdraw_order(self, x: c.WithdrawOrder) -> None:
        self._execute(sql.WITHDRAW_ORDER, (x.kind, x.target))
        self._execute(sql.MOVE_STAMP, ())

    def _listen(self, x: c.Listen) -> None:
        self._execute(realtime.FORGET_LISTENERS, (x.now,))
        self._execute(realtime.LISTEN, (x.listener, x.expires_at))

    def _post(self, x: c.Post) -> None:
        for p in x.postings:
            self._execute(realtime.POST, (p.origin, p.channel, p.topic, p.body, p.raw, p.expires_at))
        self._execute(realtime.FORGET_POSTINGS, (x.now,))
        self._execute(realtime.FORGET_ALL_BUT, (x.kept,))


def _own_lease(changes: tuple[c.Change, ...]) -> Lease | None:
    """The lease of a first change that names one: it is refused as if the decision had held it."""
    if changes and isinstance(changes[0], c.Park | c.Extend | c.Retry):
        return changes[0].lease
    return None
