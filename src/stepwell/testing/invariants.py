"""What must hold after every commit, whatever happened (``invariants.md`` §2), asked of the tables themselves.

What a single row must never do is watched by triggers, so that it is seen in the very statement that does it. What rows
must be to each other is asked after each commit. The world's final examination is in ``examination.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from stepwell.testing.limits import Limits, keys_of
from stepwell.testing.tables import Tables


class Violation(msgspec.Struct, frozen=True):
    """A rule that did not hold: its number in ``invariants.md``, and who broke it."""

    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}"


_TRIGGERS: Final = """
CREATE TEMP TABLE violations (rule TEXT, what TEXT);
CREATE TEMP TABLE tokens (token INTEGER PRIMARY KEY);

CREATE TEMP TRIGGER result_changed BEFORE UPDATE ON steps
WHEN old.ended_at IS NOT NULL AND (old.status, old.output, old.ended_at, old.attempt)
  IS NOT (new.status, new.output, new.ended_at, new.attempt)
BEGIN INSERT INTO violations VALUES ('I5', 'the result of step ' || old.name || ' of run ' || old.run_id || ' changed
  from ' || coalesce(cast(old.output AS TEXT), '-') || ' to ' || coalesce(cast(new.output AS TEXT), '-')); END;

CREATE TEMP TRIGGER step_late AFTER INSERT ON steps
WHEN (SELECT ended_at FROM runs WHERE shard = new.shard AND id = new.run_id) IS NOT NULL
BEGIN INSERT INTO violations VALUES ('I9', 'step ' || new.name || ' was saved after the end of run '
  || new.run_id); END;

CREATE TEMP TRIGGER step_forgotten BEFORE DELETE ON steps
BEGIN INSERT INTO violations VALUES ('I4', 'step ' || old.name || ' of run ' || old.run_id || ' was forgotten'); END;

CREATE TEMP TRIGGER ended_twice BEFORE UPDATE ON runs WHEN old.ended_at IS NOT NULL
BEGIN INSERT INTO violations VALUES ('I9', 'run ' || old.id || ' changed after its end'); END;

CREATE TEMP TRIGGER illegal_turn BEFORE UPDATE ON runs
WHEN old.status <> new.status AND old.status || '>' || new.status NOT IN ('QUEUED>RUNNING', 'QUEUED>CANCELLED',
  'QUEUED>FAILED', 'RUNNING>COMPLETED', 'RUNNING>FAILED', 'RUNNING>CANCELLED')
BEGIN INSERT INTO violations VALUES ('state', 'run ' || old.id || ' went from ' || old.status || ' to ' || new.status);
END;

CREATE TEMP TRIGGER half_ended AFTER UPDATE ON runs
WHEN (new.ended_at IS NULL) <> (new.status IN ('QUEUED', 'RUNNING'))
BEGIN INSERT INTO violations VALUES ('state', 'run ' || new.id || ' is ' || new.status || ' but its end is '
  || coalesce(new.ended_at, 'open')); END;

CREATE TEMP TRIGGER run_forgotten BEFORE DELETE ON runs
BEGIN INSERT INTO violations VALUES ('I2', 'run ' || old.id || ' was forgotten'); END;

CREATE TEMP TRIGGER event_forgotten BEFORE DELETE ON events
BEGIN INSERT INTO violations VALUES ('I1', 'event ' || old.id || ' was forgotten'); END;

CREATE TEMP TRIGGER attempt_repeated BEFORE UPDATE ON attempts WHEN old.error <> new.error AND old.step_id <> ''
BEGIN INSERT INTO violations VALUES ('I6', 'attempt ' || old.attempt || ' of step ' || old.step_id || ' of run '
  || old.run_id || ' failed in two ways'); END;

CREATE TEMP TRIGGER born_leased AFTER INSERT ON items WHEN new.lease <> 0
BEGIN
  INSERT INTO violations SELECT 'I7', 'the lease token of ' || new.id || ' was used before'
    WHERE EXISTS (SELECT 1 FROM tokens WHERE token = new.lease);
  INSERT OR IGNORE INTO tokens VALUES (new.lease);
END;

CREATE TEMP TRIGGER leased AFTER UPDATE OF lease ON items WHEN new.lease <> 0 AND new.lease <> old.lease
BEGIN
  INSERT INTO violations SELECT 'I7', 'the lease token of ' || new.id || ' was used before'
    WHERE EXISTS (SELECT 1 FROM tokens WHERE token = new.lease);
  INSERT OR IGNORE INTO tokens VALUES (new.lease);
END;

CREATE TEMP TRIGGER born_under_pressure AFTER INSERT ON items WHEN new.lease <> 0 AND new.kind = 'run'
  AND EXISTS (SELECT 1 FROM cells WHERE shard IN {shards} AND key = 'pressure/function/' || new.function_id
    AND expires_at > new.at - 30000) -- the end of a lease, of half a minute
BEGIN INSERT INTO violations VALUES ('ADR 30', 'run ' || new.id || ' began while its queue was to be left alone'); END;

CREATE TEMP TRIGGER leased_under_pressure AFTER UPDATE OF lease ON items
  WHEN new.lease <> 0 AND new.lease <> old.lease AND new.kind = 'run'
  AND EXISTS (SELECT 1 FROM cells WHERE shard IN {shards} AND expires_at > new.at - 30000
    AND (key = 'pressure/function/' || new.function_id OR key IN (
      SELECT 'pressure/' || slot.value FROM runs, json_each(coalesce(runs.slots, '[]')) AS slot
      WHERE runs.shard = new.shard AND runs.id = new.id)))
BEGIN INSERT INTO violations VALUES ('ADR 30', 'run ' || new.id || ' was called while its queue is left alone'); END;

CREATE TEMP TRIGGER born_in_a_pause AFTER INSERT ON items WHEN new.lease <> 0
  AND (SELECT pause FROM functions WHERE id = new.function_id) IS NOT NULL
BEGIN INSERT INTO violations VALUES ('F92', 'run ' || new.id || ' began while its function was paused'); END;

CREATE TEMP TRIGGER leased_in_a_pause AFTER UPDATE OF lease ON items WHEN new.lease <> 0 AND new.lease <> old.lease
  AND (SELECT json_extract(cast(pause AS TEXT), '$.runs') FROM functions WHERE id = new.function_id)
    IN ('hold', 'cancel')
BEGIN INSERT INTO violations VALUES ('F92', 'run ' || new.id || ' was called while its function was paused'); END;

CREATE TEMP TRIGGER born_archived AFTER INSERT ON runs
WHEN EXISTS (SELECT 1 FROM standing_orders WHERE kind = 'archive' AND target = 'function/' || new.function_id)
BEGIN INSERT INTO violations VALUES ('F93', 'run ' || new.id || ' began although its function is archived'); END;

CREATE TEMP TRIGGER outcome_of_archived AFTER INSERT ON outcomes WHEN new.kind <> 'function-gone'
  AND EXISTS (SELECT 1 FROM standing_orders WHERE kind = 'archive' AND target = 'function/' || new.function_id)
BEGIN INSERT INTO violations VALUES ('F93', 'event ' || new.event_id || ' matched ' || new.function_id
  || ', which is archived'); END;

CREATE TEMP TRIGGER born_in_a_drain AFTER INSERT ON runs
WHEN new.parent IS NULL AND (new.original IS NOT NULL OR new.rerun IS NOT NULL OR new.batch IS NULL
    AND (SELECT json_extract(cast(config AS TEXT), '$.debounce') FROM functions WHERE id = new.function_id) IS NULL
    AND (SELECT source FROM events WHERE shard = new.shard
      AND id = new.event_id) <> 'internal') -- windows opened before it
  AND EXISTS (SELECT 1 FROM standing_orders AS o, functions AS f WHERE o.kind = 'drain' AND f.id = new.function_id
    AND o.target IN ('', 'app/' || f.app_id, 'function/' || f.id))
BEGIN INSERT INTO violations VALUES ('F96', 'run ' || new.id || ' began although its function is drained'); END;
"""

# Each finds (rule, who) of what must not be. ?1 is now.
_RELATIONS: Final = """
SELECT rule, what FROM temp.violations
UNION ALL
SELECT 'I11', 'nothing will ever wake run ' || r.id || ' of ' || r.function_id
FROM runs AS r LEFT JOIN items AS i ON i.shard = r.shard AND i.id = r.id
WHERE r.shard IN {shards} AND r.status IN ('QUEUED', 'RUNNING') AND r.status <> 'COMPLETED'
  AND (i.id IS NULL OR (i.at IS NULL AND i.backlog IS NULL))
UNION ALL
SELECT 'I11', 'run ' || i.id || ' rests until ' || i.at || ', but its steps move at '
  || coalesce((SELECT min(due) FROM steps WHERE shard = i.shard AND run_id = i.id AND ended_at IS NULL), 'no time')
FROM items AS i JOIN runs AS r ON r.shard = i.shard AND r.id = i.id
WHERE i.shard IN {shards} AND i.kind = 'run' AND i.lease = 0 AND i.attempt = 0 AND i.at > ?1
  AND r.started_at IS NOT NULL
  AND i.at IS NOT (SELECT min(due) FROM steps WHERE shard = i.shard AND run_id = i.id AND ended_at IS NULL)
  AND (i.losses = 0 OR i.at > ?1 + 60000) -- postponed (ADR 0010)
UNION ALL
SELECT 'I9', 'run ' || r.id || ' has ended and is still owed item ' || i.id
FROM items AS i JOIN runs AS r ON r.shard = i.shard AND r.id = i.run_id
WHERE i.shard IN {shards} AND r.ended_at IS NOT NULL
UNION ALL
SELECT 'I9', 'run ' || r.id || ' has ended and ' || s.name || ' is still put off'
FROM steps AS s JOIN runs AS r ON r.shard = s.shard AND r.id = s.run_id
WHERE s.shard IN {shards} AND s.status = 'DEFERRED' AND r.ended_at IS NOT NULL
UNION ALL
SELECT 'I9', 'run ' || r.id || ' has ended and still waits for ' || w.event_name
FROM waits AS w JOIN runs AS r ON r.shard = w.shard AND r.id = w.run_id
WHERE w.shard IN {shards} AND r.ended_at IS NOT NULL
UNION ALL
SELECT 'I13', s.holder || ' holds a slot of ' || s.key || ' without a lease'
FROM slots AS s LEFT JOIN items AS i ON i.shard = s.shard AND i.id = substr(s.holder, 1, 26)
WHERE s.shard IN {shards} AND s.holder NOT LIKE 'run:%' AND coalesce(i.lease, 0) = 0
UNION ALL
SELECT 'I13', s.holder || ' holds ' || s.key || ' and has ended, or never had it'
FROM slots AS s LEFT JOIN runs AS r ON r.shard = s.shard AND r.id = substr(s.holder, 5)
WHERE s.shard IN {shards} AND s.holder LIKE 'run:%' AND (r.id IS NULL OR r.ended_at IS NOT NULL
  OR instr(coalesce(r.locks, ''), '"' || s.key || '"') = 0)
UNION ALL
SELECT 'I22', 'run ' || r.id || ' goes on without holding ' || r.locks
FROM runs AS r WHERE r.shard IN {shards} AND r.status IN ('QUEUED', 'RUNNING') AND r.status <> 'COMPLETED'
  AND (r.locks LIKE '%"singleton/%' OR r.locks IS NOT NULL AND r.status = 'RUNNING')
  AND NOT EXISTS (SELECT 1 FROM slots WHERE shard = r.shard AND holder = 'run:' || r.id)
UNION ALL
SELECT 'I11', 'items wait in ' || i.backlog || ', and nothing will ever call them'
FROM items AS i WHERE i.shard IN {shards} AND i.backlog LIKE 'throttle/%'
  AND NOT EXISTS (SELECT 1 FROM items WHERE shard = i.shard AND id IN (i.backlog, 'release/' || i.backlog)
    AND at IS NOT NULL)
UNION ALL
SELECT 'I11', 'items wait in ' || i.backlog || ', and nothing will ever let them go'
FROM items AS i WHERE i.shard IN {shards} AND i.backlog LIKE 'pressure/%'
  AND NOT EXISTS (SELECT 1 FROM items WHERE shard = i.shard AND id IN (i.backlog, 'release/' || i.backlog)
    AND at IS NOT NULL)
UNION ALL
SELECT 'I11', 'items wait in ' || i.backlog || ', and the function is not paused'
FROM items AS i JOIN functions AS f ON i.backlog = 'paused/' || f.id
WHERE i.shard IN {shards} AND i.backlog LIKE 'paused/%' AND f.pause IS NULL
  AND NOT EXISTS (SELECT 1 FROM standing_orders WHERE kind = 'pause' AND target = 'app/' || f.app_id)
  AND NOT EXISTS (SELECT 1 FROM items WHERE shard = i.shard AND id = 'release/' || i.backlog AND at IS NOT NULL)
UNION ALL
SELECT 'F93', i.id || ' is armed, and its function is archived'
FROM items AS i JOIN standing_orders AS o ON o.kind = 'archive' AND o.target = 'function/' || i.function_id
WHERE i.shard IN {shards} AND i.kind = 'cron'
UNION ALL
SELECT 'I11', 'events are held back in ' || c.key || ', and nothing will ever let them go'
FROM cells AS c WHERE c.shard IN {shards} AND (c.key LIKE 'debounce/%' OR c.key LIKE 'batchEvents/%')
  AND c.expires_at > ?1
  AND NOT EXISTS (SELECT 1 FROM items WHERE shard = c.shard AND id = c.key AND at IS NOT NULL)
UNION ALL
SELECT 'I12', 'run ' || r.id || ' is called without a slot'
FROM items AS i JOIN runs AS r ON r.shard = i.shard AND r.id = i.id
WHERE i.shard IN {shards} AND i.lease <> 0 AND r.slots IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM slots WHERE shard = i.shard AND holder = i.id)
UNION ALL
SELECT 'I16', 'step ' || s.name || ' of run ' || s.run_id || ' has a result and still waits'
FROM waits AS w JOIN steps AS s ON s.shard = w.shard AND s.run_id = w.run_id AND s.id = w.id
WHERE w.shard IN {shards} AND s.ended_at IS NOT NULL
UNION ALL
SELECT 'I11', 'step ' || s.name || ' of run ' || r.id || ' waits for an event that nobody listens to'
FROM runs AS r JOIN steps AS s ON s.shard = r.shard AND s.run_id = r.id
WHERE r.shard IN {shards} AND r.status = 'RUNNING' AND r.status <> 'COMPLETED' AND s.status = 'WAITING'
  AND NOT EXISTS (SELECT 1 FROM waits WHERE shard = r.shard AND run_id = r.id AND id = s.id)
  AND (s.kind <> 'waitForSignal' OR s.due IS NULL) -- one whose name was taken over waits for its timeout alone
