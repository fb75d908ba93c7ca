"""A TCP proxy that misbehaves when it is told to: between a replica and its database, or before an app.

What it can do is what networks do: cut connections, refuse new ones, hold back what goes one way or both, deliver late,
lose a connection for good, and lose it in the very moment of a COMMIT. It is told so on its own loop; ``Proxies`` has a
thread with one, for those who have none.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Thread
from typing import Any, Final, Literal, TypeVar

T = TypeVar("T")
Way = Literal["up", "down"]
"""To the server, or back from it."""

_COMMIT: Final = b"COMMIT\0"  # as a simple query has it, in PostgreSQL's protocol
_CHUNK: Final = 1 << 16
_AGAIN_S: Final = 0.02


class Proxy:
    """Listens on a port of its own. ``targets`` are taken in turn; of several, one that refuses is passed over.

    A ``patient`` proxy keeps whoever connects waiting until somebody is there.
    """

    def __init__(self, targets: Sequence[tuple[str, int]], chance: random.Random, *, patient: bool = False) -> None:
        self.port = 0
        self.connected = 0
        """How many connections there have been."""
        self.struck = 0
        """How many COMMITs were struck."""
        self._targets, self._chance, self._patient = list(targets), chance, patient
        self._open: dict[Way, asyncio.Event] = {"up": asyncio.Event(), "down": asyncio.Event()}
        self._refuses = False
        self._delay_s = 0.0
        self._commits = 0
        self._links: set[_Link] = set()
        self._server: asyncio.Server | None = None
        self.heal()

    async def start(self) -> int:
        """Begin to listen; the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self.port

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        while self._links:
            await asyncio.wait([link.over for link in self._links])

    def heal(self) -> None:
        """Misbehave no more. What was held back is delivered now."""
        self._refuses, self._delay_s, self._commits = False, 0.0, 0
        for way in self._open.values():
            way.set()

    def cut(self) -> None:
        """Reset all connections."""
        for link in list(self._links):
            link.reset()

    def refuse(self) -> None:
        """Reset all connections, and each new one, until healed."""
        self._refuses = True
        self.cut()

    def silence(self, *ways: Way) -> None:
        """Hold back what goes these ways, until healed: nobody is told that nothing arrives."""
        for way in ways:
            self._open[way].clear()

    def lose(self) -> None:
        """The connections that there are stay silent for ever, as after a router forgot them. New ones are served."""
        for link in self._links:
            link.lost = True

    def delay(self, seconds: float) -> None:
        """Deliver whatever comes up to so late, by chance, until healed."""
        self._delay_s = seconds

    def strike(self, commits: int) -> None:
        """Reset the connection of each of the next COMMITs: by chance just before it reaches the server, or after."""
        self._commits = commits

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected += 1
        link = _Link(writer)
        self._links.add(link)
        try:
            if self._refuses:
                return
            await self._open["up"].wait()
            beyond = await self._reach(link)
            if beyond is None:
                return
            theirs, ours = beyond
            link.writers.append(ours)
            pumps = [
                asyncio.create_task(self._pump(link, reader, ours, "up")),
                asyncio.create_task(self._pump(link, theirs, writer, "down")),
            ]
            try:
                await asyncio.wait([*pumps, link.broken], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            link.reset()
            self._links.discard(link)
            link.over.set_result(None)

    async def _reach(self, link: _Link) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        while not link.broken.done():
            first = self._chance.randrange(len(self._targets))
            for host, port in (*self._targets[first:], *self._targets[:first]):
                with suppress(OSError):
                    return await asyncio.open_connection(host, port)
            if not self._patient:
                return None
            await asyncio.sleep(_AGAIN_S)
        return None

    async def _pump(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s * self._chance.random())
                await self._open[way].wait()
                if link.lost:
                    await link.broken  # as long as both sides believe in it
                if way == "up" and self._commits and _COMMIT in data:
                    self._commits -= 1
                    self.struck += 1
                    if self._chance.random() < 0.5:
                        writer.write(data)
                        await writer.drain()
                        link.deaf = True  # the answer is not to overtake the reset
                        await asyncio.sleep(0.05 * self._chance.random())
                    return
                if way == "down" and link.deaf:
                    return
                writer.write(data)
                await writer.drain()


class _Link:
    """One connection, with both its sides."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        self.writers = [writer]
        self.broken: asyncio.Future[None] = loop.create_future()
        self.over: asyncio.Future[None] = loop.create_future()
        self.lost = False
        self.deaf = False

    def reset(self) -> None:
        if not self.broken.done():
            self.broken.set_result(None)
        for writer in self.writers:
            plug = writer.get_extra_info("socket")
            with suppress(OSError, AttributeError):  # a reset, not an orderly end
                plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class Proxies:
    """A thread in which proxies live, for a program without a loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._made: list[Proxy] = []
        self._thread = Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()

    def add(self, targets: Sequence[tuple[str, int]], chance: random.Random, *, patient: bool = False) -> Proxy:
        """One more, which listens."""

        async def make() -> Proxy:
            made = Proxy(targets, chance, patient=patient)
            await made.start()
            return made

        self._made.append(asyncio.run_coroutine_threadsafe(make(), self._loop).result(10))
        return self._made[-1]

    def tell(self, function: Callable[..., T], *args: Any) -> T:
        """Call a method of a proxy, there."""

        async def told() -> T:
            return function(*args)

        return asyncio.run_coroutine_threadsafe(told(), self._loop).result(10)

    def close(self) -> None:
        for each in self._made:
            asyncio.run_coroutine_threadsafe(each.close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
