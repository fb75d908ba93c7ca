"""Where events go whose id says nothing of it: those that come within a moment to one place (ADR 0056).

A transaction takes what waits in one shard, and holds it. Runs that began together go on together, so many of them in
few shards make few large transactions; and processes that share a database, each of which fills a place of its own,
wait less for each other. From moment to moment the place is another, so in the long run all shards have as much.
"""

from __future__ import annotations

from typing import Final

from stepwell.ids import Ids
from stepwell.model.place import PLACES

NEARBY_MAX: Final = 128
"""After so many events comes the next place. Twice as many make transactions larger still, but a process that has no
more under way would have all of it in one shard, and wait there for each of its own transactions."""
NEARBY_MS: Final = 100
"""After so long as well. Where events come rarely each has a place of its own, and waits for no other."""


class Nearby:
    """The places of one process: after ``most`` events, 1 or more, it goes on to the next."""

    def __init__(self, ids: Ids, most: int = NEARBY_MAX) -> None:
        self._ids, self._most = ids, most
        self._place = self._step = 0
        self._left = 0
        self._since = 0

    def place(self, now: int, events: int = 1) -> int:
        """Where so many events go together that come now, in milliseconds."""
        if self._left <= 0 or not 0 <= now - self._since < NEARBY_MS:
            self._go_on()
            self._left, self._since = self._most, now
        self._left -= events
        return self._place

    def _go_on(self) -> None:
        if not self._step:  # odd, so it comes by all places; and drawn, so that few processes go abreast
            self._step = 2 * int(self._ids.chance() * PLACES / 2) + 1
            self._place = int(self._ids.chance() * PLACES)
        self._place = (self._place + self._step) % PLACES
