"""One connection for those who look after a database, beside the store that works with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from stepwell.errors import ConfigurationError


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[tuple[Any, str], None]:
    """A connection by asyncpg to a database, and the name of that for people, without who logs in and with what.

    Raises ``ConfigurationError`` and ``StorageUnavailable``.
    """
    try:
        import asyncpg  # pyright: ignore[reportMissingTypeStubs]
    except ImportError:
        raise ConfigurationError(
            what="there is no driver for PostgreSQL",
            why="the package asyncpg is not installed",
            fix='pip install "stepwell[postgres]"',
        ) from None
    from stepwell.storage.postgres.driver import Connection
    from stepwell.storage.postgres.faults import explained
    from stepwell.storage.postgres.session import Session

    # A pooler may give each transaction another session, where what was prepared before is not known.
    session = Session(url, statements_cached=False)
    try:
        connection: Any = await session.connect()
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise explained(error, session.where) from error
    try:
        yield connection, session.where
    finally:
        await Connection(connection, "").close()  # a server that is gone must not hide why that is so
