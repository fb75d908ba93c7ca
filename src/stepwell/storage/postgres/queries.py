"""Every question as SQL: fixed texts, so that each is prepared once; the time arrives as a parameter.

``$1`` is the shard: a question about several shards is asked in each of them, by one statement where that is possible
(``everywhere.py``). Names of tables say the schema, because nothing is set for a connection (ADR 0034).
"""

from __future__ import annotations

from typing import Final

from stepwell.storage.postgres.statements import AUDIT_COLUMNS, ORDER_COLUMNS, SESSION_COLUMNS, USER_COLUMNS

# What decisions ask ---------------------------------------------------------------------------------------------------

EVENT_COLUMNS: Final = 'id, name, ts, received_at, data, key, v, "user", meta, source, depth, sent_by'
_EVENT: Final = f"SELECT {EVENT_COLUMNS} FROM stepwell.events "
_RUN_COLUMNS: Final = """id, function_id, event_id, queued_at, scheduled_at, function_version, status,
  started_at, ended_at, output, reason, parent, parent_step, depth, slots, guarded, cron, original, execution_version,
  throttle, locks, batch, rerun"""
_RUN: Final = f"SELECT {_RUN_COLUMNS} FROM stepwell.runs "
_STEPS: Final = """
SELECT seen, run_id, id, name, kind, status, repeat, position, attempt, started_at, ended_at, due, output,
  details, parallel
FROM stepwell.steps """
_ITEM_COLUMNS: Final = """shard, id, kind, function_id, at, run_id, lease, attempt, backlog, queued_at, poked, losses,
  mark"""
_ITEMS: Final = f"SELECT {_ITEM_COLUMNS} FROM stepwell.items "
_WAITS: Final = """
SELECT run_id, id, kind, event_name, since, expires_at, condition, path, value FROM stepwell.waits """

