"""Those who listen to messages: server-sent events, and WebSockets that are open (protocol §12.3, §12.5)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from stepwell.errors import StepwellError
from stepwell.limits import REALTIME_STREAM_MAX
from stepwell.runtime.engine import Engine
from stepwell.runtime.realtime import SLOW, Frame, Subscription
from stepwell.server.ingest import Disconnected, Receive, Scope, Send
from stepwell.server.replies import Refused

Control = Callable[[Subscription, str], Awaitable[bytes | None]]
"""What a subscriber asks for; the answer, if there is one. Raises ``Refused`` and ``StepwellError``."""

EVENT_END: Final = b"\n\n"

_STREAM_S: Final = REALTIME_STREAM_MAX.total_seconds()
_PATIENCE_S: Final = 15.0  # a stream of events that is silent for so long says that it is alive
_SLOW_S: Final = 10.0  # a subscriber that takes nothing for so long is gone
_CLOSE_S: Final = 5.0
_ALIVE: Final = b": alive\n\n"
_BAD_TOKEN, _TOO_SLOW, _GOING_AWAY, _NORMAL = 1008, 1013, 1001, 1000
_encode: Final = msgspec.json.Encoder().encode


class Events:
    """The answer to whoever reads server-sent events, as an ASGI application."""

    def __init__(self, engine: Engine, subscription: Subscription) -> None:
        self._engine = engine
        self._subscription = subscription

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        subscription, time = self._subscription, asyncio.get_running_loop().time
        until = time() + _STREAM_S
        gone = self._engine.spawn(_until_gone(receive, subscription))
        headers = [
            (b"content-type", b"text/event-stream"),
            (b"cache-control", b"no-store"),
            (b"access-control-allow-origin", b"*"),
        ]
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await self._say(send, _ALIVE)
            while time() < until and (frame := await self._next()) is not None:
                await self._say(send, frame)
            if subscription.reason:
                reason = _encode({"kind": "closing", "data": subscription.reason})
                await self._say(send, b"data: " + reason + EVENT_END)
            await self._say(send, b"", more=False)
        except (TimeoutError, OSError):
            raise Disconnected from None  # it does not read any more: there is nobody to tell
        finally:
            subscription.close()
            gone.cancel()

    async def _next(self) -> bytes | None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                frame = await self._subscription.next()
        except TimeoutError:
            return _ALIVE
        if frame is None:
            return None
        return frame.body if frame.raw else b"data: " + frame.body + EVENT_END

    async def _say(self, send: Send, body: bytes, *, more: bool = True) -> None:
        async with asyncio.timeout(_SLOW_S):
            await send({"type": "http.response.body", "body": body, "more_body": more})


class Socket:
    """A WebSocket that is open. ``control`` answers what its subscriber asks for."""

    def __init__(self, control: Control, subscription: Subscription, receive: Receive, send: Send) -> None:
        self._control = control
        self._subscription = subscription
        self._receive = receive
        self._send = send
        self._wrong = ""

    async def serve(self, spawn: Callable[[Any], asyncio.Task[Any]]) -> None:
        await self._send({"type": "websocket.accept", "headers": []})
        hearing = spawn(self._hear())
        try:
            while (frame := await self._subscription.next()) is not None:
                async with asyncio.timeout(_SLOW_S):
                    await self._tell(frame)
        except OSError:  # the other side has gone, or takes nothing: there is nobody to tell
            return
        finally:
            hearing.cancel()
        await self._close()

    async def _tell(self, frame: Frame) -> None:
        if not frame.raw:
            await self._send({"type": "websocket.send", "text": frame.body.decode()})

    async def _hear(self) -> None:
        """What the subscriber says, until it goes."""
        subscription = self._subscription
        while (said := await self._receive())["type"] != "websocket.disconnect":
            try:
                answer = await self._control(subscription, said.get("text") or "")
            except (Refused, StepwellError) as error:
                self._wrong = error.what
                break
            if answer is not None:
                subscription.offer(Frame(answer, raw=False))
        subscription.close()

    async def _close(self) -> None:
        reason = self._wrong or self._subscription.reason or ""
        code = _BAD_TOKEN if self._wrong else _TOO_SLOW if reason == SLOW else _GOING_AWAY if reason else _NORMAL
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._send({"type": "websocket.close", "code": code, "reason": reason[:120]})
        except (OSError, TimeoutError, RuntimeError):  # it is closed already, or it does not read
            return


async def _until_gone(receive: Receive, subscription: Subscription) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    subscription.close()
