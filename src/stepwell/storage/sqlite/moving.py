"""A SQLite file as where an installation is copied from, and to (``storage/moving.py``).

Both work in the thread that calls them: they belong to commands that have nothing else to do.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, cast

import apsw

from stepwell.errors import StorageError
from stepwell.storage.leader import LeaderLock
from stepwell.storage.moving import Batch, Manifest, Row, State, batched, occupied, to_skip, told, used
from stepwell.storage.sqlite import statements as sql
from stepwell.storage.sqlite.driver import Execute, executor
from stepwell.storage.sqlite.faults import explained
from stepwell.storage.sqlite.files import Files
from stepwell.storage.sqlite.looking import looking_long
from stepwell.storage.sqlite.moved import refuse_incoming
from stepwell.storage.sqlite.reading import refuse_missing
from stepwell.storage.sqlite.schema import migrate, refuse_unreadable
from stepwell.storage.tables import SCHEMA, TABLES, Table

_EPOCH: Final = "SELECT value FROM meta WHERE key = 'epoch'"
_SET_EPOCH: Final = "UPDATE meta SET value = max(value, ?1) WHERE key = 'epoch' RETURNING value"
_MOVES: Final = "SELECT id, state, place, rows FROM moves"
_BEGIN_MOVE: Final = "INSERT OR IGNORE INTO moves (id, state, place, rows, epoch) VALUES (?1, 'incoming', ?2, 0, 0)"
_UNUSED: Final = "SELECT m.epoch = e.value FROM moves AS m, meta AS e WHERE m.id = ?1 AND e.key = 'epoch'"
_FORGET: Final = "DELETE FROM moves WHERE id = ?1"
_RESET_EPOCH: Final = "UPDATE meta SET value = 0 WHERE key = 'epoch'"
_ADVANCE: Final = "UPDATE moves SET rows = ?2 WHERE id = ?1 AND state = 'incoming' RETURNING 1"
_ARRIVE: Final = "UPDATE moves SET state = 'arrived', epoch = ?2 WHERE id = ?1 AND state = 'incoming'"
_CHECKPOINT_PAGES: Final = 1_000
_HELD_BACK: Final = "the process that leads it would run what is not whole, or write what is not copied"


class SqliteSource:
    """A file as one transaction sees it, with others writing to it."""

    def __init__(self, path: str | os.PathLike[str], *, id: str, stepwell: str, made_at: int) -> None:
        """``id`` names the copy that is made; ``made_at`` is the moment, in milliseconds. Raises ``StorageError``."""
        path = os.fspath(path)
        refuse_missing(Path(path))
        self._path = path
        with ExitStack() as stack:
            connection = stack.enter_context(looking_long(path))
            execute = executor(connection)
            execute("PRAGMA temp_store = MEMORY")
            execute(sql.BEGIN_READ)
            refuse_unreadable(execute, path)
            refuse_incoming(execute, path)
            self.manifest = Manifest(
                id=id,
                schema=SCHEMA,
                stepwell=stepwell,
                made_at=made_at,
                epoch=execute(_EPOCH).fetchall()[0][0],
                counts={t.name: execute(f"SELECT count(*) FROM {t.name}").fetchall()[0][0] for t in TABLES},
            )
            self.ask = execute
            self._connection = connection
            self._open = stack.pop_all()

    async def batches(self, skip: int) -> AsyncIterator[Batch]:
        try:
            for table, passed in to_skip(self.manifest.counts, skip).items():
                rows = _cursor(self._connection)(_selection(table), (passed,))
                for batch in batched(table, rows):
                    yield batch
        except apsw.Error as error:
            raise explained(error, self._path) from error

    async def close(self) -> None:
        self._open.close()


class SqliteTarget:
    """A file into which an installation is copied, and which nobody may lead meanwhile."""

    def __init__(self, path: str | os.PathLike[str], origin: str) -> None:
        """Creates the file if it is not there. ``origin`` says to people where it all comes from.

        Raises ``StorageError`` if a process leads the file.
        """
        self._path = os.path.realpath(path)
        self._origin = origin
        self._id = ""
        self._epoch = 0
        files = Files(self._path, "full")
        self._lock = LeaderLock(self._path)
        try:
            if not self._lock.acquire():
                raise led(self._path)
            self._connection = files.connect("writer")
            self._execute = executor(self._connection)
            with files.closing_on_error(self._connection):
                migrate(self._execute, self._path)
                self._connection.wal_autocheckpoint(_CHECKPOINT_PAGES)
        except BaseException:
            files.close()
            self._lock.release()
            raise
        self._files = files

    async def check(self, id: str) -> int:
        for other, state, place, rows in self._execute(_MOVES).fetchall():
            if other == id and state in (State.INCOMING, State.ARRIVED):
                return int(rows)
            raise occupied(self._path, told(state, place))
        if self._execute(_EPOCH).fetchall() != [(0,)] or _filled(self._execute):
            raise occupied(self._path, "there are events, runs or functions in it, or a server has run on it")
        return 0

    async def begin(self, manifest: Manifest) -> int:
        self._id, self._epoch = manifest.id, manifest.epoch
        done = await self.check(manifest.id)
        try:
            self._execute(_BEGIN_MOVE, (manifest.id, self._origin))
        except apsw.Error as error:
            raise explained(error, self._path) from error
        return done

    async def write(self, batch: Batch, done: int) -> None:
        try:
            with self._connection:
                _many(self._connection, _insertion(batch.table), batch.rows)
                if not self._execute(_ADVANCE, (self._id, done)).fetchall():
                    raise AssertionError("rows are written before the copy has begun")
        except apsw.ConstraintError as error:
            raise StorageError(
                what=f"a row of {batch.table.name} cannot be written to {self._path}: {error}",
                why="what is copied has a row twice, or a value that the table does not take",
                fix="export it again; if that does not help, it is our mistake: tell us what it said",
            ) from error
        except apsw.Error as error:
            raise explained(error, self._path) from error

    async def finish(self) -> None:
        try:
            with self._connection:
                ((epoch,),) = self._execute(_SET_EPOCH, (self._epoch,)).fetchall()
                self._execute(_ARRIVE, (self._id, epoch))
        except apsw.Error as error:
            raise explained(error, self._path) from error

    async def close(self) -> None:
        self._connection.close(True)
        self._files.close()
        self._lock.release()

    async def give_back(self, id: str) -> None:
        try:
            with self._connection:
                found = [row for row in self._execute(_MOVES).fetchall() if row[0] == id]
                if not found:
                    return
                if found[0][1] == State.ARRIVED and self._execute(_UNUSED, (id,)).fetchall() != [(1,)]:
                    raise used(self._path)
                for table in reversed(TABLES):
                    self._execute(f"DELETE FROM {table.name}")
                self._execute(_FORGET, (id,))
                self._execute(_RESET_EPOCH)
        except apsw.Error as error:
            raise explained(error, self._path) from error


def states(source: SqliteSource) -> tuple[dict[str, int], dict[str, int]]:
    """How many runs there are of each status, and how many items of each kind."""
    runs = source.ask("SELECT status, count(*) FROM runs GROUP BY 1 ORDER BY 1").fetchall()
    items = source.ask("SELECT kind, count(*) FROM items GROUP BY 1 ORDER BY 1").fetchall()
    return dict(runs), dict(items)


def led(path: str) -> StorageError:
    """The refusal to touch a file on which a process runs."""
    return StorageError(
        what=f"a process runs on {path}",
        why=_HELD_BACK,
        fix="stop the server or app that has it open, and try again",
    )


def _cursor(connection: apsw.Connection) -> Callable[[str, Row], Iterator[Row]]:
    """Rows one by one, on a cursor of their own: all of them at once would need room for the whole database."""
    return cast("Callable[[str, Row], Iterator[Row]]", connection.cursor().execute)  # pyright: ignore[reportUnknownMemberType]


def _many(connection: apsw.Connection, text: str, rows: Sequence[Row]) -> None:
    connection.executemany(text, rows)  # pyright: ignore[reportUnknownMemberType]


def _filled(execute: Execute) -> bool:
    return any(execute(f"SELECT 1 FROM {table.name} LIMIT 1").fetchall() for table in TABLES)


def _selection(table: Table) -> str:
    order = _names(table.order) if table.order else "rowid"
    return f"SELECT {_names(table.columns)} FROM {table.name} ORDER BY {order} LIMIT -1 OFFSET ?1"


def _insertion(table: Table) -> str:
    zero = (*(["shard"] if table.sharded else []), *table.zero)  # a file is one shard
    values = ", ".join(["0"] * len(zero) + ["?"] * len(table.columns))
    return f"INSERT INTO {table.name} ({_names([*zero, *table.columns])}) VALUES ({values})"


def _names(columns: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)