_MANY: Final = "WHERE shard = $1 AND id = ANY($2::text[])"
LOAD_RUNS: Final = _RUN + _MANY
EVENT_NAMES: Final = "SELECT id, name FROM stepwell.events " + _MANY
# As STANDINGS_OF_SHARDS.
EVENT_NAMES_OF_SHARDS: Final = """
SELECT e.id, e.name FROM stepwell.shards AS s
JOIN unnest(string_to_array($1, ',')::bigint[], $2::text[]) AS n (shard, id) ON n.shard = s.shard
CROSS JOIN LATERAL (SELECT id, name FROM stepwell.events WHERE shard = s.shard AND id = n.id OFFSET 0) AS e"""
EVENTS_OF_SHARDS: Final = f"""
SELECT e.* FROM stepwell.shards AS s
JOIN unnest(string_to_array($1, ',')::bigint[], $2::text[]) AS n (shard, id) ON n.shard = s.shard
CROSS JOIN LATERAL ({_EVENT} WHERE shard = s.shard AND id = n.id OFFSET 0) AS e"""
RUNS_OF_SHARDS: Final = f"""
SELECT r.* FROM stepwell.shards AS s
JOIN unnest(string_to_array($1, ',')::bigint[], $2::text[]) AS n (shard, id) ON n.shard = s.shard
CROSS JOIN LATERAL ({_RUN} WHERE shard = s.shard AND id = n.id OFFSET 0) AS r"""
LOAD_EVENTS: Final = _EVENT + _MANY
LOAD_STEPS: Final = _STEPS + "WHERE shard = $1 AND run_id = ANY($2::text[])"
GET_EVENT: Final = _EVENT + "WHERE shard = $1 AND id = $2"
# LIMIT 1 keeps it from being a join, by which all events of a shard could be read.
HELD_EVENTS: Final = """
SELECT e.id, e.name, e.ts, e.received_at, e.data, e.key, e.v, e."user", e.meta, e.source, e.depth, e.sent_by
FROM stepwell.run_events AS r CROSS JOIN LATERAL (
  SELECT * FROM stepwell.events WHERE shard = r.shard AND id = r.event_id LIMIT 1) AS e
WHERE r.shard = $1 AND r.run_id = $2 ORDER BY r.place"""
HELD_IDS: Final = "SELECT event_id FROM stepwell.run_events WHERE shard = $1 AND run_id = $2 ORDER BY place"
BACKLOG_ITEMS: Final = _ITEMS + "WHERE shard = $1 AND backlog = $2 ORDER BY queued_at, id LIMIT $3"
# $3 is the name before, or the prefix: names lie between it and the same with 0, the character after the slash.
NEXT_BACKLOG: Final = """
SELECT backlog FROM stepwell.items
WHERE shard = $1 AND backlog > $3 AND backlog < substr($2::text, 1, length($2::text) - 1) || '0'
ORDER BY backlog LIMIT 1"""
FOLLOWING_BACKLOG: Final = """
SELECT backlog FROM stepwell.items WHERE shard = $1 AND backlog > $2 ORDER BY backlog LIMIT 1"""
GET_RUN: Final = _RUN + "WHERE shard = $1 AND id = $2"
GET_STEPS: Final = _STEPS + "WHERE shard = $1 AND run_id = $2"
OPEN_STEPS: Final = _STEPS + "WHERE shard = $1 AND run_id = $2 AND kind = $3 AND ended_at IS NULL"
STEPS_OF_KINDS: Final = _STEPS + "WHERE shard = $1 AND run_id = $2 AND kind = ANY($3::text[]) LIMIT $4"
GET_STEP: Final = _STEPS + "WHERE shard = $1 AND run_id = $2 AND id = $3"
GET_ITEM: Final = _ITEMS + "WHERE shard = $1 AND id = $2"
STANDINGS: Final = "SELECT id, lease, poked FROM stepwell.items " + _MANY
# Of several shards, each of which looks only for what is there. $1 are their numbers, with commas, one for each id.
STANDINGS_OF_SHARDS: Final = """
SELECT i.id, i.lease, i.poked FROM stepwell.shards AS s
JOIN unnest(string_to_array($1, ',')::bigint[], $2::text[]) AS n (shard, id) ON n.shard = s.shard
CROSS JOIN LATERAL (SELECT id, lease, poked FROM stepwell.items WHERE shard = s.shard AND id = n.id OFFSET 0) AS i"""
DUE_ITEMS: Final = _ITEMS + "WHERE shard = $1 AND at <= $2 ORDER BY at, id LIMIT $3"
DUE_TIMERS: Final = _ITEMS + "WHERE shard = $1 AND at <= $2 AND kind <> 'run' ORDER BY at, id LIMIT $3"
NEXT_DUE: Final = "SELECT min(at) FROM stepwell.items WHERE shard = $1 AND at > $2"
# Over all shards, each of which is looked at by itself: what a replica asks before it locks any.
_FIRST: Final = """
SELECT s.shard, (SELECT min(i.at) FROM stepwell.items AS i WHERE i.shard = s.shard AND i.at >= 0{})
FROM stepwell.shards AS s"""
NEXT_DUES: Final = _FIRST.format("")
NEXT_TIMERS: Final = _FIRST.format(" AND i.kind <> 'run'")
SHARDS_WITH_CELL: Final = """
SELECT s.shard FROM stepwell.shards AS s
WHERE EXISTS (SELECT 1 FROM stepwell.cells AS c WHERE c.shard = s.shard
  AND c.key > $1 AND c.key < substr($1::text, 1, length($1::text) - 1) || '0' AND c.expires_at > $2)"""
# What begins with one of these prefixes, which end in a slash: the first in each shard, and all in one.
FIRST_OCCUPIED: Final = """
SELECT shard, first FROM (
  SELECT s.shard, (SELECT i.backlog FROM stepwell.items AS i
    WHERE i.shard = s.shard AND i.backlog > p.prefix AND i.backlog < substr(p.prefix, 1, length(p.prefix) - 1) || '0'
    ORDER BY i.backlog LIMIT 1) AS first
  FROM stepwell.shards AS s, unnest($1::text[]) AS p (prefix)) AS found
WHERE first IS NOT NULL"""
OCCUPIED: Final = """
WITH RECURSIVE found (prefix, name) AS (
  SELECT p.prefix, p.prefix COLLATE "C" FROM unnest($2::text[]) AS p (prefix)
  UNION ALL
  SELECT prefix, (SELECT backlog FROM stepwell.items
    WHERE shard = $1 AND backlog > found.name AND backlog < substr(prefix, 1, length(prefix) - 1) || '0'
    ORDER BY backlog LIMIT 1)
  FROM found WHERE found.name IS NOT NULL)
SELECT name FROM found WHERE name IS NOT NULL"""
NOW: Final = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

