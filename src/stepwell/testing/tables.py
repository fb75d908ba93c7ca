"""Direct looks at the tables of a store in memory, for those who judge it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from stepwell.storage.interface import Store
from stepwell.storage.sqlite import SqliteStore
from stepwell.storage.sqlite.driver import executor

_ALL = (
    *("events", "outcomes", "runs", "steps", "attempts", "notes"),
    *("items", "waits", "requests", "cells", "slots", "run_events", "orders", "standing_orders"),
)


class Tables:
    """The tables of a store that works in line: what is asked here sees every commit at once."""

    def __init__(self, store: Store) -> None:
        assert isinstance(store, SqliteStore), "only a store in memory is looked at like this"
        self.shards = f"({', '.join(map(str, range(store.shards)))})"
        """All shards of the store, for an ``IN``: so that a query finds its rows by an index."""
        # A judge must not depend on the questions whose answers it judges.
        self._connection = store._committer.connection  # pyright: ignore[reportPrivateUsage]
        self._execute = executor(self._connection)

    def ask(self, text: str, *values: Any) -> list[Any]:
        """The rows of a query."""
        return self._execute(text, values).fetchall()

    def teach(self, name: str, function: Callable[..., int]) -> None:
        """Let queries and triggers call this function."""
        connection: Any = self._connection
        connection.create_scalar_function(name, function, 1, deterministic=True)

    def all(self) -> list[Any]:
        """Everything the store holds, in a fixed order: two worlds that went the same way have the same rows."""
        found: list[Any] = []
        for table in _ALL:
            found += sorted(((table, *row) for row in self.ask(f"SELECT * FROM {table}")), key=repr)
        return found

    def holds(self, run_id: str, token: int) -> bool:
        """Does this lease of the run still hold?"""
        return bool(
            self.ask(f"SELECT 1 FROM items WHERE shard IN {self.shards} AND id = ? AND lease = ?", run_id, token)
        )

    def slots(self, run_id: str) -> tuple[str, ...]:
        """The keys of the limits that its calls count to."""
        found = self.ask(f"SELECT slots FROM runs WHERE shard IN {self.shards} AND id = ?", run_id)
        return msgspec.json.decode(found[0][0], type=tuple[str, ...]) if found and found[0][0] else ()

    def recorded(self, run_id: str, step_id: str) -> bool:
        """Has the step a durable result?"""
        text = "SELECT 1 FROM steps WHERE run_id = ? AND id = ? AND ended_at IS NOT NULL AND shard IN "
        return bool(self.ask(text + self.shards, run_id, step_id))

    def pressed(self, run_id: str, now: int) -> list[str]:
        """The queues of this run that are to be left alone."""
        text = f"""
          SELECT DISTINCT substr(c.key, 10) FROM cells AS c, runs AS r
          WHERE c.shard IN {self.shards} AND r.shard IN {self.shards} AND r.id = ? AND c.expires_at > ?
            AND (c.key = 'pressure/function/' || r.function_id OR c.key IN (
              SELECT 'pressure/' || slot.value FROM json_each(coalesce(r.slots, '[]')) AS slot))"""
        return [queue for (queue,) in self.ask(text, run_id, now)]

    def changes(self) -> int:
        """How many rows were written so far."""
        found: int = self.ask("SELECT total_changes()")[0][0]
        return found

    def events_since(self, number: int) -> list[tuple[int, str]]:
        """The events that were written after the one of this number, with theirs."""
        return self.ask("SELECT rowid, id FROM events WHERE rowid > ? AND NOT copied ORDER BY rowid", number)

    def pressures(self) -> list[tuple[str, int]]:
        """The queues that are, or were, to be left alone, and until when."""
        text = "SELECT key, expires_at FROM cells WHERE key >= 'pressure/' AND key < 'pressure0' AND shard IN "
        return self.ask(text + self.shards)

    def ended(self, run_id: str) -> bool:
        """Has the run ended?"""
        return bool(
            self.ask(f"SELECT 1 FROM runs WHERE shard IN {self.shards} AND id = ? AND ended_at IS NOT NULL", run_id)
        )

    def unfinished(self) -> list[tuple[str, str]]:
        """The runs that have not ended, oldest first, with their functions."""
        return self.ask("SELECT id, function_id FROM runs WHERE ended_at IS NULL ORDER BY id")

    def sleeping(self) -> list[tuple[str, str | None]]:
        """The sleeps in which runs rest, with these."""
        return self._steps("SLEEPING")

    def retrying(self) -> list[tuple[str, str | None]]:
        """The steps that are to be tried again, with their runs, and the runs whose own code is."""
        code = f"SELECT id, NULL FROM items WHERE shard IN {self.shards} AND kind = 'run' AND attempt > 0 ORDER BY id"
        return self._steps("ERRORED") + self.ask(code)

    def _steps(self, status: str) -> list[Any]:
        text = "SELECT s.run_id, s.id FROM steps AS s JOIN runs AS r ON r.shard = s.shard AND r.id = s.run_id "
        return self.ask(text + "WHERE r.ended_at IS NULL AND s.status = ? ORDER BY s.run_id, s.position, s.id", status)

    def failed_code(self, run_id: str, attempt: int) -> tuple[int, int] | None:
        """When this attempt at the function's own code failed, and when the next may be made. They are counted from its
        last progress on, so this is the latest of them."""
        text = f"""
          SELECT ended_at, retry_at FROM attempts
          WHERE shard IN {self.shards} AND run_id = ? AND step_id = '' AND attempt = ? AND retry_at IS NOT NULL
          ORDER BY rowid DESC LIMIT 1"""
        found = self.ask(text, run_id, attempt)
        return found[0] if found else None

    def under_way(self) -> bool:
        """Is something still to be done about many runs?"""
        return bool(self.ask("SELECT 1 FROM orders WHERE ended_at IS NULL"))

    def held_back(self) -> bool:
        """Do events wait for a run to start with them, or is a queue left alone for a while?"""
        return bool(self.ask("SELECT 1 FROM items WHERE kind IN ('window', 'pressure')"))
