"""Every SQL text that writes while serving: fixed, so that each is prepared once; the time arrives as a parameter.

``$1`` is the shard wherever there is one: each statement writes in one shard, whose row in ``shards`` its transaction
has locked before (ADR 0033), so none has to lock what it reads. ``meta``, the registry and realtime are the same for
all shards. Names of tables say the schema, because nothing is set for a connection (ADR 0034).
"""

from __future__ import annotations

from typing import Final

# A transaction ends by itself if its process stops in the midst of it, so that a shard is never held for long by one
# that cannot go on. SET LOCAL lasts no longer than the transaction, which a pooler may give to any connection.
#
# A plan is kept for as long as its connection, and tables of owed work are often empty: a plan that was made then reads
# all of the table, and goes on doing so while a burst fills it, until it is analyzed. No statement has use for that.
_SET: Final = """
SET LOCAL idle_in_transaction_session_timeout = 5000; SET LOCAL statement_timeout = 20000;
SET LOCAL enable_seqscan = off; SET LOCAL jit = off"""
BEGIN: Final = f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {_SET}"
BEGIN_READ: Final = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_SET}"
COMMIT: Final = "COMMIT"
ROLLBACK: Final = "ROLLBACK"

# Shards --------------------------------------------------------------------------------------------------------------

LOCK: Final = "UPDATE stepwell.shards SET version = version + 1 WHERE shard = $1 RETURNING version, true"
# With the mark of this transaction, by which it is found again if the answer to its COMMIT is lost.
LOCK_AND_MARK: Final = """
WITH marked AS (UPDATE stepwell.commits SET number = $3, at = $4 WHERE shard = $1 AND writer = $2 RETURNING number)
UPDATE stepwell.shards SET version = version + 1 WHERE shard = $1
RETURNING version, EXISTS (SELECT 1 FROM marked)"""
MARK: Final = "INSERT INTO stepwell.commits (shard, writer, number, at) VALUES ($1, $2, $3, $4)"
# Waits for the transaction that may still be under way: it holds this row.
AWAIT: Final = "SELECT version FROM stepwell.shards WHERE shard = $1 FOR UPDATE"
MARKED: Final = "SELECT number FROM stepwell.commits WHERE shard = $1 AND writer = $2"
VERSIONS: Final = "SELECT shard, version FROM stepwell.shards"

# Changes -------------------------------------------------------------------------------------------------------------

LEASES: Final = "SELECT id, lease FROM stepwell.items WHERE shard = $1 AND id = ANY($2::text[])"

SAVE_EVENT: Final = """
INSERT INTO stepwell.events (shard, copied, id, name, ts, received_at, data, key, v, "user", meta, source, depth,
  sent_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
ON CONFLICT (shard, id) DO NOTHING"""

SAVE_OUTCOME: Final = """
INSERT INTO stepwell.outcomes (shard, event_id, function_id, kind, at, reason, run_id)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (shard, event_id, function_id) DO NOTHING"""

DROP_OUTCOME: Final = "DELETE FROM stepwell.outcomes WHERE shard = $1 AND event_id = $2 AND function_id = $3"

CREATE_RUN: Final = """
INSERT INTO stepwell.runs (
  shard, id, function_id, event_id, queued_at, scheduled_at, function_version, status, started_at,
  ended_at, output, reason, parent, parent_step, depth, slots, guarded, cron, original, execution_version, throttle,
  locks, batch, rerun)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)
ON CONFLICT (shard, id) DO NOTHING"""

START_RUN: Final = """
UPDATE stepwell.runs SET status = 'RUNNING', started_at = $3 WHERE shard = $1 AND id = $2 AND status = 'QUEUED'"""

# The first answer decides it, for as long as the run lives (protocol §7.5).
SET_EXECUTION_VERSION: Final = """
UPDATE stepwell.runs SET execution_version = $3 WHERE shard = $1 AND id = $2 AND execution_version = -1"""

FINISH_RUN: Final = """
UPDATE stepwell.runs SET status = $3, ended_at = $4, output = $5, reason = $6
WHERE shard = $1 AND id = $2 AND ended_at IS NULL"""

