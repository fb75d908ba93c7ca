"""What a store consists of when it is copied as a whole: its tables, in the order in which they are copied.

Left out is what belongs to one database and not to the installation: ``meta`` (its schema; the number of leaderships is
copied by itself), ``moves`` (where copies of it come from and go to), and ``listeners`` and ``postings``, the mail of
processes that are alive: none of them is, in a copy. Nor are ``sessions``: whoever goes to another installation logs
in there.
"""

from __future__ import annotations

from typing import Final, NamedTuple

SCHEMA: Final = 1
"""Counts up whenever what is copied gets another column or another meaning. Copies of another number are refused."""


class Table(NamedTuple):
    """A table, and the columns of it that are copied: all but the shard, which the place of a row's id tells.

    ``order`` are the columns that bring its rows into one order, whoever asks and however often. Without any it is the
    order in which they were written, which then means something. ``home`` is the column with the id that has the place.
    ``zero`` are columns that are not copied and 0 in a row that is.
    """

    name: str
    columns: tuple[str, ...]
    blobs: frozenset[str] = frozenset()
    order: tuple[str, ...] = ()
    home: str | None = None
    sharded: bool = True
    zero: tuple[str, ...] = ()


def _table(
    name: str, columns: str, *, blobs: str = "", order: str = "", home: str | None = None, sharded: bool = True
) -> Table:
    return Table(name, tuple(columns.split()), frozenset(blobs.split()), tuple(order.split()), home, sharded)


TABLES: Final = (
    _table(
        "functions",
        "id app_id config version updated_at archived_at pause stamp",
        blobs="config pause",
        order="id",
        sharded=False,
    ),
    _table(
        "function_versions",
        "function_id version config registered_at sdk app_version",
        blobs="config",
        order="function_id version",
        sharded=False,
    ),
    _table("standing_orders", "kind target since reason pause", blobs="pause", order="kind target", sharded=False),
    _table("users", "name role password created_at changed_at", order="name", sharded=False),
    _table("apps", "id url sdk framework version checksum synced_at", order="id", sharded=False),
    _table(
        "events",
        "id name ts received_at data key v user meta source depth sent_by",
        blobs="data user meta",
        order="id",
        home="id",
    )._replace(zero=("copied",)),  # what is here for a run, and at home elsewhere, is not copied
    _table("outcomes", "event_id function_id kind at reason run_id", order="event_id function_id", home="event_id"),
    _table(
        "runs",
        "id function_id event_id queued_at scheduled_at function_version status started_at ended_at output reason "
        "parent parent_step depth slots guarded cron original execution_version throttle locks batch rerun",
        blobs="output rerun",
        order="id",
        home="id",
    ),
    _table("run_events", "run_id place event_id", order="run_id place", home="run_id"),
    _table(
        "steps",
        "run_id id name kind status repeat position attempt started_at ended_at due output details parallel",
        blobs="output details",
        home="run_id",
    ),
    _table(
        "attempts",
        "run_id step_id attempt started_at ended_at error retry_at",
        blobs="error",
        order="run_id step_id attempt started_at",
        home="run_id",
    ),
    _table("notes", "run_id at kind text", home="run_id"),
    _table(
        "metadata",
        "run_id step_id attempt kind values updated_at",
        blobs="values",
        order="run_id step_id attempt kind",
        home="run_id",
    ),
    _table(
        "logs",
        "run_id at token step_id attempt position name lines dropped",
        blobs="lines",
        order="run_id at token position step_id attempt",
        home="run_id",
    ),
    _table(
        "waits", "run_id id kind event_name since expires_at condition path value", order="run_id id", home="run_id"
    ),
    _table("requests", "run_id step_id content", blobs="content", order="run_id step_id", home="run_id"),
    _table(
        "orders",
        "id kind created_at what stage position examined done skipped ended_at aborted",
        blobs="what",
        order="id",
        home="id",
    ),
    _table("audit", "id at who via action target detail request", order="id", home="id"),
    _table("cells", "key value expires_at", order="key"),
    _table(
        "items",
        "id kind function_id at run_id lease attempt backlog queued_at poked losses mark",
        order="id",
    ),
    _table("slots", "key holder", order="key holder"),
)
"""Every table that is copied, what others refer to first: items are where the cell of their name is."""

BY_NAME: Final = {table.name: table for table in TABLES}
NOT_COPIED: Final = frozenset({"meta", "moves", "sessions", "listeners", "postings"})
"""And on PostgreSQL ``shards`` and ``commits``, which are its own."""
