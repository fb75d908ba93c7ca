"""How a connection is made."""

from __future__ import annotations

from typing import Any, Final, cast

from stepwell.errors import ConfigurationError, StorageError
from stepwell.ids import secret
from stepwell.storage.address import place, torn
from stepwell.storage.postgres.driver import Connect, Raw
from stepwell.storage.postgres.library import asyncpg

_STATEMENTS: Final = 400
"""How many prepared statements a connection keeps: all that there are."""
_CONNECT_S: Final = 10.0
_COMMAND_S: Final = 25.0
"""After this long without an answer a connection is given up: what is on the way may have forgotten it without a word.
The server itself ends a statement earlier. Whoever waits for a shard waits 5 s for each process that stands still.
"""


class _Named(asyncpg.Connection):  # type: ignore[misc]
    """Names its prepared statements as nobody else does.

    asyncpg counts them in each process, so those of two replicas have the same names. Behind a pooler that knows
    nothing of prepared statements one would execute what another has prepared, and nobody would notice: it may take
    the same values. A name that no other has is not known there, which is an error, and safe.
    """

    def _get_unique_id(self, prefix: str) -> str:
        return f"stepwell_{prefix}_{secret(96)}"


class Session:
    """The address of a database, and what is known of the way to it."""

    def __init__(self, dsn: str, statements_cached: bool = True, connect: Connect | None = None) -> None:
        if not dsn.startswith(("postgresql://", "postgres://")):
            raise StorageError(
                what="this is not the address of a PostgreSQL database",
                why="it does not begin with postgresql://",
                fix="write it as postgresql://user:password@host:5432/database",
            )
        if torn(dsn):
            raise _unreadable(None)
        self.where = place(dsn)
        self.statements_cached = statements_cached
        self._dsn, self._connect = dsn, connect

    async def connect(self, *, patient: bool = False, prepared: bool = True) -> Raw:
        """A new connection. Nothing is set for it: behind a pooler it may be another one with each transaction.

        On a ``patient`` one a statement may take as long as it needs, as those of a migration. One that is not to be
        ``prepared`` is for statements that are executed once, and does not depend on what the pooler knows of them.
        Raises ``ConfigurationError`` if the address cannot be read, and what asyncpg raises.
        """
        if self._connect is not None:
            return await self._connect()
        try:
            connection: Any = await asyncpg.connect(
                self._dsn,
                timeout=_CONNECT_S,
                command_timeout=None if patient else _COMMAND_S,
                statement_cache_size=_STATEMENTS if prepared and self.statements_cached else 0,
                max_cached_statement_lifetime=0,
                connection_class=_Named,
            )
        except (asyncpg.UndefinedObjectError, asyncpg.InvalidParameterValueError) as error:
            raise _unreadable(f"the server says: {error}") from None  # of what else is in the URL it makes settings
        except ValueError as error:
            # Without its cause: a password that is not quoted is cut in pieces, and what says so shows one of them.
            raise _unreadable(str(error) if isinstance(error, asyncpg.ClientConfigurationError) else None) from None
        return cast("Raw", connection)


def _unreadable(why: str | None) -> ConfigurationError:
    return ConfigurationError(
        what="the URL of the database cannot be read",
        why=why or "it is not like postgresql://user:password@host:port/database",
        fix=f"{'correct that; ' if why else ''}write other characters than letters and digits in the password as % and "
        "their number: / is %2F",
    )
