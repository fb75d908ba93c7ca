"""Refuses to serve a file that is not whole, or whose content has gone elsewhere (``storage/moving.py``)."""

from __future__ import annotations

from typing import Final

from stepwell.storage.moving import unservable
from stepwell.storage.sqlite.driver import Execute

_MOVES: Final = "SELECT state, place FROM moves WHERE state <> 'arrived'"


def refuse_moved(execute: Execute, path: str) -> None:
    """Raises ``StorageError``."""
    for state, place in execute(_MOVES).fetchall():
        error = unservable(path, state, place)
        if error is not None:
            raise error
