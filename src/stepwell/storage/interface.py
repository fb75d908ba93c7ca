"""All the rest of Stepwell may ask of a database.

A store knows nouns, changes and questions, never features. It runs decisions and plans (``model/changes.py``) one
after the other as far as anyone can tell, makes them durable, and only then answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import msgspec

from stepwell.model.changes import Decision, Plan
from stepwell.model.questions import Question

A = TypeVar("A")


class Verdict(msgspec.Struct, frozen=True):
    """What became of a decision. ``held`` is false if its lease was lost, and then nothing was written."""

    held: bool
    result: Any = None


class Swept(msgspec.Struct, frozen=True):
    """How many rows one round of retention removed; ``more`` if another round would find more."""

    runs: int
    events: int
    more: bool


class Changed(msgspec.Struct, frozen=True):
    """Whether others have written since it was asked last, and until when that is known, by ``monotonic_s``."""

    others: bool
    until: float


class Store(Protocol):
    """A database that holds one Stepwell installation."""

    @property
    def shards(self) -> int:
        """How many shards it has: a power of two, from 1 to 1024, for as long as it exists."""
        ...

    def commit(self, work: Decision | Callable[[], Plan]) -> asyncio.Future[Verdict]:
        """Run one decision in one transaction; the future resolves when it is durable.

        A plan is given as what makes it, because a transaction that has to be run again needs a fresh one.

        Works of one caller are applied in the order of the calls. Raises (through the future) ``StorageUnavailable`` if
        nothing was written because the disk is full, read-only or failing; whatever a plan raises; never "busy".
        """
        ...

    async def read(self, question: Question[A]) -> A:
        """Answer from a snapshot that includes every decision acknowledged before the call."""
        ...

    async def sweep(self, before: int, limit: int, *, now: int = 0) -> Swept:
        """Retention: forget up to ``limit`` runs of a shard ended before this moment with all that belongs to them, and
        events received before it that no remaining run of their shard refers to, and cells that had expired by then, or
        by ``now``; and of realtime what has expired by ``now``."""
        ...

    async def new_epoch(self) -> int:
        """Count up and return the number of this installation's leadership, durable. Lease tokens begin with it."""
        ...

    async def changed(self) -> Changed:
        """Whether another process has written since the last call.

        Cheap enough to ask twenty times a second: one query where there is a network in between, none for a file.
        """
        ...

    async def now_ms(self) -> int:
        """The time by which all who share this store go: the database's where it has a clock, else this machine's."""
        ...

    async def close(self) -> None:
        """Finish what was committed, release the files."""
        ...
