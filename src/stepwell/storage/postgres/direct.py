"""One connection for those who look after a database, beside the store that works with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from stepwell.errors import ConfigurationError, StorageUnavailable

_PATIENCE_S: Final = 10.0


def named(url: str) -> str:
    """The database that a URL means, as it may be shown: without user, password and options."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for half of a password that has a slash in it
        socket = parse_qs(parts.query).get("host", [""])[0]
    except ValueError:
        return "a URL that cannot be read"
    return f"{parts.netloc.rpartition('@')[2] or socket or 'localhost'}{parts.path if parts.path != '/' else ''}"


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Any, None]:
    """A connection by asyncpg to a database. Raises ``ConfigurationError`` and ``StorageUnavailable``."""
    try:
        import asyncpg
    except ImportError:
        raise ConfigurationError(
            what="there is no driver for PostgreSQL",
            why="the package asyncpg is not installed",
            fix='pip install "stepwell[postgres]"',
        ) from None
    where = named(url)
    try:
        # A pooler may give each transaction another session, where what was prepared before is not known.
        connection = await asyncpg.connect(url, timeout=_PATIENCE_S, statement_cache_size=0)
    except ValueError as error:
        raise ConfigurationError(
            what="the URL of the database cannot be read",
            why="it is not like postgresql://user:password@host:port/database",
            fix="write other characters than letters and digits in the password as % and their number: / is %2F",
        ) from error
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise StorageUnavailable(
            what=f"PostgreSQL at {where} does not let us in: {error or type(error).__name__}",
            why="nothing can be read or written without a connection",
            fix="check the URL, that the server runs, and that it accepts this user from here",
        ) from error
    try:
        yield connection
    finally:
        await connection.close()
