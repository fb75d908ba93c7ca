"""Every SQL text that runs while serving: fixed, so that each is prepared once; the time arrives as a parameter.

``?1`` is the shard wherever there is one.
``INDEXED BY`` stands where SQLite would rather walk over the whole shard in the order asked for: it cannot know that
all rows have the same shard.
"""

from __future__ import annotations

from typing import Final

BEGIN: Final = "BEGIN IMMEDIATE"
BEGIN_READ: Final = "BEGIN"
COMMIT: Final = "COMMIT"
ROLLBACK: Final = "ROLLBACK"

# Changes -------------------------------------------------------------------------------------------------------------

HOLDS: Final = "SELECT 1 FROM items WHERE shard = ?1 AND id = ?2 AND lease = ?3"

SAVE_EVENT: Final = """
INSERT INTO events (shard, copied, id, name, ts, received_at, data, key, v, user, meta, source, depth, sent_by)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
ON CONFLICT (shard, id) DO NOTHING"""

SAVE_OUTCOME: Final = """
INSERT INTO outcomes (shard, event_id, function_id, kind, at, reason, run_id)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (shard, event_id, function_id) DO NOTHING"""

DROP_OUTCOME: Final = "DELETE FROM outcomes WHERE shard = ?1 AND event_id = ?2 AND function_id = ?3"

CREATE_RUN: Final = """
INSERT INTO runs (shard, id, function_id, event_id, queued_at, scheduled_at, function_version, status, started_at,
  ended_at, output, reason, parent, parent_step, depth, slots, guarded, cron, original, execution_version, throttle,
  locks, batch, rerun)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24)
ON CONFLICT (shard, id) DO NOTHING"""

START_RUN: Final = """
UPDATE runs SET status = 'RUNNING', started_at = ?3 WHERE shard = ?1 AND id = ?2 AND status = 'QUEUED'"""

# The first answer decides it, for as long as the run lives (protocol §7.5).
SET_EXECUTION_VERSION: Final = """
UPDATE runs SET execution_version = ?3 WHERE shard = ?1 AND id = ?2 AND execution_version = -1"""

FINISH_RUN: Final = """
UPDATE runs SET status = ?3, ended_at = ?4, output = ?5, reason = ?6
WHERE shard = ?1 AND id = ?2 AND ended_at IS NULL"""

_STEP: Final = """
INSERT INTO steps (shard, run_id, id, name, kind, status, repeat, position, attempt, started_at, ended_at, due, output,
  details, parallel)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15 """
_STEP_AGAIN: Final = """
ON CONFLICT (shard, run_id, id) DO UPDATE SET name = excluded.name, kind = excluded.kind, status = excluded.status,
  repeat = excluded.repeat, position = excluded.position, attempt = excluded.attempt,
  started_at = excluded.started_at, ended_at = excluded.ended_at, due = excluded.due, output = excluded.output,
  details = excluded.details, parallel = excluded.parallel
WHERE steps.ended_at IS NULL"""

SAVE_STEP: Final = _STEP + "WHERE true" + _STEP_AGAIN
SAVE_STEP_HELD: Final = (
    _STEP + "WHERE EXISTS (SELECT 1 FROM items WHERE shard = ?1 AND id = ?16 AND lease = ?17)" + _STEP_AGAIN
)

_SETTLE: Final = (
    "UPDATE steps SET status = ?4, ended_at = ?5, output = ?6, details = coalesce(?7, details), position = "
)
_SETTLED: Final = " WHERE shard = ?1 AND run_id = ?2 AND id = ?3 AND ended_at IS NULL"
SETTLE_STEP: Final = _SETTLE + "?8" + _SETTLED
# Four times as dear: an update that looks at its own table happens in two passes.
SETTLE_STEP_NEXT: Final = (
    _SETTLE + "(SELECT coalesce(max(position), 0) + 1 FROM steps WHERE shard = ?1 AND run_id = ?2)" + _SETTLED
)