SAVE_STEP: Final = """
INSERT INTO stepwell.steps (
  shard, run_id, id, name, kind, status, repeat, position, attempt, started_at, ended_at, due, output,
  details, parallel, seen)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
ON CONFLICT (shard, run_id, id) DO UPDATE SET name = excluded.name, kind = excluded.kind, status = excluded.status,
  repeat = excluded.repeat, position = excluded.position, attempt = excluded.attempt,
  started_at = excluded.started_at, ended_at = excluded.ended_at, due = excluded.due, output = excluded.output,
  details = excluded.details, parallel = excluded.parallel
WHERE steps.ended_at IS NULL"""

_SETTLE: Final = (
    "UPDATE stepwell.steps SET status = $4, ended_at = $5, output = $6, details = coalesce($7, details), position = "
)
_SETTLED: Final = " WHERE shard = $1 AND run_id = $2 AND id = $3 AND ended_at IS NULL"
SETTLE_STEP: Final = _SETTLE + "$8" + _SETTLED
SETTLE_STEP_NEXT: Final = (
    _SETTLE + "(SELECT coalesce(max(position), 0) + 1 FROM stepwell.steps WHERE shard = $1 AND run_id = $2)" + _SETTLED
)

SAVE_ATTEMPT: Final = """
INSERT INTO stepwell.attempts (shard, run_id, step_id, attempt, started_at, ended_at, error, retry_at, seen)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (shard, run_id, step_id, attempt, started_at) DO UPDATE SET
  ended_at = excluded.ended_at, error = excluded.error, retry_at = excluded.retry_at"""

SAVE_NOTE: Final = "INSERT INTO stepwell.notes (shard, run_id, at, kind, text, seen) VALUES ($1, $2, $3, $4, $5, $6)"

SAVE_LOGS: Final = """
INSERT INTO stepwell.logs (shard, run_id, at, token, step_id, attempt, position, name, lines, dropped)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (shard, run_id, at, token, position, step_id, attempt) DO NOTHING"""

SAVE_METADATA: Final = """
INSERT INTO stepwell.metadata (shard, run_id, step_id, attempt, kind, "values", updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (shard, run_id, step_id, attempt, kind) DO UPDATE SET "values" = excluded."values",
  updated_at = excluded.updated_at"""

_ITEM: Final = """
INSERT INTO stepwell.items (
  shard, id, kind, function_id, at, run_id, lease, attempt, backlog, queued_at, poked, losses, mark)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) """

ENQUEUE: Final = _ITEM + "ON CONFLICT (shard, id) DO NOTHING"

SCHEDULE: Final = (
    _ITEM
    + """
ON CONFLICT (shard, id) DO UPDATE SET kind = excluded.kind, function_id = excluded.function_id, at = excluded.at,
  run_id = excluded.run_id, lease = excluded.lease, attempt = excluded.attempt, backlog = excluded.backlog,
  queued_at = excluded.queued_at, poked = excluded.poked, losses = excluded.losses, mark = excluded.mark"""
)

PARK: Final = """
UPDATE stepwell.items SET at = CASE WHEN poked <> 0 AND $6::bigint = 0 THEN $5::bigint ELSE $4::bigint END, lease = 0,
  attempt = $6::bigint, backlog = NULL, poked = 0, losses = 0, mark = 0
WHERE shard = $1 AND id = $2 AND lease = $3"""

BLOCK: Final = """
UPDATE stepwell.items SET at = NULL, backlog = $3, lease = 0, poked = 0, losses = $4, mark = $5
WHERE shard = $1 AND id = $2"""

# What poked the item before is loaded by whoever claims it now.
GRANT: Final = """
UPDATE stepwell.items SET at = $4, lease = $3, backlog = NULL, poked = 0, losses = $5, mark = $6
WHERE shard = $1 AND id = $2"""

POSTPONE: Final = """
UPDATE stepwell.items SET at = $3, lease = 0, backlog = NULL, poked = 0, losses = $4, mark = $5
WHERE shard = $1 AND id = $2"""

EXTEND: Final = "UPDATE stepwell.items SET at = $4 WHERE shard = $1 AND id = $2 AND lease = $3"

