"""Part of the last examination of a world: did what runs put off start when they had ended (ADR 0017)?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from stepwell.testing.invariants import Violation
from stepwell.testing.programs import PutOff, TakeBack

if TYPE_CHECKING:
    from stepwell.testing.world import World

_STARTED = """
  SELECT e.id, json_extract(e.data, '$._inngest.parent_run_id'), o.function_id, o.at, o.kind
  FROM events AS e JOIN (
    SELECT event_id, function_id, queued_at AS at, 'run' AS kind FROM runs WHERE original IS NULL
    UNION ALL SELECT event_id, function_id, at, kind FROM outcomes) AS o ON o.event_id = e.id
  WHERE NOT e.copied AND e.name = 'inngest/deferred.schedule'"""
_REMEMBERED = """
  SELECT s.run_id, s.name, s.status, s.details, r.ended_at, r.status, r.function_id
  FROM steps AS s JOIN runs AS r ON r.id = s.run_id WHERE s.kind = 'defer'"""


def put_off(world: World) -> Iterator[Violation]:
    """What is remembered starts once, in the moment in which its run ends, unless it was taken back."""
    ends = dict(world.tables.ask("SELECT id, ended_at FROM runs"))
    started: Counter[str] = Counter()
    for event_id, parent, function_id, at, kind in world.tables.ask(_STARTED):
        started[event_id] += 1
        world.reach(f"put off: {kind}")
        if at != ends.get(parent):
            yield Violation("I9", f"{function_id}, put off by run {parent}, came at {at} and not at its end")
    named: dict[tuple[str, str], str] = {}
    for run_id, name, status, details, ended_at, how, _ in world.tables.ask(_REMEMBERED):
        named[run_id, name] = status
        who = f"{name}, put off by run {run_id}, which is {how},"
        world.reach(f"put off {status}, run {how}")
        if status == "DEFERRED" and ended_at is not None:
            yield Violation("I10", f"{who} was never started")
        if status == "COMPLETED":
            count = started.pop(msgspec.json.decode(details).get("event_id", ""), 0)
            if count != 1:
                yield Violation("I9", f"{who} was started {count} times")
    for event_id in started:
        yield Violation("I9", f"event {event_id} has started what nobody had put off, or had taken back")
    yield from _forgotten(world, named)


def _forgotten(world: World, named: dict[tuple[str, str], str]) -> Iterator[Violation]:
    """A run that came to the end of its code has put off what that says, and has taken back what that says."""
    for spec in world.plan.functions:
        taken_back = {node.name for node in spec.program if isinstance(node, TakeBack)}
        wanted = {node.name for node in spec.program if isinstance(node, PutOff)}
        if not wanted:
            continue
        text = "SELECT id FROM runs WHERE status = 'COMPLETED' AND function_id = ?"
        for (run_id,) in world.tables.ask(text, f"w-{spec.id}"):
            for name in sorted(wanted):
                status, right = named.get((run_id, name)), "ABORTED" if name in taken_back else "COMPLETED"
                if status != right:
                    yield Violation("I5", f"{name}, put off by run {run_id}, is {status} and should be {right}")
