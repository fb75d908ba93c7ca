"""The closed set of questions a decision, a view or a command may ask of the store.

``answer = yield from ask(GetRun("01…"))`` inside a plan; ``await store.read(GetRun("01…"))`` outside of one.

What names a run, an event or an order is looked for at the place in the id. What names a key is looked for at
``place``, which may be ``EVERYWHERE``; and what names neither, everywhere (``storage/places.py``).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Generic, TypeVar, cast

import msgspec

from stepwell.model.app import App
from stepwell.model.audit import AuditEntry
from stepwell.model.event import Event
from stepwell.model.function import FunctionVersion
from stepwell.model.history import Cell, Note, Outcome
from stepwell.model.item import Item
from stepwell.model.log import Logged
from stepwell.model.metadata import Metadata
from stepwell.model.order import Order
from stepwell.model.pause import Pause
from stepwell.model.realtime import Posting
from stepwell.model.request import Request
from stepwell.model.run import Run, RunStatus
from stepwell.model.standing import StandingOrder
from stepwell.model.step import Attempt, Step
from stepwell.model.user import Session, User
from stepwell.model.wait import Wait

A = TypeVar("A")


class Question(msgspec.Struct, Generic[A], frozen=True):
    """Base of all questions; ``A`` is the type of the answer."""


def _check_listed(status: str | None) -> None:
    """No index has those that completed, which are nearly all: whoever wants them looks through all there are."""
    assert status != RunStatus.COMPLETED, "no index lists runs that completed: the answer would be none"


def ask(question: Question[A]) -> Generator[Any, Any, A]:
    """Ask inside a plan."""
    return cast("A", (yield question))


# What decisions ask ------------------------------------------------------------------------------------------------


class Lock(Question[bool], frozen=True):
    """Let nobody else write to the shards of these places, or ``EVERYWHERE``, until this decision is applied.

    Whether that is all there are: then nothing that is found everywhere can change before. What a decision asks of one
    place, and writes, is held without this; what it asks everywhere is not.
    """

    places: tuple[int, ...]


class GetEvent(Question[Event | None], frozen=True):
    """The event, or with a ``place`` the copy of it that is there for a run."""

    event_id: str
    place: int | None = None


class GetRun(Question[Run | None], frozen=True):
    run_id: str


class GetSteps(Question[list[Step]], frozen=True):
    """All steps of a run, in the order in which they were first seen."""

    run_id: str


class GetStep(Question[Step | None], frozen=True):
    run_id: str
    step_id: str


class OpenSteps(Question[list[Step]], frozen=True):
    """The steps of this kind of a run that have no result, in the order in which they were first seen."""

    run_id: str
    kind: str


class GetItem(Question[Item | None], frozen=True):
    """``place`` is that of an item that is not named after a run."""

    item_id: str
    place: int | None = None


class DueItems(Question[list[Item]], frozen=True):
    """Items whose moment has come, the longest due first. A lapsed lease is due. ``timers_only`` leaves out runs.

    In this shard, because a claim is one decision, or ``EVERYWHERE``.
    """

    now: int
    limit: int
    shard: int
    timers_only: bool = False


class HeldEvents(Question[list[Event]], frozen=True):
    """The events that are held back for a run, or that were collected for it, in their order."""

    run_id: str


class HeldIds(Question[list[str]], frozen=True):
    """The ids of those events."""

    run_id: str


class Loaded(msgspec.Struct, frozen=True):
    """A run with what a call of it needs: the event that started it, its steps in the order they were first seen, all
    its events if they were collected."""

    run: Run
    event: Event | None
    steps: list[Step]
    events: list[Event] = []


class LoadRuns(Question[dict[str, Loaded]], frozen=True):
    """These runs by their ids, as far as they exist: many at once, because a claim takes many."""

    run_ids: tuple[str, ...]


class Standings(Question[dict[str, tuple[int, bool]]], frozen=True):
    """The token each of these items carries, and whether it was poked; without those that are gone.

    For the holders of leases, who hear from others only by asking.
    """

    item_ids: tuple[str, ...]


class NextDue(Question[int | None], frozen=True):
    """The earliest ``at`` of any item later than ``after``, in this shard or ``EVERYWHERE``."""

    shard: int
    after: int = -1


class NextDues(Question[list[tuple[int, int]]], frozen=True):
    """The shards in which an item has a moment, each with the earliest ``at``. ``timers_only`` leaves out runs.

    Costs one look for each shard, however much is in it.
    """

    timers_only: bool = False


class Occupied(Question[list[str]], frozen=True):
    """Which of these backlogs are not empty in a shard. Their names have a kind, which ends with the first slash.

    Costs a look for each kind, and one for each backlog of that kind that is not empty, however many wait there.
    """

    names: tuple[str, ...]
    shard: int


class ShardsWithBacklog(Question[list[int]], frozen=True):
    """The shards in which one of these backlogs is not empty.

    Costs a look for each kind and shard, as long as nobody waits in another backlog of that kind.
    """

    names: tuple[str, ...]


class ShardsWithCell(Question[list[int]], frozen=True):
    """The shards in which there is a cell whose key begins so and that has not expired. ``prefix`` ends in a slash.

    Costs one look for each shard.
    """

    prefix: str
    now: int


class AnyLease(Question[bool], frozen=True):
    """Does any item hold a lease that lasts beyond this moment?"""

    now: int


class WaitPaths(Question[list[str]], frozen=True):
    """The distinct ``path`` of the open waits for this event name; ``""`` stands for waits without one."""

    event_name: str
    place: int


class FindWaits(Question[list[Wait]], frozen=True):
    """Open waits for this event name whose path and value are among ``probes``, and that have not expired at
    ``now``."""

    event_name: str
    probes: tuple[tuple[str, str], ...]
    now: int
    place: int


class GetWaits(Question[list[Wait]], frozen=True):
    """All open waits of a run, cancel listeners included."""

    run_id: str


class GetRequest(Question[Request | None], frozen=True):
    """What is to be sent for a step."""

    run_id: str
    step_id: str


class GetCell(Question[Cell | None], frozen=True):
    """The cell if it has not expired at ``now``."""

    key: str
    now: int
    place: int


class AnyCell(Question[bool], frozen=True):
    """Is there a cell whose key begins so, and that has not expired at ``now``? ``prefix`` ends in a slash."""

    prefix: str
    now: int
    place: int


class CountSlots(Question[int], frozen=True):
    key: str
    place: int


class Backlog(Question[list[tuple[int, str]]], frozen=True):
    """The first items of a backlog in their order, each as (queued_at, id); with ``after`` the first behind that
    place."""

    key: str
    limit: int
    place: int
    after: tuple[int, str] | None = None


class BacklogItems(Question[list[Item]], frozen=True):
    """The first items of a backlog in their order."""

    key: str
    limit: int
    place: int


class NextBacklog(Question[str | None], frozen=True):
    """The first backlog that is not empty and whose name comes after this one. Costs one look."""

    after: str
    place: int


class Backlogs(Question[list[str]], frozen=True):
    """The backlogs that are not empty and whose names begin so, ``limit`` at most. ``prefix`` ends in a slash.

    Costs what there are of them, not what is in them.
    """

    prefix: str
    limit: int
    place: int


class CountHeld(Question[int], frozen=True):
    """How many slots of this key the holder has: an item, with what it holds as ``<id>/…``."""

    key: str
    holder: str


class Children(Question[list[Run]], frozen=True):
    """Unfinished runs that were invoked by a step of this run."""

    run_id: str


class RunsOfStatus(Question[list[Run]], frozen=True):
    """Runs of all functions in this state, which is any but ``COMPLETED``, by their ids and without their outputs:
    those between ``after`` and ``before``, both exclusive."""

    status: str
    after: str
    before: str
    limit: int

    def __post_init__(self) -> None:
        _check_listed(self.status)


class RunsOfFunction(Question[list[Run]], frozen=True):
    """Runs of one function, by their ids and without their outputs: those between ``after``
    and ``before``, both exclusive."""

    function_id: str
    after: str
    before: str
    limit: int


class SkippedEvents(Question[list[Outcome]], frozen=True):
    """Why events were kept from starting a run of this function (``SKIPPED``), in the order in which that was: after
    this moment and event, up to the moment ``before``."""

    function_id: str
    after: int
    after_event: str
    before: int
    limit: int


class GetOrder(Question[Order | None], frozen=True):
    order_id: str


# What people and commands ask ----------------------------------------------------------------------------------------


class StoredFunction(msgspec.Struct, frozen=True, kw_only=True):
    """A registered function as the store keeps it; ``protocol/config.py`` reads ``config``."""

    id: str
    app_id: str
    config: bytes
    version: int
    updated_at: int
    archived_at: int | None = None
    pause: Pause | None = None


class ListFunctions(Question[list[StoredFunction]], frozen=True):
    archived: bool = False


class FunctionVersions(Question[list[FunctionVersion]], frozen=True):
    """The configurations that a function has had, the newest first, ``limit`` at most. One that was registered before
    they were kept has none, until it changes."""

    function_id: str
    limit: int


class ListApps(Question[list[App]], frozen=True):
    """The apps that are served at an address, by id."""


class ListStandingOrders(Question[list[StandingOrder]], frozen=True):
    """All standing orders, by kind and target."""


class RegistryStamp(Question[int], frozen=True):
    """A number that grows whenever a function is saved, archived, paused or resumed, or a standing order changes. An
    order that is given before there is any function changes nothing yet."""


class ListRuns(Question[list[Run]], frozen=True):
    """Runs, newest first: of one function, or in one state that is any but ``COMPLETED``, or all. ``before`` is a run
    id, exclusive. Outputs are left out unless ``output``."""

    limit: int
    before: str | None = None
    function_id: str | None = None
    status: str | None = None
    output: bool = False

    def __post_init__(self) -> None:
        assert self.function_id is None or self.status is None, "one function, or one state: one index has it"
        _check_listed(self.status)


class EventNames(Question[dict[str, str]], frozen=True):
    """The names of the events of these runs by the ids of the events, as far as they exist: pairs of run and event."""

    pairs: tuple[tuple[str, str], ...]


class EventsOfRuns(Question[dict[str, Event]], frozen=True):
    """The events of these runs by their ids, as far as they exist: pairs of run and event. Each may be of half a
    megabyte."""

    pairs: tuple[tuple[str, str], ...]


class StepsOfKinds(Question[list[Step]], frozen=True):
    """Up to ``limit`` steps of these kinds of a run, in the order in which they were first seen."""

    run_id: str
    kinds: tuple[str, ...]
    limit: int


class RunsOfEvent(Question[list[Run]], frozen=True):
    event_id: str


class RunsOfEvents(Question[dict[str, list[Run]]], frozen=True):
    """The runs that each of these events started or is held by, by the ids of those that have any. They come without
    what they gave, which may be long."""

    event_ids: tuple[str, ...]


class Reruns(Question[list[str]], frozen=True):
    """The ids of the runs that were made to run this one again, oldest first."""

    run_id: str


class ListOrders(Question[list[Order]], frozen=True):
    """What is or was to be done about many runs, newest first. ``before`` is an id, exclusive."""

    kind: str
    limit: int
    before: str | None = None


class ListEvents(Question[list[Event]], frozen=True):
    """Events, newest first. ``before`` is an event id, exclusive."""

    limit: int
    before: str | None = None
    name: str | None = None
    received_after: int | None = None
    received_before: int | None = None
    internal: bool = False


class FindEvents(Question[list[Event]], frozen=True):
    """Events of one name received in [after, before), newest first: the look-back of a wait."""

    name: str
    after: int
    before: int
    limit: int


class Outcomes(Question[list[Outcome]], frozen=True):
    event_id: str


class OutcomesOfEvents(Question[dict[str, list[Outcome]]], frozen=True):
    """The outcomes of each of these events, by the ids of those that have any."""

    event_ids: tuple[str, ...]


class Attempts(Question[list[Attempt]], frozen=True):
    """Failed attempts of a run, oldest first."""

    run_id: str


class Notes(Question[list[Note]], frozen=True):
    run_id: str


class GetMetadata(Question[list[Metadata]], frozen=True):
    """All that is said about a run and its steps."""

    run_id: str


class GetLogs(Question[list[Logged]], frozen=True):
    """What the code of a run has logged, report by report; ``all_lines`` of ``model/log.py`` brings it into order."""

    run_id: str


class LoggedBytes(Question[int], frozen=True):
    """How much of that is kept."""

    run_id: str


class SlotHolders(Question[list[str]], frozen=True):
    """Items that hold a slot of this key, and runs that hold a lock."""

    key: str
    limit: int
    place: int


class BacklogPosition(Question[tuple[int, int] | None], frozen=True):
    """(how many blocked items go before it, how many there are) for a blocked item, both counted up to ``most``;
    ``None`` if it is not blocked."""

    item_id: str
    most: int = 10_000


class RunItems(Question[list[Item]], frozen=True):
    """The item of a run and its timers."""

    run_id: str


class FunctionItems(Question[list[Item]], frozen=True):
    """Items of a function that belong to no run: its cron ticks."""

    function_id: str


# What realtime asks ---------------------------------------------------------------------------------------------------


class OthersListen(Question[bool], frozen=True):
    """Whether any process but this one wants to be told of messages. Asked for each message, so it must be cheap."""

    listener: str
    now: int


class LastPosting(Question[int], frozen=True):
    """The id of the newest message that was left for other processes; 0 if there has been none."""


class Postings(Question[list[Posting]], frozen=True):
    """Messages left after the one with this id, oldest first. Those of ``listener`` itself come without their body."""

    after: int
    listener: str
    limit: int


class BacklogDepths(Question[list[tuple[str, int, int]]], frozen=True):
    """The backlogs whose names lie in [first, last), by name, ``limit`` at most: each with how many items it has,
    counted up to ``depth_max``, and ``queued_at`` of the first."""

    first: str
    last: str
    limit: int
    depth_max: int


class BacklogFunctions(Question[list[str]], frozen=True):
    """Whose the first items of a backlog are in each shard: a function id for each, ``limit`` at most."""

    key: str
    limit: int


class ComingItems(Question[list[Item]], frozen=True):
    """Items due in (after, before], the earliest first: with ``after`` the present, what holds a lease and what comes
    later."""

    after: int
    before: int
    limit: int


class SlotKeys(Question[list[tuple[str, int]]], frozen=True):
    """The keys in [first, last) of which slots are taken, by key, ``limit`` at most, each with how many: counted up to
    ``used_max``."""

    first: str
    last: str
    limit: int
    used_max: int


class ListCells(Question[list[Cell]], frozen=True):
    """The cells in [first, last) that have not expired at ``now``, by key."""

    first: str
    last: str
    now: int
    limit: int


class RunStates(Question[list[Run]], frozen=True):
    """These runs, as far as they exist, in any order."""

    run_ids: tuple[str, ...]


# What people ask ------------------------------------------------------------------------------------------------------


class StoreFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a store says of itself: its ``schema`` and how much it takes up."""

    kind: str
    version: str
    schema: int
    size_bytes: int


