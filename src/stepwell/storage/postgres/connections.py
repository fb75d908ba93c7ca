"""The few connections of a store: opened when they are needed, given to one user at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from stepwell.storage.postgres.driver import Connect, Connection


class Connections:
    """At most ``size`` connections. Whoever waits for one is served in turn."""

    def __init__(self, connect: Connect, size: int, name: Callable[[], str]) -> None:
        self._connect, self._name = connect, name
        self._free: deque[Connection] = deque()
        self._room = asyncio.Semaphore(size)
        self._forgotten = 0

    @asynccontextmanager
    async def borrow(self) -> AsyncGenerator[Connection]:
        """A connection that is in no transaction. One on which anything raises is given up, unless it was cleaned
        (``Connection.clean``)."""
        async with self._room:
            forgotten = self._forgotten
            connection = self._take() or Connection(await self._connect(), self._name())
            connection.clean = False
            try:
                yield connection
                connection.clean = True
            finally:
                if connection.clean and connection.usable and forgotten == self._forgotten:
                    self._free.append(connection)
                else:
                    connection.terminate()

    @asynccontextmanager
    async def borrow_beside(self) -> AsyncGenerator[Connection]:
        """One more, at once, for whoever has to find out what became of another; it is closed afterwards."""
        connection = Connection(await self._connect(), self._name())
        try:
            yield connection
        finally:
            connection.terminate()

    async def close(self) -> None:
        """Close those that are free, and those in use when they come back."""
        self._forgotten += 1
        while self._free:
            await self._free.pop().close()

    def forget(self) -> None:
        """Let go of all connections, of those in use when they come back: what is wrong with one may be with all."""
        self._forgotten += 1
        while self._free:
            self._free.pop().terminate()

    def _take(self) -> Connection | None:
        while self._free:
            connection = self._free.pop()  # the last one, so that those beyond what is needed may be dropped
            if connection.usable:
                return connection
            connection.terminate()
        return None
