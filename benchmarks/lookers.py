"""People at their dashboards, as far as the server can tell: ``python -m benchmarks.lookers PORT COUNT``.

Each hears what changes of the list of runs and asks for it again as a page does: at once, and then not before a quarter
of a second, or eight times as long as the answer took, has passed. Says ``ready`` when all are connected; ends when its
input does.
"""

from __future__ import annotations

import asyncio
import sys
import time

_PAUSE_S, _TIMES = 0.25, 8


async def _ask(port: int, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()
    if b" 200 " not in await reader.readline():
        raise RuntimeError(f"{path} was refused")
    return reader, writer


async def _page(port: int, changed: asyncio.Event) -> None:
    while True:
        await changed.wait()
        changed.clear()
        began = time.perf_counter()
        reader, writer = await _ask(port, "/runs?part=results")
        await reader.read()
        writer.close()
        await asyncio.sleep(max(_PAUSE_S, _TIMES * (time.perf_counter() - began)))


async def _look(port: int, ready: asyncio.Semaphore) -> None:
    changed = asyncio.Event()
    page = asyncio.ensure_future(_page(port, changed))
    reader, _ = await _ask(port, "/live?topics=runs")
    ready.release()
    while line := await reader.readline():
        if line.startswith(b"data:"):
            changed.set()
        if page.done():
            page.result()


async def _all(port: int, count: int) -> None:
    ready = asyncio.Semaphore(0)
    looking = [asyncio.ensure_future(_look(port, ready)) for _ in range(count)]
    for _ in range(count):
        await ready.acquire()
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for each in looking:
        each.cancel()


if __name__ == "__main__":
    asyncio.run(_all(int(sys.argv[1]), int(sys.argv[2])))
