"""The keys with which tokens are made and read, for whoever has no key of the server."""

from __future__ import annotations

from typing import Final

from stepwell.runtime.engine import Engine
from stepwell.server.guard import Guard

_SECRET: Final = "tokens"


class TokenKeys:
    """Those that come from the keys of the server. If it has none, one that is kept with the runs.

    Tokens are shown after a restart and to other processes, and a page in a browser must not be able to make one.
    """

    def __init__(self, engine: Engine, guard: Guard) -> None:
        self._engine = engine
        self._guard = guard
        self._kept: str | None = None

    async def all(self) -> tuple[str, ...]:
        """The first one signs, and any of them reads. Raises ``StorageUnavailable``."""
        if self._guard.lasting_keys:
            return self._guard.lasting_keys
        if self._kept is None:
            self._kept = await self._engine.kept_secret(_SECRET)
        return (self._kept,)
