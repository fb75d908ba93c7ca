"""What decisions ask, inside of their transaction."""

from __future__ import annotations

from typing import Final

from stepwell.storage.sqlite.statements.columns import BARE_RUN, EVENT, ITEM, ORDER, OUTCOME, RUN

_STEPS: Final = """
SELECT rowid, run_id, id, name, kind, status, repeat, position, attempt, started_at, ended_at, due, output,
  details, parallel
FROM steps """
_WAITS: Final = """
SELECT run_id, id, kind, event_name, since, expires_at, condition, path, value FROM waits """

_MANY: Final = "WHERE shard = ?1 AND id IN (SELECT value FROM json_each(?2))"
LOAD_RUNS: Final = RUN + _MANY
# By the key of the table: the index of names has all that is asked for, and would be walked from end to end.
EVENT_NAMES: Final = "SELECT id, name FROM events INDEXED BY sqlite_autoindex_events_1 " + _MANY
LOAD_EVENTS: Final = EVENT + _MANY
LOAD_STEPS: Final = _STEPS + "WHERE shard = ?1 AND run_id IN (SELECT value FROM json_each(?2))"
GET_EVENT: Final = EVENT + "WHERE shard = ?1 AND id = ?2"
HELD_EVENTS: Final = """
SELECT e.id, e.name, e.ts, e.received_at, e.data, e.key, e.v, e.user, e.meta, e.source, e.depth, e.sent_by
FROM run_events AS r JOIN events AS e ON e.shard = r.shard AND e.id = r.event_id
WHERE r.shard = ?1 AND r.run_id = ?2 ORDER BY r.place"""
HELD_IDS: Final = "SELECT event_id FROM run_events WHERE shard = ?1 AND run_id = ?2 ORDER BY place"
BACKLOG_ITEMS: Final = ITEM + "WHERE shard = ?1 AND backlog = ?2 ORDER BY queued_at, id LIMIT ?3"
# ?3 is the name before, or the prefix: names lie between it and the same with 0, the character after the slash.
NEXT_BACKLOG: Final = """
SELECT backlog FROM items
WHERE shard = ?1 AND backlog > ?3 AND backlog < substr(?2, 1, length(?2) - 1) || '0' ORDER BY backlog LIMIT 1"""
FOLLOWING_BACKLOG: Final = """
SELECT backlog FROM items WHERE shard = ?1 AND backlog > ?2 ORDER BY backlog LIMIT 1"""
GET_RUN: Final = RUN + "WHERE shard = ?1 AND id = ?2"
GET_STEPS: Final = _STEPS + "WHERE shard = ?1 AND run_id = ?2"
OPEN_STEPS: Final = _STEPS + "WHERE shard = ?1 AND run_id = ?2 AND kind = ?3 AND ended_at IS NULL"
STEPS_OF_KINDS: Final = (
    _STEPS + "WHERE shard = ?1 AND run_id = ?2 AND kind IN (SELECT value FROM json_each(?3)) LIMIT ?4"
)
GET_STEP: Final = _STEPS + "WHERE shard = ?1 AND run_id = ?2 AND id = ?3"
GET_ITEM: Final = ITEM + "WHERE shard = ?1 AND id = ?2"
STANDINGS: Final = "SELECT id, lease, poked FROM items " + _MANY
DUE_ITEMS: Final = ITEM + "WHERE shard = ?1 AND at <= ?2 ORDER BY at, id LIMIT ?3"
DUE_TIMERS: Final = ITEM + "WHERE shard = ?1 AND at <= ?2 AND kind <> 'run' ORDER BY at, id LIMIT ?3"
NEXT_DUE: Final = "SELECT min(at) FROM items WHERE shard = ?1 AND at > ?2"
# Over all shards: ?1 is their numbers as a JSON array.
_FIRST: Final = """
SELECT found.value, (SELECT min(at) FROM items WHERE shard = found.value AND at >= 0{})
FROM json_each(?1) AS found"""
NEXT_DUES: Final = _FIRST.format("")
NEXT_TIMERS: Final = _FIRST.format(" AND kind <> 'run'")
SHARDS_WITH_CELL: Final = """
SELECT found.value FROM json_each(?1) AS found
WHERE EXISTS (SELECT 1 FROM cells WHERE shard = found.value
  AND key > ?2 AND key < substr(?2, 1, length(?2) - 1) || '0' AND expires_at > ?3)"""
OCCUPIED: Final = """
SELECT found.value FROM json_each(?2) AS found
WHERE EXISTS (SELECT 1 FROM items WHERE shard = ?1 AND backlog = found.value)"""
SHARDS_WITH_BACKLOG: Final = """
SELECT found.value FROM json_each(?1) AS found
WHERE EXISTS (SELECT 1 FROM json_each(?2) AS found_name
  WHERE EXISTS (SELECT 1 FROM items WHERE shard = found.value AND backlog = found_name.value))"""

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
CHILDREN: Final = RUN + "WHERE shard = ?1 AND parent = ?2 AND ended_at IS NULL"

# By the partial index, so that it costs what is live or went wrong and not what has completed.
RUNS_OF_STATUS: Final = (
    BARE_RUN
    + """INDEXED BY runs_status
WHERE shard = ?1 AND status = ?2 AND status <> 'COMPLETED' AND id > ?3 AND id < ?4 ORDER BY id LIMIT ?5"""
)
RUNS_OF_FUNCTION: Final = (
    BARE_RUN
    + """INDEXED BY runs_function
WHERE shard = ?1 AND function_id = ?2 AND id > ?3 AND id < ?4 ORDER BY id LIMIT ?5"""
)
SKIPPED_EVENTS: Final = (
    OUTCOME
    + """INDEXED BY outcomes_skipped
WHERE shard = ?1 AND function_id = ?2 AND (at, event_id) > (?3, ?4) AND at <= ?5 AND kind IN ('drained', 'paused')
ORDER BY at, event_id LIMIT ?6"""
)
GET_ORDER: Final = ORDER + "WHERE shard = ?1 AND id = ?2"

# Asked in the transaction of every event, so it has to be one look into an index.
REGISTRY_STAMP: Final = "SELECT coalesce((SELECT max(stamp) FROM functions), 0)"