UNION ALL
SELECT 'I11', 'step ' || s.name || ' of run ' || r.id || ' waits for a child that is no more'
FROM runs AS r JOIN steps AS s ON s.shard = r.shard AND s.run_id = r.id
WHERE r.shard IN {shards} AND r.status = 'RUNNING' AND r.status <> 'COMPLETED' AND s.status = 'INVOKING'
  AND NOT EXISTS (SELECT 1 FROM runs WHERE shard IN {shards} AND parent = r.id AND parent_step = s.id
    AND ended_at IS NULL)
UNION ALL
SELECT 'state', 'run ' || r.id || ' is queued, but its item was called'
FROM runs AS r JOIN items AS i ON i.shard = r.shard AND i.id = r.id
WHERE r.shard IN {shards} AND r.status = 'QUEUED' AND r.status <> 'COMPLETED' AND i.lease <> 0
"""

_CLOCKS: Final = """
SELECT 'F93', 'function ' || f.id || ' has no tick of ' || (t.value ->> 'cron') || ' to come, and is not archived'
FROM functions AS f, json_each(f.config, '$.triggers') AS t
WHERE t.value ->> 'cron' IS NOT NULL AND f.archived_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM standing_orders
    WHERE kind = 'archive' AND target IN ('function/' || f.id, 'app/' || f.app_id, ''))
  AND NOT EXISTS (SELECT 1 FROM items WHERE shard IN {shards} AND id = 'cron/' || f.id || '/' || (t.value ->> 'cron'))
