"""What is looked at when somebody asks whether a database is well: its settings, and what its rows are to each other.

The looks at rows are SQL that SQLite and PostgreSQL both understand, without parameters, for one snapshot. Each finds
what no decision leaves behind (``invariants.md``): rows like that come from a damaged file, from part of a backup, from
a person's hand, or from a mistake of ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec

FINDINGS_MAX: Final = 1_000
"""Of one kind in one look: who has more has one cause for them."""


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"  # it works, and may hurt
    WRONG = "wrong"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One setting, or one property of the place: what it is, and where it is not as it should be, what to do."""

    name: str
    state: State = State.OK
    says: str
    fix: str = ""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that do not fit together. ``who`` are the ids or keys that a repair needs, the run first if there is one."""

    kind: str
    who: tuple[str, ...]
    shard: int
    says: str


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of finding. The text finds (shard, …), and the sentence says what these are. ``mends`` is what a repair
    does about it; without one nothing can be done that is surely right."""

    kind: str
    text: str
    says: str
    mends: str | None = None


LOOKS: Final = (
    Look(
        kind="run-without-waker",
        text="""
SELECT r.shard, r.id, r.function_id FROM runs AS r LEFT JOIN items AS i ON i.shard = r.shard AND i.id = r.id
WHERE r.status IN ('QUEUED', 'RUNNING') AND r.status <> 'COMPLETED'
  AND (i.id IS NULL OR i.at IS NULL AND i.backlog IS NULL)""",
        says="nothing will ever wake run {0} of {1}",
        mends="the run is called again: what its steps gave is known, and is not done twice",
    ),
    Look(
        kind="run-rests-too-long",
        text="""
SELECT i.shard, i.id, i.function_id FROM items AS i JOIN runs AS r ON r.shard = i.shard AND r.id = i.id
WHERE i.kind = 'run' AND i.lease = 0 AND i.attempt = 0 AND i.losses = 0 AND i.at > {now} AND r.started_at IS NOT NULL
  AND i.at > (SELECT min(s.due) FROM steps AS s
    WHERE s.shard = i.shard AND s.run_id = i.id AND s.ended_at IS NULL)""",
        says="run {0} of {1} rests for longer than its steps do",
        mends="the run is called again now",
    ),
    Look(
        kind="item-of-ended-run",
        text="""
SELECT i.shard, r.id, i.id FROM items AS i JOIN runs AS r ON r.shard = i.shard AND r.id = i.run_id
WHERE r.ended_at IS NOT NULL""",
        says="run {0} has ended and is still owed {1}",
        mends="what it is owed is dropped",
    ),
    Look(
        kind="item-without-run",
        text="""
SELECT i.shard, i.id, i.function_id FROM items AS i LEFT JOIN runs AS r ON r.shard = i.shard AND r.id = i.id
WHERE i.kind = 'run' AND r.id IS NULL""",
        says="run {0} of {1} is to be called, and does not exist",
        mends="what it is owed is dropped",
    ),
    Look(
        kind="wait-of-ended-run",
        text="""
SELECT w.shard, w.run_id, w.id, w.event_name FROM waits AS w
LEFT JOIN runs AS r ON r.shard = w.shard AND r.id = w.run_id WHERE r.id IS NULL OR r.ended_at IS NOT NULL""",
        says="run {0} has ended, or does not exist, and still waits for {2}",
        mends="the wait is closed",
    ),
    Look(
        kind="wait-of-settled-step",
        text="""
SELECT w.shard, w.run_id, w.id, s.name FROM waits AS w
JOIN steps AS s ON s.shard = w.shard AND s.run_id = w.run_id AND s.id = w.id WHERE s.ended_at IS NOT NULL""",
        says="step {2} of run {0} has its result and still waits",
        mends="the wait is closed",
    ),
    Look(
        kind="slot-without-call",
        text="""
SELECT s.shard, s.holder, s.key FROM slots AS s
LEFT JOIN items AS i ON i.shard = s.shard AND i.id = substr(s.holder, 1, 26)
WHERE s.holder NOT LIKE 'run:%' AND coalesce(i.lease, 0) = 0""",
        says="{0} holds a slot of {1}, and is not called",
        mends="the slot is given back, and the next that waits for it is asked",
    ),
    Look(
        kind="lock-of-ended-run",
        text="""
SELECT s.shard, substr(s.holder, 5), s.key FROM slots AS s
LEFT JOIN runs AS r ON r.shard = s.shard AND r.id = substr(s.holder, 5)
WHERE s.holder LIKE 'run:%' AND (r.id IS NULL OR r.ended_at IS NOT NULL)""",
        says="run {0} has ended, or does not exist, and still holds {1}",
        mends="the slot is given back, and the next that waits for it is asked",
    ),
    Look(
        kind="stuck-backlog",
        text="""
SELECT DISTINCT i.shard, i.backlog FROM items AS i
WHERE (i.backlog LIKE 'throttle/%' OR i.backlog LIKE 'pressure/%')
  AND NOT EXISTS (SELECT 1 FROM items AS t
    WHERE t.shard = i.shard AND t.id IN (i.backlog, 'release/' || i.backlog) AND t.at IS NOT NULL)
UNION
SELECT DISTINCT i.shard, i.backlog FROM items AS i JOIN functions AS f ON i.backlog = 'paused/' || f.id
WHERE i.backlog LIKE 'paused/%' AND f.pause IS NULL
  AND NOT EXISTS (SELECT 1 FROM standing_orders AS o WHERE o.kind = 'pause' AND o.target = 'app/' || f.app_id)
  AND NOT EXISTS (SELECT 1 FROM items AS t
    WHERE t.shard = i.shard AND t.id = 'release/' || i.backlog AND t.at IS NOT NULL)
UNION
SELECT DISTINCT i.shard, i.backlog FROM items AS i
WHERE (i.backlog LIKE 'fn/%' OR i.backlog LIKE 'env/%' OR i.backlog LIKE 'account/%' OR i.backlog LIKE 'run/%')
  AND NOT EXISTS (SELECT 1 FROM slots AS s WHERE s.shard = i.shard AND s.key = i.backlog)
  AND NOT EXISTS (SELECT 1 FROM items AS t
    WHERE t.shard = i.shard AND t.id = 'release/' || i.backlog AND t.at IS NOT NULL)
  AND NOT EXISTS (SELECT 1 FROM items AS t JOIN runs AS r ON r.shard = t.shard AND r.id = t.id
    WHERE t.shard = i.shard AND (t.at <= {now} + 60000 OR t.backlog LIKE 'pressure/%' OR t.backlog LIKE 'paused/%')
      AND replace(coalesce(r.slots, '') || coalesce(r.locks, ''), '"' || i.backlog || '"', '')
        <> coalesce(r.slots, '') || coalesce(r.locks, ''))""",
        says="runs wait in {0}, and nothing will ever let them go",
        mends="all that waits there is asked again, and waits on where a limit says so",
    ),
    Look(
        kind="stuck-window",
        text="""
SELECT c.shard, c.key FROM cells AS c
WHERE (c.key LIKE 'debounce/%' OR c.key LIKE 'batchEvents/%') AND c.expires_at > {now}
  AND NOT EXISTS (SELECT 1 FROM items AS t WHERE t.shard = c.shard AND t.id = c.key AND t.at IS NOT NULL)""",
        says="events are held back in {0}, and nothing will ever let them go",
        mends="the window closes now, and its run starts",
    ),
    Look(
        kind="step-put-off-for-ever",
        text="""
SELECT s.shard, r.id, s.name FROM steps AS s JOIN runs AS r ON r.shard = s.shard AND r.id = s.run_id
WHERE s.status = 'DEFERRED' AND r.ended_at IS NOT NULL""",
        says="run {0} has ended, and what it put off ({1}) was never started: start it by hand if it matters",
    ),
    Look(
        kind="step-that-nobody-hears",
        text="""
SELECT s.shard, r.id, s.name FROM runs AS r JOIN steps AS s ON s.shard = r.shard AND s.run_id = r.id
WHERE r.status = 'RUNNING' AND r.status <> 'COMPLETED' AND s.status = 'WAITING'
  AND NOT EXISTS (SELECT 1 FROM waits AS w WHERE w.shard = r.shard AND w.run_id = r.id AND w.id = s.id)
  AND (s.kind <> 'waitForSignal' OR s.due IS NULL)""",
        says="step {1} of run {0} waits, and nobody listens for it: it goes on when its time is up, or rerun the run",
    ),
    Look(
        kind="step-without-child",
        # A child may be in any shard, and there is no index by its parent alone: all that live are read, once.
        text="""
WITH children AS MATERIALIZED (
  SELECT parent, parent_step FROM runs
  WHERE status IN ('QUEUED', 'RUNNING') AND status <> 'COMPLETED' AND parent IS NOT NULL AND ended_at IS NULL)
SELECT s.shard, r.id, s.name FROM runs AS r JOIN steps AS s ON s.shard = r.shard AND s.run_id = r.id
LEFT JOIN children AS c ON c.parent = r.id AND c.parent_step = s.id
WHERE r.status = 'RUNNING' AND r.status <> 'COMPLETED' AND s.status = 'INVOKING' AND c.parent IS NULL""",
        says="step {1} of run {0} waits for a run that is no more: it goes on when its time is up, or rerun the run",
    ),
    Look(
        kind="run-without-lock",
        text="""
SELECT r.shard, r.id, r.locks FROM runs AS r
WHERE r.status IN ('QUEUED', 'RUNNING') AND r.status <> 'COMPLETED'
  AND (r.locks LIKE '%"singleton/%' OR r.locks IS NOT NULL AND r.status = 'RUNNING')
  AND NOT EXISTS (SELECT 1 FROM slots AS s WHERE s.shard = r.shard AND s.holder = 'run:' || r.id)""",
        says="run {0} goes on without holding {1}: another may run beside it; cancel one of them if that matters",
    ),
    Look(
        kind="half-ended-run",
        text="""
SELECT r.shard, r.id, r.status FROM runs AS r
WHERE r.status IN ('QUEUED', 'RUNNING') AND r.status <> 'COMPLETED' AND r.ended_at IS NOT NULL""",
        says="run {0} is {1}, and has an end: cancel it",
    ),
    Look(
        kind="event-of-run-missing",
        text="""
SELECT r.shard, r.id, r.event_id FROM runs AS r
WHERE r.status IN ('QUEUED', 'RUNNING') AND r.status <> 'COMPLETED'
  AND NOT EXISTS (SELECT 1 FROM events AS e WHERE e.shard = r.shard AND e.id = r.event_id)""",
        says="run {0} is to go on, and its event {1} is not there: restore it from a backup, or cancel the run",
    ),
)
MENDED: Final = {look.kind: look.mends for look in LOOKS if look.mends is not None}
"""The kinds of findings that can be repaired, and what that does."""


def questions(now: int) -> Iterator[tuple[Look, str]]:
    """The SQL of each look, for this moment in milliseconds."""
    for look in LOOKS:
        yield look, f"SELECT * FROM ({look.text.format(now=now).strip()}) AS found LIMIT {FINDINGS_MAX}"


def findings(look: Look, rows: Sequence[Sequence[Any]]) -> list[Finding]:
    """What a look has found."""
    return [
        Finding(kind=look.kind, who=tuple(map(str, who)), shard=shard, says=look.says.format(*who))
        for shard, *who in rows
    ]
