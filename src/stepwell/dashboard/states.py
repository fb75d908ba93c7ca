"""How states look: each has a word, a colour and a shape, so that none is told by colour alone (WCAG 1.4.1)."""

from __future__ import annotations

from typing import Final, NamedTuple


class State(NamedTuple):
    """``tone`` names its colours in the style sheet, ``shape`` its icon; ``word`` is what people read."""

    word: str
    tone: str
    shape: str


_STATES: Final = {
    "QUEUED": State("Queued", "wait", "ring"),
    "RUNNING": State("Running", "busy", "dot"),
    "COMPLETED": State("Completed", "good", "check"),
    "FAILED": State("Failed", "bad", "cross"),
    "CANCELLED": State("Cancelled", "off", "slash"),
    "SKIPPED": State("Skipped", "off", "slash"),
    "ERRORED": State("Retrying", "warn", "again"),
    "SLEEPING": State("Sleeping", "wait", "moon"),
    "WAITING": State("Waiting", "wait", "hourglass"),
    "INVOKING": State("Invoking", "busy", "link"),
    "TIMED_OUT": State("Timed out", "warn", "hourglass"),
    "DEFERRED": State("Deferred", "wait", "ring"),
    "ABORTED": State("Aborted", "off", "slash"),
    "REJECTED": State("Rejected", "bad", "cross"),
    "HELD": State("Held", "wait", "hourglass"),
    "PAUSED": State("Paused", "warn", "pause"),
}


def state_of(status: str) -> State:
    """Of a run or a step; a state of a later version is shown by its name."""
    return _STATES.get(status) or State(status.capitalize(), "off", "ring")
