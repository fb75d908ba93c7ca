"""Holds what a store tells of the past against the rules of its functions: from its tables alone, whoever wrote them.

``python -m stepwell.testing.audit FILE`` does it for a database file. Only runs of the present version of a function
are judged by its rules, for those before may have had others. What cannot be told from the tables is not judged: a
start that comes late may have been late because nobody was there.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec

from stepwell.flow import BatchEvents, Debounce, Idempotency, RateLimit, RunConcurrency, Throttle
from stepwell.flow.limit import pairs
from stepwell.flow.options import length_ms
from stepwell.limits import BATCH_BYTES_MAX, DEDUPE_WINDOW
from stepwell.model.duration import to_ms
from stepwell.model.event import Event, rfc3339
from stepwell.model.function import Function
from stepwell.model.schedule import Schedule
from stepwell.model.trigger import CronTrigger
from stepwell.protocol.config import parse_function
from stepwell.protocol.moments import read_moment
from stepwell.storage import rows
from stepwell.storage.sqlite.driver import executor
from stepwell.testing.invariants import Violation

Ask = Callable[..., list[Any]]
"""Gives the rows of a query."""

_FOREVER: Final = 1 << 62
_DEDUPE_MS: Final = to_ms(DEDUPE_WINDOW)
_FUNCTIONS: Final = "SELECT id, app_id, config, version, updated_at FROM functions ORDER BY id"
_RUNS: Final = """
SELECT r.id, r.function_version, r.queued_at, r.started_at, r.ended_at, r.throttle, r.locks, r.batch,
  r.original IS NOT NULL OR r.rerun IS NOT NULL,
  r.parent, r.cron, e.id, e.name, e.ts, e.received_at, e.data, e.key, e.v, e.user, e.meta, e.source,
  e.depth, e.sent_by
FROM runs AS r JOIN events AS e ON e.shard = r.shard AND e.id = r.event_id
WHERE r.function_id = ? ORDER BY r.queued_at, r.id"""


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it was: moments in milliseconds."""

    id: str
    version: int
    queued_at: int
    started_at: int | None
    ended_at: int | None
    throttle: str | None
    locks: tuple[str, ...]
    batch: int | None
    again: bool
    by_event: bool
    event: Event

    @property
    def env(self) -> Mapping[str, object]:
        return {"event": self.event.fields()}


class Interval(msgspec.Struct, frozen=True, order=True):
    """From ``start`` up to ``end``, which is not part of it."""

    start: int
    end: int
    who: str = ""


def audit(ask: Ask, *, overlap_ms: int = 0, waited_ms: int | None = None) -> Iterator[Violation]:
    """Everything in the tables that is not as the rules say (I12, I13, I14, I19, I20, I21, I22, I23).

    ``overlap_ms`` is how long a decision may be under way while others are made, as where there are several shards. It
    takes the time when it begins and then waits for its shards, so of two whose times are closer than that the tables
    do not say which was first. Who takes the place of a run may have begun before that run did: then it ends before it
    is queued, and both have the time of the one who waited. So of what a run held only the part is judged that is
    certain: from so long after it was queued or started until its end. That no moment ever has more than it may is
    held by ``invariants.Guard``, which counts after each commit and needs no times. ``waited_ms`` is the same
    for events and the windows that they open, if that differs.
    """
    functions = {
        id: (parse_function(config, app_id, version=version), updated_at)
        for id, app_id, config, version, updated_at in ask(_FUNCTIONS)
    }
    shared: dict[str, list[Interval]] = defaultdict(list)
    limits: dict[str, int] = {}
    for id, (function, updated_at) in functions.items():
        everything = list(_past(ask, id))
        present = [run for run in everything if run.version == function.version]
        for run in everything:
            for lock in run.locks:
                if lock.startswith("singleton/"):
                    shared[lock].append(_life(run, overlap_ms))
                elif run.version == function.version:  # those before may be there because more were allowed
                    shared[lock].append(_under_way(run, overlap_ms))
        yield from _starts(function, present)
        yield from _windows(ask, function, present, updated_at, overlap_ms if waited_ms is None else waited_ms)
        yield from _batches(ask, function, everything, updated_at, overlap_ms)
        yield from _ticks(ask, function, updated_at, overlap_ms)
        limits |= _limits(function, present)
    for lock, intervals in shared.items():
        if lock.startswith("singleton/"):
            yield from too_many_at_once("I22", f"runs hold {lock}", intervals, 1)
        elif lock in limits:
            yield from too_many_at_once("I12", f"runs are under way in {lock}", intervals, limits[lock])
    yield from _slots(ask)


