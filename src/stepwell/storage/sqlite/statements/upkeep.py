"""What is old, and how it is forgotten."""

from __future__ import annotations

from typing import Final

OLD_RUNS: Final = "SELECT shard, id FROM runs WHERE shard = ?1 AND ended_at < ?2 ORDER BY ended_at, id LIMIT ?3"
OLD_EVENTS: Final = """
SELECT shard, id FROM events WHERE shard = ?1 AND received_at < ?2
  AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.shard = ?1 AND runs.event_id = events.id)
  AND NOT EXISTS (SELECT 1 FROM run_events WHERE run_events.shard = ?1 AND run_events.event_id = events.id)
ORDER BY received_at, id LIMIT ?3"""
OLD_CELLS: Final = """
SELECT shard, key FROM cells WHERE shard = ?1 AND expires_at <= ?2 ORDER BY expires_at, key LIMIT ?3"""
OLD_ORDERS: Final = """
SELECT shard, id FROM orders WHERE shard = ?1 AND ended_at < ?2 ORDER BY ended_at, id LIMIT ?3"""
FORGET_STEPS: Final = "DELETE FROM steps WHERE shard = ?1 AND run_id = ?2"
FORGET_ATTEMPTS: Final = "DELETE FROM attempts WHERE shard = ?1 AND run_id = ?2"
FORGET_NOTES: Final = "DELETE FROM notes WHERE shard = ?1 AND run_id = ?2"
FORGET_METADATA: Final = "DELETE FROM metadata WHERE shard = ?1 AND run_id = ?2"
FORGET_RUN: Final = "DELETE FROM runs WHERE shard = ?1 AND id = ?2"
FORGET_OUTCOMES: Final = "DELETE FROM outcomes WHERE shard = ?1 AND event_id = ?2"
FORGET_EVENT: Final = "DELETE FROM events WHERE shard = ?1 AND id = ?2"
FORGET_CELL: Final = "DELETE FROM cells WHERE shard = ?1 AND key = ?2"
