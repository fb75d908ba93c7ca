"""Events that are held back for one start."""

from __future__ import annotations

from typing import Final

import msgspec

ALWAYS: Final = 253_402_300_799_000  # the year 9999: a window is forgotten when it closes, not before


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of them: it is what the cell of their key holds.

    ``run_id`` is the run that will start, with all of the events if it is a ``batch``, else with the newest. ``at`` is
    when it starts, ``opened_at`` when the first event came, both in milliseconds. ``event_id`` is the event that it
    starts with, ``ts`` that event's own moment. ``count`` events came, of ``size`` bytes.
    """

    run_id: str
    opened_at: int
    at: int
    event_id: str = ""
    ts: int = 0
    count: int = 0
    size: int = 0
    batch: bool = False
