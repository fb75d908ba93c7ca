"""Migrates an empty PostgreSQL database in processes that are killed, each one statement later, until one is through.

``python -m tests.storage.dying_postgres_migration URL`` says how many died, and what was wrong.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import asyncpg

from stepwell.storage.postgres.schema import layout, migrate

_TABLES = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'stepwell'"


def main(url: str) -> None:
    deaths = 0
    while _dies(url, deaths):
        deaths += 1
        asyncio.run(_check(url, deaths))
    asyncio.run(_check_whole(url))
    print(f"{deaths} deaths")


def _dies(url: str, statements: int) -> bool:
    """Migrate in a child that is killed when it is about to send the statement of this number."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status) and status != 0:
            print(f"the child ended with {status}")
        return os.WIFSIGNALED(status)
    asyncio.run(_migrate(url, statements))
    os._exit(0)


async def _migrate(url: str, statements: int) -> None:
    left = statements

    class Dying(asyncpg.Connection):  # type: ignore[misc]
        async def execute(self, query: str, *values: Any, **options: Any) -> str:
            # The server would do a file as a whole: sent one by one, there is a moment between any two statements.
            said = ""
            for part in query.split(";\n"):
                if part.strip():
                    self._count()
                    said = await super().execute(part, *values, **options)
            return said

        async def fetch(self, query: str, *values: Any, **options: Any) -> Any:
            self._count()
            return await super().fetch(query, *values, **options)

        def _count(self) -> None:
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    await migrate(await asyncpg.connect(url, connection_class=Dying), "here", shards=4)


async def _check(url: str, deaths: int) -> None:
    """Whatever was left is nothing."""
    connection = await asyncpg.connect(url)
    async with connection.transaction():  # after whoever died has been noticed
        await connection.execute("SELECT pg_advisory_xact_lock(8319385945374026860)")
    ((tables,),) = await connection.fetch(_TABLES)
    found = await layout(connection, "here")
    # Only the last statement of a transaction is the end of it.
    if tables and found.number == 0:
        print(f"{tables} tables without a number after {deaths} deaths")
    await connection.close()


async def _check_whole(url: str) -> None:
    connection = await asyncpg.connect(url)
    ((shards, lowest, highest),) = await connection.fetch(
        "SELECT count(*), min(shard), max(shard) FROM stepwell.shards"
    )
    if (shards, lowest, highest) != (4, 0, 3):
        print(f"{shards} shards from {lowest} to {highest}")
    await connection.close()


if __name__ == "__main__":
    main(sys.argv[1])
