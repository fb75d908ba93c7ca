"""Gives parallel branches their results in the order in which these became known, so that every race ends as it did.

What is remembered is known all at once when a call begins. Handed out at once it would let another branch win than the
one that won at first, and the code would go another way.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from heapq import heappop, heappush
from typing import Final

# Turns of the event loop.
_FIRST_TURNS: Final = 1  # from the first who asks for its result until all have asked who were to begin with it
_NEXT_TURNS: Final = 2  # between two results: whoever waits for the first of them must not see both
_THREAD_TURNS: Final = 6  # from the end of a branch in a thread to the thread that waits for it

_RACERS_MAX: Final = 16  # in a race there are few; of many branches all are waited for
_THREADS_S: Final = 0.5  # how long threads may compute before others get their results all the same


class Order:
    """The queue of the branches of one call for their results.

    ``moves`` counts whatever happens in the call, ``threads`` those that run code of the function now, ``races`` the
    open races of threads.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.moves = 0
        self.threads = 0
        self.races = 0
        self._loop = loop
        self._waiting: list[tuple[int, int, Future[None]]] = []
        self._going = False

    @property
    def pending(self) -> bool:
        """Does anybody wait?"""
        return bool(self._waiting)

    @property
    def applies(self) -> bool:
        """Must a new result wait for its turn? Behind remembered ones it must, and in a race of threads it always does.

        Threads take their time to go on: only one after the other do they end in the order of their results.
        """
        return self._going or bool(self._waiting) or self.races > 0

    async def turn(self, place: int) -> None:
        """Wait until all results before this place have been handed out, as far as anybody asks for them."""
        future: Future[None] = self._loop.create_future()
        self.moves += 1
        heappush(self._waiting, (place, self.moves, future))
        self._go(_FIRST_TURNS)
        await future

    def hold(self) -> None:
        """A thread goes on."""
        self.threads += 1
        self.moves += 1

    def release(self) -> None:
        """It waits for a step, or has ended."""
        self.threads -= 1
        self.moves += 1
        if not self.threads and self._waiting:
            self._go(_THREAD_TURNS)

    def _go(self, turns: int) -> None:
        if not self._going:
            self._going = True
            self._loop.call_soon(self._tick, turns)

    def _tick(self, turns: int) -> None:
        if self.threads:
            # A thread takes longer than any number of turns: when it is released, this is taken up again.
            self._going = False
            self._loop.call_later(_THREADS_S, self._insist, self.moves)
        elif turns:
            self._loop.call_soon(self._tick, turns - 1)
        else:
            self._hand_out()

    def _insist(self, moves: int) -> None:
        """Nothing has moved for long: does a thread wait for what another is to do with its result?"""
        if moves == self.moves and self._waiting:
            self._going = True
            self._hand_out()

    def _hand_out(self) -> None:
        self.moves += 1
        waiting = self._waiting
        while waiting:
            place, _, future = heappop(waiting)
            if future.done():
                continue
            future.set_result(None)
            # Of many branches nobody awaits just the first: what is next in line may follow at once.
            if len(waiting) <= _RACERS_MAX or waiting[0][0] != place + 1:
                self._loop.call_soon(self._tick, _NEXT_TURNS)
                return
        self._going = False