SAVE_ATTEMPT: Final = """
INSERT INTO attempts (shard, run_id, step_id, attempt, started_at, ended_at, error, retry_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT (shard, run_id, step_id, attempt, started_at) DO UPDATE SET
  ended_at = excluded.ended_at, error = excluded.error, retry_at = excluded.retry_at"""

SAVE_NOTE: Final = "INSERT INTO notes (shard, run_id, at, kind, text) VALUES (?1, ?2, ?3, ?4, ?5)"

SAVE_METADATA: Final = """
INSERT INTO metadata (shard, run_id, step_id, attempt, kind, "values", updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (shard, run_id, step_id, attempt, kind) DO UPDATE SET "values" = excluded."values",
  updated_at = excluded.updated_at"""

_ITEM: Final = """
INSERT INTO items (shard, id, kind, function_id, at, run_id, lease, attempt, backlog, queued_at, poked, losses, mark)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) """

ENQUEUE: Final = _ITEM + "ON CONFLICT (shard, id) DO NOTHING"

SCHEDULE: Final = (
    _ITEM
    + """
ON CONFLICT (shard, id) DO UPDATE SET kind = excluded.kind, function_id = excluded.function_id, at = excluded.at,
  run_id = excluded.run_id, lease = excluded.lease, attempt = excluded.attempt, backlog = excluded.backlog,
  queued_at = excluded.queued_at, poked = excluded.poked, losses = excluded.losses, mark = excluded.mark"""
)

PARK: Final = """
UPDATE items SET at = CASE WHEN poked AND ?6 = 0 THEN ?5 ELSE ?4 END, lease = 0, attempt = ?6, backlog = NULL,
  poked = 0, losses = 0, mark = 0
WHERE shard = ?1 AND id = ?2 AND lease = ?3"""

BLOCK: Final = """
UPDATE items SET at = NULL, backlog = ?3, lease = 0, poked = 0, losses = ?4, mark = ?5 WHERE shard = ?1 AND id = ?2"""

# What poked the item before is loaded by whoever claims it now.
GRANT: Final = """
UPDATE items SET at = ?4, lease = ?3, backlog = NULL, poked = 0, losses = ?5, mark = ?6 WHERE shard = ?1 AND id = ?2"""

POSTPONE: Final = """
UPDATE items SET at = ?3, lease = 0, backlog = NULL, poked = 0, losses = ?4, mark = ?5 WHERE shard = ?1 AND id = ?2"""

EXTEND: Final = "UPDATE items SET at = ?4 WHERE shard = ?1 AND id = ?2 AND lease = ?3"

RETRY: Final = "UPDATE items SET attempt = ?4 WHERE shard = ?1 AND id = ?2 AND lease = ?3"

WAKE: Final = """
UPDATE items SET
  at = CASE
    WHEN lease <> 0 OR (attempt > 0 OR losses > 0) AND at IS NOT NULL THEN at
    ELSE min(coalesce(at, ?3), ?3) END,
  poked = (lease <> 0)
WHERE shard = ?1 AND id = ?2 AND backlog IS NULL"""

DROP: Final = "DELETE FROM items WHERE shard = ?1 AND id = ?2"

DROP_HELD: Final = "DELETE FROM items WHERE shard = ?1 AND id = ?2 AND lease = ?3"

# Ids of the form <run>/… lie between <run>/ and <run>0, because 0 is the character after the slash.
DROP_RUN_ITEMS: Final = """
DELETE FROM items
WHERE shard = ?1 AND id >= ?2 AND id < ?2 || '0' AND (id = ?2 OR id >= ?2 || '/')"""

HOLD_EVENT: Final = """
INSERT INTO run_events (shard, run_id, place, event_id) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (shard, run_id, place) DO UPDATE SET event_id = excluded.event_id"""

DROP_HELD_EVENTS: Final = "DELETE FROM run_events WHERE shard = ?1 AND run_id = ?2"

OPEN_WAIT: Final = """
INSERT INTO waits (shard, run_id, id, kind, event_name, since, expires_at, condition, path, value)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
ON CONFLICT (shard, run_id, id) DO NOTHING"""

