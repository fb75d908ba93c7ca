"""What a decision writes down: one text for each kind of change, or a few."""

from __future__ import annotations

from typing import Final

from stepwell.storage.sqlite.statements.columns import ORDER_COLUMNS

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

SAVE_LOGS: Final = """
INSERT INTO logs (shard, run_id, at, token, step_id, attempt, position, name, lines, dropped)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
ON CONFLICT DO NOTHING"""

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

SAVE_ORDER: Final = f"""
INSERT INTO orders (shard, {ORDER_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
ON CONFLICT (shard, id) DO UPDATE SET stage = excluded.stage, position = excluded.position,
  examined = excluded.examined, done = excluded.done, skipped = excluded.skipped, ended_at = excluded.ended_at,
  aborted = excluded.aborted"""

DROP_ORDER: Final = "DELETE FROM orders WHERE shard = ?1 AND id = ?2"

SAVE_FUNCTION: Final = """
INSERT INTO functions (id, app_id, config, version, updated_at, archived_at, stamp)
VALUES (?1, ?2, ?3, ?4, ?5, NULL, (SELECT coalesce(max(stamp), 0) + 1 FROM functions))
ON CONFLICT (id) DO UPDATE SET app_id = excluded.app_id, config = excluded.config, version = excluded.version,
  updated_at = excluded.updated_at, archived_at = NULL, stamp = excluded.stamp"""

KEEP_VERSION: Final = """
INSERT INTO function_versions (function_id, version, config, registered_at, sdk, app_version)
VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (function_id, version) DO NOTHING"""
FORGET_VERSIONS: Final = "DELETE FROM function_versions WHERE function_id = ?1 AND version <= ?2"

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

SAVE_APP: Final = """
INSERT INTO apps (id, url, sdk, framework, version, checksum, synced_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (id) DO UPDATE SET url = excluded.url, sdk = excluded.sdk, framework = excluded.framework,
  version = excluded.version, checksum = excluded.checksum, synced_at = excluded.synced_at"""

DROP_APP: Final = "DELETE FROM apps WHERE id = ?1"
