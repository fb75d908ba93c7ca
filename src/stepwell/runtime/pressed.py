"""Queues of which nothing is to begin before a moment, as far as this process knows (ADR 0030)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from stepwell.clock import Clock
from stepwell.engine.pressure import LAST, PREFIX, heard
from stepwell.model.questions import ListCells
from stepwell.storage.interface import Store

_HEARD_MAX: Final = 1_000
"""Of one look. With more queues than that some calls go on until their next one is claimed."""


class Pressed:
    """What calls in flight look at before each body. Only memory: claims read it, so nobody relies upon this alone."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self.known: dict[str, int] = {}

    def learn(self, queues: Mapping[str, int]) -> None:
        """Their moments, from a decision of this process or from what others have written."""
        now = self._clock.now_ms()
        self.known = {queue: until for queue, until in self.known.items() if until > now} | dict(queues)

    async def hear(self) -> None:
        """Read what others have written. Raises ``StorageError``."""
        cells = await self._store.read(ListCells(PREFIX, LAST, self._clock.now_ms(), _HEARD_MAX))
        self.learn(heard(cells))

    def until(self, queues: Iterable[str]) -> int:
        """The moment before which nothing of any of these is to begin; 0 if there is none."""
        found = max(self.known.get(queue, 0) for queue in queues)
        return found if found > self._clock.now_ms() else 0