# Sweeps --------------------------------------------------------------------------------------------------------------


def too_many_at_once(rule: str, what: str, intervals: Iterable[Interval], limit: int) -> Iterator[Violation]:
    """A sweep over all moments: the first at which more intervals are open than the limit."""
    turns = sorted(
        [(each.start, 1) for each in intervals if each.end > each.start]
        + [(each.end, -1) for each in intervals if each.end > each.start]
    )
    at_once = 0
    for moment, turn in turns:  # at one moment those that end come first
        at_once += turn
        if at_once > limit:
            yield Violation(rule, f"{at_once} {what} at {rfc3339(moment)}, and {limit} may be")
            return


def too_many_in_a_while(
    what: str, moments: Iterable[int], limit: int, period_ms: int, burst: int
) -> Iterator[Violation]:
    """I14: between any two starts no more than the rate allows in that time, the burst, and the first itself."""
    found = sorted(moments)
    # With the rate taken off, each start must be no further ahead than the burst of the least before it.
    least: Fraction | None = None
    for number, moment in enumerate(found):
        ahead = number - Fraction(moment * limit, period_ms)
        if least is not None and ahead - least > burst:
            yield Violation("I14", f"{what}: the start at {rfc3339(moment)} came too early")
            return
        least = ahead if least is None else min(least, ahead)


# Starts --------------------------------------------------------------------------------------------------------------


def _starts(function: Function, runs: Sequence[Past]) -> Iterator[Violation]:
    """I14, I19: rates of starts, and keys that start one run a day."""
    held = any(isinstance(control, Debounce) for control in function.controls)
    for control in function.controls:
        if isinstance(control, Throttle):
            turns = _grouped((run.throttle, run.started_at) for run in runs if run.throttle and run.started_at)
            for key, moments in turns.items():
                burst, period = control.burst, length_ms(control.period)
                yield from too_many_in_a_while(f"starts of {key}", moments, control.limit, period, burst)
        elif isinstance(control, RateLimit) and not held:  # else events are counted, and not starts
            counted = _grouped(
                (control.cell(function.id, run.env, run.queued_at), run.queued_at)
                for run in runs
                if not run.again and run.batch is None
            )
            for place, moments in counted.items():
                if place is not None:
                    burst, period = control.limit // 10, length_ms(control.period)
                    yield from too_many_in_a_while(f"starts of {place}", moments, control.limit, period, burst)
        elif isinstance(control, Idempotency):
            keyed = _grouped(
                (control.cell(function.id, run.env, run.queued_at), run.queued_at) for run in runs if not run.again
            )
            for place, moments in keyed.items():
                for before, after in pairwise(sorted(moments)):
                    if place is not None and after - before < _DEDUPE_MS:
                        yield Violation("I19", f"{place} started two runs within a day, at {rfc3339(after)} again")
    by_id = _grouped(
        (run.event.key, run.queued_at)
        for run in runs
        if run.event.key and run.by_event and not run.again and run.batch is None and run.event.source in ("api", "sdk")
    )
    for key, moments in by_id.items():
        for before, after in pairwise(sorted(moments)):
            if after - before < _DEDUPE_MS:
                yield Violation("I19", f"{function.id} was started twice within a day for the event id {key}")


def _limits(function: Function, runs: Sequence[Past]) -> dict[str, int]:
    """The limits of runs under way, by the keys of their places."""
    found: dict[str, int] = {}
    controls = [control for control in function.controls if isinstance(control, RunConcurrency)]
    for run in runs:
        places = [lock for lock in run.locks if lock.startswith("run/")]
        for place, control in pairs(places, controls, function.id):
            if control.scope == "fn":  # of others each function has a limit of its own
                found[place] = control.limit
    return found


# Windows -------------------------------------------------------------------------------------------------------------


