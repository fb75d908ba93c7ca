"""What is dear to find out is found out once for all who ask meanwhile."""

from __future__ import annotations

from asyncio import Lock
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

A = TypeVar("A")


class Shared(Generic[A]):
    """One answer at a time. Whoever asks while one is made gets the next one, together with all others who do: so it is
    never older than the question, and fifty who look at the same cost what two do."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._begun = 0
        self._made: tuple[int, A] | None = None

    async def get(self, make: Callable[[], Awaitable[A]]) -> A:
        """The answer. Raises what ``make`` raises, to the one who asked first."""
        asked = self._begun
        async with self._lock:
            if self._made is not None and self._made[0] > asked:
                return self._made[1]
            self._begun += 1
            number = self._begun
            made = await make()
            self._made = number, made
            return made
