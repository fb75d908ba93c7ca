"""An app that replicas call, in a process of its own: it writes down each body that begins and each that ends.

``python restarted_app.py PORT LEDGER STEPS``, with the signing key in the environment.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import uvicorn

from stepwell import Context, Stepwell

app = Stepwell("shop")
steps = int(sys.argv[3])
ledger = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


@app.create_function(id="order", trigger="shop/ordered", retries=0)
async def order(ctx: Context[Any]) -> int:
    total = 0
    for number in range(steps):

        async def body(number: int = number) -> int:
            os.write(ledger, f"begin {ctx.run_id} {number}\n".encode())
            await asyncio.sleep(0.02)
            os.write(ledger, f"end {ctx.run_id} {number}\n".encode())
            return number

        total += await ctx.step.run(f"step {number}", body)
        await ctx.step.sleep(f"nap {number}", "200ms")
    return total


if __name__ == "__main__":
    uvicorn.run(app.serve(checkpointing=False), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