RETRY: Final = "UPDATE stepwell.items SET attempt = $4 WHERE shard = $1 AND id = $2 AND lease = $3"

WAKE: Final = """
UPDATE stepwell.items SET
  at = CASE
    WHEN lease <> 0 OR (attempt > 0 OR losses > 0) AND at IS NOT NULL THEN at
    ELSE least(coalesce(at, $3::bigint), $3::bigint) END,
  poked = CASE WHEN lease <> 0 THEN 1 ELSE 0 END
WHERE shard = $1 AND id = $2 AND backlog IS NULL"""

DROP: Final = "DELETE FROM stepwell.items WHERE shard = $1 AND id = $2"

# Ids of the form <run>/… lie between <run>/ and <run>0, because 0 is the character after the slash.
DROP_RUN_ITEMS: Final = """
DELETE FROM stepwell.items
WHERE shard = $1 AND id >= $2::text AND id < $2::text || '0' AND (id = $2::text OR id >= $2::text || '/')"""

HOLD_EVENT: Final = """
INSERT INTO stepwell.run_events (shard, run_id, place, event_id) VALUES ($1, $2, $3, $4)
ON CONFLICT (shard, run_id, place) DO UPDATE SET event_id = excluded.event_id"""

DROP_HELD_EVENTS: Final = "DELETE FROM stepwell.run_events WHERE shard = $1 AND run_id = $2"

OPEN_WAIT: Final = """
INSERT INTO stepwell.waits (shard, run_id, id, kind, event_name, since, expires_at, condition, path, value)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (shard, run_id, id) DO NOTHING"""

CLOSE_WAIT: Final = "DELETE FROM stepwell.waits WHERE shard = $1 AND run_id = $2 AND id = $3"

CLOSE_WAITS: Final = "DELETE FROM stepwell.waits WHERE shard = $1 AND run_id = $2"

SAVE_REQUEST: Final = """
INSERT INTO stepwell.requests (shard, run_id, step_id, content) VALUES ($1, $2, $3, $4)
ON CONFLICT (shard, run_id, step_id) DO NOTHING"""

DROP_REQUEST: Final = "DELETE FROM stepwell.requests WHERE shard = $1 AND run_id = $2 AND step_id = $3"

DROP_REQUESTS: Final = "DELETE FROM stepwell.requests WHERE shard = $1 AND run_id = $2"

PUT_CELL: Final = """
INSERT INTO stepwell.cells (shard, key, value, expires_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (shard, key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at"""

TAKE_SLOT: Final = """
INSERT INTO stepwell.slots (shard, key, holder) VALUES ($1, $2, $3) ON CONFLICT (shard, key, holder) DO NOTHING"""

FREE_SLOTS: Final = """
DELETE FROM stepwell.slots
WHERE shard = $1 AND holder >= $2::text AND holder < $2::text || '0'
  AND (holder = $2::text OR holder >= $2::text || '/')"""

# An array and not IN, which would be a join: of two small tables, as they were once, or of more rows than are expected,
# and then of all items of the shard.
RELEASE: Final = """
UPDATE stepwell.items SET at = $3, backlog = NULL
WHERE shard = $1 AND id = ANY(ARRAY(
  SELECT id FROM stepwell.items WHERE shard = $1 AND backlog = $2 ORDER BY queued_at, id LIMIT $4))"""

# Of the backlogs that several functions share there is an index by function (ADR 0032).
_SHARED: Final = """(backlog >= 'account/' AND backlog < 'account0' OR backlog >= 'env/' AND backlog < 'env0'
  OR backlog >= 'run/account/' AND backlog < 'run/account0' OR backlog >= 'run/env/' AND backlog < 'run/env0')"""
RELEASE_SHARED: Final = f"""
UPDATE stepwell.items SET at = $3, backlog = NULL
WHERE shard = $1 AND id = ANY(ARRAY(
  SELECT id FROM stepwell.items WHERE shard = $1 AND backlog = $2 AND function_id = $5 AND {_SHARED}
  ORDER BY queued_at, id LIMIT $4))"""