CLOSE_WAIT: Final = "DELETE FROM waits WHERE shard = ?1 AND run_id = ?2 AND id = ?3"

CLOSE_WAITS: Final = "DELETE FROM waits WHERE shard = ?1 AND run_id = ?2"

SAVE_REQUEST: Final = """
INSERT INTO requests (shard, run_id, step_id, content) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (shard, run_id, step_id) DO NOTHING"""

DROP_REQUEST: Final = "DELETE FROM requests WHERE shard = ?1 AND run_id = ?2 AND step_id = ?3"

DROP_REQUESTS: Final = "DELETE FROM requests WHERE shard = ?1 AND run_id = ?2"

PUT_CELL: Final = """
INSERT INTO cells (shard, key, value, expires_at) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (shard, key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at"""

TAKE_SLOT: Final = """
INSERT INTO slots (shard, key, holder) VALUES (?1, ?2, ?3) ON CONFLICT (shard, key, holder) DO NOTHING"""

FREE_SLOTS: Final = """
DELETE FROM slots
WHERE shard = ?1 AND holder >= ?2 AND holder < ?2 || '0' AND (holder = ?2 OR holder >= ?2 || '/')"""

RELEASE: Final = """
UPDATE items SET at = ?3, backlog = NULL
WHERE shard = ?1 AND id IN (
  SELECT id FROM items WHERE shard = ?1 AND backlog = ?2 ORDER BY queued_at, id LIMIT ?4)"""

# Of the backlogs that several functions share there is an index by function (ADR 0032).
_SHARED: Final = """(backlog >= 'account/' AND backlog < 'account0' OR backlog >= 'env/' AND backlog < 'env0'
  OR backlog >= 'run/account/' AND backlog < 'run/account0' OR backlog >= 'run/env/' AND backlog < 'run/env0')"""
NEXT_SHARING: Final = f"""
SELECT function_id FROM items INDEXED BY items_shared
WHERE shard = ?1 AND backlog = ?2 AND function_id > ?3 AND {_SHARED} ORDER BY function_id LIMIT 1"""
RELEASE_SHARED: Final = f"""
UPDATE items SET at = ?3, backlog = NULL
WHERE shard = ?1 AND id IN (
  SELECT id FROM items INDEXED BY items_shared
  WHERE shard = ?1 AND backlog = ?2 AND function_id = ?5 AND {_SHARED} ORDER BY queued_at, id LIMIT ?4)"""

RELEASE_ITEM: Final = """
UPDATE items SET at = ?3, backlog = NULL WHERE shard = ?1 AND id = ?2 AND backlog IS NOT NULL"""

# The end of a lease is never further off than a minute, so what sleeps or is blocked, however much it is, is passed
# over. One that is, because a clock was set back, ends by itself.
LAPSE_LEASES: Final = """
UPDATE items INDEXED BY items_due SET at = ?3
WHERE shard = ?1 AND at <= ?3 + 60000 AND lease > 0 AND lease < ?2"""

_ORDER_COLUMNS: Final = "id, kind, created_at, what, stage, position, examined, done, skipped, ended_at, aborted"
SAVE_ORDER: Final = f"""
INSERT INTO orders (shard, {_ORDER_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
ON CONFLICT (shard, id) DO UPDATE SET stage = excluded.stage, position = excluded.position,
  examined = excluded.examined, done = excluded.done, skipped = excluded.skipped, ended_at = excluded.ended_at,
  aborted = excluded.aborted"""

DROP_ORDER: Final = "DELETE FROM orders WHERE shard = ?1 AND id = ?2"

SAVE_FUNCTION: Final = """
INSERT INTO functions (id, app_id, config, version, updated_at, archived_at, stamp)
VALUES (?1, ?2, ?3, ?4, ?5, NULL, (SELECT coalesce(max(stamp), 0) + 1 FROM functions))
ON CONFLICT (id) DO UPDATE SET app_id = excluded.app_id, config = excluded.config, version = excluded.version,
  updated_at = excluded.updated_at, archived_at = NULL, stamp = excluded.stamp"""

