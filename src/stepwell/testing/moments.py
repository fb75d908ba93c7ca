"""Part of the last examination of a world: did anything happen before its time (I15)?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from stepwell.testing.invariants import Violation

if TYPE_CHECKING:
    from stepwell.testing.world import World

# Of steps that were copied from the run that this one repeats that run is judged.
_ENDED: Final = """
  SELECT s.run_id, s.name, s.kind, s.status, s.ended_at FROM steps AS s JOIN runs AS r ON r.id = s.run_id
  WHERE s.ended_at < s.due AND (s.ended_at > r.queued_at OR coalesce(json_extract(r.rerun, '$.copied'), 0) = 0)
    AND (s.kind = 'sleep' OR s.kind IN ('waitForEvent', 'waitForSignal', 'invoke') AND s.status = 'TIMED_OUT')"""


def moments(world: World) -> Iterator[Violation]:
    """What has happened too early, and nobody had asked for it."""
    skipped, retried = _Asked(world, "sleep-skipped"), _Asked(world, "retried-now")
    for run_id, name, kind, status, ended_at in world.tables.ask(_ENDED):
        if kind == "sleep" and skipped.between(run_id, repr(name), ended_at, ended_at):
            world.reach("sleep skipped")
            continue
        yield Violation("I15", f"step {name} of run {run_id} ended too early, {status}")
    for (run_id,) in world.tables.ask("SELECT id FROM runs WHERE started_at < scheduled_at"):
        yield Violation("I15", f"run {run_id} started before its time")
    yield from _attempts(world, retried)


def _attempts(world: World, retried: _Asked) -> Iterator[Violation]:
    """Bodies of steps, and the functions' own code, that were tried again."""
    failed = {
        (run_id, step_id, attempt + 1): (ended_at, retry_at)
        for run_id, step_id, attempt, ended_at, retry_at in world.tables.ask(
            "SELECT run_id, step_id, attempt, ended_at, retry_at FROM attempts WHERE retry_at IS NOT NULL"
        )
    }
    again = [
        (start.run_id, f"step {start.name.rpartition(':')[0]!r}", *found, start.at)  # a note has no turns of names
        for start in world.ledger.starts
        if (found := failed.get((start.run_id, start.step_id, start.attempt))) is not None
    ]
    for run_id, name, failed_at, due, at in (*again, *world.ledger.calls_again):
        if at < due and retried.between(run_id, name, failed_at - world.overlap_ms, at):
            world.reach(f"{'step' if name.startswith('step') else 'code'} retried now")
        elif at < due:
            yield Violation("I15", f"{name} of run {run_id} was tried again {due - at} ms early")


class _Asked:
    """What a person asked for, as the notes of one kind tell: about which run, when, and in which words."""

    def __init__(self, world: World, kind: str) -> None:
        self._notes: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for run_id, at, text in world.tables.ask("SELECT run_id, at, text FROM notes WHERE kind = ?", kind):
            self._notes[run_id].append((at, text))

    def between(self, run_id: str, name: str, first: int, last: int) -> bool:
        """Whether that was asked about what is called so in this run, in these moments."""
        return any(first <= at <= last and name in text for at, text in self._notes[run_id])