# No lease is longer, and beyond it there is all that sleeps.
ANY_LEASE: Final = """
SELECT (SELECT lease FROM stepwell.items
  WHERE shard = $1 AND at > $2::bigint AND at <= $2::bigint + 60000 AND lease <> 0 ORDER BY at LIMIT 1) IS NOT NULL"""

# A loose scan, one look into the index for each distinct path, however many waits share it. Nearly every event has no
# wait at all, so it is not one statement for all paths.
_PATH: Final = "SELECT path FROM stepwell.waits WHERE shard = $1 AND event_name = $2 "
FIRST_WAIT_PATH: Final = _PATH + "ORDER BY path LIMIT 1"
FIRST_WAIT_PATHS: Final = """
SELECT s.shard, (SELECT w.path FROM stepwell.waits AS w WHERE w.shard = s.shard AND w.event_name = $1
  ORDER BY w.path LIMIT 1)
FROM stepwell.shards AS s"""
NEXT_WAIT_PATH: Final = _PATH + "AND path > $3 ORDER BY path LIMIT 1"

FIND_WAITS: Final = (
    _WAITS
    + """
WHERE shard = $1 AND event_name = $2 AND path = $3 AND value = $4 AND expires_at > $5 ORDER BY run_id, id"""
)
# In all shards, for probes of which the n-th has the n-th path and value.
FIND_WAITS_EVERYWHERE: Final = """
SELECT w.run_id, w.id, w.kind, w.event_name, w.since, w.expires_at, w.condition, w.path, w.value
FROM stepwell.shards AS s CROSS JOIN unnest($2::text[], $3::text[]) AS n (path, value) CROSS JOIN LATERAL (
  SELECT * FROM stepwell.waits
  WHERE shard = s.shard AND event_name = $1 AND path = n.path AND value = n.value AND expires_at > $4
  OFFSET 0) AS w"""
GET_WAITS: Final = _WAITS + "WHERE shard = $1 AND run_id = $2 ORDER BY id"
GET_REQUEST: Final = (
    "SELECT run_id, step_id, content FROM stepwell.requests WHERE shard = $1 AND run_id = $2 AND step_id = $3"
)
GET_CELL: Final = "SELECT key, value, expires_at FROM stepwell.cells WHERE shard = $1 AND key = $2 AND expires_at > $3"
ANY_CELL: Final = """
SELECT EXISTS (SELECT 1 FROM stepwell.cells
WHERE shard = $1 AND key > $2 AND key < substr($2::text, 1, length($2::text) - 1) || '0' AND expires_at > $3)"""
COUNT_SLOTS: Final = "SELECT count(*) FROM stepwell.slots WHERE shard = $1 AND key = $2"
COUNT_HELD: Final = """
SELECT count(*) FROM stepwell.slots
WHERE shard = $1 AND key = $2 AND holder >= $3::text AND holder < $3::text || '0'
  AND (holder = $3::text OR holder >= $3::text || '/')"""
CHILDREN: Final = _RUN + "WHERE shard = $1 AND parent = $2 AND ended_at IS NULL"

# Many at once, and what they gave may be long.
_BARE_RUN: Final = """
SELECT id, function_id, event_id, queued_at, scheduled_at, function_version, status, started_at, ended_at,
  NULL::bytea, reason, parent, parent_step, depth, slots, guarded, cron, original, execution_version, throttle, locks,
  batch, rerun
FROM stepwell.runs """
# By the partial index, so that it costs what is live or went wrong and not what has completed.
RUNS_OF_STATUS: Final = (
    _BARE_RUN
    + "WHERE shard = $1 AND status = $2 AND status <> 'COMPLETED' AND id > $3 AND id < $4 ORDER BY id LIMIT $5"
)
RUNS_OF_FUNCTION: Final = (
    _BARE_RUN + "WHERE shard = $1 AND function_id = $2 AND id > $3 AND id < $4 ORDER BY id LIMIT $5"
)
_OUTCOME_COLUMNS: Final = "event_id, function_id, kind, at, reason, run_id"
SKIPPED_EVENTS: Final = f"""
SELECT {_OUTCOME_COLUMNS} FROM stepwell.outcomes
WHERE shard = $1 AND function_id = $2 AND (at, event_id) > ($3, $4) AND at <= $5 AND kind IN ('drained', 'paused')
ORDER BY at, event_id LIMIT $6"""
GET_ORDER: Final = f"SELECT {ORDER_COLUMNS} FROM stepwell.orders WHERE shard = $1 AND id = $2"

