"""The load on Absurd: as many workers as there are processes, which is how its documentation has them scale.

Spoken to as ``benchmarks/postgres_load.py``. Run by the interpreter of an environment that has ``absurd-sdk``, and
``absurdctl`` for the tables. A client has one connection, so whoever starts tasks has one besides the worker's.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any

_STEPS = 5
_AT_ONCE = 100
SMALL = "x" * 90


async def serve(url: str, process: str) -> None:
    sdk: Any = importlib.import_module("absurd_sdk")
    if process == "0":
        psycopg: Any = importlib.import_module("psycopg")
        with psycopg.connect(url) as connection:
            connection.execute(importlib.import_module("absurdctl").BUNDLED_SCHEMA_SQL)
    app, client = sdk.AsyncAbsurd(url, queue_name="bench"), sdk.AsyncAbsurd(url, queue_name="bench")
    if process == "0":
        await client.create_queue()
    done = 0

    async def small() -> str:
        return SMALL

    async def five(params: Any, ctx: Any) -> None:
        nonlocal done
        for number in range(_STEPS):
            await ctx.step(f"s{number}", small)
        done += 1

    app.register_task(name="five")(five)

    async def say() -> None:
        said = 0
        while True:
            await asyncio.sleep(0.005)
            if done != said:
                said = done
                print(said, flush=True)

    talker = asyncio.create_task(say())
    worker = asyncio.create_task(app.start_worker(worker_id=process, concurrency=_AT_ONCE, poll_interval=0.01))
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        for _ in range(int(line)):
            await client.spawn("five", {}, queue="bench")
    app.stop_worker()
    await worker
    talker.cancel()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2]))