# One look into that index for each function that shares it.
RELEASE_SHARED_BY_ALL: Final = f"""
UPDATE stepwell.items SET at = $3, backlog = NULL
WHERE shard = $1 AND id = ANY(ARRAY(
  WITH RECURSIVE sharing (function_id) AS (
    SELECT (SELECT function_id FROM stepwell.items WHERE shard = $1 AND backlog = $2 AND {_SHARED}
      ORDER BY function_id LIMIT 1)
    UNION ALL
    SELECT (SELECT function_id FROM stepwell.items
      WHERE shard = $1 AND backlog = $2 AND function_id > sharing.function_id AND {_SHARED}
      ORDER BY function_id LIMIT 1)
    FROM sharing WHERE sharing.function_id IS NOT NULL)
  SELECT found.id FROM sharing CROSS JOIN LATERAL (
    SELECT id FROM stepwell.items WHERE shard = $1 AND backlog = $2 AND function_id = sharing.function_id AND {_SHARED}
    ORDER BY queued_at, id LIMIT $4) AS found))"""

RELEASE_ITEM: Final = """
UPDATE stepwell.items SET at = $3, backlog = NULL WHERE shard = $1 AND id = $2 AND backlog IS NOT NULL"""

# The end of a lease is never further off than a minute, so what sleeps or is blocked, however much it is, is passed
# over. One that is, because a clock was set back, ends by itself.
LAPSE_LEASES: Final = """
UPDATE stepwell.items SET at = $3::bigint
WHERE shard = $1 AND at <= $3::bigint + 60000 AND lease > 0 AND lease < $2"""

ORDER_COLUMNS: Final = "id, kind, created_at, what, stage, position, examined, done, skipped, ended_at, aborted"
SAVE_ORDER: Final = f"""
INSERT INTO stepwell.orders (shard, {ORDER_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT (shard, id) DO UPDATE SET stage = excluded.stage, position = excluded.position,
  examined = excluded.examined, done = excluded.done, skipped = excluded.skipped, ended_at = excluded.ended_at,
  aborted = excluded.aborted"""

DROP_ORDER: Final = "DELETE FROM stepwell.orders WHERE shard = $1 AND id = $2"

SAVE_FUNCTION: Final = """
INSERT INTO stepwell.functions (id, app_id, config, version, updated_at, archived_at, stamp)
VALUES ($1, $2, $3, $4, $5, NULL, (SELECT coalesce(max(stamp), 0) + 1 FROM stepwell.functions))
ON CONFLICT (id) DO UPDATE SET app_id = excluded.app_id, config = excluded.config, version = excluded.version,
  updated_at = excluded.updated_at, archived_at = NULL, stamp = excluded.stamp"""

KEEP_VERSION: Final = """
INSERT INTO stepwell.function_versions (function_id, version, config, registered_at, sdk, app_version)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (function_id, version) DO NOTHING"""
FORGET_VERSIONS: Final = "DELETE FROM stepwell.function_versions WHERE function_id = $1 AND version <= $2"

ARCHIVE_FUNCTION: Final = """
UPDATE stepwell.functions SET archived_at = $2, stamp = (SELECT max(stamp) + 1 FROM stepwell.functions)
WHERE id = $1 AND archived_at IS NULL"""

PAUSE_FUNCTION: Final = """
UPDATE stepwell.functions SET pause = $2, stamp = (SELECT max(stamp) + 1 FROM stepwell.functions) WHERE id = $1"""

GIVE_ORDER: Final = """
INSERT INTO stepwell.standing_orders (kind, target, since, reason, pause) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (kind, target) DO UPDATE SET since = excluded.since, reason = excluded.reason, pause = excluded.pause"""

WITHDRAW_ORDER: Final = "DELETE FROM stepwell.standing_orders WHERE kind = $1 AND target = $2"

# Whoever has read the functions reads them anew, and the orders with them.
MOVE_STAMP: Final = """
UPDATE stepwell.functions SET stamp = (SELECT max(stamp) + 1 FROM stepwell.functions)
WHERE id = (SELECT min(id) FROM stepwell.functions)"""

