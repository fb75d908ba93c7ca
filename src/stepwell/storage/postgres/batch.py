"""Writes the decisions of a transaction in few round trips, as if each had been written alone after the one before."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, Final, cast

from stepwell.model import changes as c
from stepwell.model.item import Lease
from stepwell.model.place import shard_of
from stepwell.storage.postgres import statements as sql
from stepwell.storage.postgres.changes import Write, writes
from stepwell.storage.postgres.driver import Connection
from stepwell.storage.postgres.shards import lease_of, shards_written

_NUMBERS_MAX: Final = 1 << 20
"""How many rows of a shard a transaction can number: what is left of 63 bits is for the versions of the shard."""


class Batch:
    """Decisions that are to be written in the open transaction, which holds the locks of their shards.

    ``versions`` are those of the locked shards.
    """

    def __init__(self, connection: Connection, versions: dict[int, int], shards: int) -> None:
        self._connection, self._shards = connection, shards
        self._versions = versions
        self._numbers: dict[int, Callable[[], int]] = {}
        self._decisions: list[c.Decision] = []

    def add(self, decision: c.Decision) -> None:
        self._decisions.append(decision)

    async def flush(self) -> list[bool]:
        """Write what was added since the last time: for each decision in its order whether its lease was held."""
        decisions, self._decisions = self._decisions, []
        if not decisions:
            return []
        leases = [lease_of(decision) for decision in decisions]
        tokens = await self._tokens([lease for lease in leases if lease is not None])
        verdicts: list[bool] = []
        groups = Groups()
        for decision, lease in zip(decisions, leases, strict=True):
            held = lease is None or tokens.get(lease.item_id) == lease.token
            verdicts.append(held)
            if not held:
                continue
            for change in decision.changes:
                for shard in shards_written(change, self._shards):
                    for write in writes(change, shard, self._shards, self._numbering(shard)):
                        groups.add(write)
                if tokens:
                    _follow(tokens, change)
        for text, rows in groups.ordered:
            await self._connection.many(text, rows)
        return verdicts

    async def _tokens(self, leases: list[Lease]) -> dict[str, int | None]:
        """What the items of these leases carry; ``None`` for one that is not there."""
        tokens: dict[str, int | None] = {lease.item_id: None for lease in leases}
        ids: dict[int, list[str]] = {}
        for item_id in tokens:
            ids.setdefault(shard_of(item_id, self._shards), []).append(item_id)
        for shard, asked in ids.items():
            tokens.update(cast("list[tuple[str, int]]", await self._connection.fetch(sql.LEASES, (shard, asked))))
        return tokens

    def _numbering(self, shard: int) -> Callable[[], int]:
        known = self._numbers.get(shard)
        if known is None:
            known = self._numbers[shard] = count(self._versions[shard] * _NUMBERS_MAX).__next__
        return known


class Groups:
    """Statements with their rows. A write joins an earlier one of the same text, unless it would overtake another one
    that touches the same."""

    def __init__(self) -> None:
        self.ordered: list[tuple[str, list[tuple[Any, ...]]]] = []
        self._of_text: dict[str, int] = {}
        self._of_key: dict[tuple[str, str | None], int] = {}
        self._of_table: dict[str, int] = {}

    def add(self, write: Write) -> None:
        table, key = write.touch
        if key is None:
            first = self._of_table.get(table, 0)
        else:
            first = max(self._of_key.get((table, key), 0), self._of_key.get((table, None), 0))
        place = self._of_text.get(write.text, -1)
        if place < first:
            place = self._of_text[write.text] = len(self.ordered)
            self.ordered.append((write.text, []))
        self.ordered[place][1].append(write.row)
        self._of_key[table, key] = max(self._of_key.get((table, key), 0), place)
        self._of_table[table] = max(self._of_table.get(table, 0), place)


def _follow(tokens: dict[str, int | None], change: c.Change) -> None:
    """What becomes of the tokens by a change: the next decision is judged by what this one leaves behind."""
    if isinstance(change, c.Grant):
        if tokens.get(change.item_id) is not None:
            tokens[change.item_id] = change.token
    elif isinstance(change, c.Block | c.Postpone):
        if tokens.get(change.item_id) is not None:
            tokens[change.item_id] = 0
    elif isinstance(change, c.Park):
        if tokens.get(change.lease.item_id) == change.lease.token:
            tokens[change.lease.item_id] = 0
    elif isinstance(change, c.Drop):
        if change.item_id in tokens:
            tokens[change.item_id] = None
    elif isinstance(change, c.DropRunItems):
        for item_id in tokens:
            if item_id == change.run_id or item_id.startswith(f"{change.run_id}/"):
                tokens[item_id] = None
    elif isinstance(change, c.Enqueue | c.Schedule):
        item = change.item
        if item.id in tokens and (tokens[item.id] is None or isinstance(change, c.Schedule)):
            tokens[item.id] = item.lease
