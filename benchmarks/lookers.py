"""People at their dashboards, as far as the server can tell: ``python -m benchmarks.lookers PORT COUNT``.

Each hears what changes of the list of runs and asks for it again as a page does (``live.js``): at once, on a connection
that stays, and then not before ten times as long as that was work for the server has passed. Says ``ready`` when all
are connected; ends when its input does.
"""

from __future__ import annotations

import asyncio
import re
import sys

_REST = 10
_WORKED = re.compile(rb"server-timing: look;dur=([\d.]+)")
_LENGTH = re.compile(rb"content-length: (\d+)")


class _Link:
    """A connection of a browser."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self.reader = reader
        self._writer = writer
        self._host = host

    async def ask(self, path: str) -> bytes:
        """The head of the answer, in small letters."""
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\nAccept: text/html\r\n\r\n".encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        if b" 200 " not in head:
            raise RuntimeError(f"{path} was refused: {head!r}")
        return head


async def _link(port: int) -> _Link:
    return _Link(*await asyncio.open_connection("127.0.0.1", port), f"127.0.0.1:{port}")


def _number(pattern: re.Pattern[bytes], head: bytes) -> float:
    found = pattern.search(head)
    assert found is not None, head
    return float(found[1])


async def _page(port: int, changed: asyncio.Event) -> None:
    link = await _link(port)
    while True:
        await changed.wait()
        changed.clear()
        head = await link.ask("/runs?part=results")
        await link.reader.readexactly(int(_number(_LENGTH, head)))
        await asyncio.sleep(_REST * _number(_WORKED, head) / 1000)


async def _look(port: int, ready: asyncio.Semaphore) -> None:
    changed = asyncio.Event()
    page = asyncio.ensure_future(_page(port, changed))
    link = await _link(port)
    await link.ask("/live?topics=runs")
    ready.release()
    while line := await link.reader.readline():
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
        if each.done():
            each.result()
        each.cancel()


if __name__ == "__main__":
    asyncio.run(_all(int(sys.argv[1]), int(sys.argv[2])))
