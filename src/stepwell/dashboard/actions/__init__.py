"""The actions, in the order in which an address is looked for: before pages. To add one: a file here, and a row."""

from __future__ import annotations

from typing import Final

from stepwell.dashboard.action import Action
from stepwell.dashboard.actions import events, runs

ACTIONS: Final[tuple[Action, ...]] = (
    runs.CANCEL,
    runs.AGAIN,
    events.SEND,
    events.RESEND,
)