ARCHIVE_FUNCTION: Final = """
UPDATE functions SET archived_at = ?2, stamp = (SELECT max(stamp) + 1 FROM functions)
WHERE id = ?1 AND archived_at IS NULL"""

PAUSE_FUNCTION: Final = """
UPDATE functions SET pause = ?2, stamp = (SELECT max(stamp) + 1 FROM functions) WHERE id = ?1"""

GIVE_ORDER: Final = """
INSERT INTO standing_orders (kind, target, since, reason, pause) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (kind, target) DO UPDATE SET since = excluded.since, reason = excluded.reason, pause = excluded.pause"""

WITHDRAW_ORDER: Final = "DELETE FROM standing_orders WHERE kind = ?1 AND target = ?2"

# Whoever has read the functions reads them anew, and the orders with them.
MOVE_STAMP: Final = """
UPDATE functions SET stamp = (SELECT max(stamp) + 1 FROM functions) WHERE id = (SELECT min(id) FROM functions)"""

# Questions of decisions ----------------------------------------------------------------------------------------------

_EVENT: Final = """
SELECT id, name, ts, received_at, data, key, v, user, meta, source, depth, sent_by FROM events """
_RUN: Final = """
SELECT id, function_id, event_id, queued_at, scheduled_at, function_version, status, started_at, ended_at,
  output, reason, parent, parent_step, depth, slots, guarded, cron, original, execution_version, throttle, locks, batch,
  rerun
FROM runs """
_STEPS: Final = """
SELECT rowid, run_id, id, name, kind, status, repeat, position, attempt, started_at, ended_at, due, output,
  details, parallel
FROM steps """
_ITEMS: Final = """
SELECT shard, id, kind, function_id, at, run_id, lease, attempt, backlog, queued_at, poked, losses, mark FROM items """
_WAITS: Final = """
SELECT run_id, id, kind, event_name, since, expires_at, condition, path, value FROM waits """

_MANY: Final = "WHERE shard = ?1 AND id IN (SELECT value FROM json_each(?2))"
LOAD_RUNS: Final = _RUN + _MANY
# By the key of the table: the index of names has all that is asked for, and would be walked from end to end.
EVENT_NAMES: Final = "SELECT id, name FROM events INDEXED BY sqlite_autoindex_events_1 " + _MANY
LOAD_EVENTS: Final = _EVENT + _MANY
LOAD_STEPS: Final = _STEPS + "WHERE shard = ?1 AND run_id IN (SELECT value FROM json_each(?2))"
GET_EVENT: Final = _EVENT + "WHERE shard = ?1 AND id = ?2"
HELD_EVENTS: Final = """
SELECT e.id, e.name, e.ts, e.received_at, e.data, e.key, e.v, e.user, e.meta, e.source, e.depth, e.sent_by
FROM run_events AS r JOIN events AS e ON e.shard = r.shard AND e.id = r.event_id
WHERE r.shard = ?1 AND r.run_id = ?2 ORDER BY r.place"""
HELD_IDS: Final = "SELECT event_id FROM run_events WHERE shard = ?1 AND run_id = ?2 ORDER BY place"
BACKLOG_ITEMS: Final = _ITEMS + "WHERE shard = ?1 AND backlog = ?2 ORDER BY queued_at, id LIMIT ?3"
# ?3 is the name before, or the prefix: names lie between it and the same with 0, the character after the slash.
NEXT_BACKLOG: Final = """
SELECT backlog FROM items
WHERE shard = ?1 AND backlog > ?3 AND backlog < substr(?2, 1, length(?2) - 1) || '0' ORDER BY backlog LIMIT 1"""
FOLLOWING_BACKLOG: Final = """
SELECT backlog FROM items WHERE shard = ?1 AND backlog > ?2 ORDER BY backlog LIMIT 1"""
GET_RUN: Final = _RUN + "WHERE shard = ?1 AND id = ?2"
GET_STEPS: Final = _STEPS + "WHERE shard = ?1 AND run_id = ?2"
OPEN_STEPS: Final = _STEPS + "WHERE shard = ?1 AND run_id = ?2 AND kind = ?3 AND ended_at IS NULL"
GET_STEP: Final = _STEPS + "WHERE shard = ?1 AND run_id = ?2 AND id = ?3"
GET_ITEM: Final = _ITEMS + "WHERE shard = ?1 AND id = ?2"
STANDINGS: Final = "SELECT id, lease, poked FROM items " + _MANY
DUE_ITEMS: Final = _ITEMS + "WHERE shard = ?1 AND at <= ?2 ORDER BY at, id LIMIT ?3"
DUE_TIMERS: Final = _ITEMS + "WHERE shard = ?1 AND at <= ?2 AND kind <> 'run' ORDER BY at, id LIMIT ?3"
NEXT_DUE: Final = "SELECT min(at) FROM items WHERE shard = ?1 AND at > ?2"