SAVE_APP: Final = """
INSERT INTO stepwell.apps (id, url, sdk, framework, version, checksum, synced_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (id) DO UPDATE SET url = excluded.url, sdk = excluded.sdk, framework = excluded.framework,
  version = excluded.version, checksum = excluded.checksum, synced_at = excluded.synced_at"""

DROP_APP: Final = "DELETE FROM stepwell.apps WHERE id = $1"

# Realtime ------------------------------------------------------------------------------------------------------------

LISTEN: Final = """
INSERT INTO stepwell.listeners (id, expires_at) VALUES ($1, $2)
ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at"""
UNLISTEN: Final = "DELETE FROM stepwell.listeners WHERE id = $1"
FORGET_LISTENERS: Final = "DELETE FROM stepwell.listeners WHERE expires_at <= $1"
POST: Final = """
INSERT INTO stepwell.postings (origin, channel, topic, body, raw, expires_at, id) VALUES ($1, $2, $3, $4, $5, $6, $7)"""
POSTED: Final = "UPDATE stepwell.meta SET value = $1 WHERE key = 'posting'"
FORGET_POSTINGS: Final = "DELETE FROM stepwell.postings WHERE expires_at <= $1"
FORGET_ALL_BUT: Final = (
    "DELETE FROM stepwell.postings WHERE id <= (SELECT id FROM stepwell.postings ORDER BY id DESC OFFSET $1 LIMIT 1)"
)

# Users, their sessions, and what people did --------------------------------------------------------------------------

USER_COLUMNS: Final = "name, role, password, created_at, changed_at"
SAVE_USER: Final = f"""
INSERT INTO stepwell.users ({USER_COLUMNS}) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (name) DO UPDATE SET role = excluded.role, password = excluded.password, changed_at = excluded.changed_at"""
DROP_USER: Final = "DELETE FROM stepwell.users WHERE name = $1"
SESSION_COLUMNS: Final = "id, who, begun_at, seen_at, expires_at, agent"
BEGIN_SESSION: Final = f"""
INSERT INTO stepwell.sessions ({SESSION_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING"""
FORGET_SESSIONS: Final = "DELETE FROM stepwell.sessions WHERE expires_at <= $1"
END_OLDEST: Final = """
DELETE FROM stepwell.sessions WHERE id = ANY(ARRAY(
  SELECT id FROM stepwell.sessions WHERE who = $1 ORDER BY begun_at DESC, id DESC OFFSET $2))"""
SEE_SESSION: Final = "UPDATE stepwell.sessions SET seen_at = greatest(seen_at, $2) WHERE id = $1"
END_SESSION: Final = "DELETE FROM stepwell.sessions WHERE id = $1"
END_SESSIONS: Final = "DELETE FROM stepwell.sessions WHERE who = $1"
AUDIT_COLUMNS: Final = "id, at, who, via, action, target, detail, request"
SAVE_AUDIT: Final = f"""
INSERT INTO stepwell.audit (shard, {AUDIT_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (shard, id) DO NOTHING"""

# Upkeep --------------------------------------------------------------------------------------------------------------

