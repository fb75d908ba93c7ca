"""Refuses to serve a file that is not whole, or whose content has gone elsewhere (``storage/moving.py``)."""

from __future__ import annotations

from typing import Final

from stepwell.storage.moving import State, unservable
from stepwell.storage.sqlite.driver import Execute

_MOVES: Final = "SELECT state, place FROM moves WHERE state <> 'arrived'"


def refuse_incoming(execute: Execute, path: str) -> None:
    """Raises ``StorageError`` if what is in the file is not whole. What has gone elsewhere may be read."""
    for state, place in execute(_MOVES).fetchall():
        error = unservable(path, state, place)
        if state == State.INCOMING and error is not None:
            raise error


def refuse_moved(execute: Execute, path: str) -> None:
    """Raises ``StorageError``."""
    for state, place in execute(_MOVES).fetchall():
        error = unservable(path, state, place)
        if error is not None:
            raise error
