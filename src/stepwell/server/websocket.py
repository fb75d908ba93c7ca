"""WebSockets of the listener. Imported with the first of them."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class WebSocket(WebSocketsSansIOProtocol):
    """A connection that is cut off when we are done with it and the other side does not read.

    To close it would wait for what is still to be written, and that would be for ever.
    """

    async def send(self, message: Any) -> None:
        """As before; but an answer in place of a handshake is an end, too."""
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True

    def on_task_complete(self, task: asyncio.Task[Any]) -> None:
        """The application has ended."""
        super().on_task_complete(task)
        if not self.writable.is_set():
            self.transport.abort()
