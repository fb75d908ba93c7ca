"""A wait: an open interest in an event or a signal. A run's own wait, or a listener that would cancel the run."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

_SIGNALS: Final = "inngest/signal:"  # nobody can send an event that is named so (semantics §1.6)


def signal_name(signal: str) -> str:
    """Under which ``event_name`` the waits for this signal are found."""
    return f"{_SIGNALS}{signal}"


def signal_of(wait: Wait) -> str:
    """The signal that a wait of kind ``SIGNAL`` is for."""
    return wait.event_name.removeprefix(_SIGNALS)


class WaitKind(StrEnum):
    EVENT = "event"
    SIGNAL = "signal"
    CANCEL = "cancel"


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """An open interest of a run in events named ``event_name``.

    ``id`` is the hashed id of the waiting step, or ``cancel:<n>`` for the run's n-th cancel listener. ``condition``
    is an expression over ``async``, with what it said about the triggering event already replaced by literals
    (semantics §3.5). ``path`` and ``value`` are one equality that the condition demands, kept apart so that an index
    finds the few waits an event can satisfy among very many (design D11). Only events received after ``since`` and
    before ``expires_at`` count.
    """

    run_id: str
    id: str
    kind: str
    event_name: str
    since: int
    expires_at: int
    condition: str | None = None
    path: str = ""
    value: str = ""
