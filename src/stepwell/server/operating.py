"""What people do on pages: the same functions that the REST API and the command line call (ADR 0047)."""

from __future__ import annotations

from typing import Final

from stepwell.dashboard.operations import Deed
from stepwell.engine.again import FromStep
from stepwell.model.run import Run
from stepwell.protocol.events import parse_events
from stepwell.runtime import operator
from stepwell.runtime.engine import Engine
from stepwell.runtime.logs import log

_ASKED: Final = frozenset({"asked", "refused"})  # nothing was tried: a form was shown again


class Operating:
    """The operations of an engine, as actions of the dashboard ask for them (``dashboard/operations.py``)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def record(self, deed: Deed) -> None:
        """Say who did what."""
        if deed.outcome not in _ASKED:
            log.info("a person acted", action=deed.action, at=deed.address, who=deed.who, outcome=deed.outcome)

    async def send(self, events: bytes, seed: str) -> list[str]:
        found = parse_events(events, bytes_max=self._engine.settings.event_bytes_max)
        return await self._engine.send(found, seed=seed)

    async def cancel(self, run_id: str) -> bool:
        return await self._engine.cancel(run_id)

    async def rerun(
        self, run_id: str, seed: str, *, from_step: FromStep | None = None, data: bytes | None = None
    ) -> Run:
        return await operator.rerun(self._engine, run_id, key=seed or None, from_step=from_step, data=data)
