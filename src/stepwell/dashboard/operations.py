"""What actions ask to be done: the operations of an engine, which the server gives (``server/operating.py``).

The dashboard knows no engine (ADR 0047): these are the same functions that the REST API and the command line call.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from stepwell.engine.again import FromStep
from stepwell.model.history import Outcome
from stepwell.model.order import Order
from stepwell.model.run import Run
from stepwell.model.standing import StandingKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """What somebody did, or tried to do. ``outcome`` is ``done``, or the slug of what was in the way."""

    action: str
    address: str
    who: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """Which runs are meant: of a function or of all of an app, created between two moments, for whose event the
    ``condition`` is true. ``statuses`` and ``rate`` are of those that start again."""

    function_id: str | None
    app_id: str | None
    before: int
    after: int | None = None
    condition: str | None = None
    statuses: tuple[str, ...] = ()
    rate: str | None = None


class Operations(Protocol):
    """Each raises ``StepwellError``. With a ``seed`` a second request gets what came of the first."""

    def acting(self, who: str, action: str, target: str, said: Mapping[str, str]) -> AbstractContextManager[object]:
        """What is done inside is this action of theirs, and is noted together with its effect (ADR 0048)."""
        ...

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

    async def invoke(self, function_id: str, data: bytes, seed: str) -> tuple[str, Run | Outcome]:
        """The id of the event that was made for it, and the run, or why there is none."""
        ...

    async def signal(self, name: str, data: bytes) -> str:
        """The id of the run that waited for it."""
        ...

    async def retry_now(self, run_id: str, step_id: str | None) -> bool:
        """False if nothing waited for that."""
        ...

    async def skip_sleep(self, run_id: str, step_id: str) -> bool:
        """False if it was over."""
        ...

    async def pause(self, function_id: str, *, events: str, runs: str, reason: str) -> None: ...

    async def pause_all(self, target: str, *, events: str, runs: str, reason: str) -> None: ...

    async def resume(self, function_id: str) -> bool:
        """False if it had no pause of its own."""
        ...

    async def give(self, kind: StandingKind, target: str, *, reason: str) -> None: ...

    async def withdraw(self, kind: StandingKind, target: str) -> bool:
        """False if there was no such order."""
        ...

    async def run_window(self, key: str) -> Run | Outcome | None:
        """The run, or why there is none; ``None`` if the window had closed."""
        ...

    async def drop_window(self, key: str) -> bool:
        """False if it had closed."""
        ...

    async def add_user(self, name: str, role: str, password: str) -> None: ...

    async def change_role(self, name: str, role: str) -> None: ...

    async def change_password(self, name: str, password: str) -> None: ...

    async def change_own_password(self, name: str, present: str, password: str) -> None: ...

    async def remove_user(self, name: str) -> None: ...

    async def end_session(self, session_id: str, who: str | None) -> None:
        """Of anybody, or only one of ``who``."""
        ...

    async def sync(self, url: str) -> str | None:
        """Ask what is at an address; the id of the app that answered, as far as it said it."""
        ...

    async def remove_app(self, url: str, app_id: str) -> None:
        """Ask it no more, and start no more runs of its functions."""
        ...

    async def count_cancelled(self, selected: Selected) -> int:
        """How many runs it would cancel."""
        ...

    async def cancel_many(self, selected: Selected, seed: str) -> Order: ...

    async def replay_many(self, selected: Selected, seed: str, *, dry_run: bool) -> Order:
        """With ``dry_run`` they are only counted."""
        ...

    async def stop_order(self, order: Order) -> None: ...
