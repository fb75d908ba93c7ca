"""Which shard each question and each change concerns: one table of each, for every backend (ADR 0035).

A backend answers one question in one shard, or the same in all, and writes one change in one shard. Which one that is,
and what becomes of the answers where all shards are asked, stands here, so that none of them can forget it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from stepwell.model import changes as c
from stepwell.model import questions as q
from stepwell.model.item import Item
from stepwell.model.place import EVERYWHERE, place_of, place_of_holder, place_of_item

NOWHERE: Final = -2
"""In place of a place: of tables that have no shards (functions, apps, standing orders, users, sessions, realtime)."""

Where = Callable[[Any], int]


def shard_of_question(question: q.Question[Any], shards: int) -> int:
    """The shard to ask, ``EVERYWHERE`` or ``NOWHERE``.

    Raises ``TypeError`` for what is no question, and ``ValueError`` for an item whose place nothing says.
    """
    where = QUESTIONS.get(type(question))
    if where is None:
        raise TypeError(f"not a question: {question!r}")
    place = where(question)
    return place & (shards - 1) if place >= 0 else place


def shard_of_change(change: c.Change, shards: int) -> int:
    """The shard to write to, ``EVERYWHERE`` or ``NOWHERE``. Raises ``ValueError`` for an item whose place nothing
    says."""
    place = CHANGES[type(change)](change)
    return place & (shards - 1) if place >= 0 else place


def home_of(decision: c.Decision, shards: int) -> int | None:
    """The first shard that a decision concerns: that of its lease, or of the first change that has one."""
    if decision.holds is not None:
        return place_of(decision.holds.item_id) & (shards - 1)
    return next((shard for each in decision.changes if (shard := shard_of_change(each, shards)) >= 0), None)


def _run_id(x: Any) -> int:
    return place_of(x.run_id)


def _event_id(x: Any) -> int:
    return place_of(x.event_id)


def _order_id(x: Any) -> int:
    return place_of(x.order_id)


def _item_id(x: Any) -> int:
    return place_of_item(x.item_id)


def _lease(x: Any) -> int:
    return place_of_item(x.lease.item_id)


def _holder(x: Any) -> int:
    return place_of_holder(x.holder)


def _place(x: Any) -> int:
    place: int = x.place
    return place


def _shard(x: Any) -> int:
    shard: int = x.shard
    return shard


def _item_or_place(x: Any) -> int:
    return place_of_item(x.item_id) if x.place is None else x.place


def _of_item(x: Any) -> int:
    item: Item = x.item
    return item.home


def _everywhere(_: Any) -> int:
    return EVERYWHERE


def _nowhere(_: Any) -> int:
    return NOWHERE


QUESTIONS: Final[Mapping[type, Where]] = {
    q.Lock: _nowhere,
    q.GetEvent: lambda x: place_of(x.event_id) if x.place is None else x.place,
    q.GetRun: _run_id,
    q.GetSteps: _run_id,
    q.GetStep: _run_id,
    q.OpenSteps: _run_id,
    q.StepsOfKinds: _run_id,
    q.GetItem: _item_or_place,
    q.DueItems: _shard,
    q.HeldEvents: _run_id,
    q.HeldIds: _run_id,
    q.LoadRuns: _everywhere,
    q.Standings: _everywhere,
    q.NextDue: _shard,
    q.NextDues: _nowhere,  # it says by itself which shards
    q.ShardsWithCell: _nowhere,
    q.Occupied: _shard,
    q.ShardsWithBacklog: _nowhere,
    q.AnyLease: _everywhere,
    q.WaitPaths: _place,
    q.FindWaits: _place,
    q.GetWaits: _run_id,
    q.GetRequest: _run_id,
    q.GetCell: _place,
    q.AnyCell: _place,
    q.CountSlots: _place,
    q.Backlog: _place,
    q.BacklogItems: _place,
    q.NextBacklog: _place,
    q.Backlogs: _place,
    q.CountHeld: _holder,
    q.Children: _everywhere,
    q.RunsOfStatus: _everywhere,
    q.RunsOfFunction: _everywhere,
    q.SkippedEvents: _everywhere,
    q.GetOrder: _order_id,
    q.ListFunctions: _nowhere,
    q.FunctionVersions: _nowhere,
    q.ListApps: _nowhere,
    q.ListStandingOrders: _nowhere,
    q.RegistryStamp: _nowhere,
    q.ListRuns: _everywhere,
    q.EventNames: _everywhere,
    q.EventsOfRuns: _everywhere,
    q.RunsOfEvent: _everywhere,
    q.RunsOfEvents: _everywhere,
    q.Reruns: _everywhere,
    q.ListOrders: _everywhere,
    q.ListEvents: _everywhere,
    q.FindEvents: _everywhere,
    q.Outcomes: _event_id,
    q.OutcomesOfEvents: _everywhere,
    q.Attempts: _run_id,
    q.Notes: _run_id,
    q.GetMetadata: _run_id,
    q.GetLogs: _run_id,
    q.LoggedBytes: _run_id,
    q.SlotHolders: _place,
    q.BacklogPosition: _item_id,
    q.RunItems: _run_id,
    q.FunctionItems: _everywhere,
    q.OthersListen: _nowhere,
    q.LastPosting: _nowhere,
    q.Postings: _nowhere,
    q.BacklogDepths: _everywhere,
    q.BacklogFunctions: _everywhere,
    q.ComingItems: _everywhere,
    q.SlotKeys: _everywhere,
    q.ListCells: _everywhere,
    q.RunStates: _everywhere,
    q.DescribeStore: _nowhere,
    q.RunEndings: _everywhere,
    q.CountRuns: _everywhere,
    q.Count: _everywhere,
    q.GetUser: _nowhere,
    q.ListUsers: _nowhere,
    q.GetSession: _nowhere,
    q.ListSessions: _nowhere,
    q.ListAudit: _everywhere,
}

CHANGES: Final[Mapping[type, Where]] = {
    c.SaveEvent: lambda x: place_of(x.event.id) if x.place is None else x.place,
    c.SaveOutcome: lambda x: place_of(x.outcome.event_id),
    c.DropOutcome: _event_id,
    c.CreateRun: lambda x: place_of(x.run.id),
    c.StartRun: _run_id,
    c.SetExecutionVersion: _run_id,
    c.FinishRun: _run_id,
    c.SaveStep: lambda x: place_of(x.step.run_id),
    c.SettleStep: _run_id,
    c.SaveAttempt: lambda x: place_of(x.attempt.run_id),
    c.SaveNote: lambda x: place_of(x.note.run_id),
    c.SaveMetadata: lambda x: place_of(x.metadata.run_id),
    c.SaveLogs: lambda x: place_of(x.logged.run_id),
    c.Enqueue: _of_item,
    c.Schedule: _of_item,
    c.Park: _lease,
    c.Block: _item_id,
    c.Grant: _item_id,
    c.Postpone: _item_id,
    c.Extend: _lease,
    c.Retry: _lease,
    c.Wake: _item_id,
    c.Drop: _item_or_place,
    c.DropRunItems: _run_id,
    c.HoldEvent: _run_id,
    c.DropHeld: _run_id,
    c.OpenWait: lambda x: place_of(x.wait.run_id),
    c.CloseWait: _run_id,
    c.CloseWaits: _run_id,
    c.SaveRequest: lambda x: place_of(x.request.run_id),
    c.DropRequest: _run_id,
    c.DropRequests: _run_id,
    c.PutCell: _place,
    c.TakeSlots: _holder,
    c.FreeSlots: _holder,
    c.Release: _place,
    c.ReleaseShared: _place,
    c.ReleaseItem: _item_id,
    c.LapseLeases: _everywhere,
    c.SaveOrder: lambda x: place_of(x.order.id),
    c.DropOrder: _order_id,
    c.SaveApp: _nowhere,
    c.DropApp: _nowhere,
    c.SaveFunction: _nowhere,
    c.ArchiveFunction: _nowhere,
    c.PauseFunction: _nowhere,
    c.GiveOrder: _nowhere,
    c.WithdrawOrder: _nowhere,
    c.Listen: _nowhere,
    c.Unlisten: _nowhere,
    c.Post: _nowhere,
    c.SaveUser: _nowhere,
    c.DropUser: _nowhere,
    c.BeginSession: _nowhere,
    c.SeeSession: _nowhere,
    c.EndSession: _nowhere,
    c.EndSessions: _nowhere,
    c.SaveAudit: lambda x: place_of(x.entry.id),
}
