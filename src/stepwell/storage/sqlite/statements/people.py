"""What people, commands and pages ask, beside the engine."""

from __future__ import annotations

from typing import Final

from stepwell.storage.sqlite.statements.columns import BARE_RUN, EVENT, ITEM, ORDER, OUTCOME, RUN

LIST_FUNCTIONS: Final = """
SELECT id, app_id, config, version, updated_at, archived_at, pause FROM functions
WHERE archived_at IS NULL OR ?1 ORDER BY id"""

FUNCTION_VERSIONS: Final = """
SELECT function_id, version, config, registered_at, sdk, app_version FROM function_versions
WHERE function_id = ?1 ORDER BY version DESC LIMIT ?2"""

LIST_STANDING_ORDERS: Final = "SELECT kind, target, since, reason, pause FROM standing_orders ORDER BY kind, target"

LIST_APPS: Final = "SELECT id, url, sdk, framework, version, checksum, synced_at FROM apps ORDER BY id"

# ?2 output?, ?3 before, ?4 limit, ?5 status or function
_LISTED: Final = """
SELECT id, function_id, event_id, queued_at, scheduled_at, function_version, status, started_at, ended_at,
  CASE WHEN ?2 THEN output END, reason, parent, parent_step, depth, slots, guarded, cron, original,
  execution_version, throttle, locks, batch, rerun
FROM runs """
_NEWEST_RUNS: Final = " AND id < ?3 ORDER BY id DESC LIMIT ?4"
LIST_RUNS: Final = _LISTED + "WHERE shard = ?1" + _NEWEST_RUNS
LIST_RUNS_OF_STATUS: Final = _LISTED + "WHERE shard = ?1 AND status = ?5 AND status <> 'COMPLETED'" + _NEWEST_RUNS
LIST_RUNS_OF_FUNCTION: Final = _LISTED + "WHERE shard = ?1 AND function_id = ?5" + _NEWEST_RUNS
SCHEMA: Final = "SELECT value FROM meta WHERE key = 'schema'"
RUN_ENDINGS: Final = """
SELECT ended_at, id, status FROM runs INDEXED BY runs_ended
WHERE shard = ?1 AND ended_at > ?2 AND ended_at <= ?3 AND ended_at IS NOT NULL
ORDER BY ended_at DESC, id DESC LIMIT ?4"""
COUNT_RUNS: Final = """
SELECT count(*) FROM (
  SELECT 1 FROM runs INDEXED BY runs_status
  WHERE shard = ?1 AND status = ?2 AND status <> 'COMPLETED' LIMIT ?3)"""
RERUNS: Final = """
SELECT id FROM runs WHERE shard = ?1 AND original = ?2 AND original IS NOT NULL ORDER BY id"""
LIST_ORDERS: Final = ORDER + "WHERE shard = ?1 AND kind = ?2 AND id < ?3 ORDER BY id DESC LIMIT ?4"
_OF_EVENT: Final = """
WHERE shard = ?1 AND id IN (
  SELECT id FROM runs INDEXED BY runs_event WHERE shard = ?1 AND event_id = ?2
  UNION SELECT run_id FROM run_events WHERE shard = ?1 AND event_id = ?2) ORDER BY id"""
RUNS_OF_EVENT: Final = RUN + _OF_EVENT
RUNS_OF_EACH_EVENT: Final = BARE_RUN + _OF_EVENT

# ?2 after, ?3 before, ?4 internal?, ?5 limit, then the cursor as (moment, id), then the name
_NEWEST_EVENTS: Final = """
AND received_at >= ?2 AND received_at < ?3 AND (received_at, id) < (?6, ?7)
AND (?4 OR name NOT GLOB 'inngest/*') AND NOT copied
ORDER BY received_at DESC, id DESC LIMIT ?5"""
LIST_EVENTS: Final = EVENT + "INDEXED BY events_received WHERE shard = ?1 " + _NEWEST_EVENTS
LIST_EVENTS_OF_NAME: Final = EVENT + "INDEXED BY events_name WHERE shard = ?1 AND name = ?8 " + _NEWEST_EVENTS
EVENT_MOMENT: Final = "SELECT received_at FROM events WHERE shard = ?1 AND id = ?2"
FIND_EVENTS: Final = (
    EVENT
    + """INDEXED BY events_name
WHERE shard = ?1 AND name = ?2 AND received_at >= ?3 AND received_at < ?4 AND NOT copied
ORDER BY received_at DESC, id DESC LIMIT ?5"""
)
OUTCOMES: Final = OUTCOME + "WHERE shard = ?1 AND event_id = ?2 ORDER BY function_id"
ATTEMPTS: Final = """
SELECT run_id, step_id, attempt, started_at, ended_at, error, retry_at FROM attempts
WHERE shard = ?1 AND run_id = ?2 ORDER BY ended_at, rowid"""
NOTES: Final = "SELECT run_id, at, kind, text FROM notes WHERE shard = ?1 AND run_id = ?2 ORDER BY rowid"
GET_LOGS: Final = """
SELECT run_id, at, token, step_id, attempt, position, name, lines, dropped FROM logs WHERE shard = ?1 AND run_id = ?2
ORDER BY at, token, position, step_id, attempt"""

