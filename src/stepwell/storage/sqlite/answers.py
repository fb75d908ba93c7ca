"""Answers questions: each kind is one SQL text, the row it takes, and how the rows found become the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any, Final, TypeVar, cast

import apsw
import msgspec

from stepwell.model import questions as q
from stepwell.model.event import Event
from stepwell.model.history import Outcome
from stepwell.model.place import EVERYWHERE, shard_of
from stepwell.model.run import Run
from stepwell.model.step import Step
from stepwell.model.wait import Wait
from stepwell.storage import rows
from stepwell.storage.gathering import gather, parts
from stepwell.storage.sqlite.driver import executor
from stepwell.storage.sqlite.statements import access, decisions, people, realtime

A = TypeVar("A")
N = TypeVar("N")

Rows = list[Any]
_ALL_IDS: Final = "\x7f"  # after every id: they are printable ASCII
_ALWAYS: Final = 1 << 62  # after every moment

_encode_ids: Final = msgspec.json.Encoder().encode
_first_seen: Final = itemgetter(0)


def _one(to_noun: Callable[[Any], N]) -> Callable[[Rows], N | None]:
    return lambda found: to_noun(found[0]) if found else None


def _all(to_noun: Callable[[Any], N]) -> Callable[[Rows], list[N]]:
    return lambda found: [to_noun(row) for row in found]


def _steps(found: Rows) -> list[Step]:
    # Sorted here: by SQL it would cost a temporary tree for each claim. A rowid is given when a step is first seen.
    if len(found) > 1:
        found.sort(key=_first_seen)
    return [rows.step(row[1:]) for row in found]


def _ids(ids: Iterable[str]) -> str:
    """Ids as one parameter: a JSON array."""
    return _encode_ids(ids).decode()


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


def _totals(found: Rows) -> q.Totals:
    live, items, blocked, leased, waits, oldest = found[0]
    return q.Totals(live_runs=live, items=items, blocked=blocked, leased=leased, waits=waits, oldest_due=oldest)


_ANSWER: Final[Mapping[type, tuple[str, Callable[[Any, int], tuple[Any, ...]], Callable[[Rows], Any]]]] = {
    q.GetEvent: (decisions.GET_EVENT, lambda x, s: (s, x.event_id), _one(rows.event)),
    q.GetRun: (decisions.GET_RUN, lambda x, s: (s, x.run_id), _one(rows.run)),
    q.GetSteps: (decisions.GET_STEPS, lambda x, s: (s, x.run_id), _steps),
    q.OpenSteps: (decisions.OPEN_STEPS, lambda x, s: (s, x.run_id, x.kind), _steps),
    q.StepsOfKinds: (decisions.STEPS_OF_KINDS, lambda x, s: (s, x.run_id, _ids(x.kinds), x.limit), _steps),
    q.GetStep: (decisions.GET_STEP, lambda x, s: (s, x.run_id, x.step_id), _one(lambda row: rows.step(row[1:]))),
    q.GetItem: (decisions.GET_ITEM, lambda x, s: (s, x.item_id), _one(rows.item)),
    q.Standings: (decisions.STANDINGS, lambda x, s: (s, _ids(x.item_ids)), _standings),
    q.NextDue: (decisions.NEXT_DUE, lambda x, s: (s, x.after), _value),
    q.AnyLease: (decisions.ANY_LEASE, lambda x, s: (s, x.now), _flag),
    q.HeldEvents: (decisions.HELD_EVENTS, lambda x, s: (s, x.run_id), _all(rows.event)),
    q.HeldIds: (decisions.HELD_IDS, lambda x, s: (s, x.run_id), _column),
    q.GetWaits: (decisions.GET_WAITS, lambda x, s: (s, x.run_id), _all(rows.wait)),
    q.GetRequest: (decisions.GET_REQUEST, lambda x, s: (s, x.run_id, x.step_id), _one(rows.request)),
    q.GetCell: (decisions.GET_CELL, lambda x, s: (s, x.key, x.now), _one(rows.cell)),
    q.AnyCell: (decisions.ANY_CELL, lambda x, s: (s, x.prefix, x.now), _flag),
    q.CountSlots: (decisions.COUNT_SLOTS, lambda x, s: (s, x.key), _value),
    q.Occupied: (decisions.OCCUPIED, lambda x, s: (s, _ids(x.names)), _column),
    q.CountHeld: (decisions.COUNT_HELD, lambda x, s: (s, x.key, x.holder), _value),
    q.Children: (decisions.CHILDREN, lambda x, s: (s, x.run_id), _all(rows.run)),
    q.RunsOfStatus: (decisions.RUNS_OF_STATUS, lambda x, s: (s, x.status, x.after, x.before, x.limit), _all(rows.run)),
    q.RunsOfFunction: (
        decisions.RUNS_OF_FUNCTION,
        lambda x, s: (s, x.function_id, x.after, x.before, x.limit),
        _all(rows.run),
    ),
    q.SkippedEvents: (
        decisions.SKIPPED_EVENTS,
        lambda x, s: (s, x.function_id, x.after, x.after_event, x.before, x.limit),
        _all(rows.outcome),
    ),
    q.GetOrder: (decisions.GET_ORDER, lambda x, s: (s, x.order_id), _one(rows.order)),
    q.ListOrders: (people.LIST_ORDERS, lambda x, s: (s, x.kind, x.before or _ALL_IDS, x.limit), _all(rows.order)),
    q.Reruns: (people.RERUNS, lambda x, s: (s, x.run_id), _column),
    q.ListFunctions: (people.LIST_FUNCTIONS, lambda x, s: (x.archived,), _all(rows.function)),
    q.FunctionVersions: (
        people.FUNCTION_VERSIONS,
        lambda x, s: (x.function_id, x.limit),
        _all(rows.function_version),
    ),
    q.ListApps: (people.LIST_APPS, lambda x, s: (), _all(rows.app)),
    q.ListStandingOrders: (people.LIST_STANDING_ORDERS, lambda x, s: (), _all(rows.standing_order)),
    q.RegistryStamp: (decisions.REGISTRY_STAMP, lambda x, s: (), _value),
    q.EventNames: (decisions.EVENT_NAMES, lambda x, s: (s, _ids({event_id for _, event_id in x.pairs})), dict),
    q.EventsOfRuns: (decisions.LOAD_EVENTS, lambda x, s: (s, _ids({event_id for _, event_id in x.pairs})), _events),
    q.RunsOfEvent: (people.RUNS_OF_EVENT, lambda x, s: (s, x.event_id), _all(rows.run)),
    q.FindEvents: (people.FIND_EVENTS, lambda x, s: (s, x.name, x.after, x.before, x.limit), _all(rows.event)),
    q.Outcomes: (people.OUTCOMES, lambda x, s: (s, x.event_id), _all(rows.outcome)),
    q.Attempts: (people.ATTEMPTS, lambda x, s: (s, x.run_id), _all(rows.attempt)),
    q.Notes: (people.NOTES, lambda x, s: (s, x.run_id), _all(rows.note)),
    q.GetMetadata: (people.GET_METADATA, lambda x, s: (s, x.run_id), _all(rows.metadata)),
    q.GetLogs: (people.GET_LOGS, lambda x, s: (s, x.run_id), _all(rows.logged)),
    q.LoggedBytes: (people.LOGGED_BYTES, lambda x, s: (s, x.run_id), _value),
    q.SlotHolders: (people.SLOT_HOLDERS, lambda x, s: (s, x.key, x.limit), _column),
    q.NextBacklog: (decisions.FOLLOWING_BACKLOG, lambda x, s: (s, x.after), _one(_first_seen)),
    q.BacklogItems: (decisions.BACKLOG_ITEMS, lambda x, s: (s, x.key, x.limit), _all(rows.item)),
    q.BacklogPosition: (people.BACKLOG_POSITION, lambda x, s: (s, x.item_id, x.most), _one(tuple)),
    q.RunItems: (people.RUN_ITEMS, lambda x, s: (s, x.run_id), _all(rows.item)),
    q.FunctionItems: (people.FUNCTION_ITEMS, lambda x, s: (s, x.function_id), _all(rows.item)),
    q.BacklogDepths: (people.BACKLOG_DEPTHS, lambda x, s: (s, x.first, x.last, x.limit, x.depth_max), _all(tuple)),
    q.BacklogFunctions: (people.BACKLOG_FUNCTIONS, lambda x, s: (s, x.key, x.limit), _column),
    q.ComingItems: (people.COMING_ITEMS, lambda x, s: (s, x.after, x.before, x.limit), _all(rows.item)),
    q.SlotKeys: (people.SLOT_KEYS, lambda x, s: (s, x.first, x.last, x.limit, x.used_max), _all(tuple)),
    q.ListCells: (people.LIST_CELLS, lambda x, s: (s, x.first, x.last, x.now, x.limit), _all(rows.cell)),
    q.RunEndings: (people.RUN_ENDINGS, lambda x, s: (s, x.after, x.before, x.limit), _all(tuple)),
    q.CountRuns: (people.COUNT_RUNS, lambda x, s: (s, x.status, x.most), _value),
    q.Count: (people.COUNT, lambda x, s: (s, x.now), _totals),
    q.OthersListen: (realtime.OTHERS_LISTEN, lambda x, s: (x.listener, x.now), _flag),
    q.LastPosting: (realtime.LAST_POSTING, lambda x, s: (), _value),
    q.Postings: (realtime.POSTINGS, lambda x, s: (x.after, x.listener, x.limit), _all(rows.posting)),
    q.GetUser: (access.GET_USER, lambda x, s: (x.name,), _one(rows.user)),
    q.ListUsers: (access.LIST_USERS, lambda x, s: (x.limit,), _all(rows.user)),
    q.GetSession: (access.GET_SESSION, lambda x, s: (x.session_id,), _one(rows.session)),
    q.RunStates: (decisions.LOAD_RUNS, lambda x, s: (s, _ids(x.run_ids)), _all(rows.run)),
}


Paths = dict[tuple[int, str], list[str]]  # by shard and event name


class Reader:
    """Answers questions on a connection, from whatever its open transaction sees.

    ``paths`` keeps the paths of waits for whoever asks for them again within a transaction, as each run that ends does.
    Its owner empties it when a transaction begins and when a wait is opened.
    """

    def __init__(self, connection: apsw.Connection, paths: Paths | None = None, shards: int = 1) -> None:
        self._execute = executor(connection)
        self._shards = shards
        self._all_shards = msgspec.json.encode(list(range(shards))).decode()
        self._paths = paths
        self._composed: dict[type, Callable[[Any, int], Any]] = {
            q.Lock: self._lock,
            q.WaitPaths: self._wait_paths,
            q.DueItems: self._due_items,
            q.NextDues: self._next_dues,
            q.ShardsWithBacklog: self._shards_with_backlog,
            q.ShardsWithCell: self._shards_with_cell,
            q.Backlog: self._backlog,
            q.Backlogs: self._backlogs,
            q.LoadRuns: self._load_runs,
            q.FindWaits: self._find_waits,
            q.ListRuns: self._list_runs,
            q.ListEvents: self._list_events,
            q.DescribeStore: self._describe,
            q.ListSessions: self._list_sessions,
            q.ListAudit: self._list_audit,
            q.RunsOfEvents: self._runs_of_events,
            q.OutcomesOfEvents: self._outcomes_of_events,
        }

    def answer(self, question: q.Question[A]) -> A:
        if self._shards == 1:
            return self._answer(question, 0)
        asked = parts(question, self._shards)
        if len(asked) == 1:
            ((shard, part),) = asked
            return cast("A", self._answer(part, shard))
        return cast("A", gather(question, [self._answer(part, shard) for shard, part in asked]))

    def _answer(self, question: q.Question[A], shard: int) -> A:
        known = _ANSWER.get(type(question))
        if known is None:
            composed = self._composed.get(type(question))
            if composed is None:
                raise TypeError(f"not a question: {question!r}")
            return cast("A", composed(question, shard))
        text, to_row, to_answer = known
        return cast("A", to_answer(self._execute(text, to_row(question, shard)).fetchall()))

    def _describe(self, x: q.DescribeStore, _: int) -> q.StoreFacts:
        texts = (people.SCHEMA, "PRAGMA page_count", "PRAGMA page_size")
        schema, pages, page = (self._execute(text).fetchall()[0][0] for text in texts)
        version = apsw.sqlite_lib_version()
        return q.StoreFacts(kind="SQLite", version=version, schema=schema, size_bytes=pages * page)

    def _runs_of_events(self, x: q.RunsOfEvents, s: int) -> dict[str, list[Run]]:
        each = ((id, self._execute(people.RUNS_OF_EACH_EVENT, (s, id)).fetchall()) for id in x.event_ids)
        return {id: [rows.run(row) for row in found] for id, found in each if found}

    def _outcomes_of_events(self, x: q.OutcomesOfEvents, s: int) -> dict[str, list[Outcome]]:
        each = ((id, self._execute(people.OUTCOMES, (s, id)).fetchall()) for id in x.event_ids)
        return {id: [rows.outcome(row) for row in found] for id, found in each if found}

    def _lock(self, x: q.Lock, _: int) -> bool:
        return self._shards == 1 or EVERYWHERE in x.places  # whoever writes holds the whole file

    def _due_items(self, x: q.DueItems, s: int) -> list[Any]:
        text = decisions.DUE_TIMERS if x.timers_only else decisions.DUE_ITEMS
        return [rows.item(row) for row in self._execute(text, (s, x.now, x.limit)).fetchall()]

    def _next_dues(self, x: q.NextDues, s: int) -> list[tuple[int, int]]:
        text = decisions.NEXT_TIMERS if x.timers_only else decisions.NEXT_DUES
        return [row for row in self._execute(text, (self._all_shards,)).fetchall() if row[1] is not None]

    def _shards_with_backlog(self, x: q.ShardsWithBacklog, s: int) -> list[int]:
        return _column(self._execute(decisions.SHARDS_WITH_BACKLOG, (self._all_shards, _ids(x.names))).fetchall())

    def _shards_with_cell(self, x: q.ShardsWithCell, s: int) -> list[int]:
        return _column(self._execute(decisions.SHARDS_WITH_CELL, (self._all_shards, x.prefix, x.now)).fetchall())

    def _backlog(self, x: q.Backlog, s: int) -> list[tuple[int, str]]:
        values = (s, x.key, x.limit)
        if x.after is None:
            return self._execute(people.BACKLOG, values).fetchall()
        return self._execute(people.BACKLOG_AFTER, (*values, *x.after)).fetchall()

    def _backlogs(self, x: q.Backlogs, s: int) -> list[str]:
        found: list[str] = []
        while len(found) < x.limit:
            after = found[-1] if found else x.prefix
            row = self._execute(decisions.NEXT_BACKLOG, (s, x.prefix, after)).fetchall()
            if not row:
                break
            found.append(row[0][0])
        return found

    def _load_runs(self, x: q.LoadRuns, s: int) -> dict[str, q.Loaded]:
        execute = self._execute
        runs = [rows.run(row) for row in execute(decisions.LOAD_RUNS, (s, _ids(x.run_ids))).fetchall()]
        wanted = {run.event_id for run in runs}
        events = _events(execute(decisions.LOAD_EVENTS, (s, _ids(wanted))).fetchall())
        steps: dict[str, list[Step]] = {run.id: [] for run in runs}
        found = execute(decisions.LOAD_STEPS, (s, _ids(x.run_ids))).fetchall()
        found.sort(key=_first_seen)
        for row in found:
            steps[row[1]].append(rows.step(row[1:]))
        batches = {run.id: self._answer(q.HeldEvents(run.id), s) for run in runs if run.batch is not None}
        return {run.id: q.Loaded(run, events.get(run.event_id), steps[run.id], batches.get(run.id, [])) for run in runs}

    def _wait_paths(self, x: q.WaitPaths, s: int) -> list[str]:
        if self._paths is None:
            return self._find_paths(x, s)
        key = (s, x.event_name)
        found = self._paths.get(key)
        if found is None:
            found = self._paths[key] = self._find_paths(x, s)
        return found

    def _find_paths(self, x: q.WaitPaths, s: int) -> list[str]:
        found: list[str] = []
        first = self._execute(decisions.FIRST_WAIT_PATH, (s, x.event_name)).fetchall()
        while first:
            found.append(first[0][0])
            first = self._execute(decisions.NEXT_WAIT_PATH, (s, x.event_name, found[-1])).fetchall()
        return found

    def _find_waits(self, x: q.FindWaits, s: int) -> list[Wait]:
        return [
            rows.wait(row)
            for path, value in dict.fromkeys(x.probes)
            for row in self._execute(decisions.FIND_WAITS, (s, x.event_name, path, value, x.now)).fetchall()
        ]

    def _list_runs(self, x: q.ListRuns, s: int) -> list[Any]:
        values = (s, x.output, x.before or _ALL_IDS, x.limit)
        if x.function_id is not None:
            found = self._execute(people.LIST_RUNS_OF_FUNCTION, (*values, x.function_id))
        elif x.status is not None:
            found = self._execute(people.LIST_RUNS_OF_STATUS, (*values, x.status))
        else:
            found = self._execute(people.LIST_RUNS, values)
        return [rows.run(row) for row in found.fetchall()]

    def _list_events(self, x: q.ListEvents, s: int) -> list[Any]:
        after = x.received_after if x.received_after is not None else -1
        before = x.received_before if x.received_before is not None else _ALWAYS
        cursor: tuple[int, str] = (_ALWAYS, _ALL_IDS)
        if x.before is not None:
            moments = self._execute(people.EVENT_MOMENT, (shard_of(x.before, self._shards), x.before)).fetchall()
            if not moments:
                return []  # it fell to retention, and so did all that is older
            cursor = (moments[0][0], x.before)
            before = min(before, cursor[0] + 1)  # by the cursor alone, each page would be searched from the newest on
        values = (s, after, before, x.internal, x.limit, *cursor)
        if x.name is not None:
            found = self._execute(people.LIST_EVENTS_OF_NAME, (*values, x.name))
        else:
            found = self._execute(people.LIST_EVENTS, values)
        return [rows.event(row) for row in found.fetchall()]

    def _list_sessions(self, x: q.ListSessions, _: int) -> list[Any]:
        if x.who is None:
            found = self._execute(access.LIST_SESSIONS, (x.now, x.limit))
        else:
            found = self._execute(access.LIST_SESSIONS_OF, (x.now, x.limit, x.who))
        return [rows.session(row) for row in found.fetchall()]

    def _list_audit(self, x: q.ListAudit, s: int) -> list[Any]:
        values = (s, x.before or _ALL_IDS, x.after, x.limit)
        if x.target is not None:
            found = self._execute(access.LIST_AUDIT_OF_TARGET, (*values, x.target))
        elif x.who is not None:
            found = self._execute(access.LIST_AUDIT_OF_WHO, (*values, x.who))
        else:
            found = self._execute(access.LIST_AUDIT, values)
        return [rows.audit_entry(row) for row in found.fetchall()]
