"""Part of the last examination of a world: did runs start as the rules of their functions say?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from stepwell.testing.invariants import Violation
from stepwell.testing.programs import Rate, Spec

if TYPE_CHECKING:
    from stepwell.testing.world import World

_RUNS = """
  SELECT r.id, r.queued_at, r.started_at, r.ended_at, coalesce(json_extract(e.data, '$.key'), ''), e.ts, e.source,
    r.original IS NOT NULL OR r.rerun IS NOT NULL
  FROM runs AS r JOIN events AS e ON e.id = r.event_id WHERE r.function_id = ? ORDER BY r.queued_at, r.id"""


class _Run(msgspec.Struct, frozen=True, array_like=True):
    id: str
    queued_at: int
    started_at: int | None
    ended_at: int | None
    key: str
    ts: int
    source: str
    again: int


def starts(world: World) -> Iterator[Violation]:
    """Everything that did not start as it must."""
    for spec in world.plan.functions:
        found = [_Run(*row) for row in world.tables.ask(_RUNS, f"w-{spec.id}")]
        groups: dict[str, list[_Run]] = defaultdict(list)
        for run in found:
            groups[run.key if spec.rules.keyed else ""].append(run)
        for runs in groups.values():
            yield from _rates(world, spec, runs)
            yield from _alone(world, spec, runs)
        yield from _left_out(world, spec, {run.id: run for run in found})
        yield from _batches(world, spec)
    for (run_id,) in world.tables.ask("SELECT run_id FROM run_events WHERE run_id NOT IN (SELECT id FROM runs)"):
        yield Violation("I21", f"events are held back for run {run_id}, which never was")


def _rates(world: World, spec: Spec, runs: Sequence[_Run]) -> Iterator[Violation]:
    """I14."""
    rules = spec.rules
    if rules.throttle is not None:
        began = sorted(run.started_at for run in runs if run.started_at is not None)
        if any(run.started_at is not None and run.started_at > run.queued_at for run in runs):
            world.reach("start put off")
        yield from _too_many(f"{spec.id} is throttled", began, rules.throttle)
    if rules.rate_limit is not None and rules.debounce_ms is None:
        rate = msgspec.structs.replace(rules.rate_limit, burst=rules.rate_limit.limit // 10)
        yield from _too_many(f"{spec.id} has a rate limit", [run.queued_at for run in runs if not run.again], rate)


def _too_many(who: str, moments: Sequence[int], rate: Rate) -> Iterator[Violation]:
    for first in range(len(moments)):
        for last in range(first + 1, len(moments)):
            room = Fraction((moments[last] - moments[first]) * rate.limit, rate.period_ms) + rate.burst + 1
            if last - first + 1 > room:
                between = f"{moments[first]} and {moments[last]}"
                yield Violation("I14", f"{who}, and {last - first + 1} runs started between {between}")
                return


def _alone(world: World, spec: Spec, runs: Sequence[_Run]) -> Iterator[Violation]:
    """I22."""
    if spec.rules.singleton is None:
        return
    for before, after in pairwise(runs):
        if before.ended_at is None or before.ended_at > after.queued_at:
            yield Violation("I22", f"{spec.id} may run once, and {after.id} was created before {before.id} had ended")


def _left_out(world: World, spec: Spec, runs: dict[str, _Run]) -> Iterator[Violation]:
    """I20: who was left out for a newer one was older indeed."""
    text = """
      SELECT o.event_id, o.run_id, e.ts FROM outcomes AS o JOIN events AS e ON e.id = o.event_id
      WHERE o.kind = 'debounced' AND o.function_id = ?"""
    for event_id, run_id, ts in world.tables.ask(text, f"w-{spec.id}"):
        run = runs.get(run_id)
        if run is not None and run.ts < ts:
            yield Violation("I20", f"{spec.id} started {run_id} with an event that is older than {event_id}")


def _batches(world: World, spec: Spec) -> Iterator[Violation]:
    """I21."""
    text = """
      SELECT r.id, r.batch, r.event_id, h.event_id, e.received_at, h.place, json_extract(e.data, '$.key')
      FROM runs AS r JOIN run_events AS h ON h.run_id = r.id JOIN events AS e ON e.id = h.event_id
      WHERE r.function_id = ? ORDER BY r.id, h.place"""
    batches: dict[str, list[tuple[int, str, str, int, int, str]]] = defaultdict(list)
    for run_id, *row in world.tables.ask(text, f"w-{spec.id}"):
        batches[run_id].append(tuple(row))
    for run_id, rows in batches.items():
        world.reach("batch")
        size = spec.rules.batch[0] if spec.rules.batch else 0
        count, first = rows[0][0], rows[0][1]
        if not len(rows) == count <= size or first != rows[0][2] or [row[4] for row in rows] != list(range(count)):
            yield Violation("I21", f"run {run_id} of {spec.id} has {len(rows)} of {count} events, and {size} fit")
        # While functions are paused and resumed, a decision may have to be made again, after others.
        if sorted(row[3] for row in rows) != [row[3] for row in rows] and not world.reached["action pause"]:
            yield Violation("I21", f"run {run_id} of {spec.id} has its events out of order")
        if spec.rules.keyed and len({row[5] for row in rows}) > 1:
            yield Violation("I21", f"run {run_id} of {spec.id} has events of several keys")
