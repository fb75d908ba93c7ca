"""The load on DBOS: coroutines for workflows and steps, as its documentation has it for many at once.

Spoken to as ``benchmarks/postgres_load.py``. Run by the interpreter of an environment that has ``dbos``.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any

_STEPS = 5
SMALL = "x" * 90


async def serve(url: str, process: str) -> None:
    dbos: Any = importlib.import_module("dbos")
    library: Any = dbos.DBOS
    library(
        config={
            "name": "bench",
            "system_database_url": url,
            "application_version": "1",
            "executor_id": process,
            "log_level": "ERROR",
        }
    )
    done = 0

    async def body() -> str:
        return SMALL

    small = library.step()(body)

    async def five() -> None:
        nonlocal done
        for _ in range(_STEPS):
            await small()
        done += 1

    workflow = library.workflow()(five)

    async def say() -> None:
        said = 0
        while True:
            await asyncio.sleep(0.005)
            if done != said:
                said = done
                print(said, flush=True)

    library.launch()
    talker = asyncio.create_task(say())
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        handles = await asyncio.gather(*(library.start_workflow_async(workflow) for _ in range(int(line))))
        await asyncio.gather(*(handle.get_result() for handle in handles))
    talker.cancel()
    library.destroy()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2]))