SLOT_HOLDERS: Final = "SELECT holder FROM stepwell.slots WHERE shard = $1 AND key = $2 ORDER BY holder LIMIT $3"
BACKLOG: Final = """
SELECT queued_at, id FROM stepwell.items WHERE shard = $1 AND backlog = $2 ORDER BY queued_at, id LIMIT $3"""
BACKLOG_AFTER: Final = """
SELECT queued_at, id FROM stepwell.items
WHERE shard = $1 AND backlog = $2 AND (queued_at, id) > ($4, $5) ORDER BY queued_at, id LIMIT $3"""
FIND_EVENTS: Final = (
    _EVENT
    + """
WHERE shard = $1 AND name = $2 AND received_at >= $3 AND received_at < $4 AND copied = 0
ORDER BY received_at DESC, id DESC LIMIT $5"""
)
GET_LOGS: Final = """
SELECT run_id, at, token, step_id, attempt, position, name, lines, dropped FROM stepwell.logs
WHERE shard = $1 AND run_id = $2 ORDER BY at, token, position, step_id, attempt"""

LOGGED_BYTES: Final = """
SELECT coalesce(sum(octet_length(lines)), 0)::bigint FROM stepwell.logs WHERE shard = $1 AND run_id = $2"""

GET_METADATA: Final = """
SELECT run_id, kind, "values", updated_at, step_id, attempt FROM stepwell.metadata WHERE shard = $1 AND run_id = $2"""

# What operators ask of a shard ----------------------------------------------------------------------------------------

# One look into an index for each distinct name in [$2, $3), $4 of them, and a count that ends at $5.
BACKLOG_DEPTHS: Final = """
WITH RECURSIVE found (name, number) AS (
  SELECT (SELECT backlog FROM stepwell.items
    WHERE shard = $1 AND backlog >= $2 AND backlog < $3 ORDER BY backlog LIMIT 1), 1::bigint
  UNION ALL
  SELECT (SELECT backlog FROM stepwell.items
    WHERE shard = $1 AND backlog > found.name AND backlog < $3 ORDER BY backlog LIMIT 1), number + 1
  FROM found WHERE found.name IS NOT NULL AND number < $4)
SELECT name,
  (SELECT count(*) FROM (SELECT 1 FROM stepwell.items WHERE shard = $1 AND backlog = found.name LIMIT $5) AS counted),
  (SELECT queued_at FROM stepwell.items WHERE shard = $1 AND backlog = found.name ORDER BY queued_at, id LIMIT 1)
FROM found WHERE name IS NOT NULL"""
BACKLOG_FUNCTIONS: Final = """
SELECT function_id, queued_at, id FROM stepwell.items
WHERE shard = $1 AND backlog = $2 ORDER BY queued_at, id LIMIT $3"""
COMING_ITEMS: Final = _ITEMS + "WHERE shard = $1 AND at > $2 AND at <= $3 ORDER BY at, id LIMIT $4"
SLOT_KEYS: Final = """
WITH RECURSIVE found (name, number) AS (
  SELECT (SELECT key FROM stepwell.slots WHERE shard = $1 AND key >= $2 AND key < $3 ORDER BY key LIMIT 1), 1::bigint
  UNION ALL
  SELECT (SELECT key FROM stepwell.slots
    WHERE shard = $1 AND key > found.name AND key < $3 ORDER BY key LIMIT 1), number + 1
  FROM found WHERE found.name IS NOT NULL AND number < $4)
SELECT name,
  (SELECT count(*) FROM (SELECT 1 FROM stepwell.slots WHERE shard = $1 AND key = found.name LIMIT $5) AS counted)
FROM found WHERE name IS NOT NULL"""
# The same of many shards (storage/postgres/names.py). $1 are their numbers, with commas, one for each of the names $2.
_FIRST_NAMES: Final = """
SELECT s.shard, (SELECT {name} FROM stepwell.{table}
  WHERE shard = s.shard AND {name} >= $1 AND {name} < $2 ORDER BY {name} LIMIT 1)
FROM stepwell.shards AS s"""
_FOLLOWING_NAMES: Final = """
WITH RECURSIVE found (name, number) AS (
  SELECT (SELECT {name} FROM stepwell.{table}
    WHERE shard = $1 AND {name} > $2 AND {name} < $3 ORDER BY {name} LIMIT 1), 1::bigint
  UNION ALL
  SELECT (SELECT {name} FROM stepwell.{table}
    WHERE shard = $1 AND {name} > found.name AND {name} < $3 ORDER BY {name} LIMIT 1), number + 1
  FROM found WHERE found.name IS NOT NULL AND number < $4)
SELECT name FROM found WHERE name IS NOT NULL"""
_OF_SHARDS: Final = """
FROM stepwell.shards AS s
JOIN unnest(string_to_array($1, ',')::bigint[], $2::text[]) AS n (shard, name) ON n.shard = s.shard"""
FIRST_BACKLOGS: Final = _FIRST_NAMES.format(table="items", name="backlog")
FOLLOWING_BACKLOGS: Final = _FOLLOWING_NAMES.format(table="items", name="backlog")
DEPTHS_OF_SHARDS: Final = f"""
SELECT n.name,
  (SELECT count(*) FROM (
    SELECT 1 FROM stepwell.items WHERE shard = s.shard AND backlog = n.name LIMIT $3) AS counted),
  (SELECT queued_at FROM stepwell.items WHERE shard = s.shard AND backlog = n.name ORDER BY queued_at, id LIMIT 1)
{_OF_SHARDS}"""
FIRST_SLOTS: Final = _FIRST_NAMES.format(table="slots", name="key")
FOLLOWING_SLOTS: Final = _FOLLOWING_NAMES.format(table="slots", name="key")
SLOTS_OF_SHARDS: Final = f"""
SELECT n.name,
  (SELECT count(*) FROM (SELECT 1 FROM stepwell.slots WHERE shard = s.shard AND key = n.name LIMIT $3) AS counted)
{_OF_SHARDS}"""
LIST_CELLS: Final = """
SELECT key, value, expires_at FROM stepwell.cells
WHERE shard = $1 AND key >= $2 AND key < $3 AND expires_at > $4 ORDER BY key LIMIT $5"""