# No lease is longer, and beyond it there is all that sleeps.
ANY_LEASE: Final = (
    "SELECT EXISTS (SELECT 1 FROM items WHERE shard = ?1 AND at > ?2 AND at <= ?2 + 60000 AND lease <> 0)"
)

# A loose scan, one look into the index for each distinct path, however many waits share it. As one recursive statement
# it costs twenty times a look, and nearly every event has no wait at all.
_PATH: Final = "SELECT path FROM waits WHERE shard = ?1 AND event_name = ?2 "
FIRST_WAIT_PATH: Final = _PATH + "ORDER BY path LIMIT 1"
NEXT_WAIT_PATH: Final = _PATH + "AND path > ?3 ORDER BY path LIMIT 1"

FIND_WAITS: Final = (
    _WAITS
    + """INDEXED BY waits_event
WHERE shard = ?1 AND event_name = ?2 AND path = ?3 AND value = ?4 AND expires_at > ?5 ORDER BY run_id, id"""
)
GET_WAITS: Final = _WAITS + "WHERE shard = ?1 AND run_id = ?2 ORDER BY id"
GET_REQUEST: Final = "SELECT run_id, step_id, content FROM requests WHERE shard = ?1 AND run_id = ?2 AND step_id = ?3"
GET_CELL: Final = "SELECT key, value, expires_at FROM cells WHERE shard = ?1 AND key = ?2 AND expires_at > ?3"
ANY_CELL: Final = """
SELECT EXISTS (SELECT 1 FROM cells
WHERE shard = ?1 AND key > ?2 AND key < substr(?2, 1, length(?2) - 1) || '0' AND expires_at > ?3)"""
COUNT_SLOTS: Final = "SELECT count(*) FROM slots WHERE shard = ?1 AND key = ?2"
COUNT_HELD: Final = """
SELECT count(*) FROM slots
WHERE shard = ?1 AND key = ?2 AND holder >= ?3 AND holder < ?3 || '0' AND (holder = ?3 OR holder >= ?3 || '/')"""
CHILDREN: Final = _RUN + "WHERE shard = ?1 AND parent = ?2 AND ended_at IS NULL"

# Many at once, and what they gave may be long.
_BARE_RUN: Final = """
SELECT id, function_id, event_id, queued_at, scheduled_at, function_version, status, started_at, ended_at,
  NULL, reason, parent, parent_step, depth, slots, guarded, cron, original, execution_version, throttle, locks, batch,
  rerun
FROM runs """
# By the partial index, so that it costs what is live or went wrong and not what has completed.
RUNS_OF_STATUS: Final = (
    _BARE_RUN
    + """INDEXED BY runs_status
WHERE shard = ?1 AND status = ?2 AND status <> 'COMPLETED' AND id > ?3 AND id < ?4 ORDER BY id LIMIT ?5"""
)
RUNS_OF_FUNCTION: Final = (
    _BARE_RUN
    + """INDEXED BY runs_function
WHERE shard = ?1 AND function_id = ?2 AND id > ?3 AND id < ?4 ORDER BY id LIMIT ?5"""
)
_OUTCOMES: Final = "SELECT event_id, function_id, kind, at, reason, run_id FROM outcomes "
SKIPPED_EVENTS: Final = (
    _OUTCOMES
    + """INDEXED BY outcomes_skipped
WHERE shard = ?1 AND function_id = ?2 AND (at, event_id) > (?3, ?4) AND at <= ?5 AND kind IN ('drained', 'paused')
ORDER BY at, event_id LIMIT ?6"""
)
_ORDERS: Final = f"SELECT {_ORDER_COLUMNS} FROM orders "
GET_ORDER: Final = _ORDERS + "WHERE shard = ?1 AND id = ?2"

