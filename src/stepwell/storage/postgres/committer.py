"""Runs works in transactions until the outcome of each is known, whatever happens to connections meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from stepwell.clock import Clock, monotonic_s
from stepwell.errors import StorageUnavailable
from stepwell.model.questions import Question
from stepwell.storage.delivery import Outcome
from stepwell.storage.postgres import statements as sql
from stepwell.storage.postgres.connections import Connections
from stepwell.storage.postgres.driver import Connection
from stepwell.storage.postgres.faults import Fault, Leave, explained, fault
from stepwell.storage.postgres.library import asyncpg
from stepwell.storage.postgres.transaction import Behind, Transaction, Work
from stepwell.storage.postgres.versions import Versions

_AGAIN_S: Final = 10.0
"""How long a transaction is tried: a server that restarts is back by then."""
_UNKNOWN_S: Final = 60.0
"""How long is asked what became of a COMMIT: until the server has noticed that its client is gone."""
_PAUSE_S: Final = 0.01
_PAUSE_S_MAX: Final = 0.5


class Lost(ConnectionError):
    """The connection was lost, and the transaction has not taken effect."""


class Unknown(Exception):
    """Nobody could say in time whether a transaction took effect. It must not be run again."""


class Committer:
    """Makes works durable. ``chance`` gives numbers in [0, 1) for pauses that differ, ``where`` names the database."""

    def __init__(
        self,
        connections: Connections,
        versions: Versions,
        clock: Clock,
        chance: Callable[[], float],
        *,
        shards: int,
        where: str,
        unprepared: Callable[[], None],
        asked: Callable[[Question[Any], Any], None],
    ) -> None:
        self._connections, self._versions, self._clock, self._chance = connections, versions, clock, chance
        self._shards, self._where, self._unprepared, self._asked = shards, where, unprepared, asked

    async def run(
        self, works: Sequence[Work], wanted: set[int], *, leave: Callable[[], bool] | None = None
    ) -> list[Outcome]:
        """Run works in order: those at the beginning that one transaction can take, one at least.

        A task in which this runs is not cancelled before it is known what became of the works: on a loop of the
        application anybody may cancel all tasks there are. But then it has no patience with a database that is away.
        Raises nothing but ``Leave``, as soon as ``leave`` says so, and then nothing was written.
        """
        pauses = Pauses(self._chance)
        while True:
            try:
                return await self._once(works, wanted, leave)
            except Behind as behind:
                wanted = wanted | behind.shards
            except Unknown as unknown:
                return [Outcome(None, self._unknown(unknown)) for _ in works]
            except Leave:
                raise
            except asyncio.CancelledError:
                pauses.hurry()
            except Exception as error:
                what = fault(error)
                if what is Fault.UNPREPARED:
                    self._unprepared()
                if what in (Fault.AGAIN, Fault.LOST, Fault.UNPREPARED) and await _another(pauses):
                    continue
                if leave is not None and leave():
                    raise Leave from error  # the time that it has spent here was not its own
                if what is not Fault.REFUSED or len(works) == 1:
                    return [Outcome(None, explained(error, self._where)) for _ in works]
                return [(await self.run((work,), set()))[0] for work in works]

    async def close(self) -> None:
        await self._connections.close()

    def let_go(self) -> None:
        """Of all connections; of those in use when their transactions have ended."""
        self._connections.forget()

    def _unknown(self, unknown: Unknown) -> StorageUnavailable:
        error = StorageUnavailable(
            what=f"it is not known whether the last change reached the database {self._where}",
            why="the connection was lost while it was made durable, and the server did not come back to be asked",
            fix="bring the server back; what was sent is then either there or, if it is sent again, done once",
        )
        error.__cause__ = unknown
        return error

    async def _once(self, works: Sequence[Work], wanted: set[int], leave: Callable[[], bool] | None) -> list[Outcome]:
        async with self._connections.borrow() as connection:
            connection.before = partial(_leave_if, leave) if leave is not None else None
            transaction = Transaction(connection, self._shards, self._versions, self._clock, self._asked)
            try:
                outcomes = await transaction.run(works, wanted)
                connection.before = None
                if not transaction.wrote:  # nothing to make durable, and nothing for others to look at
                    await self._roll_back(transaction, connection)
                    return outcomes
            except (Exception, asyncio.CancelledError) as error:
                connection.before = None
                await self._undo(transaction, connection, error)
                raise
            await self._commit(transaction, connection)
            self._versions.committed(transaction.locked)
            return outcomes

    async def _commit(self, transaction: Transaction, connection: Connection) -> None:
        try:
            said = await connection.execute(sql.COMMIT)
        except (Exception, asyncio.CancelledError) as error:
            if _certain(error, connection):
                await self._undo(transaction, connection, error)
                raise
            connection.terminate()
            if not await self._took_effect(transaction):
                self._versions.abandoned(transaction.locked)
                raise Lost("the connection was lost at COMMIT") from error
        else:
            if said != "COMMIT":  # something in it has failed before, and PostgreSQL has rolled it back
                self._versions.abandoned(transaction.locked)
                raise Lost(f"COMMIT was answered with {said}")

    async def _took_effect(self, transaction: Transaction) -> bool:
        """Whether a transaction is there whose COMMIT was not answered: read from its mark, never guessed."""
        if transaction.mark is None:
            return False
        shard, writer, number = transaction.mark
        pauses = Pauses(self._chance, _UNKNOWN_S)
        while True:
            try:
                return await self._marked(shard, writer, number)
            except (Exception, asyncio.CancelledError) as error:
                # Also one that will come each time: until it is known, nothing is said.
                if fault(error) is Fault.UNPREPARED:
                    self._unprepared()
                if not await _another(pauses):
                    self._versions.abandoned(transaction.locked)
                    raise Unknown from error

    async def _marked(self, shard: int, writer: str, number: int) -> bool:
        async with self._connections.borrow_beside() as connection:
            await connection.execute(sql.BEGIN)
            await connection.fetch(sql.AWAIT, (shard,))
            found = await connection.fetch(sql.MARKED, (shard, writer))
            await connection.execute(sql.ROLLBACK)
            return found == [(number,)]

    async def _undo(self, transaction: Transaction, connection: Connection, error: BaseException) -> None:
        """Roll back, so that the locks are free at once and the connection can be used again if it can be trusted."""
        if fault(error) in (Fault.LOST, Fault.UNPREPARED):
            self._versions.abandoned(transaction.locked)
            connection.terminate()
            return
        try:
            await self._roll_back(transaction, connection)
        except (Exception, asyncio.CancelledError):
            # Whatever it was, the first error is the one to tell, and without us the server rolls back.
            connection.terminate()
        else:
            connection.clean = True

    async def _roll_back(self, transaction: Transaction, connection: Connection) -> None:
        self._versions.abandoned(transaction.locked)
        await connection.execute(sql.ROLLBACK)


class Pauses:
    """Pauses between tries, longer and longer, no two alike, until time is up."""

    def __init__(self, chance: Callable[[], float], in_all_s: float = _AGAIN_S) -> None:
        self._chance = chance
        self._end = monotonic_s() + in_all_s
        self._next = _PAUSE_S
        self._tries = 0

    def hurry(self) -> None:
        """There is no more time, but for one try."""
        self._end, self._tries = monotonic_s(), 0

    async def another(self) -> bool:
        """Wait before another try; false if there is no time for one. There always is for the second: it may have been
        this process that took so long."""
        self._tries += 1
        if monotonic_s() >= self._end and self._tries > 1:
            return False
        await asyncio.sleep(self._next * (0.5 + self._chance()))
        self._next = min(self._next * 2, _PAUSE_S_MAX)
        return True


async def _another(pauses: Pauses) -> bool:
    try:
        return await pauses.another()
    except asyncio.CancelledError:
        return True


def _leave_if(leave: Callable[[], bool]) -> None:
    if leave():
        raise Leave


def _certain(error: BaseException, connection: Connection) -> bool:
    """Whether the server itself has said that a COMMIT failed, and is there to say more."""
    return isinstance(error, asyncpg.PostgresError) and connection.usable and fault(error) is not Fault.LOST
