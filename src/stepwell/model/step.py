"""A step: one remembered unit inside a run, and the failed attempts that came before its result."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class StepStatus(StrEnum):
    """Where a step is (semantics §4.2). The first five are open: the run is still owed something.

    The last three are those of a function that the run has put off until its end (ADR 0017).
    """

    QUEUED = "QUEUED"  # the app has said that it is next, and is to be told to run it
    ERRORED = "ERRORED"  # failed, and will be tried again at ``due``
    SLEEPING = "SLEEPING"
    WAITING = "WAITING"
    INVOKING = "INVOKING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    DEFERRED = "DEFERRED"  # open, but nothing that the run would wait for: its end is what it waits for
    ABORTED = "ABORTED"
    REJECTED = "REJECTED"


OPEN: frozenset[str] = frozenset(
    {
        StepStatus.QUEUED,
        StepStatus.ERRORED,
        StepStatus.SLEEPING,
        StepStatus.WAITING,
        StepStatus.INVOKING,
        StepStatus.DEFERRED,
    }
)
TO_RUN: frozenset[str] = frozenset({StepStatus.QUEUED, StepStatus.ERRORED})
"""A body is to be executed, from ``due`` on."""
DEFER = "defer"
"""The kind of what a run has put off until its end. It is no step of its code: no memo, no position, not counted."""
RESTS: frozenset[str] = frozenset({"sleep", "waitForEvent", "waitForSignal", "invoke", DEFER})
"""The kinds of steps that have no body: nothing is tried, others bring them to their end."""
REQUESTS: frozenset[str] = frozenset({"aiInfer", "fetch"})
"""The kinds of steps whose body is an HTTP request of the engine's own: tried as bodies are, but not by the app."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One remembered unit of a run. Moments are milliseconds.

    ``id`` is the wire's hashed id, opaque to us; ``name`` is what the user wrote, ``repeat`` how often that name was
    used before in the same run. ``kind`` is the step type of semantics §4.3. ``position`` counts the results of a run
    in the order in which they became known. ``output`` is JSON text: the result, the error object of a failed step,
    the matched event of a wait. ``due`` is when an open step moves by itself: the end of a sleep, the timeout of a
    wait, the next attempt. ``details`` is JSON text for people: event name, expression, invoked function, matched
    event; once a body has failed, how many attempts it had. ``parallel`` is
    "wait" or "race" for a member of a parallel group that the engine takes care of: whether the function goes on when
    all members are done, or after each (semantics §5.6). It is "alone" for a single step that is to be asked for by
    name.
    """

    run_id: str
    id: str
    name: str
    kind: str
    status: str
    repeat: int = 0
    position: int = 0
    attempt: int = 0
    started_at: int = 0
    ended_at: int | None = None
    due: int | None = None
    output: bytes | None = None
    details: bytes | None = None
    parallel: str | None = None

    @property
    def open(self) -> bool:
        return self.ended_at is None

    @property
    def has_body(self) -> bool:
        return self.kind not in RESTS


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """A failed try at a step, or at the function's own code (``step_id`` is ``""``). ``error`` is JSON text."""

    run_id: str
    step_id: str
    attempt: int
    started_at: int
    ended_at: int
    error: bytes
    retry_at: int | None = None
