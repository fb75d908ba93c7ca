"""What a flow control may answer: about a start (admission), and about one call of a run (dispatch)."""

from __future__ import annotations

import msgspec

from stepwell.flow.window import Window
from stepwell.model.history import Cell


class Accept(msgspec.Struct, frozen=True):
    """The run may start.

    ``remember`` is to be written in the decision that starts it, ``spend`` also if another control keeps it from that.
    """

    remember: Cell | None = None
    spend: Cell | None = None


class Skip(msgspec.Struct, frozen=True):
    """No run. ``kind`` is an ``OutcomeKind``; ``run_id`` names the run that stands in its place. ``remember`` is to be
    written all the same."""

    kind: str
    reason: str = ""
    run_id: str | None = None
    remember: Cell | None = None


class Replace(msgspec.Struct, frozen=True):
    """The run may start if ``run_id`` is cancelled, for this rule."""

    run_id: str
    rule: str


class Held(msgspec.Struct, frozen=True):
    """No run yet: the event waits in a ``window``, at this ``position`` unless it is left out at once.

    ``left_out`` is the event that the run will not get: this one, or the one whose place it takes. ``full`` says that
    the run starts now.
    """

    window: Window
    left_out: str | None = None
    position: int | None = None
    full: bool = False


class Go(msgspec.Struct, frozen=True):
    """The item may be leased now. ``remember`` is to be written in the same decision."""

    remember: Cell | None = None


class Blocked(msgspec.Struct, frozen=True):
    """Not until somebody else frees a slot. The item leaves the queue of due items until then (hot-path.md §3.5)."""


class Later(msgspec.Struct, frozen=True):
    """Not before this moment. The item waits its turn behind those that came before it."""

    at: int