"""
_USED: Final = """
SELECT key, count(*), max(length(holder)) > 26 AND holder NOT LIKE 'run:%'
FROM slots WHERE shard IN {shards} GROUP BY key"""
_BLOCKED: Final = """
SELECT DISTINCT i.backlog, i.function_id, r.slots, r.locks
FROM items AS i LEFT JOIN runs AS r ON r.shard = i.shard AND r.id = i.id
WHERE i.shard IN {shards} AND i.backlog IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM items WHERE shard = i.shard AND at IS NOT NULL
    AND (kind = 'review' OR id = 'release/' || i.backlog)) -- they are about to be asked, by the limits there are now"""
_LIMITED: Final = ("fn/", "env/", "account/", "run/")
_NEXT: Final = """
SELECT count(*) FROM items AS i JOIN runs AS r ON r.shard = i.shard AND r.id = i.id
WHERE i.shard IN {shards} AND i.lease = 0 AND (i.at <= ?1 OR i.backlog LIKE 'pressure/%' OR i.backlog LIKE 'paused/%'
    OR i.backlog LIKE 'unserved/%')
  AND instr(coalesce(r.slots, '') || coalesce(r.locks, ''), '"' || ?2 || '"')"""


class Guard:
    """Watches one store. ``alone`` says that there are keys which one run may hold. ``seen`` tells which rare states
    came up."""

    def __init__(self, tables: Tables, now: Callable[[], int], *, alone: bool = False) -> None:
        tables.ask(_TRIGGERS.format(shards=tables.shards))
        self.checks = 0
        self.seen: set[str] = set()
        self._ask = tables.ask
        self._relations, self._clocks, self._used, self._blocked, self._next = (
            text.format(shards=tables.shards) for text in (_RELATIONS, _CLOCKS, _USED, _BLOCKED, _NEXT)
        )
        self._limits = Limits(tables.ask)
        self._allowed: dict[str, int] = {}
        self._counted = alone
        self._now = now

    def check(self) -> list[Violation]:
        """What does not hold now."""
        self.checks += 1
        now = self._now()
        found = [Violation(*row) for row in self._ask(self._relations, now)]
        self._limits.look()
        self._counted |= bool(self._limits)  # from then on: a limit may be taken away and given back
        if self._counted:
            used: dict[str, int] = {}
            for key, count, wide in self._ask(self._used):
                used[key] = count
                if wide:
                    self.seen.add("branches share a limit")
                if key.startswith("singleton/"):
                    self.seen.add("one alone")
                    if count > 1:
                        found.append(Violation("I22", f"{count} runs hold {key}"))
            found += self._too_many(used)
            found += self._idle_room(used, now)
        return found

    def clocks(self) -> list[Violation]:
        """Schedules of which no tick is to come. A world stops its clocks in the end, so it asks before."""
        return [Violation(*row) for row in self._ask(self._clocks)]

    def allowed(self, key: str) -> int | None:
        """How many may hold this slot now; ``None`` if no limit is known for it."""
        limit = self._limits.most(key)
        return None if limit is None else max(limit, self._allowed.get(key, 0))

    def _too_many(self, used: Mapping[str, int]) -> list[Violation]:
        """I12. Where a limit was lowered those who were there stay, and nobody takes the place of one that has gone."""
        found: list[Violation] = []
        before, self._allowed = self._allowed, {}
        for key, count in used.items():
            limit = self._limits.most(key)
            if limit is None:
                self._allowed[key] = count  # nothing limits it any more, or for a while
                continue
            allowed = max(limit, before.get(key, 0))
            if count > allowed:
                found.append(Violation("I12", f"{count} calls are in flight under {key}, whose limit is {limit}"))
            elif count > limit:
                self.seen.add("more than a lowered limit")
            self._allowed[key] = max(limit, min(allowed, count))
        return found

    def _idle_room(self, used: Mapping[str, int], now: int) -> list[Violation]:
        """A backlog with room is stuck for ever (I10, I11), unless somebody is on the way to take it.

        Those are due. Whoever another limit or a throttle holds up has passed the room on. Who is paused, served
        by nobody, or in a queue that is to be left alone, keeps it for later if nobody else could use it.
        """
        found: list[Violation] = []
        for backlog, function_id, slots, locks in self._ask(self._blocked):
            limit = self._limits.of(backlog, function_id, keys_of(slots, locks))
            if limit is None and backlog.startswith(_LIMITED):
                found.append(Violation("I11", f"items wait in {backlog}, which nothing limits any more"))
            if limit is None:
                continue
            self.seen.add("blocked by a limit")
            if self._limits.of(backlog, function_id) is None:
                self.seen.add("blocked under an old key")
            ((coming,),) = self._ask(self._next, now, backlog)
            if used.get(backlog, 0) + coming < limit:
                count = used.get(backlog, 0)
                found.append(Violation("I11", f"items wait in {backlog}, which has room: {count} of {limit} used"))
        return found
