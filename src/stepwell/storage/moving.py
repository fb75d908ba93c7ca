"""Copies a whole installation from where it is to where it shall be: between stores, and to and from a file.

A source shows one moment of it, in one order of rows, every time it is asked. A target writes so many rows in one
transaction together with how many those are in all; so whoever is killed and runs the same command again goes on where
it was, and each row is there once. Until the last one is, the target refuses to be served.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from stepwell.errors import StorageError
from stepwell.storage.tables import TABLES, Table

ROWS_MAX: Final = 4_000  # of one transaction, and as many as a backend likes to be given at once
BYTES_MAX: Final = 4 << 20  # of one transaction, as far as rows of one table go

Row = tuple[Any, ...]
Progress = Callable[[int, int], None]
"""Told how many rows are in the target by now, and how many there will be."""


class State(StrEnum):
    """How far a copy is, as the table ``moves`` of a store says; ``ADR 0038``."""

    INCOMING = "incoming"  # rows are being written here
    ARRIVED = "arrived"  # all of them are here
    LEAVING = "leaving"  # nobody may write here any more, because it is being copied elsewhere for good
    LEFT = "left"  # and is there


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is copied: which copy this is, of which schema, and how many rows each table has.

    ``epoch`` is how many leaderships there were: the tokens of leases begin with it, so that none is given twice.
    ``made_at`` is in milliseconds.
    """

    id: str
    schema: int
    stepwell: str
    made_at: int
    epoch: int
    counts: dict[str, int]

    @property
    def rows(self) -> int:
        return sum(self.counts.values())


class Batch(NamedTuple):
    """Rows of one table, in the order of its columns (``tables.py``)."""

    table: Table
    rows: list[Row]


class Source(Protocol):
    """An installation as it is, or was, at one moment."""

    manifest: Manifest

    def batches(self, skip: int) -> AsyncIterator[Batch]:
        """All rows but the first so many, table by table. Raises ``StorageError`` and ``InvalidExport``."""
        ...

    async def close(self) -> None: ...


class Sink(Protocol):
    """Where an installation is written: a store, or a file."""

    async def begin(self, manifest: Manifest) -> int:
        """Take what comes for this copy and no other. Returns how many of its rows are here already.

        Raises ``StorageError`` if anything else is here.
        """
        ...

    async def write(self, batch: Batch, done: int) -> None:
        """Write rows, and that so many are here with them, in one transaction. Raises ``StorageError``."""
        ...

    async def finish(self) -> None:
        """All rows are here: from now on it may be served."""
        ...

    async def close(self) -> None: ...


class Target(Sink, Protocol):
    """A store into which an installation is copied."""

    async def check(self, id: str) -> int:
        """How many rows of this copy are here already. Raises ``StorageError`` if anything else is here."""
        ...

    async def give_back(self, id: str) -> None:
        """Be empty again, if this copy came here. Raises ``StorageError`` if a server has run on it since."""
        ...


class Copied(msgspec.Struct, frozen=True):
    """What one call of ``copy`` did: so many rows were written, of so many; the others had been there before."""

    written: int
    rows: int


async def copy(source: Source, target: Sink, progress: Progress) -> Copied:
    """Copy what is not there yet. Raises ``StorageError`` and ``InvalidExport``; the same call again goes on then."""
    manifest = source.manifest
    before = done = await target.begin(manifest)
    progress(done, manifest.rows)
    async for batch in source.batches(done):
        done += len(batch.rows)
        await target.write(batch, done)
        progress(done, manifest.rows)
    assert done == manifest.rows, f"{done} of {manifest.rows} rows"
    await target.finish()
    return Copied(done - before, done)


def batched(table: Table, rows: Iterable[Row]) -> Iterator[Batch]:
    """Rows in batches of a size that one transaction takes."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        for value in row:
            if isinstance(value, bytes | str):
                size += len(value)
        if len(batch) == ROWS_MAX or size >= BYTES_MAX:
            yield Batch(table, batch)
            batch, size = [], 0
    if batch:
        yield Batch(table, batch)


def unservable(where: str, state: str, place: str) -> StorageError | None:
    """Why a store with such a row in ``moves`` may not be served, if it may not."""
    if state == State.INCOMING:
        return StorageError(
            what=f"what is in {where} is not whole: a copy of {place} into it has begun and not ended",
            why="runs that went on before all of them are there would miss what is not",
            fix="run the same import or promote again, which goes on where it was; or start with an empty database",
        )
    if state in (State.LEAVING, State.LEFT):
        return StorageError(
            what=f"the database {where} was promoted: what was in it is at {place}",
            why="runs that went on in both places would do everything twice",
            fix=f"start the server with --store {place}; or, before anything has run there, take it back with "
            f"'stepwell promote {where} --to {place} --undo'",
        )
    return None


def occupied(where: str, why: str) -> StorageError:
    """The refusal to write a copy where something else is."""
    return StorageError(
        what=f"nothing can be copied into {where}: it is in use",
        why=why,
        fix="name a database that does not exist yet, or an empty one",
    )


def used(where: str) -> StorageError:
    """The refusal to take back what has gone on where it went."""
    return StorageError(
        what=f"a server has run on {where} since",
        why="what happened there would be lost, and what is taken back would do it again",
        fix="go on there; 'stepwell export' and 'stepwell import' bring it into a file of its own",
    )


def told(state: str, place: str) -> str:
    """What such a row in ``moves`` means to whoever wants to copy something else there."""
    return _TOLD[State(state)].format(place=place)


_TOLD: Final = {
    State.INCOMING: "a copy of something else into it, of {place}, has begun and not ended",
    State.ARRIVED: "it holds a copy of something else, of {place}",
    State.LEAVING: "what was in it is on its way to {place}",
    State.LEFT: "what was in it is at {place} now",
}


def to_skip(counts: dict[str, int], skip: int) -> dict[Table, int]:
    """The tables of which something is left after the first ``skip`` rows of all, and how many rows of each to skip."""
    left: dict[Table, int] = {}
    for table in TABLES:
        count = counts.get(table.name, 0)
        if skip < count:
            left[table] = skip
        skip = max(skip - count, 0)
    return left
