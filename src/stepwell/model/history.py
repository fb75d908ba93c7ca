"""What is remembered besides the nouns: outcomes, notes, keyed cells."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class OutcomeKind(StrEnum):
    """Why an event that matched a function started no run of its own (semantics §7.1)."""

    DEDUPLICATED = "deduplicated"  # the same event id within 24 h
    IDEMPOTENT = "idempotent"  # the same idempotency key within 24 h
    DEBOUNCED = "debounced"  # a newer event stands for it
    DISCARDED = "discarded"  # it was held back, and a person deleted what was held
    DRAINED = "drained"  # a person lets nothing new begin
    FUNCTION_GONE = "function-gone"  # it was held back, and meanwhile the function was removed or archived
    MISSED = "missed"  # nothing ran at the moment of a tick, and its function asks for no late ones
    PAUSED = "paused"  # a person has paused the function
    RATE_LIMITED = "rate-limited"  # more starts than the rate allows
    SINGLETON = "singleton"  # the one run that there may be has not ended
    EXPRESSION_FAILED = "expression-failed"  # the trigger's condition raised
    LOOP = "loop"  # it would be one too many in a chain of runs that start one another


SKIPPED: frozenset[str] = frozenset({OutcomeKind.PAUSED, OutcomeKind.DRAINED})
"""The kinds of outcomes of events that a person kept from starting anything, and that can be started later. The
statements of each store name them as well."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a pair of event and function where no run was started. Runs speak for the other pairs."""

    event_id: str
    function_id: str
    kind: str
    at: int
    reason: str = ""
    run_id: str | None = None


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Something about a run that people should know: why it was cancelled, a lost lease, changed code."""

    run_id: str
    at: int
    kind: str
    text: str


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """Keyed memory of a flow control or of deduplication. It is as if absent once ``expires_at`` has passed."""

    key: str
    value: str
    expires_at: int
