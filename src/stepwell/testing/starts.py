"""Part of the last examination of a world: did runs start as the rules of their functions say?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stepwell.testing.audit import audit
from stepwell.testing.invariants import Violation

if TYPE_CHECKING:
    from stepwell.testing.world import World


def starts(world: World) -> Iterator[Violation]:
    """Everything that did not start as it must, and which of the rarer things came up."""
    yield from audit(world.tables.ask, overlap_ms=world.overlap_ms)
    yield from _order_of_batches(world)
    for (run_id,) in world.tables.ask("SELECT run_id FROM run_events WHERE run_id NOT IN (SELECT id FROM runs)"):
        yield Violation("I21", f"events are held back for run {run_id}, which never was")
    if world.tables.ask("SELECT 1 FROM runs WHERE throttle IS NOT NULL AND started_at > scheduled_at LIMIT 1"):
        world.reach("start put off")
    if world.tables.ask("SELECT 1 FROM runs WHERE batch IS NOT NULL LIMIT 1"):
        world.reach("batch")


def _order_of_batches(world: World) -> Iterator[Violation]:
    """I21: in the order in which they came. A decision may have had to be made again, after others; no table tells of
    that. And of two that overlap none is the first."""
    if world.decided_again:
        return
    text = """
      SELECT h.run_id, e.received_at FROM run_events AS h JOIN events AS e ON e.shard = h.shard AND e.id = h.event_id
      ORDER BY h.run_id, h.place"""
    latest: dict[str, int] = {}
    for run_id, received_at in world.tables.ask(text):
        if received_at + world.overlap_ms < latest.get(run_id, 0):
            yield Violation("I21", f"run {run_id} has its events out of order")
        latest[run_id] = received_at
