"""Deep backlogs, by the hundred thousand: rows that the engine has written, copied in SQL.

Sending a million events would take minutes. So some are sent, one for each key, and what the engine made of them is
copied under new ids; nothing here knows what a key or a row looks like.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import apsw

# The k-th copy of the n-th run. Such ids are older than any that is given today, as are those of a real backlog.
_ID = "'01H' || printf('%023d', n.i * (SELECT count(*) FROM old) + old.rank)"


@contextmanager
def directly(path: Path) -> Iterator[apsw.Connection]:
    """The file of a database that nobody has open, written without the care that a real one deserves."""
    db = apsw.Connection(str(path))
    db.execute("PRAGMA synchronous=OFF")
    db.execute("PRAGMA cache_size=-400000")
    try:
        with db:
            yield db
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        db.close()


def multiply(path: Path, function_id: str, copies: int, *, waits: bool = False, new: bool = False) -> None:
    """Give each run of the function so many copies, with their items. They share its event, as reruns do, and stand
    behind it in its queue.

    With ``waits`` each has the steps and waits of the original, but the waits are for another value: the original's,
    a dash, and the number of the copy. With ``new`` only runs that have not begun are copied.
    """
    with directly(path) as db:
        db.execute("CREATE TEMP TABLE old (id TEXT PRIMARY KEY, rank INTEGER NOT NULL)")
        db.execute(
            "INSERT INTO old SELECT id, row_number() OVER (ORDER BY id) - 1 FROM runs"
            " WHERE shard = 0 AND function_id = ?1 AND ended_at IS NULL AND NOT (?2 AND started_at IS NOT NULL)",
            (function_id, new),
        )
        db.execute("CREATE TEMP TABLE n (i INTEGER PRIMARY KEY)")
        db.execute(
            "INSERT INTO n WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < ?) SELECT i FROM c",
            (copies,),
        )
        _copy(db, "runs", "id", {"id": _ID, "queued_at": "t.queued_at + n.i"})
        _copy(db, "items", "id", {"id": _ID, "run_id": _ID, "queued_at": "t.queued_at + n.i"})
        if waits:
            _copy(db, "steps", "run_id", {"run_id": _ID})
            other = "t.value || '-' || n.i"
            condition = "replace(t.condition, substr(t.value, 3), substr(t.value, 3) || '-' || n.i)"
            _copy(db, "waits", "run_id", {"run_id": _ID, "value": other, "condition": condition})


def park(path: Path, function_id: str, queue: str) -> None:
    """Put all runs of the function that have not begun into these backlogs, as a claim does that finds no room.

    ``queue`` is where a run has the name of its backlog, in SQL.
    """
    with directly(path) as db:
        db.execute(
            "UPDATE items SET at = NULL,"
            f" backlog = (SELECT {queue} FROM runs WHERE runs.shard = 0 AND runs.id = items.run_id)"
            " WHERE shard = 0 AND function_id = ? AND run_id IN (SELECT id FROM runs WHERE started_at IS NULL)",
            (function_id,),
        )


def make_due(path: Path, function_id: str, now: int, *, first: bool = False) -> None:
    """What is scheduled is due: all runs of the function, or only the ``first`` of each backlog."""
    heads = "(SELECT id FROM (SELECT id, min(queued_at) FROM items WHERE function_id = ?2 GROUP BY backlog))"
    with directly(path) as db:
        db.execute(
            "UPDATE items SET at = ?1, backlog = NULL WHERE shard = 0 AND function_id = ?2"
            + (f" AND id IN {heads}" if first else ""),
            (now, function_id),
        )


def _copy(db: apsw.Connection, table: str, of: str, changes: Mapping[str, str]) -> None:
    columns = [str(row[1]) for row in db.execute(f"PRAGMA table_info({table})")]
    values = ", ".join(changes.get(column, f't."{column}"') for column in columns)
    # Number by number, so that ids come in their order and every tree grows at its end.
    db.execute(
        f"INSERT INTO {table} SELECT {values} FROM n CROSS JOIN old CROSS JOIN {table} AS t"
        f" WHERE t.shard = 0 AND t.{of} = old.id ORDER BY n.i, old.rank"
    )
