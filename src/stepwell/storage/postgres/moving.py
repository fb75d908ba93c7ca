"""A PostgreSQL database as where an installation is copied from, and to (``storage/moving.py``).

Everything is said in whole transactions on one connection, so that it works through a pooler as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any, Final

from stepwell.errors import StepwellError, StorageError
from stepwell.model.place import EVERYWHERE, place_of
from stepwell.storage.homes import Keyed, place_of_row
from stepwell.storage.moving import Batch, Manifest, Row, State, batched, occupied, to_skip, told, used
from stepwell.storage.postgres.direct import connected
from stepwell.storage.postgres.driver import Connection
from stepwell.storage.postgres.faults import explained
from stepwell.storage.postgres.moved import refuse_moved
from stepwell.storage.postgres.schema import SCHEMA, layout, migrate
from stepwell.storage.tables import SCHEMA as ROWS_SCHEMA
from stepwell.storage.tables import TABLES, Table

_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_BEGIN_READ: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_COMMIT: Final = "COMMIT"
_PATIENT: Final = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
_EPOCH: Final = f"SELECT value FROM {SCHEMA}.meta WHERE key = 'epoch'"
_SET_EPOCH: Final = f"""
UPDATE {SCHEMA}.meta SET value = greatest(value, $1::bigint) WHERE key = 'epoch' RETURNING value"""
_MOVES: Final = f"SELECT id, state, place, rows FROM {SCHEMA}.moves"
_BEGIN_MOVE: Final = f"""
INSERT INTO {SCHEMA}.moves (id, state, place, rows, epoch) VALUES ($1, 'incoming', $2, 0, 0)
ON CONFLICT DO NOTHING"""
# Whoever else copies the same at the same time waits here for the row, and then does not find it as it was.
_ADVANCE: Final = f"""
UPDATE {SCHEMA}.moves SET rows = $3 WHERE id = $1 AND state = 'incoming' AND rows = $2 RETURNING true"""
_UNUSED: Final = f"""
SELECT m.epoch = e.value FROM {SCHEMA}.moves AS m, {SCHEMA}.meta AS e WHERE m.id = $1 AND e.key = 'epoch'"""
_FORGET: Final = f"DELETE FROM {SCHEMA}.moves WHERE id = $1"
_RESET_EPOCH: Final = f"UPDATE {SCHEMA}.meta SET value = 0 WHERE key = 'epoch'"
_EMPTIED: Final = ("meta", *(table.name for table in TABLES))
_ARRIVE: Final = f"UPDATE {SCHEMA}.moves SET state = 'arrived', epoch = $2 WHERE id = $1 AND state = 'incoming'"
_COUNT_UP: Final = f"""
UPDATE {SCHEMA}.shards SET version = version + 1 WHERE shard = ANY(string_to_array($1, ',')::bigint[])
RETURNING shard, version"""
_CELLS: Final = f"SELECT key, shard FROM {SCHEMA}.cells WHERE key = ANY($1::text[])"
_COPY_EVENT: Final = f"""
INSERT INTO {SCHEMA}.events
  (shard, copied, id, name, ts, received_at, data, key, v, "user", meta, source, depth, sent_by)
