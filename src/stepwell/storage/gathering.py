"""One answer from those of many shards: whom to ask, and how their answers come together, for every backend.

Each shard answers in the order that the question promises, with as much as was asked for. So what is first of all is
among what is first in each, and pages are exact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from operator import attrgetter, itemgetter
from typing import Any, Final

from msgspec.structs import replace

from stepwell.model import questions as q
from stepwell.model.history import Cell
from stepwell.model.place import EVERYWHERE, place_of
from stepwell.storage.places import NOWHERE, shard_of_question

Answers = list[Any]


def parts(question: q.Question[Any], shards: int) -> list[tuple[int, q.Question[Any]]]:
    """Which shards are asked, in ascending order, and what each of them is. What has no shards is asked in shard 0."""
    shard = shard_of_question(question, shards)
    if shard == NOWHERE:
        return [(0, question)]
    if shard != EVERYWHERE:
        return [(shard, question)]
    by_id = _BY_ID.get(type(question))
    if by_id is None:
        return [(each, question) for each in range(shards)]
    field, id_of = by_id
    ids: dict[int, list[Any]] = defaultdict(list)
    for one in getattr(question, field):
        ids[place_of(id_of(one)) & (shards - 1)].append(one)
    return [(each, replace(question, **{field: tuple(ids[each])})) for each in sorted(ids)]


def gather(question: q.Question[Any], answers: Answers) -> Any:
    """The answer to a question that went to many shards."""
    return _GATHER[type(question)](question, answers)


def _same(one: Any) -> Any:
    return one


# What names many runs or items is divided by their ids, so that each shard is asked for its own.
_BY_ID: Final[Mapping[type, tuple[str, Callable[[Any], str]]]] = {
    q.LoadRuns: ("run_ids", _same),
    q.RunStates: ("run_ids", _same),
    q.Standings: ("item_ids", _same),
    q.EventNames: ("pairs", itemgetter(0)),
    q.EventsOfRuns: ("pairs", itemgetter(0)),
    q.OutcomesOfEvents: ("event_ids", _same),
}


def _joined(_: Any, answers: Answers) -> dict[Any, Any]:
    return {key: value for answer in answers for key, value in answer.items()}


def _each(key: Callable[[Any], Any]) -> Callable[[Any, Answers], dict[Any, list[Any]]]:
    """What each shard has under a name, in this order."""

    def together(_: Any, answers: Answers) -> dict[Any, list[Any]]:
        found = defaultdict[Any, list[Any]](list)
        for answer in answers:
            for name, some in answer.items():
                found[name] += some
        return {name: sorted(some, key=key) for name, some in found.items()}

    return together


def _any(_: Any, answers: Answers) -> bool:
    return any(answers)


def _first(_: Any, answers: Answers) -> Any:
    return next((answer for answer in answers if answer is not None), None)


def _least(_: Any, answers: Answers) -> Any:
    return min((answer for answer in answers if answer is not None), default=None)


def _total(_: Any, answers: Answers) -> int:
    return sum(answers)


def _by(key: Callable[[Any], Any], *, down: bool = False) -> Callable[[Any, Answers], list[Any]]:
    """In this order, and no more than the question's limit if it has one."""

    def ordered(question: Any, answers: Answers) -> list[Any]:
        found = sorted((one for answer in answers for one in answer), key=key, reverse=down)
        return found[: getattr(question, "limit", None)]

    return ordered


def _distinct(question: Any, answers: Answers) -> list[str]:
    return sorted({one for answer in answers for one in answer})[: getattr(question, "limit", None)]


def _cells(x: q.ListCells, answers: Answers) -> list[Cell]:
    """One that was written everywhere is one."""
    found = {cell.key: cell for cell in sorted((one for answer in answers for one in answer), key=_expiry)}
    return sorted(found.values(), key=_key)[: x.limit]


def _waits(x: q.FindWaits, answers: Answers) -> list[Any]:
    order = {probe: number for number, probe in enumerate(dict.fromkeys(x.probes))}
    found = [wait for answer in answers for wait in answer]
    return sorted(found, key=lambda wait: (order[wait.path, wait.value], wait.run_id, wait.id))


def _depths(x: q.BacklogDepths, answers: Answers) -> list[tuple[str, int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for name, depth, first in (one for answer in answers for one in answer):
        before, earliest = found.get(name, (0, first))
        found[name] = min(before + depth, x.depth_max), min(first, earliest)
    return [(name, *found[name]) for name in sorted(found)[: x.limit]]


def _slots(x: q.SlotKeys, answers: Answers) -> list[tuple[str, int]]:
    found: dict[str, int] = defaultdict(int)
    for key, used in (one for answer in answers for one in answer):
        found[key] = min(found[key] + used, x.used_max)
    return [(key, found[key]) for key in sorted(found)[: x.limit]]


def _totals(_: Any, answers: list[q.Totals]) -> q.Totals:
    return q.Totals(
        live_runs=sum(each.live_runs for each in answers),
        items=sum(each.items for each in answers),
        blocked=sum(each.blocked for each in answers),
        leased=sum(each.leased for each in answers),
        waits=sum(each.waits for each in answers),
        oldest_due=_least(None, [each.oldest_due for each in answers]),
    )


_id: Final = attrgetter("id")
_key: Final = attrgetter("key")
_expiry: Final = attrgetter("expires_at")
_in_line: Final = attrgetter("queued_at", "id")
_due: Final = attrgetter("at", "id")
_received: Final = attrgetter("received_at", "id")

_GATHER: Final[Mapping[type, Callable[[Any, Answers], Any]]] = {
    q.GetEvent: _first,
    q.GetItem: _first,
    q.DueItems: _by(_due),
    q.LoadRuns: _joined,
    q.Standings: _joined,
    q.NextDue: _least,
    q.AnyLease: _any,
    q.WaitPaths: _distinct,
    q.FindWaits: _waits,
    q.GetCell: _first,
    q.AnyCell: _any,
    q.CountSlots: _total,
    q.Backlog: _by(_same),
    q.BacklogItems: _by(_in_line),
    q.NextBacklog: _least,
    q.Backlogs: _distinct,
    q.Children: _by(_id),
    q.RunsOfStatus: _by(_id),
    q.RunsOfFunction: _by(_id),
    q.SkippedEvents: _by(attrgetter("at", "event_id")),
    q.ListRuns: _by(_id, down=True),
    q.EventNames: _joined,
    q.EventsOfRuns: _joined,
    q.RunsOfEvent: _by(_id),
    q.RunsOfEvents: _each(_id),
    q.OutcomesOfEvents: _joined,
    q.Reruns: _distinct,
    q.ListOrders: _by(_id, down=True),
    q.ListAudit: _by(_id, down=True),
    q.ListEvents: _by(_received, down=True),
    q.FindEvents: _by(_received, down=True),
    q.SlotHolders: _distinct,
    q.FunctionItems: _by(_id),
    q.BacklogDepths: _depths,
    q.BacklogFunctions: _by(lambda _: 0),  # in any order: they are counted
    q.ComingItems: _by(_due),
    q.SlotKeys: _slots,
    q.ListCells: _cells,
    q.RunStates: _by(_id),
    q.RunEndings: _by(_same, down=True),
    q.CountRuns: lambda x, answers: min(sum(answers), x.most),
    q.Count: _totals,
}
