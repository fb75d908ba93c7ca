"""Refuses to serve a database that is not whole, because it is being copied into (``storage/moving.py``)."""

from __future__ import annotations

from typing import Final

from stepwell.storage.moving import unservable
from stepwell.storage.postgres.schema import SCHEMA, Connection

_MOVES: Final = f"SELECT state, place FROM {SCHEMA}.moves WHERE state <> 'arrived'"


async def refuse_moved(connection: Connection, where: str) -> None:
    """Raises ``StorageError``."""
    for state, place in await connection.fetch(_MOVES):
        error = unservable(where, state, place)
        if error is not None:
            raise error
