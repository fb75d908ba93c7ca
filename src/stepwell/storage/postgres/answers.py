"""Answers questions: each kind is one SQL text, the row it takes, and how the rows found become the answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, TypeVar, cast

from stepwell.model import questions as q
from stepwell.model.event import Event
from stepwell.model.history import Outcome
from stepwell.model.place import EVERYWHERE, shard_of
from stepwell.model.run import Run
from stepwell.model.step import Step
from stepwell.model.wait import Wait
from stepwell.storage import rows
from stepwell.storage.gathering import gather, parts
from stepwell.storage.places import QUESTIONS
from stepwell.storage.postgres import everywhere, names
from stepwell.storage.postgres import queries as sql
from stepwell.storage.postgres.driver import Connection

A = TypeVar("A")
N = TypeVar("N")

Rows = list[Any]
Row = tuple[Any, ...]
Statement = tuple[str, Row, Callable[[Rows], Any]]  # with its values, and how the rows found become the answer
_ALL_IDS: Final = "\x7f"  # after every id: they are printable ASCII
_ALWAYS: Final = 1 << 62  # after every moment
_BEFORE_ALL: Final = (-1, "")

_first_seen: Final = itemgetter(0)


def _one(to_noun: Callable[[Any], N]) -> Callable[[Rows], N | None]:
    return lambda found: to_noun(found[0]) if found else None


def _all(to_noun: Callable[[Any], N]) -> Callable[[Rows], list[N]]:
    return lambda found: [to_noun(row) for row in found]


def _steps(found: Rows) -> list[Step]:
    found.sort(key=_first_seen)
    return [rows.step(row[1:]) for row in found]


def _ids(ids: Iterable[str]) -> list[str]:
    """Ids as one parameter."""
    return list(ids)


def _kinds(names: Iterable[str]) -> list[str]:
    """With what names of backlogs begin."""
    return sorted({f"{name.partition('/')[0]}/" for name in names})


def _standings(found: Rows) -> dict[str, tuple[int, bool]]:
    return {item_id: (lease, bool(poked)) for item_id, lease, poked in found}


def _value(found: Rows) -> Any:
    return found[0][0]


def _flag(found: Rows) -> bool:
    return bool(found[0][0])


def _column(found: Rows) -> list[Any]:
    return [row[0] for row in found]


def _events(found: Rows) -> dict[str, Event]:
    return {row[0]: rows.event(row) for row in found}


def _outcomes(found: Rows) -> dict[str, list[Outcome]]:
    outcomes = defaultdict[str, list[Outcome]](list)
    for row in found:
        outcomes[row[0]].append(rows.outcome(row))
    return dict(outcomes)


def _by_shard(asked: Parts, ids_of: Callable[[Any], Iterable[str]]) -> tuple[str, list[str]]:
    """Ids as two parameters: their shards, and what is looked for in each of these."""
    named = {(str(shard), one) for shard, part in asked for one in ids_of(part)}
    return ",".join(shard for shard, _ in named), [one for _, one in named]


def _events_named(x: q.EventNames | q.EventsOfRuns) -> set[str]:
    return {event_id for _, event_id in x.pairs}


def _totals(found: Rows) -> q.Totals:
    live, items, blocked, leased, waits, oldest = found[0]
    return q.Totals(live_runs=live, items=items, blocked=blocked, leased=leased, waits=waits, oldest_due=oldest)


def _facts(found: Rows) -> q.StoreFacts:
    kind, version, schema, size = found[0]
    return q.StoreFacts(kind=kind, version=version, schema=schema, size_bytes=size)


_ANSWER: Final[Mapping[type, tuple[str, Callable[[Any, int], Row], Callable[[Rows], Any]]]] = {
    q.GetEvent: (sql.GET_EVENT, lambda x, s: (s, x.event_id), _one(rows.event)),
    q.GetRun: (sql.GET_RUN, lambda x, s: (s, x.run_id), _one(rows.run)),
    q.GetSteps: (sql.GET_STEPS, lambda x, s: (s, x.run_id), _steps),
    q.OpenSteps: (sql.OPEN_STEPS, lambda x, s: (s, x.run_id, x.kind), _steps),
    q.StepsOfKinds: (sql.STEPS_OF_KINDS, lambda x, s: (s, x.run_id, _ids(x.kinds), x.limit), _steps),
    q.GetStep: (sql.GET_STEP, lambda x, s: (s, x.run_id, x.step_id), _one(lambda row: rows.step(row[1:]))),
    q.GetItem: (sql.GET_ITEM, lambda x, s: (s, x.item_id), _one(rows.item)),
    q.Standings: (sql.STANDINGS, lambda x, s: (s, _ids(x.item_ids)), _standings),
    q.NextDue: (sql.NEXT_DUE, lambda x, s: (s, x.after), _value),
    q.AnyLease: (sql.ANY_LEASE, lambda x, s: (s, x.now), _flag),
    q.HeldEvents: (sql.HELD_EVENTS, lambda x, s: (s, x.run_id), _all(rows.event)),
    q.HeldIds: (sql.HELD_IDS, lambda x, s: (s, x.run_id), _column),
    q.GetWaits: (sql.GET_WAITS, lambda x, s: (s, x.run_id), _all(rows.wait)),
    q.GetRequest: (sql.GET_REQUEST, lambda x, s: (s, x.run_id, x.step_id), _one(rows.request)),
    q.GetCell: (sql.GET_CELL, lambda x, s: (s, x.key, x.now), _one(rows.cell)),
    q.AnyCell: (sql.ANY_CELL, lambda x, s: (s, x.prefix, x.now), _flag),
    q.CountSlots: (sql.COUNT_SLOTS, lambda x, s: (s, x.key), _value),
    q.ShardsWithCell: (sql.SHARDS_WITH_CELL, lambda x, s: (x.prefix, x.now), _column),
    q.CountHeld: (sql.COUNT_HELD, lambda x, s: (s, x.key, x.holder), _value),
    q.Children: (sql.CHILDREN, lambda x, s: (s, x.run_id), _all(rows.run)),
    q.RunsOfStatus: (sql.RUNS_OF_STATUS, lambda x, s: (s, x.status, x.after, x.before, x.limit), _all(rows.run)),
    q.RunsOfFunction: (
        sql.RUNS_OF_FUNCTION,
        lambda x, s: (s, x.function_id, x.after, x.before, x.limit),
        _all(rows.run),
    ),
    q.SkippedEvents: (
        sql.SKIPPED_EVENTS,
        lambda x, s: (s, x.function_id, x.after, x.after_event, x.before, x.limit),
        _all(rows.outcome),
    ),
    q.GetOrder: (sql.GET_ORDER, lambda x, s: (s, x.order_id), _one(rows.order)),
    q.ListOrders: (sql.LIST_ORDERS, lambda x, s: (s, x.kind, x.before or _ALL_IDS, x.limit), _all(rows.order)),
    q.Reruns: (sql.RERUNS, lambda x, s: (s, x.run_id), _column),
    q.ListFunctions: (sql.LIST_FUNCTIONS, lambda x, s: (x.archived,), _all(rows.function)),
    q.FunctionVersions: (
        sql.FUNCTION_VERSIONS,
        lambda x, s: (x.function_id, x.limit),
        _all(rows.function_version),
    ),
    q.ListApps: (sql.LIST_APPS, lambda x, s: (), _all(rows.app)),
    q.ListStandingOrders: (sql.LIST_STANDING_ORDERS, lambda x, s: (), _all(rows.standing_order)),
    q.RegistryStamp: (sql.REGISTRY_STAMP, lambda x, s: (), _value),
    q.EventNames: (sql.EVENT_NAMES, lambda x, s: (s, _ids(_events_named(x))), dict),
    q.EventsOfRuns: (sql.LOAD_EVENTS, lambda x, s: (s, _ids(_events_named(x))), _events),
    q.RunsOfEvent: (sql.RUNS_OF_EVENT, lambda x, s: (s, x.event_id), _all(rows.run)),
    q.FindEvents: (sql.FIND_EVENTS, lambda x, s: (s, x.name, x.after, x.before, x.limit), _all(rows.event)),
    q.Outcomes: (sql.OUTCOMES, lambda x, s: (s, x.event_id), _all(rows.outcome)),
    q.OutcomesOfEvents: (sql.OUTCOMES_OF_EVENTS, lambda x, s: (s, _ids(x.event_ids)), _outcomes),
    q.Attempts: (sql.ATTEMPTS, lambda x, s: (s, x.run_id), _all(rows.attempt)),
    q.Notes: (sql.NOTES, lambda x, s: (s, x.run_id), _all(rows.note)),
    q.GetMetadata: (sql.GET_METADATA, lambda x, s: (s, x.run_id), _all(rows.metadata)),
    q.GetLogs: (sql.GET_LOGS, lambda x, s: (s, x.run_id), _all(rows.logged)),
    q.LoggedBytes: (sql.LOGGED_BYTES, lambda x, s: (s, x.run_id), _value),
    q.SlotHolders: (sql.SLOT_HOLDERS, lambda x, s: (s, x.key, x.limit), _column),
    q.NextBacklog: (sql.FOLLOWING_BACKLOG, lambda x, s: (s, x.after), _one(_first_seen)),
    q.BacklogItems: (sql.BACKLOG_ITEMS, lambda x, s: (s, x.key, x.limit), _all(rows.item)),
    q.BacklogPosition: (sql.BACKLOG_POSITION, lambda x, s: (s, x.item_id, x.most), _one(tuple)),
    q.RunItems: (sql.RUN_ITEMS, lambda x, s: (s, x.run_id), _all(rows.item)),
    q.FunctionItems: (sql.FUNCTION_ITEMS, lambda x, s: (s, x.function_id), _all(rows.item)),
    q.BacklogDepths: (sql.BACKLOG_DEPTHS, lambda x, s: (s, x.first, x.last, x.limit, x.depth_max), _all(tuple)),
    q.BacklogFunctions: (sql.BACKLOG_FUNCTIONS, lambda x, s: (s, x.key, x.limit), _column),
    q.ComingItems: (sql.COMING_ITEMS, lambda x, s: (s, x.after, x.before, x.limit), _all(rows.item)),
    q.SlotKeys: (sql.SLOT_KEYS, lambda x, s: (s, x.first, x.last, x.limit, x.used_max), _all(tuple)),
    q.ListCells: (sql.LIST_CELLS, lambda x, s: (s, x.first, x.last, x.now, x.limit), _all(rows.cell)),
    q.DescribeStore: (sql.DESCRIBE_STORE, lambda x, s: (), _facts),
    q.RunEndings: (sql.RUN_ENDINGS, lambda x, s: (s, x.after, x.before, x.limit), _all(tuple)),
    q.CountRuns: (sql.COUNT_RUNS, lambda x, s: (s, x.status, x.most), _value),
    q.Count: (sql.COUNT, lambda x, s: (s, x.now), _totals),
    q.OthersListen: (sql.OTHERS_LISTEN, lambda x, s: (x.listener, x.now), _flag),
    q.LastPosting: (sql.LAST_POSTING, lambda x, s: (), _value),
    q.Postings: (sql.POSTINGS, lambda x, s: (x.after, x.listener, x.limit), _all(rows.posting)),
    q.GetUser: (sql.GET_USER, lambda x, s: (x.name,), _one(rows.user)),
    q.ListUsers: (sql.LIST_USERS, lambda x, s: (x.limit,), _all(rows.user)),
    q.GetSession: (sql.GET_SESSION, lambda x, s: (x.session_id,), _one(rows.session)),
    q.RunStates: (sql.LOAD_RUNS, lambda x, s: (s, _ids(x.run_ids)), _all(rows.run)),
}


_FEW: Final = (
    *(q.ListFunctions, q.ListApps, q.ListStandingOrders, q.RegistryStamp, q.LastPosting, q.OthersListen),
    *(q.GetUser, q.ListUsers, q.GetSession),
)


def asked_alone(question: q.Question[Any]) -> bool:
    """Whether a question is one statement about tables of a few rows. All others are asked in a transaction, which sees
    one snapshot, and for which it is set that rows are found by an index.

    Raises ``TypeError`` for what is no question.
    """
    if type(question) not in QUESTIONS:
        raise TypeError(f"not a question: {question!r}")
    return type(question) in _FEW


Parts = Sequence[tuple[int, Any]]  # the shards that are asked, and what each of them is
Paths = dict[tuple[int, str], list[str]]  # by shard and event name


class Reader:
    """Answers questions on a connection, from whatever its open transaction sees.

    ``paths`` keeps the paths of waits for whoever asks for them again within a transaction, as each run that ends does.
    Its owner empties it when a transaction begins and when a wait is opened.
    """

    def __init__(self, connection: Connection, shards: int, paths: Paths | None = None) -> None:
        self._fetch = connection.fetch
        self._shards = shards
        self._paths = paths
        self._composed: dict[type, Callable[[Any, int], Awaitable[Any]]] = {
            q.Lock: self._lock,
            q.WaitPaths: self._wait_paths,
            q.DueItems: self._due_items,
            q.NextDues: self._next_dues,
            q.Occupied: self._occupied,
            q.ShardsWithBacklog: self._shards_with_backlog,
            q.Backlog: self._backlog,
            q.Backlogs: self._backlogs,
            q.LoadRuns: self._load_runs,
            q.FindWaits: self._find_waits,
            q.RunsOfEvents: self._runs_of_events,
            q.ListSessions: self._list_sessions,
        }
        # Which of several texts it is depends on what is looked for.
        self._chosen: dict[type, Callable[[Any, int], Awaitable[Statement]]] = {
            q.ListRuns: self._list_runs,
            q.ListEvents: self._list_events,
            q.ListAudit: self._list_audit,
        }
        # What is asked of several shards and answered by one statement; all else is asked in one after the other.
        self._at_once: dict[type, Callable[[Any, Parts], Awaitable[Any]]] = {
            q.WaitPaths: self._wait_paths_everywhere,
            q.FindWaits: self._find_waits_everywhere,
            q.Standings: self._standings_of_shards,
            q.RunStates: self._run_states_of_shards,
            q.EventNames: self._event_names_of_shards,
            q.EventsOfRuns: self._events_of_shards,
            q.BacklogDepths: self._backlog_depths_everywhere,
            q.SlotKeys: self._slot_keys_everywhere,
            q.CountRuns: self._count_runs_everywhere,
            q.RunsOfEvent: self._runs_of_event_everywhere,
            q.RunsOfEvents: lambda x, _: self._runs_of_events(x, EVERYWHERE),
            q.OutcomesOfEvents: self._outcomes_of_shards,
        }

    async def answer(self, question: q.Question[A]) -> A:
        if type(question) not in QUESTIONS:
            raise TypeError(f"not a question: {question!r}")
        if self._shards == 1:
            return await self._answer(question, 0)
        asked = parts(question, self._shards)
        if len(asked) == 1:
            ((shard, part),) = asked
            return cast("A", await self._answer(part, shard))
        at_once = self._at_once.get(type(question))
        if at_once is not None:
            return cast("A", gather(question, [await at_once(question, asked)]))
        statement = await self._statement(question, 0)
        if statement is not None and statement[0] in everywhere.IN_ALL:
            return cast("A", await everywhere.asked(self._fetch, self._shards, question, *statement))
        return cast("A", gather(question, [await self._answer(part, shard) for shard, part in asked]))

    async def _answer(self, question: q.Question[A], shard: int) -> A:
        statement = await self._statement(question, shard)
        if statement is not None:
            text, row, to_answer = statement
            return cast("A", to_answer(await self._fetch(text, row)))
        composed = self._composed.get(type(question))
        if composed is None:
            raise TypeError(f"not a question: {question!r}")
        return cast("A", await composed(question, shard))

    async def _statement(self, question: q.Question[Any], shard: int) -> Statement | None:
        """The one statement that the question is in a shard, unless it is more than one."""
        known = _ANSWER.get(type(question))
        if known is not None:
            text, to_row, to_answer = known
            return text, to_row(question, shard), to_answer
        chosen = self._chosen.get(type(question))
        return None if chosen is None else await chosen(question, shard)

    async def _lock(self, x: q.Lock, s: int) -> bool:
        return False  # outside of a plan nothing can be held

    async def _due_items(self, x: q.DueItems, s: int) -> list[Any]:
        text = sql.DUE_TIMERS if x.timers_only else sql.DUE_ITEMS
        return [rows.item(row) for row in await self._fetch(text, (s, x.now, x.limit))]

    async def _next_dues(self, x: q.NextDues, s: int) -> list[tuple[int, int]]:
        found = await self._fetch(sql.NEXT_TIMERS if x.timers_only else sql.NEXT_DUES, ())
        return [(shard, at) for shard, at in found if at is not None]

    async def _backlog(self, x: q.Backlog, s: int) -> list[tuple[int, str]]:
        values = (s, x.key, x.limit)
        if x.after is None:
            return await self._fetch(sql.BACKLOG, values)
        return await self._fetch(sql.BACKLOG_AFTER, (*values, *x.after))

    async def _backlogs(self, x: q.Backlogs, s: int) -> list[str]:
        found: list[str] = []
        while len(found) < x.limit:
            after = found[-1] if found else x.prefix
            row = await self._fetch(sql.NEXT_BACKLOG, (s, x.prefix, after))
            if not row:
                break
            found.append(row[0][0])
        return found

    async def _load_runs(self, x: q.LoadRuns, s: int) -> dict[str, q.Loaded]:
        fetch = self._fetch
        runs = [rows.run(row) for row in await fetch(sql.LOAD_RUNS, (s, _ids(x.run_ids)))]
        wanted = {run.event_id for run in runs}
        events = _events(await fetch(sql.LOAD_EVENTS, (s, _ids(wanted))))
        steps: dict[str, list[Step]] = {run.id: [] for run in runs}
        found = await fetch(sql.LOAD_STEPS, (s, _ids(x.run_ids)))
        found.sort(key=_first_seen)
        for row in found:
            steps[row[1]].append(rows.step(row[1:]))
        batches = {run.id: await self._answer(q.HeldEvents(run.id), s) for run in runs if run.batch is not None}
        return {run.id: q.Loaded(run, events.get(run.event_id), steps[run.id], batches.get(run.id, [])) for run in runs}

    async def _wait_paths(self, x: q.WaitPaths, s: int) -> list[str]:
        if self._paths is None:
            return await self._find_paths(x, s)
        key = (s, x.event_name)
        found = self._paths.get(key)
        if found is None:
            found = self._paths[key] = await self._find_paths(x, s)
        return found

    async def _wait_paths_everywhere(self, x: q.WaitPaths, asked: Parts) -> list[str]:
        """Each event asks this, and hardly any has somebody waiting: one look for all shards."""
        event_name = x.event_name
        key = (EVERYWHERE, event_name)
        found = None if self._paths is None else self._paths.get(key)
        if found is None:
            distinct: set[str] = set()
            for shard, path in await self._fetch(sql.FIRST_WAIT_PATHS, (event_name,)):
                if path is not None:
                    distinct.update(await self._paths_from(path, event_name, shard))
            found = sorted(distinct)
            if self._paths is not None:
                self._paths[key] = found
        return found

    async def _find_paths(self, x: q.WaitPaths, s: int) -> list[str]:
        first = await self._fetch(sql.FIRST_WAIT_PATH, (s, x.event_name))
        return await self._paths_from(first[0][0], x.event_name, s) if first else []

    async def _paths_from(self, first: str, event_name: str, s: int) -> list[str]:
        found = [first]
        while following := await self._fetch(sql.NEXT_WAIT_PATH, (s, event_name, found[-1])):
            found.append(following[0][0])
        return found

    async def _find_waits(self, x: q.FindWaits, s: int) -> list[Wait]:
        return [
            rows.wait(row)
            for path, value in dict.fromkeys(x.probes)
            for row in await self._fetch(sql.FIND_WAITS, (s, x.event_name, path, value, x.now))
        ]

    async def _find_waits_everywhere(self, x: q.FindWaits, asked: Parts) -> list[Wait]:
        probes = list(dict.fromkeys(x.probes))
        paths, values = [path for path, _ in probes], [value for _, value in probes]
        found = await self._fetch(sql.FIND_WAITS_EVERYWHERE, (x.event_name, paths, values, x.now))
        return [rows.wait(row) for row in found]

    async def _standings_of_shards(self, x: q.Standings, asked: Parts) -> dict[str, tuple[int, bool]]:
        values = _by_shard(asked, lambda x: x.item_ids)
        return _standings(await self._fetch(sql.STANDINGS_OF_SHARDS, values))

    async def _run_states_of_shards(self, x: q.RunStates, asked: Parts) -> list[Run]:
        values = _by_shard(asked, lambda x: x.run_ids)
        return [rows.run(row) for row in await self._fetch(sql.RUNS_OF_SHARDS, values)]

    async def _event_names_of_shards(self, x: q.EventNames, asked: Parts) -> dict[str, str]:
        return dict(await self._fetch(sql.EVENT_NAMES_OF_SHARDS, _by_shard(asked, _events_named)))

    async def _events_of_shards(self, x: q.EventsOfRuns, asked: Parts) -> dict[str, Event]:
        return _events(await self._fetch(sql.EVENTS_OF_SHARDS, _by_shard(asked, _events_named)))

    async def _backlog_depths_everywhere(self, x: q.BacklogDepths, _: Parts) -> list[Any]:
        return await names.told(self._fetch, names.BACKLOGS, x, x.depth_max, self._shards)

    async def _slot_keys_everywhere(self, x: q.SlotKeys, _: Parts) -> list[Any]:
        return await names.told(self._fetch, names.SLOTS, x, x.used_max, self._shards)

    async def _count_runs_everywhere(self, x: q.CountRuns, _: Parts) -> int:
        found: int = _value(await self._fetch(sql.COUNT_RUNS_EVERYWHERE, (x.status, x.most)))
        return found

    async def _runs_of_events(self, x: q.RunsOfEvents, _: int) -> dict[str, list[Run]]:
        found: dict[str, dict[str, Run]] = defaultdict(dict)  # one that holds its event in a batch is found twice
        for event_id, *row in await self._fetch(sql.RUNS_OF_EVENTS, (_ids(x.event_ids),)):
            found[event_id][row[0]] = rows.run(tuple(row))
        return {event_id: [runs[id] for id in sorted(runs)] for event_id, runs in found.items()}

    async def _outcomes_of_shards(self, x: q.OutcomesOfEvents, asked: Parts) -> dict[str, list[Outcome]]:
        return _outcomes(await self._fetch(sql.OUTCOMES_OF_SHARDS, _by_shard(asked, lambda x: x.event_ids)))

    async def _runs_of_event_everywhere(self, x: q.RunsOfEvent, _: Parts) -> list[Run]:
        found = {row[0]: rows.run(row) for row in await self._fetch(sql.RUNS_OF_EVENT_EVERYWHERE, (x.event_id,))}
        return list(found.values())

    async def _occupied(self, x: q.Occupied, s: int) -> list[str]:
        """By what is there, not by the names: nearly all of those of many functions are empty."""
        names = frozenset(x.names)
        return [name for (name,) in await self._fetch(sql.OCCUPIED, (s, _kinds(x.names))) if name in names]

    async def _shards_with_backlog(self, x: q.ShardsWithBacklog, s: int) -> list[int]:
        names = frozenset(x.names)
        firsts = await self._fetch(sql.FIRST_OCCUPIED, (_kinds(x.names),))
        found = {shard for shard, first in firsts if first in names}
        for shard in {shard for shard, _ in firsts} - found:  # others wait there, and perhaps one of these behind them
            if await self._occupied(q.Occupied(x.names, shard), shard):
                found.add(shard)
        return sorted(found)

    async def _list_runs(self, x: q.ListRuns, s: int) -> Statement:
        row = (s, x.output, x.before or _ALL_IDS, x.limit)
        if x.function_id is not None:
            return sql.LIST_RUNS_OF_FUNCTION, (*row, x.function_id), _all(rows.run)
        if x.status is not None:
            return sql.LIST_RUNS_OF_STATUS, (*row, x.status), _all(rows.run)
        return sql.LIST_RUNS, row, _all(rows.run)

    async def _list_events(self, x: q.ListEvents, s: int) -> Statement:
        after = x.received_after if x.received_after is not None else -1
        before = x.received_before if x.received_before is not None else _ALWAYS
        cursor: tuple[int, str] = (_ALWAYS, _ALL_IDS)
        if x.before is not None:
            moments = await self._fetch(sql.EVENT_MOMENT, (shard_of(x.before, self._shards), x.before))
            # If it fell to retention, then so did all that is older.
            cursor = (moments[0][0], x.before) if moments else _BEFORE_ALL
            before = min(before, cursor[0] + 1)  # by the cursor alone, each page would be searched from the newest on
        row = (s, after, before, x.internal, x.limit, *cursor)
        if x.name is not None:
            return sql.LIST_EVENTS_OF_NAME, (*row, x.name), _all(rows.event)
        return sql.LIST_EVENTS, row, _all(rows.event)

    async def _list_audit(self, x: q.ListAudit, s: int) -> Statement:
        row = (s, x.before or _ALL_IDS, x.after, x.limit)
        if x.target is not None:
            return sql.LIST_AUDIT_OF_TARGET, (*row, x.target), _all(rows.audit_entry)
        if x.who is not None:
            return sql.LIST_AUDIT_OF_WHO, (*row, x.who), _all(rows.audit_entry)
        return sql.LIST_AUDIT, row, _all(rows.audit_entry)

    async def _list_sessions(self, x: q.ListSessions, _: int) -> list[Any]:
        if x.who is None:
            found = await self._fetch(sql.LIST_SESSIONS, (x.now, x.limit))
        else:
            found = await self._fetch(sql.LIST_SESSIONS_OF, (x.now, x.limit, x.who))
        return [rows.session(row) for row in found]