# Questions of people and commands ------------------------------------------------------------------------------------

LIST_FUNCTIONS: Final = """
SELECT id, app_id, config, version, updated_at, archived_at, pause FROM functions
WHERE archived_at IS NULL OR ?1 ORDER BY id"""

LIST_STANDING_ORDERS: Final = "SELECT kind, target, since, reason, pause FROM standing_orders ORDER BY kind, target"

# Asked in the transaction of every event, so it has to be one look into an index.
REGISTRY_STAMP: Final = "SELECT coalesce((SELECT max(stamp) FROM functions), 0)"

SAVE_APP: Final = """
INSERT INTO apps (id, url, sdk, framework, version, checksum, synced_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (id) DO UPDATE SET url = excluded.url, sdk = excluded.sdk, framework = excluded.framework,
  version = excluded.version, checksum = excluded.checksum, synced_at = excluded.synced_at"""

DROP_APP: Final = "DELETE FROM apps WHERE id = ?1"

LIST_APPS: Final = "SELECT id, url, sdk, framework, version, checksum, synced_at FROM apps ORDER BY id"

# ?1 output?, ?2 before, ?3 since, ?4 limit, ?5 status, ?6 function
_LISTED: Final = """
SELECT id, function_id, event_id, queued_at, scheduled_at, function_version, status, started_at, ended_at,
  CASE WHEN ?2 THEN output END, reason, parent, parent_step, depth, slots, guarded, cron, original,
  execution_version, throttle, locks, batch, rerun
FROM runs """
_NEWEST_RUNS: Final = " AND id < ?3 AND queued_at >= ?4 ORDER BY id DESC LIMIT ?5"
LIST_RUNS: Final = _LISTED + "WHERE shard = ?1 AND (?6 IS NULL OR status = ?6)" + _NEWEST_RUNS
LIST_RUNS_OF_STATUS: Final = _LISTED + "WHERE shard = ?1 AND status = ?6 AND status <> 'COMPLETED'" + _NEWEST_RUNS
LIST_RUNS_OF_FUNCTION: Final = (
    _LISTED + "WHERE shard = ?1 AND function_id = ?7 AND (?6 IS NULL OR status = ?6)" + _NEWEST_RUNS
)
RERUNS: Final = """
SELECT id FROM runs WHERE shard = ?1 AND original = ?2 AND original IS NOT NULL ORDER BY id"""
LIST_ORDERS: Final = _ORDERS + "WHERE shard = ?1 AND kind = ?2 AND id < ?3 ORDER BY id DESC LIMIT ?4"
RUNS_OF_EVENT: Final = (
    _RUN
    + """
WHERE shard = ?1 AND id IN (
  SELECT id FROM runs INDEXED BY runs_event WHERE shard = ?1 AND event_id = ?2
  UNION SELECT run_id FROM run_events WHERE shard = ?1 AND event_id = ?2) ORDER BY id"""
)

