"""What is said about a run, one of its steps or an attempt, for people and for later questions (semantics §5.10)."""

from __future__ import annotations

import msgspec

RUN = ""
EVERY_ATTEMPT = -1


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of one ``kind`` about one target. ``values`` is JSON text of an object.

    ``step_id`` is the step's hashed id, ``RUN`` for the run itself; ``attempt`` counts from 0, ``EVERY_ATTEMPT`` is for
    the step as a whole. ``updated_at`` is in milliseconds.
    """

    run_id: str
    kind: str
    values: bytes
    updated_at: int
    step_id: str = RUN
    attempt: int = EVERY_ATTEMPT

    @property
    def size(self) -> int:
        """What it counts towards the limits, in bytes."""
        return len(self.kind.encode()) + len(self.values)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to be known. With ``merge`` the members of ``values`` are put to those that are known, else
    they take their place. ``step_id`` may be the name of a step instead, then the ``repeat``-th of that name."""

    kind: str
    values: bytes
    merge: bool = False
    step_id: str = RUN
    repeat: int = 0
    attempt: int = EVERY_ATTEMPT