# What is the same for all shards --------------------------------------------------------------------------------------

LIST_FUNCTIONS: Final = """
SELECT id, app_id, config, version, updated_at, archived_at, pause FROM stepwell.functions
WHERE archived_at IS NULL OR $1::boolean ORDER BY id"""
FUNCTION_VERSIONS: Final = """
SELECT function_id, version, config, registered_at, sdk, app_version FROM stepwell.function_versions
WHERE function_id = $1 ORDER BY version DESC LIMIT $2"""
LIST_STANDING_ORDERS: Final = (
    "SELECT kind, target, since, reason, pause FROM stepwell.standing_orders ORDER BY kind, target"
)
# Asked in the transaction of every event, so it has to be one look into an index.
REGISTRY_STAMP: Final = "SELECT coalesce((SELECT max(stamp) FROM stepwell.functions), 0)"
LIST_APPS: Final = "SELECT id, url, sdk, framework, version, checksum, synced_at FROM stepwell.apps ORDER BY id"
OTHERS_LISTEN: Final = "SELECT EXISTS (SELECT 1 FROM stepwell.listeners WHERE id <> $1 AND expires_at > $2)"
LAST_POSTING: Final = "SELECT value FROM stepwell.meta WHERE key = 'posting'"
POSTINGS: Final = """
SELECT id, origin, channel, topic, CASE WHEN origin = $2 THEN ''::bytea ELSE body END, raw, expires_at
FROM stepwell.postings
WHERE id > $1 ORDER BY id LIMIT $3"""

# What people ask -----------------------------------------------------------------------------------------------------

# $2 output?, $3 before, $4 limit, $5 status or function
_LISTED: Final = """
SELECT id, function_id, event_id, queued_at, scheduled_at, function_version, status, started_at, ended_at,
  CASE WHEN $2::boolean THEN output END, reason, parent, parent_step, depth, slots, guarded, cron, original,
  execution_version, throttle, locks, batch, rerun
FROM stepwell.runs WHERE shard = $1 """
_NEWEST: Final = "AND id < $3 ORDER BY id DESC LIMIT $4"
LIST_RUNS: Final = _LISTED + _NEWEST
LIST_RUNS_OF_STATUS: Final = _LISTED + "AND status = $5 AND status <> 'COMPLETED' " + _NEWEST
LIST_RUNS_OF_FUNCTION: Final = _LISTED + "AND function_id = $5 " + _NEWEST
DESCRIBE_STORE: Final = """
SELECT 'PostgreSQL', current_setting('server_version'), (SELECT value FROM stepwell.meta WHERE key = 'schema'),
  pg_database_size(current_database())"""
