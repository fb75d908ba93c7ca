"""One process of a load: ``python -m benchmarks.postgres_load STORE`` is Stepwell, embedded, on a file or a database.

It says ``ready``. For each line ``N`` of its input it starts so many runs of five steps at once, and it says how many
runs have ended here each time that has changed. The peers in ``benchmarks/peers`` do the same.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from stepwell import Context, Event, Stepwell

SMALL = "x" * 90
_STEPS = 5


async def serve(store: str) -> None:
    app = Stepwell("bench")
    done = 0

    async def small() -> str:
        return SMALL

    @app.create_function(id="five", trigger="bench/five")
    async def five(ctx: Context[Any]) -> None:
        nonlocal done
        for number in range(_STEPS):
            await ctx.step.run(f"s{number}", small)
        done += 1

    async def say() -> None:
        said = 0
        while True:
            await asyncio.sleep(0.005)
            if done != said:
                said = done
                print(said, flush=True)

    async with app.embedded(store, grace=0):
        talker = asyncio.create_task(say())
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            await asyncio.gather(*(app.send(Event("bench/five", {})) for _ in range(int(line))))
        talker.cancel()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(sys.argv[1]))
