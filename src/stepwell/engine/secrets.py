"""Secrets that belong to an installation, for servers that nobody has given a key."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from stepwell.engine.draft import Draft
from stepwell.model.changes import Plan, PutCell
from stepwell.model.history import Cell
from stepwell.model.place import place_for
from stepwell.model.questions import GetCell, ask

_FOR_EVER_MS: Final = timedelta(days=36_500) // timedelta(milliseconds=1)


def keep_secret(draft: Draft, name: str, new: str) -> Plan:
    """The value is the secret of this name: ``new`` if there was none."""
    key = f"secret/{name}"
    known = yield from ask(GetCell(key, draft.now, place_for(key)))
    if known is not None:
        return draft.decision(known.value)
    draft.add(PutCell(Cell(key=key, value=new, expires_at=draft.now + _FOR_EVER_MS), place_for(key)))
    return draft.decision(new)
