"""Runs transactions on the loop that is running, and beside it when it cannot be relied upon to turn.

A transaction holds locks of shards, for which other replicas wait. While code of the application keeps the loop busy,
whatever is under way on it keeps its locks as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from stepwell.clock import monotonic_s
from stepwell.storage.delivery import Outcome
from stepwell.storage.postgres.thread import LoopThread
from stepwell.storage.postgres.transaction import Work

_BEAT_S: Final = 0.1
_HELD_S: Final = 0.25
"""A beat that comes so late was held up: a hundred transactions could have ended meanwhile."""
_APART_S: Final = 60.0
"""For how long a loop is not relied upon that was held up."""


class Transactions(Protocol):
    """What runs transactions on one loop (``committer.Committer``)."""

    async def run(self, works: Sequence[Work], wanted: set[int]) -> list[Outcome]:
        """Run works in order: those at the beginning that one transaction can take, one at least. Never raises."""
        ...

    async def close(self) -> None:
        """Close the connections that are not in use."""
        ...


class Beat:
    """Tells whether the loop was held up lately. It beats only as long as somebody asks."""

    def __init__(self, monotonic: Callable[[], float] = monotonic_s) -> None:
        self._monotonic = monotonic
        self._held_at: float | None = None
        self._asked = self._beats = False

    def held_up(self) -> bool:
        """Whether it was, in the last minute."""
        self._asked = True
        if not self._beats:
            self._next()
        return self._held_at is not None and self._monotonic() - self._held_at < _APART_S

    def _next(self) -> None:
        self._asked, self._beats = False, True
        due = self._monotonic() + _BEAT_S
        asyncio.get_running_loop().call_later(_BEAT_S, self._beat, due)

    def _beat(self, due: float) -> None:
        now = self._monotonic()
        self._beats = False
        if now - due >= _HELD_S:
            self._held_at = now
        if self._asked:
            self._next()


class MovingApart:
    """Transactions ``here``, and for a minute after the loop was held up on a thread with a loop of its own, by what
    ``there`` makes. Neither keeps connections while the other is used."""

    def __init__(self, here: Transactions, there: Callable[[], Transactions], beat: Beat) -> None:
        self._here, self._make, self._beat = here, there, beat
        self._there: _There | None = None

    async def run(self, works: Sequence[Work], wanted: set[int]) -> list[Outcome]:
        if self._beat.held_up():
            await self._here.close()
            there = self._there = self._there or _There(self._make())
            return await there.run(works, wanted)
        if self._there is not None and not self._there.busy:
            there, self._there = self._there, None
            await there.close()
        return await self._here.run(works, wanted)

    async def close(self) -> None:
        await self._here.close()
        if self._there is not None:
            await self._there.close()


class _There:
    """A thread for transactions. ``busy`` is how many are under way."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions, self._thread = transactions, LoopThread()
        self.busy = 0

    async def run(self, works: Sequence[Work], wanted: set[int]) -> list[Outcome]:
        self.busy += 1
        try:
            return await self._thread.run(self._transactions.run(works, wanted))
        finally:
            self.busy -= 1

    async def close(self) -> None:
        await self._thread.run(self._transactions.close())
        await self._thread.stop()
