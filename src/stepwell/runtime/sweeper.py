"""Forgets what is old, a little at a time, so that the file does not grow for ever."""

from __future__ import annotations

from stepwell.runtime.logs import log
from stepwell.storage.interface import Store

_ROWS_PER_ROUND = 200  # a round holds the writer for a few milliseconds at most
_PAUSE_MS = 50
_EVERY_MS_MIN, _EVERY_MS_MAX = 60_000, 3_600_000  # it looks less often while it finds nothing


class Sweeper:
    """Retention: ended runs and events older than ``retention_ms`` are removed; ``None`` keeps everything."""

    def __init__(self, store: Store, retention_ms: int | None) -> None:
        self._store = store
        self._retention_ms = retention_ms
        self._every_ms = _EVERY_MS_MIN

    async def tick(self, now: int) -> int | None:
        # Expired cells go even when runs are kept for ever: nobody can ask for them any more.
        before = now - self._retention_ms if self._retention_ms is not None else 0
        swept = await self._store.sweep(before, _ROWS_PER_ROUND, now=now)
        if swept.more:
            return now + _PAUSE_MS
        if swept.runs or swept.events:
            log.debug("retention", runs=swept.runs, events=swept.events)
            self._every_ms = _EVERY_MS_MIN
        else:
            self._every_ms = min(self._every_ms * 2, _EVERY_MS_MAX)
        return now + self._every_ms
