"""The columns of what is read in more than one place, in the order of ``rows.py``."""

from __future__ import annotations

from typing import Final

EVENT: Final = """
SELECT id, name, ts, received_at, data, key, v, user, meta, source, depth, sent_by FROM events """
RUN: Final = """
SELECT id, function_id, event_id, queued_at, scheduled_at, function_version, status, started_at, ended_at,
  output, reason, parent, parent_step, depth, slots, guarded, cron, original, execution_version, throttle, locks, batch,
  rerun
FROM runs """
ITEM: Final = """
SELECT shard, id, kind, function_id, at, run_id, lease, attempt, backlog, queued_at, poked, losses, mark FROM items """
OUTCOME: Final = "SELECT event_id, function_id, kind, at, reason, run_id FROM outcomes "
ORDER_COLUMNS: Final = "id, kind, created_at, what, stage, position, examined, done, skipped, ended_at, aborted"
ORDER: Final = f"SELECT {ORDER_COLUMNS} FROM orders "
# Many at once, and what they gave may be long.
BARE_RUN: Final = """
SELECT id, function_id, event_id, queued_at, scheduled_at, function_version, status, started_at, ended_at,
  NULL, reason, parent, parent_step, depth, slots, guarded, cron, original, execution_version, throttle, locks, batch,
  rerun
FROM runs """
