"""One of several processes that open the same file: starts, says who leads, sends when told to.

``python -m tests.edge.member FILE LEDGER``; commands on standard input, one a line; answers on standard output.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from stepwell import Context, Event, Stepwell

app = Stepwell("members")
LEDGER = os.open(sys.argv[2], os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)


@app.create_function(id="work", trigger="members/go")
async def work(ctx: Context[Any]) -> int:
    async def body() -> int:
        os.write(LEDGER, f"{ctx.event.data['n']} {os.getpid()}\n".encode())
        return os.getpid()

    await ctx.step.run("one", body)
    await ctx.step.sleep("rest", "50ms")
    return await ctx.step.run("two", body)


async def main() -> None:
    loop = asyncio.get_running_loop()
    async with app.embedded(sys.argv[1]) as engine:
        print(json.dumps({"started": os.getpid()}), flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            command, *rest = line.split()
            answer: Any = None
            if command == "leads":
                answer = engine.leads
            elif command == "send":
                ids = await app.send([Event("members/go", {"n": int(n)}) for n in rest])
                answer = len(ids)
            print(json.dumps({command: answer}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
