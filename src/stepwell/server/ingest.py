"""``POST /e/{key}``: events come in (protocol §9.1). Plain ASGI, because this is the route that must be quick."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import msgspec

from stepwell.limits import REQUEST_BYTES_MAX
from stepwell.protocol.events import parse_events
from stepwell.runtime.engine import Engine
from stepwell.server.guard import Envelope
from stepwell.server.replies import Refused, by_status

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_S_MAX: Final = 30.0  # a body that takes longer holds a connection for nothing
TOO_LARGE: Final = "request-too-large"

_encode: Final = msgspec.json.Encoder().encode


class Disconnected(Exception):
    """Nobody is there any more to be answered."""


async def ingest(engine: Engine, scope: Scope, envelope: Envelope, receive: Receive) -> bytes:
    """Accept the events of a request; the answer once they are durable. Raises ``Refused`` and ``StepwellError``."""
    if scope["method"] != "POST":
        raise by_status(405)
    body = await read_body(envelope.length, receive)
    ids = await engine.send(parse_events(body, bytes_max=engine.settings.event_bytes_max), seed=envelope.seed)
    return _encode({"ids": ids, "status": 200})


async def read_body(length: int | None, receive: Receive) -> bytes:
    """The body, if it is not too large: by what it says about itself, and by what it is."""
    if length is not None and length > REQUEST_BYTES_MAX:
        raise _too_large()
    async with asyncio.timeout(BODY_S_MAX):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            return body if len(body) <= REQUEST_BYTES_MAX else _refuse()
        parts, size = [body], len(body)
        while message.get("more_body"):
            if size > REQUEST_BYTES_MAX:
                raise _too_large()
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            parts.append(message.get("body", b""))
            size += len(parts[-1])
    return b"".join(parts) if size <= REQUEST_BYTES_MAX else _refuse()


def _refuse() -> bytes:
    raise _too_large()


def _too_large() -> Refused:
    return Refused(
        400,  # clients of this protocol know no 413 (protocol §9.1)
        TOO_LARGE,
        "Event is over the max size: the request is too large",
        f"a request may have {REQUEST_BYTES_MAX:,} bytes",
        "send the events in several requests",
    )