class DescribeStore(Question[StoreFacts], frozen=True):
    """For people who look."""


class RunEndings(Question[list[tuple[int, str, str]]], frozen=True):
    """Which runs ended in (after, before], the newest first, ``limit`` at most: as (ended_at, id, status)."""

    after: int
    before: int
    limit: int


class CountRuns(Question[int], frozen=True):
    """How many runs are in this state, which is any but ``COMPLETED``, counted up to ``most``."""

    status: str
    most: int

    def __post_init__(self) -> None:
        _check_listed(self.status)


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """How much there is. ``oldest_due`` is the moment since which the longest due item has been waiting."""

    live_runs: int
    items: int
    blocked: int
    leased: int
    waits: int
    oldest_due: int | None


class Count(Question[Totals], frozen=True):
    """For health and metrics. Costs a scan of what is live, never of what has ended."""

    now: int


# Who may do what, and who did it --------------------------------------------------------------------------------------


class GetUser(Question[User | None], frozen=True):
    name: str


class ListUsers(Question[list[User]], frozen=True):
    """By name."""

    limit: int


class GetSession(Question[Session | None], frozen=True):
    """Also one that has expired."""

    session_id: str


class ListSessions(Question[list[Session]], frozen=True):
    """Sessions that have not expired at ``now``, the newest first, of somebody or of all."""

    now: int
    limit: int
    who: str | None = None


class ListAudit(Question[list[AuditEntry]], frozen=True):
    """What was done, the newest first: by somebody, or about something, or all. ``before`` and ``after`` are ids,
    exclusive. With both, ``who`` is left to whoever asks."""

    limit: int
    before: str | None = None
    after: str = ""
    who: str | None = None
    target: str | None = None
