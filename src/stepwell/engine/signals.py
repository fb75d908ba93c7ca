"""A signal was sent: the one step that waits for it goes on, in the transaction that says so (semantics §5.4)."""

from __future__ import annotations

import msgspec

from stepwell.engine.draft import Draft
from stepwell.engine.intake import find_waits
from stepwell.model.changes import CloseWait, Plan, SettleStep, Wake
from stepwell.model.place import place_for
from stepwell.model.questions import Lock, ask
from stepwell.model.step import StepStatus
from stepwell.model.wait import signal_name

_encode = msgspec.json.Encoder().encode


def deliver(draft: Draft, signal: str, data: bytes) -> Plan:
    """Give ``data``, JSON text, to whoever waits. The value is the id of the run, ``None`` if nobody does."""
    name = signal_name(signal)
    all_held = yield from ask(Lock((place_for(name),)))  # so that nobody begins to wait for it meanwhile
    waits = yield from find_waits(draft, name, (("", ""),), all_held)
    if not waits:
        return draft.decision(None)
    (wait,) = waits
    memo = _encode({"signal": signal, "data": msgspec.Raw(data)})
    details = _encode({"signal": signal, "expires_at": wait.expires_at, "received_at": draft.now})
    draft.add(
        SettleStep(wait.run_id, wait.id, StepStatus.COMPLETED, draft.now, memo, details),
        CloseWait(wait.run_id, wait.id),
        Wake(wait.run_id, draft.now),
    )
    draft.touched.append(wait.run_id)
    draft.due(draft.now)
    return draft.decision(wait.run_id)
