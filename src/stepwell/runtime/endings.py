"""Who waits for the end of a run hears of it: at once if it was in this process, soon if it was in another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final

from stepwell.model.changes import Change, FinishRun
from stepwell.model.questions import GetRun
from stepwell.model.run import Run
from stepwell.runtime.engine import Engine
from stepwell.runtime.loop import rest

_LOOK_MS: Final = 1_000  # how soon it is noticed that another process has ended a run, or that nobody waits any more


class Endings:
    """The ends of an engine's runs. It costs nothing while nobody waits."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: dict[str, set[asyncio.Event]] = {}

    async def wait(self, run_id: str, ms: int, gone: Callable[[], Awaitable[bool]]) -> Run | None:
        """The run once it has ended, or as it is after so long, or when the server stops or whoever waits is
        ``gone``."""
        engine = self._engine
        until = engine.clock.now_ms() + ms
        with self._heard(run_id) as ended:
            while True:
                run = await engine.store.read(GetRun(run_id))
                left = until - engine.clock.now_ms()
                if run is None or run.ended or left <= 0 or engine.closing or await gone():
                    return run
                await self._either(ended, min(left, _LOOK_MS))

    async def _either(self, ended: asyncio.Event, ms: int) -> None:
        heard = asyncio.ensure_future(ended.wait())
        over = asyncio.ensure_future(rest(ms, self._engine.clock, self._engine.timers))
        try:
            await asyncio.wait((heard, over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            heard.cancel()
            over.cancel()

    @contextmanager
    def _heard(self, run_id: str) -> Generator[asyncio.Event]:
        if not self._waiting:
            self._engine.observers.append(self._look)
        ended = asyncio.Event()
        self._waiting.setdefault(run_id, set()).add(ended)
        try:
            yield ended
        finally:
            self._waiting[run_id].discard(ended)
            if not self._waiting[run_id]:
                del self._waiting[run_id]
            if not self._waiting:
                self._engine.observers.remove(self._look)

    def _look(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if isinstance(change, FinishRun):
                for ended in self._waiting.get(change.run_id, ()):
                    ended.set()
