"""An HTTP request that the engine owes a step, until the step has its result."""

from __future__ import annotations

import msgspec


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be sent for a step. ``content`` is JSON text (``protocol/requests.py``) with the keys of others in it.

    So it is kept apart from all that is shown, and whoever prints it sees nothing (invariants S34).
    """

    run_id: str
    step_id: str
    content: bytes

    def __repr__(self) -> str:
        return f"Request(run_id={self.run_id!r}, step_id={self.step_id!r})"
