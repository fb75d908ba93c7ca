"""What functions are owed: how much is due, in flight, held back and by what, and when the next can move.

A backlog may have a million runs under ten thousand keys. Each question is bounded, and asked beside the engine's work:
one look for each key, counts that end at a number, never a walk over all there is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from stepwell.engine.registry import Registry
from stepwell.model.function import Function
from stepwell.model.item import Item, ItemKind
from stepwell.model.place import EVERYWHERE
from stepwell.model.questions import (
    BacklogDepths,
    BacklogFunctions,
    BacklogItems,
    ComingItems,
    CountSlots,
    GetItem,
    GetRun,
    ListFunctions,
    ListStandingOrders,
)
from stepwell.model.standing import Orders, StandingKind
from stepwell.views.nouns import Reader, moment
from stepwell.views.queues.holders import holders
from stepwell.views.queues.names import ALL, By, limit_of, named, ranges
from stepwell.views.queues.shapes import (
    COUNT_MAX,
    AllQueuesView,
    AmountView,
    BacklogView,
    FunctionQueueView,
    QueueView,
)
from stepwell.views.why.shapes import Situation

_KEYS_PER_READ: Final = 500  # some milliseconds each, so that nobody else who reads waits for long
_KEYS_MAX: Final = 10_000
_DEPTH_MAX: Final = 1_000  # enough to tell the deepest, which are counted further
_COUNTED_FURTHER: Final = 20
_FOREVER: Final = 1 << 62
_STATES: Final = ("due", "running", "blocked", "throttled", "paused", "unserved", "later")
_STATE_OF: Final[dict[By, str]] = {
    "concurrency": "blocked",
    "run-concurrency": "blocked",
    "other": "blocked",
    "throttle": "throttled",
    "back-pressure": "throttled",
    "paused": "paused",
    "unserved": "unserved",
    "room": "due",
}


class Depth(NamedTuple):
    """A backlog with at least so many runs, exactly if there are not ``more``, and the place of its first."""

    name: str
    runs: int
    more: bool
    first: int


async def queues(reader: Reader, now: int) -> list[QueueView]:
    """What each function is owed, by id."""
    found, _, _ = await _all(reader, now)
    return found


async def all_queues(reader: Reader, registry: Registry, situation: Situation, limit: int) -> AllQueuesView:
    """What each function is owed, with up to ``limit`` of all backlogs, the deepest first."""
    found, depths, more = await _all(reader, situation.now)
    return AllQueuesView(
        functions=found,
        keys=AmountView(count=len(depths), more=more),
        backlogs=[await _backlog(reader, registry, depth.name, situation) for depth in depths[:limit]],
    )


async def _all(reader: Reader, now: int) -> tuple[list[QueueView], list[Depth], bool]:
    tally = _Tally(now)
    await tally.add_items(reader)
    depths, more = await _depths(reader, [ALL])
    await tally.add_backlogs(reader, depths, more=more)
    known = {function.id for function in await reader.read(ListFunctions())}
    found = [await tally.view(reader, function_id) for function_id in sorted(known | tally.functions)]
    return found, depths, more


async def function_queue(
    reader: Reader, registry: Registry, function_id: str, situation: Situation, limit: int
) -> FunctionQueueView:
    """What one function is owed, with up to ``limit`` of its backlogs, the deepest first."""
    function = registry.of_run(function_id)
    tally = _Tally(situation.now)
    await tally.add_items(reader)
    depths, more = await _depths(reader, ranges(function_id, function))
    shared = await tally.add_backlogs(reader, depths, more=more, only=function_id)
    mine = [depth for depth in depths if named(depth.name).function_id == function_id or depth.name in shared]
    deepest = sorted(mine, key=_deepest_first)[:limit]
    return FunctionQueueView(
        **msgspec.structs.asdict(await tally.view(reader, function_id)),
        keys=AmountView(count=len(mine), more=more),
        backlogs=[await _backlog(reader, registry, name, situation) for name, *_ in deepest],
    )


async def waiting(reader: Reader, function_id: str, function: Function | None, limit: int) -> dict[str, AmountView]:
    """How many wait in the backlogs of a function, by name: in the first ``limit`` of each kind, counted to 1,000."""
    found: dict[str, AmountView] = {}
    for first, last in ranges(function_id, function):
        for name, count, _ in await reader.read(BacklogDepths(first, last, limit, _DEPTH_MAX)):
            found[name] = AmountView(count=count, more=count >= _DEPTH_MAX)
    return found


async def _depths(reader: Reader, where: Iterable[tuple[str, str]]) -> tuple[list[Depth], bool]:
    """The backlogs in these ranges of names, and whether there are more than are looked at."""
    found, more = list[Depth](), False
    for first, last in where:
        after = first
        while not more:
            page = await reader.read(BacklogDepths(after, last, _KEYS_PER_READ, _DEPTH_MAX))
            found += [Depth(name, count, count >= _DEPTH_MAX, head) for name, count, head in page]
            if len(page) < _KEYS_PER_READ:
                break
            after = f"{page[-1][0]}\x01"  # after it, and before all that it begins
            more = len(found) > _KEYS_MAX
    del found[_KEYS_MAX:]
    found.sort(key=_deepest_first)
    for number, each in enumerate(found[:_COUNTED_FURTHER]):
        if each.more:
            count = await _count(reader, each.name)
            found[number] = each._replace(runs=count, more=count >= COUNT_MAX)
    return found, more


def _deepest_first(depth: Depth) -> tuple[int, int, str]:
    return -depth.runs, depth.first, depth.name


async def _count(reader: Reader, name: str) -> int:
    """How many there are in a backlog, counted up to ``COUNT_MAX``."""
    counted = await reader.read(BacklogDepths(name, f"{name}\x01", 1, COUNT_MAX))
    return counted[0][1] if counted else 0


async def _backlog(reader: Reader, registry: Registry, name: str, situation: Situation) -> BacklogView:
    said = named(name)
    (first,) = await reader.read(BacklogItems(name, 1, EVERYWHERE)) or (None,)
    run = await reader.read(GetRun(first.id)) if first is not None else None
    function_id = run.function_id if run is not None else said.function_id
    control = limit_of(name, registry.of_run(function_id) if function_id is not None else None)
    next_at = None
    if said.by in ("throttle", "back-pressure"):
        timer = await reader.read(GetItem(name, EVERYWHERE))
        next_at = timer.at if timer is not None else situation.now
    used: int = await reader.read(CountSlots(name, EVERYWHERE))
    limits = said.by in ("concurrency", "run-concurrency")
    paused_app_id = None
    function = registry.of_run(function_id) if said.by == "paused" and function_id is not None else None
    if function is not None:
        standing = await reader.read(ListStandingOrders())
        order = Orders(standing).find(StandingKind.PAUSE, function.id, function.app_id)
        paused_app_id = function.app_id if order is not None and order.pause == function.pause else None
    return BacklogView(
        key=name,
        by=said.by,
        scope=said.scope,
        value=said.value if control is None or control.key is not None else None,
        expression=control.key if control is not None else None,
        waiting=amount(await _count(reader, name)),
        function_id=function_id,
        first_run_id=run.id if run is not None else None,
        first_since=moment(run.scheduled_at) if run is not None else None,
        limit=control.limit if control is not None and said.by != "back-pressure" else None,
        used=used if limits else None,
        held_by=await holders(reader, name, situation.bodies) if limits else [],
        next_at=moment(next_at),
        paused_app_id=paused_app_id,
    )


def amount(count: int) -> AmountView:
    """A number that was counted no further than ``COUNT_MAX``."""
    return AmountView(count=min(count, COUNT_MAX), more=count >= COUNT_MAX)


class _Tally:
    """Counts runs by function and state, as far as was looked."""

    def __init__(self, now: int) -> None:
        self._now = now
        self._counts: Counter[tuple[str, str]] = Counter()
        self._more: set[tuple[str, str]] = set()
        self._of_all: set[str] = set()  # states of which there are more, whoever has them
        self._next: dict[str, int] = {}
        self._since: dict[str, int] = {}
        self._heads: dict[str, tuple[int, str]] = {}

    @property
    def functions(self) -> set[str]:
        return {function_id for function_id, _ in self._counts}

    async def add_items(self, reader: Reader) -> None:
        """What is due, in flight, or has a moment."""
        due = await reader.read(ComingItems(-1, self._now, COUNT_MAX))
        ahead = await reader.read(ComingItems(self._now, _FOREVER, COUNT_MAX))
        for item in due:
            if item.kind == ItemKind.RUN and item.at is not None:
                self._counts[item.function_id, "due"] += 1
                self._since.setdefault(item.function_id, item.at)
        for item in ahead:
            self._count_ahead(item)
        if len(due) == COUNT_MAX:
            self._of_all.add("due")
        if len(ahead) == COUNT_MAX:
            self._of_all.update(("later", "running"))

    def _count_ahead(self, item: Item) -> None:
        if item.kind == ItemKind.RUN:
            self._counts[item.function_id, "running" if item.lease else "later"] += 1
        if not item.lease and item.at is not None and item.function_id:
            self._next.setdefault(item.function_id, item.at)

    async def add_backlogs(
        self, reader: Reader, depths: Iterable[Depth], *, more: bool, only: str | None = None
    ) -> set[str]:
        """What is held back. The value is those of the shared backlogs in which there are runs of ``only``."""
        shared, room = set[str](), COUNT_MAX
        for name, depth, deeper, first in depths:
            said = named(name)
            if said.function_id is not None:
                self._add(said.function_id, _STATE_OF[said.by], depth, more=deeper)
                self._heads[said.function_id] = min((first, name), self._heads.get(said.function_id, (_FOREVER, "")))
                continue
            looked, state = min(depth, room), _STATE_OF[said.by]
            if looked == 0:
                self._of_all.add(state)
                continue
            room -= looked
            ids: list[str] = await reader.read(BacklogFunctions(name, looked))
            whose = Counter(ids)
            for function_id, count in whose.items():
                self._add(function_id, state, count, more=deeper or looked < depth)
            if only in whose:
                shared.add(name)
        if more:
            self._of_all.update(_STATE_OF.values())
        return shared

    def _add(self, function_id: str, state: str, count: int, *, more: bool) -> None:
        self._counts[function_id, state] += count
        if more:
            self._more.add((function_id, state))

    async def view(self, reader: Reader, function_id: str) -> QueueView:
        since = self._since.get(function_id)
        head = self._heads.get(function_id)
        if head is not None:  # a priority moves the place in line, not the moment
            (first,) = await reader.read(BacklogItems(head[1], 1, EVERYWHERE)) or (None,)
            run = await reader.read(GetRun(first.id)) if first is not None else None
            if run is not None:
                since = min(run.scheduled_at, since if since is not None else _FOREVER)
        found = {
            state: AmountView(
                count=self._counts[function_id, state],
                more=(function_id, state) in self._more or state in self._of_all,
            )
            for state in _STATES
        }
        return QueueView(
            function_id=function_id,
            oldest_since=moment(since),
            next_at=moment(self._next.get(function_id)),
            **found,
        )
