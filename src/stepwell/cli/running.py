"""What every server process says of itself, from its start to its stop."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Coroutine
from typing import Any, Final

from stepwell.cli.hosting import Engineering, Host
from stepwell.cli.live import Handler, LiveLog
from stepwell.clock import SystemClock
from stepwell.model.duration import format_duration
from stepwell.runtime.loop import Loop, LoopTimers
from stepwell.sdk.logs import LogHandler
from stepwell.server.run import new_event_loop
from stepwell.storage.address import shown
from stepwell.views.wording import count

EVERYWHERE: Final = ("0.0.0.0", "::")
_LEAD_LOOK_MS: Final = 100


class Running:
    """A host that runs, and the log in which that is told."""

    def __init__(self, host: Host, live: LiveLog, settings: Engineering) -> None:
        self._host = host
        self._live = live
        self._settings = settings
        clock = SystemClock()
        self._lead = Loop("notice of leadership", self._tell_lead, clock, LoopTimers(clock))

    def tell_who_leads(self) -> None:
        """Only if it is another process, and again when that has ended."""
        if self._host.leads:
            return
        path = shown(self._settings.path)
        self._live.notice(
            f"another process runs what is in {path}; this one sends and reads, and takes over when it ends", "yellow"
        )
        self._lead.start()

    def take_leave(self, reason: str) -> None:
        self._live.notice(f"{reason}: stopping{self.busy()}; what is unfinished goes on at the next start")

    def busy(self) -> str:
        """What a stop waits for, if anything."""
        busy = len(self._host.engine.caller.live)
        return f", waiting up to {format_duration(self._settings.grace_ms)} for {count(busy, 'call')}" if busy else ""

    async def stop(self) -> None:
        await self._lead.stop()

    async def _tell_lead(self, now: int) -> int | None:
        if not self._host.leads:
            return now + _LEAD_LOOK_MS
        self._live.notice("the other process has ended: this one runs the functions now")
        return None


def run_to_end(live: LiveLog, life: Coroutine[Any, Any, str]) -> str:
    """What ``life`` returns, in an event loop of its own, while the log is written."""
    live.start()
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(life)
    finally:
        live.close()


def log_through(live: LiveLog) -> None:
    """Show what we and the app log, unless the app has set up logging of its own."""
    if logging.getLogger().handlers:
        return
    logger = logging.getLogger("stepwell")
    logger.addHandler(Handler(live))
    logger.setLevel(logging.INFO)
    logger.propagate = False


def keep_logs() -> None:
    """Keep what the app logs by the standard library for the pages of its runs. Call it when all has been set up."""
    root = logging.getLogger()
    if not root.handlers and logging.lastResort is not None:
        root.addHandler(logging.lastResort)  # it stands in where there is no handler, and there is one now
    root.addHandler(LogHandler())


def address_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
