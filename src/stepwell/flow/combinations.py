"""Which flow controls cannot be together in one function (semantics §7.2)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

_CONFLICTS: Final = (
    ("batchEvents", "debounce", "one collects events and the other drops all but the newest"),
    ("batchEvents", "rateLimit", "a limit of starts says nothing of events that are collected for one start"),
    ("batchEvents", "idempotency", "a batch has many events, and so no one key"),
    ("batchEvents", "singleton", "a batch has many events, and so no one key"),
    ("batchEvents", "cancel", "a batch has many events, and none of them speaks for it"),
    ("batchEvents", "priority", "a batch has many events, and none of them speaks for it"),
)


def conflicts(options: Collection[str]) -> list[tuple[str, str, str]]:
    """The pairs among these options, by their names on the wire, that cannot be kept together, and why."""
    return [found for found in _CONFLICTS if found[0] in options and found[1] in options]
