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
"""How many events go to one place. Twice as many make transactions larger still, but keep a process that has no more
under way in one shard, in which it waits for each of its own transactions."""
NEARBY_MS: Final = 100
"""For how long. Where events come rarely each has a place of its own, and waits for no other."""

_NEXT: Final = 619  # the golden section of all places: those that follow each other are in different shards


class Nearby:
    """The places of one process. ``most`` events go to each, 1 or more."""

    def __init__(self, ids: Ids, most: int = NEARBY_MAX) -> None:
        self._place = int(ids.chance() * PLACES)
        self._most = most
        self._left = 0
        self._since = 0

    def place(self, now: int, events: int = 1) -> int:
        """Where events go together that come now, in milliseconds."""
        if self._left <= 0 or not 0 <= now - self._since < NEARBY_MS:
            self._place = (self._place + _NEXT) % PLACES
            self._left, self._since = self._most, now
        self._left -= events
        return self._place
