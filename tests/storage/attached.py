"""A process that follows: opens a database that others use as well, and writes some cells, one after the other.

``python -m tests.storage.attached PATH NAME COUNT``
"""

from __future__ import annotations

import asyncio
import sys

from stepwell.model.changes import Decision, PutCell
from stepwell.model.history import Cell
from stepwell.storage.sqlite import SqliteStore


async def main(path: str, name: str, count: int) -> None:
    store = SqliteStore.open(path, leader=False)
    for number in range(count):
        cell = Cell(key=f"{name}-{number}", value="v", expires_at=9)
        await store.commit(Decision((PutCell(cell, 3),)))
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
