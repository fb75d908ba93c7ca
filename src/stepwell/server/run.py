"""Runs an ASGI application on sockets, in an event loop of ours, until a signal says stop."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import uvicorn

from stepwell.clock import Clock
from stepwell.errors import ConfigurationError
from stepwell.runtime.loop import Loop, Timers

BACKLOG: Final = 2048  # connections that wait while the process is busy, or being replaced
IDLE_S: Final = 75  # a connection that says nothing for this long is closed
_LOOPBACK: Final = ("127.0.0.1", "localhost")
_DATE_MS: Final = 1_000
_STUCK_MS: Final = 60_000  # a connection that takes nothing of what is written to it is cut off by the system
_PING_S: Final = 20.0
_NOT_GUESSED: Final = ("x-content-type-options", "nosniff")
_PORT_MAX: Final = 65_535
_FRAME_BYTES_MAX: Final = 64 * 1024  # of what a subscriber says: tokens, and names of topics


class PortInUse(ConfigurationError):
    """Somebody else listens there."""

    slug = "invalid-configuration"


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets for an address. Loopback means both kinds of it, because SDKs disagree about what ``localhost`` is.

    Port 0 takes any free one. Raises ``PortInUse``, or ``ConfigurationError`` if the address is not ours.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigurationError(
            f"nobody can listen on {host!r}", str(error), "use 127.0.0.1, or an address of this machine"
        ) from None
    family, _, _, _, address = found[0]
    sockets = [_listen(family, address)]
    if host in _LOOPBACK and socket.has_ipv6:
        taken = sockets[0].getsockname()[1]
        try:
            sockets.append(_listen(socket.AF_INET6, ("::1", taken, 0, 0)))
        except PortInUse:
            sockets[0].close()
            if port == 0:
                return bind(host, port)
            raise
        except ConfigurationError:
            pass  # this machine has no IPv6
    return sockets


def _listen(family: int, address: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STUCK_MS)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        where = f"{address[0]}:{address[1]}"
        if error.errno == errno.EADDRINUSE:
            why = "another program listens there; perhaps it is another 'stepwell dev'"
            raise PortInUse(
                f"port {address[1]} is in use", why, "stop that program, or choose another: --port"
            ) from None
        raise ConfigurationError(f"cannot listen on {where}", error.strerror or str(error)) from None
    sock.setblocking(False)
    return sock


def bind_beside(sockets: Sequence[socket.socket], port: int | None) -> list[socket.socket]:
    """Sockets where workers connect, at the address of the listener: at this port, or at the next one if none is named.

    The next one is where SDKs' own test suites look for it; workers ask where it is, so any will do if it is taken.
    Raises ``PortInUse``, or ``ConfigurationError``.
    """
    host, taken = sockets[0].getsockname()[:2]
    if port is not None:
        return bind(host, port)
    if taken < _PORT_MAX:
        try:
            return bind(host, taken + 1)
        except PortInUse:
            pass
    return bind(host, 0)


class Listener:
    """Answers requests that come in on sockets. ``headers`` are those of all answers, also to what is no request;
    beside them each says that nobody is to guess what it is.

    ``frame_bytes_max`` is how much a message of a WebSocket may have; with ``pings`` connections are tried now and
    then, which is for those whose protocol does not do so itself.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        sockets: Sequence[socket.socket],
        clock: Clock,
        timers: Timers,
        headers: Sequence[tuple[str, str]] = (),
        *,
        frame_bytes_max: int = _FRAME_BYTES_MAX,
        pings: bool = True,
    ) -> None:
        # Copies, so that closing them leaves the originals listening for whoever takes over.
        self._sockets = [sock.dup() for sock in sockets]
        self._config = uvicorn.Config(
            app,
            http="httptools",
            ws=cast("type[asyncio.Protocol]", _websocket),
            ws_max_size=frame_bytes_max,
            ws_ping_interval=_PING_S if pings else None,
            ws_per_message_deflate=False,  # it would cost memory for each connection
            log_level="warning",  # below, it writes addresses down, which hold tokens
            lifespan="off",
            interface="asgi3",
            access_log=False,
            log_config=None,
            server_header=False,
            headers=[_NOT_GUESSED, *headers],
            proxy_headers=False,
            timeout_keep_alive=IDLE_S,
            backlog=BACKLOG,
        )
        self._server = uvicorn.Server(self._config)
        self._dates = Loop("http dates", self._set_date, clock, timers)

    async def start(self) -> None:
        self._config.load()
        self._server.lifespan = self._config.lifespan_class(self._config)
        await self._set_date(0)
        await self._server.startup(sockets=self._sockets)
        self._dates.start()

    async def stop(self, grace_s: float) -> None:
        """Take no more connections, finish the requests that are being answered, close."""
        self._config.timeout_graceful_shutdown = max(1, round(grace_s))
        await self._dates.stop()
        await self._server.shutdown(sockets=self._sockets)

    async def _set_date(self, now: int) -> int | None:
        await self._server.on_tick(0)
        return now + _DATE_MS


def _websocket(**given: Any) -> asyncio.Protocol:
    """The protocol of a connection that becomes a WebSocket. Most processes never have one, and need not import it."""
    from stepwell.server.websocket import WebSocket

    return WebSocket(**given)


class Stop:
    """The wish to stop, from a signal or from within. ``wait()`` gives the reason."""

    def __init__(self) -> None:
        self._wanted = asyncio.Event()
        self.reason = ""

    def request(self, reason: str) -> None:
        if not self._wanted.is_set():
            self.reason = reason
            self._wanted.set()

    async def wait(self) -> str:
        await self._wanted.wait()
        return self.reason

    def on_signals(self, force: Callable[[], None]) -> None:
        """The first SIGINT or SIGTERM asks to stop, the second calls ``force``."""
        loop = asyncio.get_running_loop()

        def wanted(name: str) -> None:
            if self._wanted.is_set():
                force()
            self.request(name)

        for number in (signal.SIGINT, signal.SIGTERM):
            name = number.name
            if sys.platform == "win32":
                signal.signal(number, lambda *_, name=name: loop.call_soon_threadsafe(wanted, name))
            else:
                loop.add_signal_handler(number, wanted, name)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The quickest event loop there is for this platform."""
    try:
        import uvloop
    except ImportError:  # Windows, PyPy
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def leave(code: int) -> None:
    """End the process once its work is safe. A step body in a thread cannot be stopped, and must not keep it alive."""
    sys.stdout.flush()
    sys.stderr.flush()
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread() and not thread.daemon]
    if others:
        os._exit(code)
    sys.exit(code)
