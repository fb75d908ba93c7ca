"""Writes decisions down: each kind of change is one SQL text and the row it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import apsw

from stepwell.limits import FUNCTION_VERSIONS_KEPT
from stepwell.model import changes as c
from stepwell.model.item import Lease
from stepwell.model.place import EVERYWHERE, shard_of
from stepwell.storage import rows
from stepwell.storage.places import shard_of_change
from stepwell.storage.sqlite.answers import Paths
from stepwell.storage.sqlite.driver import executor
from stepwell.storage.sqlite.statements import access, realtime
from stepwell.storage.sqlite.statements import changes as sql

ToRow = Callable[[Any, int], tuple[Any, ...]]


def _row_of_outcome(change: c.SaveOutcome, shard: int) -> tuple[Any, ...]:
    o = change.outcome
    return (shard, o.event_id, o.function_id, o.kind, o.at, o.reason, o.run_id)


def _row_of_attempt(change: c.SaveAttempt, shard: int) -> tuple[Any, ...]:
    a = change.attempt
    return (shard, a.run_id, a.step_id, a.attempt, a.started_at, a.ended_at, a.error, a.retry_at)


def _row_of_note(change: c.SaveNote, shard: int) -> tuple[Any, ...]:
    n = change.note
    return (shard, n.run_id, n.at, n.kind, n.text)


def _row_of_park(change: c.Park, shard: int) -> tuple[Any, ...]:
    lease = change.lease
    return (shard, lease.item_id, lease.token, change.at, change.now, change.attempt)


def _row_of_cell(change: c.PutCell, shard: int) -> tuple[Any, ...]:
    cell = change.cell
    return (shard, cell.key, cell.value, cell.expires_at)


_WRITE: Final[Mapping[type, tuple[str, ToRow]]] = {
    c.SaveOutcome: (sql.SAVE_OUTCOME, _row_of_outcome),
    c.DropOutcome: (sql.DROP_OUTCOME, lambda x, s: (s, x.event_id, x.function_id)),
    c.CreateRun: (sql.CREATE_RUN, lambda x, s: rows.run_row(x.run, s)),
    c.StartRun: (sql.START_RUN, lambda x, s: (s, x.run_id, x.started_at)),
    c.SetExecutionVersion: (sql.SET_EXECUTION_VERSION, lambda x, s: (s, x.run_id, x.version)),
    c.FinishRun: (sql.FINISH_RUN, lambda x, s: (s, x.run_id, x.status, x.ended_at, x.output, x.reason)),
    c.SaveStep: (sql.SAVE_STEP, lambda x, s: rows.step_row(x.step, s)),
    c.SaveAttempt: (sql.SAVE_ATTEMPT, _row_of_attempt),
    c.SaveNote: (sql.SAVE_NOTE, _row_of_note),
    c.SaveMetadata: (sql.SAVE_METADATA, lambda x, s: rows.metadata_row(x.metadata, s)),
    c.SaveLogs: (sql.SAVE_LOGS, lambda x, s: rows.logged_row(x.logged, s)),
    c.Enqueue: (sql.ENQUEUE, lambda x, s: rows.item_row(x.item, s)),
    c.Schedule: (sql.SCHEDULE, lambda x, s: rows.item_row(x.item, s)),
    c.Park: (sql.PARK, _row_of_park),
    c.Block: (sql.BLOCK, lambda x, s: (s, x.item_id, x.backlog, x.losses, x.mark)),
    c.Grant: (sql.GRANT, lambda x, s: (s, x.item_id, x.token, x.until, x.losses, x.mark)),
    c.Postpone: (sql.POSTPONE, lambda x, s: (s, x.item_id, x.at, x.losses, x.mark)),
    c.Extend: (sql.EXTEND, lambda x, s: (s, x.lease.item_id, x.lease.token, x.until)),
    c.Retry: (sql.RETRY, lambda x, s: (s, x.lease.item_id, x.lease.token, x.attempt)),
    c.Wake: (sql.WAKE, lambda x, s: (s, x.item_id, x.at)),
    c.Drop: (sql.DROP, lambda x, s: (s, x.item_id)),
    c.DropRunItems: (sql.DROP_RUN_ITEMS, lambda x, s: (s, x.run_id)),
    c.HoldEvent: (sql.HOLD_EVENT, lambda x, s: (s, x.run_id, x.position, x.event_id)),
    c.DropHeld: (sql.DROP_HELD_EVENTS, lambda x, s: (s, x.run_id)),
    c.CloseWait: (sql.CLOSE_WAIT, lambda x, s: (s, x.run_id, x.wait_id)),
    c.CloseWaits: (sql.CLOSE_WAITS, lambda x, s: (s, x.run_id)),
    c.SaveRequest: (sql.SAVE_REQUEST, lambda x, s: rows.request_row(x.request, s)),
    c.DropRequest: (sql.DROP_REQUEST, lambda x, s: (s, x.run_id, x.step_id)),
    c.DropRequests: (sql.DROP_REQUESTS, lambda x, s: (s, x.run_id)),
    c.PutCell: (sql.PUT_CELL, _row_of_cell),
    c.FreeSlots: (sql.FREE_SLOTS, lambda x, s: (s, x.holder)),
    c.Release: (sql.RELEASE, lambda x, s: (s, x.backlog, x.now, x.count)),
    c.ReleaseItem: (sql.RELEASE_ITEM, lambda x, s: (s, x.item_id, x.now)),
    c.LapseLeases: (sql.LAPSE_LEASES, lambda x, s: (s, x.token, x.now)),
    c.SaveOrder: (sql.SAVE_ORDER, lambda x, s: rows.order_row(x.order, s)),
    c.DropOrder: (sql.DROP_ORDER, lambda x, s: (s, x.order_id)),
    c.SaveApp: (sql.SAVE_APP, lambda x, s: rows.app_row(x.app)),
    c.DropApp: (sql.DROP_APP, lambda x, s: (x.app_id,)),
    c.PauseFunction: (sql.PAUSE_FUNCTION, lambda x, s: (x.function_id, rows.pause_text(x.pause))),
    c.ArchiveFunction: (sql.ARCHIVE_FUNCTION, lambda x, s: (x.function_id, x.at)),
    c.Unlisten: (realtime.UNLISTEN, lambda x, s: (x.listener,)),
    c.SaveUser: (access.SAVE_USER, lambda x, s: rows.user_row(x.user)),
    c.DropUser: (access.DROP_USER, lambda x, s: (x.name,)),
    c.SeeSession: (access.SEE_SESSION, lambda x, s: (x.session_id, x.at)),
    c.EndSession: (access.END_SESSION, lambda x, s: (x.session_id,)),
    c.EndSessions: (access.END_SESSIONS, lambda x, s: (x.who,)),
    c.SaveAudit: (access.SAVE_AUDIT, lambda x, s: rows.audit_row(x.entry, s)),
}


class Writer:
    """Applies decisions inside the transaction that is open on a connection.

    ``paths`` is what a reader keeps about waits.
    """

    def __init__(self, connection: apsw.Connection, paths: Paths, shards: int) -> None:
        self._connection = connection
        self._execute = executor(connection)
        self._shards = shards
        self._paths = paths
        self._write: Callable[[c.Change], None] = self._write_where_it_belongs if shards > 1 else self._write_to
        self._composed: dict[type, Callable[[Any, int], None]] = {
            c.SaveEvent: self._save_event,
            c.TakeSlots: self._take_slots,
            c.ReleaseShared: self._release_shared,
            c.SettleStep: self._settle,
            c.OpenWait: self._open_wait,
            c.SaveFunction: self._save_function,
            c.GiveOrder: self._give_order,
            c.WithdrawOrder: self._withdraw_order,
            c.Listen: self._listen,
            c.Post: self._post,
            c.BeginSession: self._begin_session,
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
        held = self._execute(sql.HOLDS, (self._shard(lease), lease.item_id, lease.token)).fetchall()
        return 0 if held else -1

    def _write_fenced(self, lease: Lease, change: c.Change) -> bool | None:
        """Fence and change in one statement: whether a row was written; ``None`` if this change cannot carry it."""
        if isinstance(change, c.SaveStep):
            shard = 0
            if self._shards > 1:
                shard = self._shard(lease)
                if shard_of_change(change, self._shards) != shard:
                    return None
            self._execute(sql.SAVE_STEP_HELD, rows.step_row(change.step, shard, lease.item_id, lease.token))
        elif isinstance(change, c.Drop):
            if change.item_id != lease.item_id:
                return None
            self._execute(sql.DROP_HELD, (self._shard(lease), lease.item_id, lease.token))
        elif isinstance(change, c.Park | c.Extend | c.Retry):
            if change.lease != lease:
                return None
            self._write(change)
        else:
            return None
        return self._connection.changes() > 0

    def _write_where_it_belongs(self, change: c.Change) -> None:
        shard = shard_of_change(change, self._shards)
        for each in range(self._shards) if shard == EVERYWHERE else (shard,):
            self._write_to(change, each)

    def _write_to(self, change: c.Change, shard: int = 0) -> None:
        known = _WRITE.get(type(change))
        if known is None:
            self._composed[type(change)](change, shard)
        else:
            text, to_row = known
            self._execute(text, to_row(change, shard))

    def _shard(self, lease: Lease) -> int:
        return shard_of(lease.item_id, self._shards) if self._shards > 1 else 0

    def _save_event(self, x: c.SaveEvent, shard: int) -> None:
        copied = x.place is not None and shard != shard_of(x.event.id, self._shards)
        self._execute(sql.SAVE_EVENT, rows.event_row(x.event, shard, copied=copied))

    def _take_slots(self, x: c.TakeSlots, s: int) -> None:
        for key in x.keys:
            self._execute(sql.TAKE_SLOT, (s, key, x.holder))

    def _release_shared(self, x: c.ReleaseShared, s: int) -> None:
        if x.function_id is not None:
            self._execute(sql.RELEASE_SHARED, (s, x.backlog, x.now, x.count, x.function_id))
            return
        function_id = ""
        while found := self._execute(sql.NEXT_SHARING, (s, x.backlog, function_id)).fetchall():
            ((function_id,),) = found
            self._execute(sql.RELEASE_SHARED, (s, x.backlog, x.now, x.count, function_id))

    def _settle(self, x: c.SettleStep, s: int) -> None:
        row = (s, x.run_id, x.step_id, x.status, x.ended_at, x.output, x.details)
        if x.position is None:
            self._execute(sql.SETTLE_STEP_NEXT, row)
        else:
            self._execute(sql.SETTLE_STEP, (*row, x.position))

    def _open_wait(self, x: c.OpenWait, s: int) -> None:
        self._execute(sql.OPEN_WAIT, rows.wait_row(x.wait, s))
        self._paths.clear()

    def _save_function(self, x: c.SaveFunction, _: int) -> None:
        self._execute(sql.SAVE_FUNCTION, rows.function_row(x))
        self._execute(sql.KEEP_VERSION, rows.version_row(x))
        self._execute(sql.FORGET_VERSIONS, (x.function.id, x.function.version - FUNCTION_VERSIONS_KEPT))

    def _give_order(self, x: c.GiveOrder, _: int) -> None:
        self._execute(sql.GIVE_ORDER, rows.standing_order_row(x.order))
        self._execute(sql.MOVE_STAMP, ())

    def _withdraw_order(self, x: c.WithdrawOrder, _: int) -> None:
        self._execute(sql.WITHDRAW_ORDER, (x.kind, x.target))
        self._execute(sql.MOVE_STAMP, ())

    def _listen(self, x: c.Listen, _: int) -> None:
        self._execute(realtime.FORGET_LISTENERS, (x.now,))
        self._execute(realtime.LISTEN, (x.listener, x.expires_at))

    def _post(self, x: c.Post, _: int) -> None:
        for p in x.postings:
            self._execute(realtime.POST, (p.origin, p.channel, p.topic, p.body, p.raw, p.expires_at))
        self._execute(realtime.FORGET_POSTINGS, (x.now,))
        self._execute(realtime.FORGET_ALL_BUT, (x.kept,))

    def _begin_session(self, x: c.BeginSession, _: int) -> None:
        self._execute(access.FORGET_SESSIONS, (x.now,))
        self._execute(access.BEGIN_SESSION, rows.session_row(x.session))
        self._execute(access.END_OLDEST, (x.session.who, x.kept))


def _own_lease(changes: tuple[c.Change, ...]) -> Lease | None:
    """The lease of a first change that names one: it is refused as if the decision had held it."""
    if changes and isinstance(changes[0], c.Park | c.Extend | c.Retry):
        return changes[0].lease
    return None
