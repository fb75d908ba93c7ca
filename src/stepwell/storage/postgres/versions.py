"""Whether others have written: the versions of the shards tell, which every writing transaction counts up."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock

from stepwell.storage.interface import Changed


class Versions:
    """What is known of the versions. Usable from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: dict[int, int] = {}
        self._looked_at: dict[int, float] = {}
        self._open: dict[int, set[int]] = {}  # what our transactions that have not ended have counted up to
        self._noticed = 0
        self._told = 0

    def locked(self, shard: int, version: int, asked_at: float) -> None:
        """One of our transactions has counted a shard up to ``version``: nobody else writes there until it ends."""
        with self._lock:
            self._learn(shard, version - 1, asked_at)
            self._open.setdefault(shard, set()).add(version)

    def committed(self, versions: dict[int, int]) -> None:
        with self._lock:
            for shard, version in versions.items():
                self._open[shard].discard(version)
                self._known[shard] = max(version, self._known[shard])

    def abandoned(self, versions: dict[int, int]) -> None:
        """To be called before the locks are released: then another's transaction may be given the same number."""
        with self._lock:
            for shard, version in versions.items():
                self._open[shard].discard(version)

    def looked(self, found: Iterable[tuple[int, int]], asked_at: float) -> None:
        """What all shards were found to have, by a look that began then."""
        with self._lock:
            for shard, version in found:
                if version not in self._open.get(shard, ()):  # ours, and its end has not been told to us yet
                    self._learn(shard, version, asked_at)

    def changed(self) -> Changed:
        with self._lock:
            others, self._told = self._noticed != self._told, self._noticed
            return Changed(others, min(self._looked_at.values(), default=0.0))

    def _learn(self, shard: int, version: int, asked_at: float) -> None:
        known = self._known.get(shard)
        if known is not None and version > known:
            self._noticed += 1
        if known is None or version > known:
            self._known[shard] = version
        self._looked_at[shard] = max(asked_at, self._looked_at.get(shard, 0.0))