RUN_ENDINGS: Final = """
SELECT ended_at, id, status FROM stepwell.runs
WHERE shard = $1 AND ended_at > $2 AND ended_at <= $3 AND ended_at IS NOT NULL
ORDER BY ended_at DESC, id DESC LIMIT $4"""
COUNT_RUNS: Final = """
SELECT count(*) FROM (
  SELECT 1 FROM stepwell.runs
  WHERE shard = $1 AND status = $2 AND status <> 'COMPLETED' LIMIT $3) AS counted"""
# In all shards: as soon as there are enough, no other is looked at.
COUNT_RUNS_EVERYWHERE: Final = """
SELECT count(*) FROM (
  SELECT 1 FROM stepwell.shards AS s CROSS JOIN LATERAL (
    SELECT 1 FROM stepwell.runs WHERE shard = s.shard AND status = $1 AND status <> 'COMPLETED' LIMIT $2 OFFSET 0) AS r
  LIMIT $2) AS counted"""
RERUNS: Final = "SELECT id FROM stepwell.runs WHERE shard = $1 AND original = $2 AND original IS NOT NULL ORDER BY id"
LIST_ORDERS: Final = f"""
SELECT {ORDER_COLUMNS} FROM stepwell.orders WHERE shard = $1 AND kind = $2 AND id < $3 ORDER BY id DESC LIMIT $4"""
RUNS_OF_EVENT: Final = (
    _RUN
    + """
WHERE shard = $1 AND id = ANY(ARRAY(
  SELECT id FROM stepwell.runs WHERE shard = $1 AND event_id = $2
  UNION SELECT run_id FROM stepwell.run_events WHERE shard = $1 AND event_id = $2)) ORDER BY id"""
)
# In all shards. A run that holds the event in a batch may be found twice.
RUNS_OF_EVENT_EVERYWHERE: Final = f"""
SELECT r.* FROM stepwell.shards AS s CROSS JOIN LATERAL (
  {_RUN} WHERE shard = s.shard AND event_id = $1 OFFSET 0) AS r
UNION ALL
SELECT r.* FROM stepwell.shards AS s CROSS JOIN LATERAL (
  SELECT run_id FROM stepwell.run_events WHERE shard = s.shard AND event_id = $1 OFFSET 0) AS held
CROSS JOIN LATERAL ({_RUN} WHERE shard = s.shard AND id = held.run_id OFFSET 0) AS r"""
# Of many events, whose ids are $1.
RUNS_OF_EVENTS: Final = f"""
SELECT n.id, r.* FROM stepwell.shards AS s CROSS JOIN unnest($1::text[]) AS n (id) CROSS JOIN LATERAL (
  {_BARE_RUN} WHERE shard = s.shard AND event_id = n.id OFFSET 0) AS r
UNION ALL
SELECT n.id, r.* FROM stepwell.shards AS s CROSS JOIN unnest($1::text[]) AS n (id) CROSS JOIN LATERAL (
  SELECT run_id FROM stepwell.run_events WHERE shard = s.shard AND event_id = n.id OFFSET 0) AS held
CROSS JOIN LATERAL ({_BARE_RUN} WHERE shard = s.shard AND id = held.run_id OFFSET 0) AS r"""