# What is old is looked for without a lock, from where the pass before has come to ($3, $4), because rows that are gone
# stay in an index until they are vacuumed. A pass takes a shard for a round, so that one process at a time is at it.
SWEPT: Final = "SELECT shard, swept_at FROM stepwell.shards ORDER BY shard"
TAKE_ROUND: Final = """
UPDATE stepwell.shards SET swept_at = $2
WHERE shard = $1 AND swept_at NOT BETWEEN $2::bigint - $3::bigint AND $2::bigint - 1
RETURNING shard"""
OLD_RUNS: Final = """
SELECT ended_at, id,
  (SELECT count(*) FROM (SELECT 1 FROM stepwell.steps WHERE shard = $1 AND run_id = runs.id LIMIT $6) AS found)
  + (SELECT count(*) FROM (SELECT 1 FROM stepwell.attempts WHERE shard = $1 AND run_id = runs.id LIMIT $6) AS found)
  + 1
FROM stepwell.runs WHERE shard = $1 AND ended_at < $2 AND (ended_at, id) > ($3, $4) ORDER BY ended_at, id LIMIT $5"""
OLD_EVENTS: Final = """
SELECT received_at, id, 1 FROM stepwell.events
WHERE shard = $1 AND received_at < $2 AND (received_at, id) > ($3, $4) ORDER BY received_at, id LIMIT $5"""
OLD_CELLS: Final = """
SELECT expires_at, key, 1 FROM stepwell.cells
WHERE shard = $1 AND expires_at <= $2 AND (expires_at, key) > ($3, $4) ORDER BY expires_at, key LIMIT $5"""
OLD_ORDERS: Final = """
SELECT ended_at, id, 1 FROM stepwell.orders
WHERE shard = $1 AND ended_at < $2 AND (ended_at, id) > ($3, $4) ORDER BY ended_at, id LIMIT $5"""
OLD_AUDIT: Final = """
SELECT at, id, 1 FROM stepwell.audit
WHERE shard = $1 AND at < $2 AND (at, id) > ($3, $4) ORDER BY at, id LIMIT $5"""
OLD_MARKS: Final = "SELECT writer FROM stepwell.commits WHERE shard = $1 AND at < $2 LIMIT $3"
OLD_MAIL: Final = """
(SELECT id::text FROM stepwell.postings WHERE expires_at <= $1 LIMIT 1)
UNION ALL (SELECT id FROM stepwell.listeners WHERE expires_at <= $1 LIMIT 1)"""
_OF_RUNS: Final = "WHERE shard = $1 AND run_id = ANY($2::text[])"
_THESE: Final = "WHERE shard = $1 AND id = ANY($2::text[])"
EVENTS_OF_RUNS: Final = (
    f"SELECT event_id FROM stepwell.runs {_THESE} UNION SELECT event_id FROM stepwell.run_events {_OF_RUNS}"
)
FORGET_STEPS: Final = "DELETE FROM stepwell.steps " + _OF_RUNS
FORGET_ATTEMPTS: Final = "DELETE FROM stepwell.attempts " + _OF_RUNS
FORGET_NOTES: Final = "DELETE FROM stepwell.notes " + _OF_RUNS
FORGET_LOGS: Final = "DELETE FROM stepwell.logs " + _OF_RUNS
FORGET_METADATA: Final = "DELETE FROM stepwell.metadata " + _OF_RUNS
FORGET_WAITS: Final = "DELETE FROM stepwell.waits " + _OF_RUNS
FORGET_REQUESTS: Final = "DELETE FROM stepwell.requests " + _OF_RUNS
FORGET_HELD: Final = "DELETE FROM stepwell.run_events " + _OF_RUNS
FORGET_RUNS: Final = f"DELETE FROM stepwell.runs {_THESE} RETURNING id"
# One look into an index for each, whatever the planner thinks of the sizes of tables: a subquery with a LIMIT is not
# made a join.
FORGET_EVENTS: Final = f"""
DELETE FROM stepwell.events {_THESE} AND received_at < $3
  AND (SELECT 1 FROM stepwell.runs WHERE runs.shard = $1 AND runs.event_id = events.id LIMIT 1) IS NULL
  AND (SELECT 1 FROM stepwell.run_events WHERE run_events.shard = $1 AND run_events.event_id = events.id LIMIT 1)
    IS NULL
RETURNING id"""
FORGET_OUTCOMES: Final = "DELETE FROM stepwell.outcomes WHERE shard = $1 AND event_id = ANY($2::text[])"
FORGET_ORDERS: Final = f"DELETE FROM stepwell.orders {_THESE} AND ended_at < $3"
FORGET_AUDIT: Final = f"DELETE FROM stepwell.audit {_THESE} AND at < $3"
FORGET_CELLS: Final = "DELETE FROM stepwell.cells WHERE shard = $1 AND key = ANY($2::text[]) AND expires_at <= $3"
FORGET_MARKS: Final = "DELETE FROM stepwell.commits WHERE shard = $1 AND writer = ANY($2::text[]) AND at < $3"

NEW_EPOCH: Final = "UPDATE stepwell.meta SET value = value + 1 WHERE key = 'epoch' RETURNING value"
