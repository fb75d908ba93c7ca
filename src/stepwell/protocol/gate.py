"""Bounds how many step bodies of one call run at the same moment."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from stepwell.protocol.messages import Superseded


class Gate:
    """Room for ``room`` bodies at first. Whoever finds none asks the engine for more, and else waits its turn.

    A limit counts the steps that execute, over all calls: that there was no more room a moment ago says little about
    now, so it is asked for again whenever a body ends while others wait.
    """

    def __init__(self, room: int, widen: Callable[[int], Awaitable[int]]) -> None:
        self._room = room
        self._widen = widen
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._asking: asyncio.Task[None] | None = None

    async def enter(self) -> None:
        """Wait until there is room for one more."""
        if self._room > 0:
            self._room -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._ask()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()  # our turn had come in the same moment
            raise

    def leave(self) -> None:
        """A body has ended."""
        self._admit(1)
        self._ask()

    def close(self) -> None:
        """The call is over."""
        if self._asking is not None:
            self._asking.cancel()

    def _admit(self, count: int) -> None:
        while count and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                count -= 1
        self._room += count

    def _ask(self) -> None:
        wanted = sum(not turn.done() for turn in self._waiting)
        if wanted and self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask_for(wanted))

    async def _ask_for(self, wanted: int) -> None:
        granted = 0
        try:
            granted = await self._widen(wanted)
        except Superseded:
            pass  # whoever is inside learns it when it saves what it did
        finally:
            self._asking = None
        self._admit(granted)
        if granted == wanted:
            self._ask()  # others may have come meanwhile