SELECT $1::bigint, 1, id, name, ts, received_at, data, key, v, "user", meta, source, depth, sent_by
FROM {SCHEMA}.events WHERE shard = $2 AND id = $3 ON CONFLICT (shard, id) DO NOTHING"""
_FETCHED: Final = 200  # rows at once: each may have some megabytes
_NUMBER_BITS: Final = 20  # of ``seen``, below the version of the shard, as the store itself makes it
_SEEN: Final = frozenset({"steps", "attempts", "notes"})
"""Tables with the column ``seen``: the order in which the rows of a shard were written."""
_BESIDE_EVENTS: Final = frozenset({"runs", "run_events"})
"""Tables whose rows need their event in the same shard."""


class PostgresSource:
    """A database as one transaction sees it. Make it with ``open``."""

    def __init__(self, connection: Connection, where: str, manifest: Manifest, stack: AsyncExitStack) -> None:
        self.manifest = manifest
        self._connection, self._where, self._open = connection, where, stack

    @classmethod
    async def open(cls, url: str, *, id: str, stepwell: str, made_at: int) -> PostgresSource:
        """``id`` names the copy that is made; ``made_at`` is the moment, in milliseconds. Raises ``StorageError``."""
        async with AsyncExitStack() as stack:
            raw, where = await stack.enter_async_context(connected(url))
            stack.enter_context(_understood(where))
            connection = Connection(raw, "")
            found = await layout(raw, where)
            if found.number == 0:
                raise StorageError(
                    what=f"the database {where} is empty",
                    why="no server has used it yet, and there is nothing to export",
                    fix="check the URL",
                )
            await refuse_moved(raw, where)
            await connection.execute(_BEGIN_READ)
            await connection.execute(_PATIENT)
            manifest = Manifest(
                id=id,
                schema=ROWS_SCHEMA,
                stepwell=stepwell,
                made_at=made_at,
                epoch=(await connection.fetch(_EPOCH))[0][0],
                counts={table.name: (await connection.fetch(_counting(table)))[0][0] for table in TABLES},
            )
            return cls(connection, where, manifest, stack.pop_all())

    async def batches(self, skip: int) -> AsyncIterator[Batch]:
        with _understood(self._where):
            for table, passed in to_skip(self.manifest.counts, skip).items():
                cursor = f"copied_{table.name}"
                await self._connection.execute(
                    f"DECLARE {cursor} NO SCROLL CURSOR FOR {_selection(table)} OFFSET {passed}"
                )
                while found := await self._connection.fetch(f"FETCH {_FETCHED} FROM {cursor}"):
                    for batch in batched(table, found):
                        yield batch
                await self._connection.execute(f"CLOSE {cursor}")

    async def close(self) -> None:
        await self._open.aclose()


class PostgresTarget:
    """A database into which an installation is copied. Make it with ``open``."""

    def __init__(self, connection: Connection, where: str, origin: str, shards: int, keyed: Keyed) -> None:
        self._connection, self._where, self._origin = connection, where, origin
        self._shards, self._keyed = shards, keyed
        self._id = ""
        self._done = self._epoch = 0
        self._open = AsyncExitStack()

    @classmethod
    async def open(cls, url: str, origin: str, *, shards: int | None, keyed: Keyed) -> PostgresTarget:
        """Makes the tables if they are not there, with so many ``shards``. ``origin`` says to people where it all comes
        from; ``keyed`` where that belongs which is named by a key. Raises ``StorageError``."""
        async with AsyncExitStack() as stack:
            raw, where = await stack.enter_async_context(connected(url))
            with _understood(where):
                migrated = await migrate(raw, where, shards=shards)
            target = cls(Connection(raw, ""), where, origin, migrated.shards, keyed)
            target._open = stack.pop_all()
        return target

    async def check(self, id: str) -> int:
        for other, state, place, rows in await self._connection.fetch(_MOVES):
            if other == id and state in (State.INCOMING, State.ARRIVED):
                return int(rows)
            raise occupied(self._where, told(state, place))
        if await self._connection.fetch(_EPOCH) != [(0,)] or await self._filled():
            raise occupied(self._where, "there are events, runs or functions in it, or a server has run on it")
        return 0

    async def begin(self, manifest: Manifest) -> int:
        self._id, self._epoch = manifest.id, manifest.epoch
        self._done = await self.check(manifest.id)

        async def begin() -> None:
            await self._connection.execute(_BEGIN_MOVE, (self._id, self._origin))

        await self._transaction(begin)
        return self._done

    async def write(self, batch: Batch, done: int) -> None:
        async def write() -> None:
            if not await self._connection.fetch(_ADVANCE, (self._id, self._done, done)):
                raise occupied(self._where, "another process copies the same into it")
            await self._insert(batch)

        await self._transaction(write)
        self._done = done

    async def finish(self) -> None:
        async def finish() -> None:
            ((epoch,),) = await self._connection.fetch(_SET_EPOCH, (self._epoch,))
            await self._connection.execute(_ARRIVE, (self._id, epoch))

        await self._transaction(finish)

    async def give_back(self, id: str) -> None:
        async def give_back() -> None:
            # In one transaction: a server that starts meanwhile waits for it, and finds nothing that was ours.
            await self._connection.execute(f"LOCK TABLE {', '.join(f'{SCHEMA}.{name}' for name in _EMPTIED)}")
            found = [row for row in await self._connection.fetch(_MOVES) if row[0] == id]
            if not found:
                return
            if found[0][1] == State.ARRIVED and await self._connection.fetch(_UNUSED, (id,)) != [(True,)]:
                raise used(self._where)
            await self._connection.execute(f"TRUNCATE {', '.join(f'{SCHEMA}.{table.name}' for table in TABLES)}")
            await self._connection.execute(_FORGET, (id,))
            await self._connection.execute(_RESET_EPOCH)

        await self._transaction(give_back)

    async def close(self) -> None:
        await self._open.aclose()

    async def _filled(self) -> bool:
        for table in TABLES:
            if await self._connection.fetch(f"SELECT true FROM {SCHEMA}.{table.name} LIMIT 1"):
                return True
        return False

    async def _insert(self, batch: Batch) -> None:
        table, rows = batch
        if not table.sharded:
            await self._add(table, rows)
            return
        spread = await self._spread(table, rows)
        versions = dict(
            await self._connection.fetch(_COUNT_UP, (",".join(map(str, sorted({shard for shard, _ in spread}))),))
        )
        if table.name in _SEEN:
            placed = [(shard, *row, (versions[shard] << _NUMBER_BITS) + n) for n, (shard, row) in enumerate(spread)]
        else:
            placed = [(shard, *row) for shard, row in spread]
        await self._add(table, placed)
        if table.name in _BESIDE_EVENTS:
            await self._bring_events(table, spread)

    async def _add(self, table: Table, rows: Sequence[Row]) -> None:
        columns = [*(["shard"] if table.sharded else []), *table.columns, *(["seen"] if table.name in _SEEN else [])]
        if table.zero:
            zeros = (0,) * len(table.zero)
            rows = [(*row, *zeros) for row in rows]
        await self._connection.copy(table.name, [*columns, *table.zero], rows)

    async def _spread(self, table: Table, rows: Sequence[Row]) -> list[tuple[int, Row]]:
        """The rows with their shards, in their order."""
        places = [place_of_row(table, row, self._keyed) for row in rows]
        names = [row[0] for row, place in zip(rows, places, strict=True) if place is None]
        cells = dict(await self._connection.fetch(_CELLS, (names,))) if names else {}
        spread: list[tuple[int, Row]] = []
        for row, place in zip(rows, places, strict=True):
            if place is None:
                spread.append((cells.get(row[0], 0), row))  # without its cell it does nothing, wherever it is
            elif place == EVERYWHERE:
                spread += [(shard, row) for shard in range(self._shards)]
            else:
                spread.append((place & (self._shards - 1), row))
        return spread

    async def _bring_events(self, table: Table, spread: Sequence[tuple[int, Row]]) -> None:
        """What starts a run is beside it, also where it has its own place elsewhere."""
        at = table.columns.index("event_id")
        events = [(shard, place_of(row[at]) & (self._shards - 1), row[at]) for shard, row in spread]
        missing = [each for each in events if each[0] != each[1]]
        if missing:
            await self._connection.many(_COPY_EVENT, missing)

    async def _transaction(self, work: Callable[[], Any]) -> None:
        try:
            with _understood(self._where):
                await self._connection.execute(_BEGIN)
                await self._connection.execute(_PATIENT)
                await work()
                await self._connection.execute(_COMMIT)
        except BaseException:
            self._connection.terminate()  # which rolls back; whoever runs the command again goes on
            raise


@contextmanager
def _understood(where: str) -> Generator[None, None, None]:
    """What PostgreSQL says, in our words. Raises ``StorageError``."""
    try:
        yield
    except StepwellError:
        raise
    except Exception as error:
        ours = explained(error, where)
        if ours is error:
            raise
        raise ours from error


def _selection(table: Table) -> str:
    order = _ONE_OF.get(table.name) or (_names(table.order) if table.order else "shard, seen")
    once = f"DISTINCT ON ({_names(table.order)}) " if table.name in _ONE_OF else ""
    return f"SELECT {once}{_names(table.columns)} FROM {SCHEMA}.{table.name} ORDER BY {order}"


_ONE_OF: Final = {
    "events": "id",  # there are copies beside the runs that it started elsewhere
    # Of some there is one in each shard: the one that is due first, or holds for longest, or has least behind it.
    "items": "id, at NULLS LAST",
    "cells": "key, expires_at DESC, value",
}
"""Tables in which shards may have rows of one name, and the order of those: the first is copied."""


def _counting(table: Table) -> str:
    what = f"DISTINCT ({_names(table.order)})" if table.name in _ONE_OF else "*"
    return f"SELECT count({what}) FROM {SCHEMA}.{table.name}"


def _names(columns: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)