def _windows(
    ask: Ask, function: Function, runs: Sequence[Past], updated_at: int, overlap_ms: int
) -> Iterator[Violation]:
    """I20: one run for each key and window, with the newest event, not before its time."""
    control = next((each for each in function.controls if isinstance(each, Debounce)), None)
    if control is None:
        return
    period = length_ms(control.period)
    text = """
      SELECT o.run_id, e.id, e.ts, e.received_at FROM outcomes AS o
        JOIN events AS e ON e.shard = o.shard AND e.id = o.event_id
      WHERE o.kind = 'debounced' AND o.function_id = ?"""
    left_out = _grouped((row[0], row[1:]) for row in ask(text, function.id))
    windows: dict[str, list[Past]] = defaultdict(list)
    for run in runs:
        key = control.window(function.id, run.env, run.queued_at)
        if run.again or not run.by_event:
            continue
        others = left_out.get(run.id, [])
        opened_at = min([run.event.received_at, *(row[2] for row in others)])
        for event_id, ts, _ in others:
            if (ts, event_id) > (run.event.ts, run.event.id) and ts > run.event.ts:
                yield Violation("I20", f"{run.id} of {function.id} has an event that is older than {event_id}")
        if opened_at <= updated_at + overlap_ms:
            continue  # it was opened under another rule
        windows[key].append(run)
        until = run.event.received_at + period
        if control.timeout is not None:
            until = min(until, opened_at + length_ms(control.timeout))
        if run.queued_at < until:
            yield Violation("I20", f"{run.id} of {function.id} was not held back until {rfc3339(until)}")
    for place, found in windows.items():
        for before, after in pairwise(sorted(found, key=lambda run: run.queued_at)):
            if after.queued_at - before.queued_at < period - overlap_ms:
                yield Violation("I20", f"{place} started {before.id} and {after.id} for one window")


def _batches(
    ask: Ask, function: Function, runs: Sequence[Past], updated_at: int, overlap_ms: int
) -> Iterator[Violation]:
    """I21: each event in one batch, none too large, none too early, with the events of one key."""
    control = next((each for each in function.controls if isinstance(each, BatchEvents)), None)
    text = """
      SELECT h.run_id, h.place, e.id, e.name, e.ts, e.received_at, e.data, e.key, e.v, e.user, e.meta, e.source,
        e.depth, e.sent_by
      FROM run_events AS h JOIN runs AS r ON r.shard = h.shard AND r.id = h.run_id
        JOIN events AS e ON e.shard = h.shard AND e.id = h.event_id
      WHERE r.function_id = ? AND r.batch IS NOT NULL ORDER BY h.run_id, h.place"""
    members = _grouped((row[0], (row[1], rows.event(row[2:]))) for row in ask(text, function.id))
    batch_of: dict[str, str] = {}
    for run in runs:
        if run.batch is None:
            continue
        who, found = f"run {run.id} of {function.id}", members.get(run.id, [])
        events = [event for _, event in found]
        if len(found) != run.batch or [place for place, _ in found] != list(range(run.batch)):
            yield Violation("I21", f"{who} has {len(found)} of {run.batch} events")
            continue
        if run.event.id != events[0].id:
            yield Violation("I21", f"{who} does not begin with its first event")
        for event in events if not run.again else ():
            if event.id in batch_of:
                yield Violation("I21", f"event {event.id} is in {batch_of[event.id]} and in {run.id}")
            batch_of[event.id] = run.id
        opened_at = min(event.received_at for event in events)
        if control is None or run.again or run.version != function.version or opened_at <= updated_at + overlap_ms:
            continue
        keys = {control.window(function.id, {"event": event.fields()}, run.queued_at) for event in events}
        if len(keys) > 1:
            yield Violation("I21", f"{who} has events of the keys {sorted(map(str, keys))}")
        if len(events) > control.max_size:
            yield Violation("I21", f"{who} has {len(events)} events, and {control.max_size} fit")
        full = len(events) == control.max_size or sum(len(event.data) for event in events) >= BATCH_BYTES_MAX
        if not full and run.queued_at < opened_at + length_ms(control.timeout):
            yield Violation("I21", f"{who} started before it was full or out of time")


# Ticks ---------------------------------------------------------------------------------------------------------------


