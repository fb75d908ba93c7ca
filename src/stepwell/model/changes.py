"""The closed set of things that can be written down, and the decision that carries them.

A decision's changes are applied in order, in one transaction, all or none. Each names rows of one place, which is that
in the id it names, or ``place`` where there is none to go by (``storage/places.py``).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

import msgspec

from stepwell.model.app import App
from stepwell.model.audit import AuditEntry
from stepwell.model.event import Event
from stepwell.model.function import Function
from stepwell.model.history import Cell, Note, Outcome
from stepwell.model.item import Item, Lease
from stepwell.model.log import Logged
from stepwell.model.metadata import Metadata
from stepwell.model.order import Order
from stepwell.model.pause import Pause
from stepwell.model.realtime import Posting
from stepwell.model.request import Request
from stepwell.model.run import Run
from stepwell.model.standing import StandingOrder
from stepwell.model.step import Attempt, Step
from stepwell.model.user import Session, User
from stepwell.model.wait import Wait


class SaveEvent(msgspec.Struct, frozen=True):
    """Remember an accepted event, or with a ``place`` a copy of one that is known, for a run there. One whose id is
    known there already is ignored."""

    event: Event
    place: int | None = None


class SaveOutcome(msgspec.Struct, frozen=True):
    """Remember why an event started no run of a function. A second one for the same pair is ignored."""

    outcome: Outcome


class DropOutcome(msgspec.Struct, frozen=True):
    """Forget why an event started no run of a function: it has one now."""

    event_id: str
    function_id: str


class CreateRun(msgspec.Struct, frozen=True):
    run: Run


class StartRun(msgspec.Struct, frozen=True):
    """The first call to the app begins: Queued becomes Running."""

    run_id: str
    started_at: int


class SetExecutionVersion(msgspec.Struct, frozen=True):
    """The app has answered for the first time, and in this dialect. Does nothing to a run that has one."""

    run_id: str
    version: int


class FinishRun(msgspec.Struct, frozen=True):
    """A run reaches its one end. Does nothing to a run that has ended (``lifecycle/run.py`` refuses it before)."""

    run_id: str
    status: str
    ended_at: int
    output: bytes | None = None
    reason: str | None = None


class SaveStep(msgspec.Struct, frozen=True):
    """Remember a step as it now is. An open step (errored, sleeping, waiting) is replaced; a result is never."""

    step: Step


class SettleStep(msgspec.Struct, frozen=True):
    """An open step gets its result. Does nothing to a step that has one: first in commit order wins (I16).

    Without a ``position`` it gets the next one: one more than the highest of the run, which the store then has to look
    for. ``details`` replaces the old if given.
    """

    run_id: str
    step_id: str
    status: str
    ended_at: int
    output: bytes | None = None
    details: bytes | None = None
    position: int | None = None


class SaveAttempt(msgspec.Struct, frozen=True):
    """Remember a failed try. The same one, by number and start, is remembered once.

    Each stretch of code between two steps counts its own tries from 0, so the number alone does not tell them apart.
    """

    attempt: Attempt


class SaveNote(msgspec.Struct, frozen=True):
    note: Note


class SaveMetadata(msgspec.Struct, frozen=True):
    """Remember what is said about a run, in place of what was known of this kind about this target."""

    metadata: Metadata


class SaveLogs(msgspec.Struct, frozen=True):
    """Remember what was logged in an attempt. The same report, by its moment and lease, is remembered once."""

    logged: Logged


class Enqueue(msgspec.Struct, frozen=True):
    """Owe an item. If one with this id is there already, it is left as it is."""

    item: Item


class Schedule(msgspec.Struct, frozen=True):
    """Owe an item, or move the one with this id to the given moment. For timers such as cron ticks."""

    item: Item


class Park(msgspec.Struct, frozen=True):
    """Give a leased item back, due at ``at`` (``None``: owed nothing until something wakes it).

    If the item was poked while it was leased, it is due at ``now`` instead, unless it backs off before another
    ``attempt`` at the function's code. Clears lease, poke, backlog and losses.
    """

    lease: Lease
    at: int | None
    now: int
    attempt: int = 0


class Block(msgspec.Struct, frozen=True):
    """An unleased or lapsed item does not fit its limit: out of sight until ``Release`` of that backlog."""

    item_id: str
    backlog: str
    losses: int = 0
    mark: int = 0


class Grant(msgspec.Struct, frozen=True):
    """Lease an unleased or lapsed item until ``until`` under a new token."""

    item_id: str
    token: int
    until: int
    losses: int = 0
    mark: int = 0


class Postpone(msgspec.Struct, frozen=True):
    """Take an item whose lease has lapsed from its holder, due at ``at``. A poke is forgotten."""

    item_id: str
    at: int
    losses: int
    mark: int


class Extend(msgspec.Struct, frozen=True):
    """Hold a lease until ``until``. Refused like any fenced change if the lease is lost."""

    lease: Lease
    until: int


class Retry(msgspec.Struct, frozen=True):
    """Set the attempt counter of a leased item, which stays leased."""

    lease: Lease
    attempt: int


class Wake(msgspec.Struct, frozen=True):
    """Something happened to a run: its item is due at ``at`` at the latest.

    A leased item is poked instead; a blocked one keeps its place in the backlog, and one that backs off before another
    attempt at the function's code, or was postponed, keeps its moment: what happened is there when it comes.
    """

    item_id: str
    at: int


class Drop(msgspec.Struct, frozen=True):
    """An item is done with. ``place`` is that of an item that is not named after a run."""

    item_id: str
    place: int | None = None


class DropRunItems(msgspec.Struct, frozen=True):
    """A run is owed nothing any more: its own item and all whose id is ``<run_id>/…``, leased or not."""

    run_id: str


class HoldEvent(msgspec.Struct, frozen=True):
    """An event is held back for a run that does not exist yet, at this position, where another may have been."""

    run_id: str
    position: int
    event_id: str


class DropHeld(msgspec.Struct, frozen=True):
    """No event is held back for this run any more."""

    run_id: str


class OpenWait(msgspec.Struct, frozen=True):
    wait: Wait


class CloseWait(msgspec.Struct, frozen=True):
    run_id: str
    wait_id: str


class CloseWaits(msgspec.Struct, frozen=True):
    """Close all waits of a run."""

    run_id: str


class SaveRequest(msgspec.Struct, frozen=True):
    """Owe a step an HTTP request. One that is there already is left as it is."""

    request: Request


class DropRequest(msgspec.Struct, frozen=True):
    """A step has its result: what was sent for it is forgotten."""

    run_id: str
    step_id: str


class DropRequests(msgspec.Struct, frozen=True):
    """No step of this run is owed a request any more."""

    run_id: str


class PutCell(msgspec.Struct, frozen=True):
    """Set a keyed memory."""

    cell: Cell
    place: int


class TakeSlots(msgspec.Struct, frozen=True):
    """The holder (an item) uses one slot of each key. Taking a slot twice is taking it once."""

    keys: tuple[str, ...]
    holder: str


class FreeSlots(msgspec.Struct, frozen=True):
    """The holder (an item, or the items of a run) uses no slot any more."""

    holder: str


class Release(msgspec.Struct, frozen=True):
    """Room in this backlog: the ``count`` items that were blocked longest are due at ``now``."""

    backlog: str
    now: int
    count: int
    place: int


class ReleaseShared(msgspec.Struct, frozen=True):
    """Room in a backlog that functions share: of each of them the ``count`` items that were blocked longest are due at
    ``now``, or those of the one ``function_id``.

    Their limits may differ, so that the first of all may be one for whom there is no room (ADR 0032). The names of such
    backlogs begin with ``account/``, ``env/``, ``run/account/`` or ``run/env/``.
    """

    backlog: str
    now: int
    count: int
    place: int
    function_id: str | None = None


class ReleaseItem(msgspec.Struct, frozen=True):
    """This item is due at ``now``, if it waits in a backlog."""

    item_id: str
    now: int


class LapseLeases(msgspec.Struct, frozen=True):
    """Everywhere: leases with a token lower than ``token`` belong to processes that are gone, so their items are due
    at ``now``.

    The token stays in the row; it marks the item as recovered for whoever claims it.
    """

    token: int
    now: int


class SaveOrder(msgspec.Struct, frozen=True):
    """Remember what is to be done about many runs, and how far that has come."""

    order: Order


class DropOrder(msgspec.Struct, frozen=True):
    """Forget such an order. What it has done stays so."""

    order_id: str


class SaveApp(msgspec.Struct, frozen=True):
    """An app was synced."""

    app: App


class DropApp(msgspec.Struct, frozen=True):
    """An app was removed: it is asked no more what it has."""

    app_id: str


class SaveFunction(msgspec.Struct, frozen=True):
    """Register a function, or replace its configuration. A pause stays as it is.

    A version that is new is kept with all that is here; of the old ones the newest ``FUNCTION_VERSIONS_KEPT`` stay.
    ``sdk`` and ``app_version`` are what its app says of itself, if it is served.
    """

    function: Function
    at: int
    sdk: str | None = None
    app_version: str | None = None


class ArchiveFunction(msgspec.Struct, frozen=True):
    """A function left its app: no new runs, history stays (semantics §9.6)."""

    function_id: str
    at: int


class PauseFunction(msgspec.Struct, frozen=True):
    """A person paused a function, or with ``None`` resumed it."""

    function_id: str
    pause: Pause | None


class GiveOrder(msgspec.Struct, frozen=True):
    """A person decided this, in place of what they had decided of this kind about this target."""

    order: StandingOrder


class WithdrawOrder(msgspec.Struct, frozen=True):
    """They took it back."""

    kind: str
    target: str


class Listen(msgspec.Struct, frozen=True):
    """This process has subscribers, and wants what others publish until ``expires_at``. Forgets those whose time is
    over."""

    listener: str
    expires_at: int
    now: int


class Unlisten(msgspec.Struct, frozen=True):
    """It has none any more."""

    listener: str


class Post(msgspec.Struct, frozen=True):
    """Leave messages for other processes. Forgets those that have expired by ``now``, and all but the newest
    ``kept``."""

    postings: tuple[Posting, ...]
    now: int
    kept: int


class SaveUser(msgspec.Struct, frozen=True):
    """Somebody may log in, or may do so in another way."""

    user: User


class DropUser(msgspec.Struct, frozen=True):
    """Somebody may not log in any more."""

    name: str


class BeginSession(msgspec.Struct, frozen=True):
    """Somebody has logged in. Forgets sessions that have expired by ``now``, and all of theirs but the newest
    ``kept``."""

    session: Session
    now: int
    kept: int


class SeeSession(msgspec.Struct, frozen=True):
    """A session was used."""

    session_id: str
    at: int


class EndSession(msgspec.Struct, frozen=True):
    """A session is of no use any more."""

    session_id: str


class EndSessions(msgspec.Struct, frozen=True):
    """Nor is any of somebody."""

    who: str


class SaveAudit(msgspec.Struct, frozen=True):
    """Remember who did this. A second one with this id is ignored: an action may be several decisions."""

    entry: AuditEntry


Change = (
    SaveEvent
    | SaveOutcome
    | DropOutcome
    | CreateRun
    | StartRun
    | SetExecutionVersion
    | FinishRun
    | SaveStep
    | SettleStep
    | SaveAttempt
    | SaveNote
    | SaveMetadata
    | SaveLogs
    | Enqueue
    | Schedule
    | Park
    | Block
    | Grant
    | Postpone
    | Extend
    | Retry
    | Wake
    | Drop
    | DropRunItems
    | HoldEvent
    | DropHeld
    | OpenWait
    | CloseWait
    | CloseWaits
    | SaveRequest
    | DropRequest
    | DropRequests
    | PutCell
    | TakeSlots
    | FreeSlots
    | Release
    | ReleaseShared
    | ReleaseItem
    | LapseLeases
    | SaveOrder
    | DropOrder
    | SaveApp
    | DropApp
    | SaveFunction
    | ArchiveFunction
    | PauseFunction
    | GiveOrder
    | WithdrawOrder
    | Listen
    | Unlisten
    | Post
    | SaveUser
    | DropUser
    | BeginSession
    | SeeSession
    | EndSession
    | EndSessions
    | SaveAudit
)

T = TypeVar("T")


class Decision(msgspec.Struct, frozen=True):
    """What is to be written, and on what condition.

    ``holds`` must still be ours when this is applied, else nothing at all is written (hot-path.md §3.2).
    ``result`` goes to whoever asked for the decision once it is durable.
    """

    changes: tuple[Change, ...] = ()
    holds: Lease | None = None
    result: Any = None


Plan = Generator[Any, Any, Decision]
"""A decision that must first ask: yields questions of ``model/questions.py``, is sent the answers, returns a decision.

The store drives it inside one transaction, so the answers hold until the decision is applied. It must be pure: the same
answers give the same decision, because a transaction may have to be run again.
"""
