"""What is old, and how it is forgotten."""

from __future__ import annotations

from typing import Final

# From where the pass before has come to (?3, ?4), with how many rows go with it.
OLD_RUNS: Final = """
SELECT ended_at, id, (SELECT count(*) FROM steps WHERE shard = ?1 AND run_id = runs.id)
  + (SELECT count(*) FROM attempts WHERE shard = ?1 AND run_id = runs.id) + 1
FROM runs WHERE shard = ?1 AND ended_at < ?2 AND (ended_at, id) > (?3, ?4) ORDER BY ended_at, id LIMIT ?5"""
OLD_EVENTS: Final = """
SELECT received_at, id, 1 FROM events
WHERE shard = ?1 AND received_at < ?2 AND (received_at, id) > (?3, ?4) ORDER BY received_at, id LIMIT ?5"""
OLD_CELLS: Final = """
SELECT expires_at, key, 1 FROM cells
WHERE shard = ?1 AND expires_at <= ?2 AND (expires_at, key) > (?3, ?4) ORDER BY expires_at, key LIMIT ?5"""
OLD_ORDERS: Final = """
SELECT ended_at, id, 1 FROM orders
WHERE shard = ?1 AND ended_at < ?2 AND (ended_at, id) > (?3, ?4) ORDER BY ended_at, id LIMIT ?5"""
EVENTS_OF_RUN: Final = """
SELECT event_id FROM runs WHERE shard = ?1 AND id = ?2
UNION ALL SELECT event_id FROM run_events WHERE shard = ?1 AND run_id = ?2"""
FORGET_STEPS: Final = "DELETE FROM steps WHERE shard = ?1 AND run_id = ?2"
FORGET_ATTEMPTS: Final = "DELETE FROM attempts WHERE shard = ?1 AND run_id = ?2"
FORGET_NOTES: Final = "DELETE FROM notes WHERE shard = ?1 AND run_id = ?2"
FORGET_LOGS: Final = "DELETE FROM logs WHERE shard = ?1 AND run_id = ?2"
FORGET_METADATA: Final = "DELETE FROM metadata WHERE shard = ?1 AND run_id = ?2"
FORGET_RUN: Final = "DELETE FROM runs WHERE shard = ?1 AND id = ?2"
FORGET_OUTCOMES: Final = "DELETE FROM outcomes WHERE shard = ?1 AND event_id = ?2"
FORGET_EVENT: Final = """
DELETE FROM events WHERE shard = ?1 AND id = ?2 AND received_at < ?3
  AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.shard = ?1 AND runs.event_id = ?2)
  AND NOT EXISTS (SELECT 1 FROM run_events WHERE run_events.shard = ?1 AND run_events.event_id = ?2)
RETURNING id"""
FORGET_CELL: Final = "DELETE FROM cells WHERE shard = ?1 AND key = ?2"
