"""Triggers and the other declarations of a function that name events or moments."""

from __future__ import annotations

import msgspec


class EventTrigger(msgspec.Struct, frozen=True):
    """Start on events of this name (exact, or ``prefix/*``, ``prefix.*``) for which ``expression`` is true."""

    event: str
    expression: str | None = None


class CronTrigger(msgspec.Struct, frozen=True):
    """Start by the clock. ``cron`` has five fields and may be prefixed by ``TZ=Area/City ``.

    ``jitter_ms`` spreads the starts; ``missed`` says what to do about moments that passed while nothing ran:
    ``"latest"``, ``"skip"`` or ``"all"`` (design D10).
    """

    cron: str
    jitter_ms: int = 0
    missed: str = "latest"


Trigger = EventTrigger | CronTrigger


class CancelOn(msgspec.Struct, frozen=True):
    """Cancel a run when this event arrives and ``expression`` is true (semantics §8.1).

    The listener lives for ``timeout_ms`` after the run was created, or until the moment ``expires_at``; never both
    are set.
    """

    event: str
    expression: str | None = None
    timeout_ms: int | None = None
    expires_at: int | None = None