# $2 after, $3 before, $4 internal?, $5 limit, then the cursor as (moment, id), then the name
_NEWEST_EVENTS: Final = """
AND received_at >= $2 AND received_at < $3 AND (received_at, id) < ($6, $7)
AND ($4::boolean OR NOT (name >= 'inngest/' AND name < 'inngest0')) AND copied = 0
ORDER BY received_at DESC, id DESC LIMIT $5"""
LIST_EVENTS: Final = _EVENT + "WHERE shard = $1 " + _NEWEST_EVENTS
LIST_EVENTS_OF_NAME: Final = _EVENT + "WHERE shard = $1 AND name = $8 " + _NEWEST_EVENTS
EVENT_MOMENT: Final = "SELECT received_at FROM stepwell.events WHERE shard = $1 AND id = $2"
OUTCOMES: Final = (
    f"SELECT {_OUTCOME_COLUMNS} FROM stepwell.outcomes WHERE shard = $1 AND event_id = $2 ORDER BY function_id"
)
OUTCOMES_OF_EVENTS: Final = f"""
SELECT {_OUTCOME_COLUMNS} FROM stepwell.outcomes WHERE shard = $1 AND event_id = ANY($2::text[]) ORDER BY function_id"""
# As STANDINGS_OF_SHARDS.
OUTCOMES_OF_SHARDS: Final = f"""
SELECT o.* FROM stepwell.shards AS s
JOIN unnest(string_to_array($1, ',')::bigint[], $2::text[]) AS n (shard, id) ON n.shard = s.shard
CROSS JOIN LATERAL (
  SELECT {_OUTCOME_COLUMNS} FROM stepwell.outcomes WHERE shard = s.shard AND event_id = n.id OFFSET 0) AS o
ORDER BY o.function_id"""
ATTEMPTS: Final = """
SELECT run_id, step_id, attempt, started_at, ended_at, error, retry_at FROM stepwell.attempts
WHERE shard = $1 AND run_id = $2 ORDER BY ended_at, seen"""
NOTES: Final = "SELECT run_id, at, kind, text FROM stepwell.notes WHERE shard = $1 AND run_id = $2 ORDER BY seen"
BACKLOG_POSITION: Final = """
SELECT
  (SELECT count(*) FROM (SELECT 1 FROM stepwell.items AS other
   WHERE other.shard = $1 AND other.backlog = this.backlog
     AND (other.queued_at, other.id) < (this.queued_at, this.id) LIMIT $3) AS before),
  (SELECT count(*) FROM (SELECT 1 FROM stepwell.items AS other
   WHERE other.shard = $1 AND other.backlog = this.backlog LIMIT $3) AS present)
FROM stepwell.items AS this WHERE this.shard = $1 AND this.id = $2 AND this.backlog IS NOT NULL"""
RUN_ITEMS: Final = (
    _ITEMS
    + """
WHERE shard = $1 AND id >= $2::text AND id < $2::text || '0' AND (id = $2::text OR id >= $2::text || '/')
ORDER BY id"""
)
FUNCTION_ITEMS: Final = _ITEMS + "WHERE shard = $1 AND function_id = $2 AND run_id IS NULL ORDER BY id"
COUNT: Final = """
SELECT
  (SELECT count(*) FROM stepwell.runs WHERE shard = $1 AND status IN ('QUEUED', 'RUNNING') AND status <> 'COMPLETED'),
  count(*), count(backlog), count(*) FILTER (WHERE lease <> 0), (SELECT count(*) FROM stepwell.waits WHERE shard = $1),
  min(CASE WHEN at <= $2 THEN at END)
FROM stepwell.items WHERE shard = $1"""

# Who may do what, and who did it --------------------------------------------------------------------------------------

GET_USER: Final = f"SELECT {USER_COLUMNS} FROM stepwell.users WHERE name = $1"
LIST_USERS: Final = f"SELECT {USER_COLUMNS} FROM stepwell.users ORDER BY name LIMIT $1"
GET_SESSION: Final = f"SELECT {SESSION_COLUMNS} FROM stepwell.sessions WHERE id = $1"
LIST_SESSIONS: Final = f"""
SELECT {SESSION_COLUMNS} FROM stepwell.sessions WHERE expires_at > $1 ORDER BY begun_at DESC, id DESC LIMIT $2"""
LIST_SESSIONS_OF: Final = f"""
SELECT {SESSION_COLUMNS} FROM stepwell.sessions WHERE who = $3 AND expires_at > $1
ORDER BY begun_at DESC, id DESC LIMIT $2"""
# $2 before, $3 after, $4 limit, then what it is found by.
_AUDIT: Final = f"SELECT {AUDIT_COLUMNS} FROM stepwell.audit WHERE shard = $1 AND id < $2 AND id > $3"
_NEWEST_AUDIT: Final = " ORDER BY id DESC LIMIT $4"
LIST_AUDIT: Final = _AUDIT + _NEWEST_AUDIT
LIST_AUDIT_OF_WHO: Final = _AUDIT + " AND who = $5" + _NEWEST_AUDIT
LIST_AUDIT_OF_TARGET: Final = _AUDIT + " AND target = $5" + _NEWEST_AUDIT