def _ticks(ask: Ask, function: Function, updated_at: int, overlap_ms: int) -> Iterator[Violation]:
    """I23: each tick once, in its order, never early, and none left out where none may be."""
    text = """
      SELECT json_extract(e.data, '$.cron'), json_extract(e.data, '$.scheduledAt'), e.received_at, r.id
      FROM runs AS r JOIN events AS e ON e.shard = r.shard AND e.id = r.event_id
      WHERE r.function_id = ?1 AND e.source = 'cron' AND r.original IS NULL
      UNION ALL
      SELECT json_extract(e.data, '$.cron'), json_extract(e.data, '$.scheduledAt'), e.received_at, o.kind
      FROM outcomes AS o JOIN events AS e ON e.shard = o.shard AND e.id = o.event_id
      WHERE o.function_id = ?1 AND e.source = 'cron' ORDER BY 1, 2"""
    found = _grouped((row[0], row[1:]) for row in ask(text, function.id))
    triggers = {each.cron: each for each in function.triggers if isinstance(each, CronTrigger)}
    for cron, ticks in found.items():
        who = f"{function.id} ({cron})"
        for (before, came, _), (after, later, _) in pairwise(ticks):
            if before == after:
                yield Violation("I23", f"the tick {after} of {who} came twice")
            if later + overlap_ms < came:
                yield Violation("I23", f"the tick {after} of {who} came before {before}")
        trigger = triggers.get(cron)
        if trigger is None:
            continue
        schedule = Schedule.parse(trigger.cron)
        moments = [read_moment(tick) or 0 for tick, _, _ in ticks]
        for moment, (tick, came, _) in zip(moments, ticks, strict=True):
            if schedule.next_after(moment - 1) != moment:
                yield Violation("I23", f"{tick} is no tick of {who}")
            if came < moment:
                yield Violation("I23", f"the tick {tick} of {who} came before its time")
        since = [moment for moment in moments if moment > updated_at + overlap_ms]
        if trigger.missed == "all" and since:
            missing = {*schedule.between(since[0], since[-1])} - {*since}
            if missing:
                yield Violation("I23", f"the tick {rfc3339(min(missing))} of {who} never came")


# Slots ---------------------------------------------------------------------------------------------------------------


def _slots(ask: Ask) -> Iterator[Violation]:
    """I13: whoever has a slot or a place is alive."""
    text = """
      SELECT s.key, s.holder FROM slots AS s
      LEFT JOIN runs AS r ON r.shard = s.shard
        AND r.id = CASE WHEN s.holder LIKE 'run:%' THEN substr(s.holder, 5) ELSE substr(s.holder, 1, 26) END
      WHERE r.id IS NULL OR r.ended_at IS NOT NULL"""
    for key, holder in ask(text):
        yield Violation("I13", f"{holder} holds {key} and has ended, or never was")


def _past(ask: Ask, function_id: str) -> Iterator[Past]:
    for row in ask(_RUNS, function_id):
        yield Past(
            id=row[0],
            version=row[1],
            queued_at=row[2],
            started_at=row[3],
            ended_at=row[4],
            throttle=row[5],
            locks=msgspec.json.decode(row[6], type=tuple[str, ...]) if row[6] else (),
            batch=row[7],
            again=bool(row[8]),
            by_event=row[9] is None and row[10] is None,
            event=rows.event(row[11:]),
        )


def _life(run: Past, overlap_ms: int) -> Interval:
    return Interval(run.queued_at + overlap_ms, _FOREVER if run.ended_at is None else run.ended_at, run.id)


def _under_way(run: Past, overlap_ms: int) -> Interval:
    if run.started_at is None:
        return Interval(0, 0, run.id)
    return Interval(run.started_at + overlap_ms, _FOREVER if run.ended_at is None else run.ended_at, run.id)


def _grouped(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return found


def audit_file(path: Path, *, waited_ms: int = 0) -> list[Violation]:
    """What is wrong in a database file, which is only read. ``waited_ms`` as in ``audit``."""
    import apsw

    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(5_000)
    execute = executor(connection)

    def ask(text: str, *values: Any) -> list[Any]:
        return execute(text, values).fetchall()

    try:
        return list(audit(ask, waited_ms=waited_ms))
    finally:
        connection.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit the database files that are named, and say of each what was found.

    The exit code is 1 if anything is wrong in one of them, 2 if none is named or one is not there.
    """
    paths = [Path(path) for path in (sys.argv[1:] if arguments is None else arguments)]
    missing = [path for path in paths if not path.is_file()]
    if missing or not paths:
        what = f"there is no file {missing[0]}" if missing else "no file is named"
        sys.stderr.write(f"{what}; usage: python -m stepwell.testing.audit FILE...\n")
        return 2
    wrong = 0
    for path in paths:
        found = audit_file(path)
        wrong += len(found)
        for violation in found:
            sys.stdout.write(f"{path}: {violation}\n")
        if not found:
            sys.stdout.write(f"{path}: no rule was broken\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
