"""The actions, in the order in which an address is looked for: before pages. To add one: a file here, and a row."""

from __future__ import annotations

from typing import Final

from stepwell.dashboard.action import Action
from stepwell.dashboard.actions import apps, bulk, events, functions, runs, standing, steps, users, waits, windows

ACTIONS: Final[tuple[Action, ...]] = (
    bulk.CANCEL,
    bulk.REPLAY,
    bulk.STOP,
    runs.CANCEL,
    runs.AGAIN,
    steps.FROM,
    steps.RETRY,
    steps.SKIP,
    waits.ANSWER,
    waits.SIGNAL,
    events.SEND,
    events.RESEND,
    functions.INVOKE,
    functions.PAUSE,
    functions.RESUME,
    windows.RUN,
    windows.DROP,
    *standing.STANDING,
    users.ADD,
    users.CHANGE_ROLE,
    users.CHANGE_PASSWORD,
    users.CHANGE_OWN,
    users.REMOVE,
    users.END,
    apps.ADD,
    apps.SYNC,
    apps.REMOVE,
)