LOGGED_BYTES: Final = "SELECT coalesce(sum(length(lines)), 0) FROM logs WHERE shard = ?1 AND run_id = ?2"

GET_METADATA: Final = """
SELECT run_id, kind, "values", updated_at, step_id, attempt FROM metadata WHERE shard = ?1 AND run_id = ?2"""
SLOT_HOLDERS: Final = "SELECT holder FROM slots WHERE shard = ?1 AND key = ?2 ORDER BY holder LIMIT ?3"
BACKLOG: Final = """
SELECT queued_at, id FROM items WHERE shard = ?1 AND backlog = ?2 ORDER BY queued_at, id LIMIT ?3"""
BACKLOG_AFTER: Final = """
SELECT queued_at, id FROM items
WHERE shard = ?1 AND backlog = ?2 AND (queued_at, id) > (?4, ?5) ORDER BY queued_at, id LIMIT ?3"""
BACKLOG_POSITION: Final = """
SELECT
  (SELECT count(*) FROM (SELECT 1 FROM items AS other
   WHERE other.shard = ?1 AND other.backlog = this.backlog
     AND (other.queued_at, other.id) < (this.queued_at, this.id) LIMIT ?3)),
  (SELECT count(*) FROM (SELECT 1 FROM items AS other
   WHERE other.shard = ?1 AND other.backlog = this.backlog LIMIT ?3))
FROM items AS this WHERE this.shard = ?1 AND this.id = ?2 AND this.backlog IS NOT NULL"""
RUN_ITEMS: Final = (
    ITEM
    + """
WHERE shard = ?1 AND id >= ?2 AND id < ?2 || '0' AND (id = ?2 OR id >= ?2 || '/') ORDER BY id"""
)
FUNCTION_ITEMS: Final = (
    ITEM + "INDEXED BY items_function WHERE shard = ?1 AND function_id = ?2 AND run_id IS NULL ORDER BY id"
)
# One look into an index for each distinct name in [?2, ?3), ?4 of them, and a count that ends at ?5.
BACKLOG_DEPTHS: Final = """
WITH RECURSIVE found (name, number) AS (
  SELECT (SELECT backlog FROM items INDEXED BY items_backlog
    WHERE shard = ?1 AND backlog >= ?2 AND backlog < ?3 ORDER BY backlog LIMIT 1), 1
  UNION ALL
  SELECT (SELECT backlog FROM items INDEXED BY items_backlog
    WHERE shard = ?1 AND backlog > found.name AND backlog < ?3 ORDER BY backlog LIMIT 1), number + 1
  FROM found WHERE found.name IS NOT NULL AND number < ?4)
SELECT name, (SELECT count(*) FROM (
  SELECT 1 FROM items INDEXED BY items_backlog WHERE shard = ?1 AND backlog = found.name LIMIT ?5)),
  (SELECT queued_at FROM items INDEXED BY items_backlog
    WHERE shard = ?1 AND backlog = found.name ORDER BY queued_at, id LIMIT 1)
FROM found WHERE name IS NOT NULL"""
BACKLOG_FUNCTIONS: Final = """
SELECT function_id FROM items WHERE shard = ?1 AND backlog = ?2 ORDER BY queued_at, id LIMIT ?3"""
COMING_ITEMS: Final = ITEM + "WHERE shard = ?1 AND at > ?2 AND at <= ?3 ORDER BY at, id LIMIT ?4"
SLOT_KEYS: Final = """
WITH RECURSIVE found (name, number) AS (
  SELECT (SELECT key FROM slots WHERE shard = ?1 AND key >= ?2 AND key < ?3 ORDER BY key LIMIT 1), 1
  UNION ALL
  SELECT (SELECT key FROM slots WHERE shard = ?1 AND key > found.name AND key < ?3 ORDER BY key LIMIT 1), number + 1
  FROM found WHERE found.name IS NOT NULL AND number < ?4)
SELECT name, (SELECT count(*) FROM (SELECT 1 FROM slots WHERE shard = ?1 AND key = found.name LIMIT ?5))
FROM found WHERE name IS NOT NULL"""
LIST_CELLS: Final = """
SELECT key, value, expires_at FROM cells
WHERE shard = ?1 AND key >= ?2 AND key < ?3 AND expires_at > ?4 ORDER BY key LIMIT ?5"""
COUNT: Final = """
SELECT
  (SELECT count(*) FROM runs WHERE shard = ?1 AND status IN ('QUEUED', 'RUNNING') AND status <> 'COMPLETED'),
  count(*), count(backlog), coalesce(sum(lease <> 0), 0), (SELECT count(*) FROM waits WHERE shard = ?1),
  min(CASE WHEN at <= ?2 THEN at END)
FROM items WHERE shard = ?1"""
