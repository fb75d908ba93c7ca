"""What actions ask to be done: the operations of an engine, which the server gives (``server/operating.py``).

The dashboard knows no engine (ADR 0047): these are the same functions that the REST API and the command line call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from stepwell.engine.again import FromStep
from stepwell.model.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """What somebody did, or tried to do. ``outcome`` is ``done``, or the slug of what was in the way."""

    action: str
    address: str
    who: str
    outcome: str


class Operations(Protocol):
    """Each raises ``StepwellError``. With a ``seed`` a second request gets what came of the first."""

    async def record(self, deed: Deed) -> None: ...

    async def send(self, events: bytes, seed: str) -> list[str]:
        """Events as JSON text, one or an array; their ids."""
        ...

    async def cancel(self, run_id: str) -> bool:
        """False if it had ended."""
        ...

    async def rerun(
        self, run_id: str, seed: str, *, from_step: FromStep | None = None, data: bytes | None = None
    ) -> Run: ...
