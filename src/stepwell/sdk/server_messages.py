"""Realtime messages of an app that is served over HTTP: they go to its server, and come from it by WebSocket."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import msgspec

from stepwell.errors import InvalidMessage, MessageTooLarge, NotRunning
from stepwell.limits import REALTIME_BYTES_MAX

if TYPE_CHECKING:
    from stepwell.sdk.server import Reply, Server

_HEARTBEAT_S: Final = 20.0
_FRAME_BYTES_MAX: Final = 2 * REALTIME_BYTES_MAX  # a message, and what is said about it
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


class ServerMessages:
    """As ``sdk/client.py`` has it."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def publish(self, channel: str, topic: str, data: bytes, run_id: str | None) -> None:
        query = {"channel": channel, "topic": topic, **({"run_id": run_id} if run_id else {})}
        reply = await self._server.told(f"/v1/realtime/publish?{urlencode(query)}", data, {})
        if reply.status != 200:
            raise self._refused(reply, "message")

    async def token(self, channel: str, topics: Sequence[str]) -> str:
        wanted = [{"channel": channel, "name": topic, "kind": "run"} for topic in topics]
        reply = await self._server.told("/v1/realtime/token", msgspec.json.encode(wanted), {})
        if reply.status not in (200, 201):
            raise self._refused(reply, "subscriber")
        return str(_decode(reply.body)["jwt"])

    @asynccontextmanager
    async def listen(self, channel: str, topics: Sequence[str]) -> AsyncGenerator[AsyncIterator[bytes], None]:
        import aiohttp

        token = await self.token(channel, topics)
        url = f"{self._server.origin}/v1/realtime/connect?{urlencode({'token': token})}"
        try:
            socket = await self._server.session().ws_connect(url, heartbeat=_HEARTBEAT_S, max_msg_size=_FRAME_BYTES_MAX)
        except (aiohttp.ClientError, OSError) as error:
            raise NotRunning(
                f"the server at {self._server.origin} took no subscriber", str(error), "look at its log"
            ) from None

        async def frames() -> AsyncIterator[bytes]:
            reason = "the connection was lost"
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    yield message.data.encode()
                elif message.type is aiohttp.WSMsgType.ERROR:
                    reason = str(socket.exception())
            code = f"the server closed the connection with {socket.close_code}" if socket.close_code else reason
            raise NotRunning("the subscription has ended", code, "subscribe again")

        try:
            yield frames()
        finally:
            await socket.close()

    def _refused(self, reply: Reply, what: str) -> Exception:
        try:
            found = _decode(reply.body)
        except msgspec.MsgspecError:
            found = {}
        text = str(found.get("error", f"status {reply.status}"))
        kind = {400: InvalidMessage, 413: MessageTooLarge}.get(reply.status)
        if kind is not None:
            return kind(text, "the server refused it", str(found.get("fix", "correct it")))
        return NotRunning(f"the server at {self._server.origin} took no {what}", text, "look at its log")
