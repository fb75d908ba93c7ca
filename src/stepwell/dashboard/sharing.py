"""What is dear to find out is found out once for all who ask meanwhile."""

from __future__ import annotations

from asyncio import Lock
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

A = TypeVar("A")


class Shared(Generic[A]):
    """One answer at a time. Whoever asks while one is made gets the next one, together with all others who do: so it is
    never older than the question, and fifty who look at the same cost what two do."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._begun = 0
        self._made: tuple[int, A] | None = None
        self.asking = 0

    async def get(self, make: Callable[[], Awaitable[A]]) -> A:
        """The answer. Raises what ``make`` raises, to the one who asked first."""
        asked = self._begun
        self.asking += 1
        try:
            async with self._lock:
                if self._made is not None and self._made[0] > asked:
                    return self._made[1]
                self._begun += 1
                number = self._begun
                made = await make()
                self._made = number, made
                return made
        finally:
            self.asking -= 1


class SharedBy(Generic[A]):
    """The same for each key apart. Nothing is kept once nobody asks any more."""

    def __init__(self) -> None:
        self._asked: dict[Hashable, Shared[A]] = {}

    async def get(self, key: Hashable, make: Callable[[], Awaitable[A]]) -> A:
        """The answer for all who ask with this ``key``: it must say all that ``make`` makes it from."""
        shared = self._asked.setdefault(key, Shared())
        try:
            return await shared.get(make)
        finally:
            if not shared.asking:
                self._asked.pop(key, None)

    def __len__(self) -> int:
        return len(self._asked)
