"""Reads a database file through the very routes a server answers from, with an engine that never leads."""

from __future__ import annotations

from typing import Any

from stepwell.errors import StepwellError
from stepwell.runtime.engine import Engine
from stepwell.server.ingest import Message
from stepwell.server.replies import Refused, error_body, refused
from stepwell.server.rest import Rest
from stepwell.server.wiring import open_for_reading


class Offline:
    """A database file, open for reading. Make it with ``open``."""

    def __init__(self, engine: Engine, rest: Rest) -> None:
        self._engine = engine
        self._rest = rest

    @classmethod
    async def open(cls, path: str) -> Offline:
        engine, led = await open_for_reading(path)
        return cls(engine, Rest(engine, led=led))

    async def ask(self, method: str, path: str, query: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to a request."""
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "root_path": "",
            "query_string": query.encode(),
            "headers": [],
        }
        status, parts = 500, list[bytes]()

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                parts.append(message.get("body", b""))

        try:
            await self._rest(scope, receive, send)
        except (Refused, StepwellError) as error:
            told = refused(error)
            return told.status, error_body(told, path)
        return status, b"".join(parts)

    async def close(self) -> None:
        await self._engine.store.close()
