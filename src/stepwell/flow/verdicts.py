"""What a flow control may answer: about a start (admission), and about one call of a run (dispatch)."""

from __future__ import annotations

import msgspec

from stepwell.model.history import Cell


class Accept(msgspec.Struct, frozen=True):
    """The run may start. ``remember`` is to be written in the same decision."""

    remember: Cell | None = None


class Skip(msgspec.Struct, frozen=True):
    """No run. ``kind`` is an ``OutcomeKind``; ``run_id`` names the run that stands in its place."""

    kind: str
    reason: str = ""
    run_id: str | None = None


class Hold(msgspec.Struct, frozen=True):
    """Not a run yet: look again at ``until``."""

    until: int
    remember: Cell | None = None


class Replace(msgspec.Struct, frozen=True):
    """The run may start once ``run_id`` has been cancelled, in the same decision."""

    run_id: str
    remember: Cell | None = None


Admission = Accept | Skip | Hold | Replace


class Go(msgspec.Struct, frozen=True):
    """The item may be leased now. ``remember`` is to be written in the same decision."""

    remember: Cell | None = None


class Later(msgspec.Struct, frozen=True):
    """Not before ``at``."""

    at: int


class Blocked(msgspec.Struct, frozen=True):
    """Not until somebody else frees a slot. The item leaves the queue of due items until then (hot-path.md §3.5)."""


Granting = Go | Later | Blocked
