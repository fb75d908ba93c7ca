"""A run: one execution of a function."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from stepwell.model.place import place_of


class RunStatus(StrEnum):
    """Where a run is in its life (semantics §4.1). The values are the wire's (protocol §10.3)."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    SKIPPED = "SKIPPED"


class Rerun(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """In what a run that was made again differs from a run that just begins (semantics §9.2, §9.4).

    With ``from_step``, the wire's id of a step of the original, its first ``copied`` steps are those of the original;
    ``name`` is what the user calls that step. ``input`` is JSON text, what its body is given in place of what the code
    gives it. The results of the ``overridden`` steps, by id, were given by a person. ``edited`` says that its event is
    not that of the original. ``replay`` is the order that started it.
    """

    from_step: str | None = None
    name: str = ""
    kind: str = ""
    copied: int = 0
    input: str | None = None
    overridden: tuple[str, ...] = ()
    edited: bool = False
    replay: str | None = None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of a function. Moments are milliseconds.

    ``output`` is the JSON text of the result of a Completed run, or of the error object of a Failed one.
    ``reason`` says why a run was cancelled, failed by us, or skipped. ``parent`` and ``parent_step`` name
    the invoke step that waits for this run. ``slots`` are the concurrency keys it holds while a call is
    in flight; they were worked out once, when the run was created (semantics §3.5). ``guarded`` is true if
    cancel listeners or timeouts exist for it, so that ending an unguarded run has nothing to tidy up.
    ``throttle`` is the key under which it waits for its turn to start, if its starts are throttled.
    ``batch`` is how many events it was started with, if events were collected for it; ``event_id`` is the first.
    ``locks`` are the keys that the run itself holds, in whatever it does: from its creation to its end the one that it
    holds alone, and from its first call those of which so many runs may hold one.
    ``original`` is the run that this one repeats, and ``rerun`` says in what it differs from one that just begins.
    ``depth`` is how many runs before it started one another, by events or invokes.
    ``execution_version`` is the dialect in which the app answers calls of this run, -1 until it has (protocol §7.5).
    """

    id: str
    function_id: str
    event_id: str
    queued_at: int
    scheduled_at: int
    function_version: int = 1
    status: str = RunStatus.QUEUED
    started_at: int | None = None
    ended_at: int | None = None
    output: bytes | None = None
    reason: str | None = None
    parent: str | None = None
    parent_step: str | None = None
    depth: int = 0
    slots: tuple[str, ...] = ()
    guarded: bool = False
    cron: str | None = None
    original: str | None = None
    execution_version: int = -1
    throttle: str | None = None
    locks: tuple[str, ...] = ()
    batch: int | None = None
    rerun: Rerun | None = None

    @property
    def place(self) -> int:
        """Where it is, with all that belongs to it (``model/place.py``)."""
        return place_of(self.id)

    @property
    def ended(self) -> bool:
        return self.ended_at is not None