# ?2 after, ?3 before, ?4 internal?, ?5 limit, then the cursor as (moment, id), then the name
_NEWEST_EVENTS: Final = """
AND received_at >= ?2 AND received_at < ?3 AND (received_at, id) < (?6, ?7)
AND (?4 OR name NOT GLOB 'inngest/*') AND NOT copied
ORDER BY received_at DESC, id DESC LIMIT ?5"""
LIST_EVENTS: Final = _EVENT + "INDEXED BY events_received WHERE shard = ?1 " + _NEWEST_EVENTS
LIST_EVENTS_OF_NAME: Final = _EVENT + "INDEXED BY events_name WHERE shard = ?1 AND name = ?8 " + _NEWEST_EVENTS
EVENT_MOMENT: Final = "SELECT received_at FROM events WHERE shard = ?1 AND id = ?2"
FIND_EVENTS: Final = (
    _EVENT
    + """INDEXED BY events_name
WHERE shard = ?1 AND name = ?2 AND received_at >= ?3 AND received_at < ?4 AND NOT copied
ORDER BY received_at DESC, id DESC LIMIT ?5"""
)
OUTCOMES: Final = _OUTCOMES + "WHERE shard = ?1 AND event_id = ?2 ORDER BY function_id"
ATTEMPTS: Final = """
SELECT run_id, step_id, attempt, started_at, ended_at, error, retry_at FROM attempts
WHERE shard = ?1 AND run_id = ?2 ORDER BY ended_at, rowid"""
NOTES: Final = "SELECT run_id, at, kind, text FROM notes WHERE shard = ?1 AND run_id = ?2 ORDER BY rowid"
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
    _ITEMS
    + """
WHERE shard = ?1 AND id >= ?2 AND id < ?2 || '0' AND (id = ?2 OR id >= ?2 || '/') ORDER BY id"""
)
FUNCTION_ITEMS: Final = (
    _ITEMS + "INDEXED BY items_function WHERE shard = ?1 AND function_id = ?2 AND run_id IS NULL ORDER BY id"
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
COMING_ITEMS: Final = _ITEMS + "WHERE shard = ?1 AND at > ?2 AND at <= ?3 ORDER BY at, id LIMIT ?4"
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

# Realtime ------------------------------------------------------------------------------------------------------------

OTHERS_LISTEN: Final = "SELECT EXISTS (SELECT 1 FROM listeners WHERE id <> ?1 AND expires_at > ?2)"
LISTEN: Final = """
INSERT INTO listeners (id, expires_at) VALUES (?1, ?2)
ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at"""
UNLISTEN: Final = "DELETE FROM listeners WHERE id = ?1"
FORGET_LISTENERS: Final = "DELETE FROM listeners WHERE expires_at <= ?1"
POST: Final = """
INSERT INTO postings (origin, channel, topic, body, raw, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"""
FORGET_POSTINGS: Final = "DELETE FROM postings WHERE expires_at <= ?1"
FORGET_ALL_BUT: Final = "DELETE FROM postings WHERE id <= (SELECT max(id) FROM postings) - ?1"
LAST_POSTING: Final = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'postings'), 0)"
POSTINGS: Final = """
SELECT id, origin, channel, topic, CASE WHEN origin = ?2 THEN x'' ELSE body END, raw, expires_at FROM postings
WHERE id > ?1 ORDER BY id LIMIT ?3"""

# Upkeep --------------------------------------------------------------------------------------------------------------

OLD_RUNS: Final = "SELECT shard, id FROM runs WHERE shard = ?1 AND ended_at < ?2 ORDER BY ended_at, id LIMIT ?3"
OLD_EVENTS: Final = """
SELECT shard, id FROM events WHERE shard = ?1 AND received_at < ?2
  AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.shard = ?1 AND runs.event_id = events.id)
  AND NOT EXISTS (SELECT 1 FROM run_events WHERE run_events.shard = ?1 AND run_events.event_id = events.id)
ORDER BY received_at, id LIMIT ?3"""
OLD_CELLS: Final = (
    "SELECT shard, key FROM cells WHERE shard = ?1 AND expires_at <= ?2 ORDER BY expires_at, key LIMIT ?3"
)
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

NEW_EPOCH: Final = "UPDATE meta SET value = value + 1 WHERE key = 'epoch' RETURNING value"
WARM: Final = "UPDATE meta SET value = value + 1 WHERE key = 'warm'"
DATA_VERSION: Final = "PRAGMA data_version"
