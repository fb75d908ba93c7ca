"""Runs transactions on the loop that is running, and beside it when it cannot be relied upon to turn (ADR 0055).

A transaction holds locks of shards, for which other replicas wait. While code of the application keeps the loop busy,
whatever is under way on it keeps its locks as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol, TypeVar

from stepwell.clock import monotonic_s
from stepwell.storage.delivery import Outcome
from stepwell.storage.postgres.committer import Committer
from stepwell.storage.postgres.faults import Leave
from stepwell.storage.postgres.thread import LoopThread
from stepwell.storage.postgres.transaction import Work

T = TypeVar("T")

_BEAT_S: Final = 0.1
_HELD_S: Final = 0.25
"""How late a beat is when the loop counts as held up. What one turn does usually takes a tenth of that, under load."""
_APART_S: Final = 60.0
"""For how long a loop is not relied upon that was held up."""


class Pulse(Protocol):
    """Tells whether the loop was held up lately: of that alone what is under way between ``begin`` and ``end``."""

    def begin(self) -> None: ...
    def end(self) -> None: ...
    def held_up(self) -> bool: ...


class Beat:
    """A timer that comes every 100 ms while something is under way, or late: then the loop was held up."""

    def __init__(self, monotonic: Callable[[], float] = monotonic_s) -> None:
        self._monotonic = monotonic
        self._under_way = 0
        self._due: float | None = None
        self._held_at: float | None = None

    def begin(self) -> None:
        self._under_way += 1
        if self._due is None:
            self._next()

    def end(self) -> None:
        self._under_way -= 1

    def held_up(self) -> bool:
        """Whether it was, in the last minute."""
        now = self._monotonic()
        if self._due is not None and now - self._due >= _HELD_S:
            self._held_at = now  # it turns again, and the timer has not had its turn yet
        return self._held_at is not None and now - self._held_at < _APART_S

    def _next(self) -> None:
        self._due = self._monotonic() + _BEAT_S
        asyncio.get_running_loop().call_later(_BEAT_S, self._beat)

    def _beat(self) -> None:
        self.held_up()
        self._due = None
        if self._under_way:
            self._next()


class MovingApart:
    """Transactions ``here``, and while the pulse says that the loop was held up on a thread with a loop of its own, by
    what ``there`` makes. Neither keeps connections while the other is used."""

    def __init__(self, here: Committer, there: Callable[[], Committer], pulse: Pulse) -> None:
        self._here, self._make, self._pulse = here, there, pulse
        self._there: _There | None = None

    async def run(self, works: Sequence[Work], wanted: set[int]) -> list[Outcome]:
        """As ``Committer.run``."""
        self._pulse.begin()
        try:
            if not self._pulse.held_up():
                await self._come_back()
                try:
                    return await self._here.run(works, wanted, leave=self._pulse.held_up)
                except Leave:
                    pass  # it has let go of its locks, and nothing was written
            there = self._go_there()
            return await (self._here.run(works, wanted) if there is None else there.run(works, wanted))
        finally:
            self._pulse.end()

    async def close(self) -> None:
        """When nothing is under way."""
        await self._come_back()
        await self._here.close()

    def _go_there(self) -> _There | None:
        if self._there is None:
            try:
                self._there = _There(self._make())
            except (OSError, RuntimeError):
                return None  # there is no room for a thread: better late than never
        self._here.let_go()
        return self._there

    async def _come_back(self) -> None:
        there = self._there
        if there is None:
            return
        await there.let_go()  # before any is opened here
        if not there.busy and self._there is there:
            self._there = None
            there.leave()


class _There:
    """A thread for transactions. ``busy`` is how many wait for something there: until none does, it must not end."""

    def __init__(self, committer: Committer) -> None:
        self._committer, self._thread = committer, LoopThread()
        self.busy = 0

    async def run(self, works: Sequence[Work], wanted: set[int]) -> list[Outcome]:
        return await self._wait_for(self._committer.run(works, wanted))

    async def let_go(self) -> None:
        await self._wait_for(self._let_go())

    def leave(self) -> None:
        self._thread.leave()

    async def _wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        self.busy += 1
        try:
            return await self._thread.run_to_the_end(work)
        finally:
            self.busy -= 1

    async def _let_go(self) -> None:
        self._committer.let_go()
