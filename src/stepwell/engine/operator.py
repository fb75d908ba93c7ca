"""A person acted."""

from __future__ import annotations

from stepwell.engine.draft import Draft
from stepwell.engine.ending import cancel
from stepwell.engine.intake import announce
from stepwell.model.changes import Plan


def cancel_run(draft: Draft, run_id: str, reason: str) -> Plan:
    """Cancel one run. The value is false if it had ended, or does not exist (semantics §8.3)."""
    cancelled = yield from cancel(draft, run_id, reason)
    yield from announce(draft)
    return draft.decision(cancelled)
