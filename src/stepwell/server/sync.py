"""The routes by which apps register, and are added and removed (protocol §4)."""

from __future__ import annotations

from typing import Final
from uuid import NAMESPACE_URL, uuid5

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stepwell.errors import NotFound
from stepwell.server.apps import Apps, app_uuid
from stepwell.server.envelopes import plain
from stepwell.server.guard import envelope
from stepwell.server.ingest import read_body

_EXPECTED: Final = "x-inngest-expected-server-kind"


class Sync:
    """The endpoints of the apps of a server."""

    def __init__(self, apps: Apps) -> None:
        self._apps = apps

    def routes(self) -> list[Route]:
        return [
            Route("/fn/register", self.register, methods=["POST"]),
            Route("/fn/remove", self.remove, methods=["DELETE"]),
        ]

    async def register(self, request: Request) -> Response:
        asked = envelope(request.scope["headers"])
        body = await read_body(asked.length, request.receive)
        found, modified = await self._apps.register(body, request.headers.get(_EXPECTED, ""))
        answer = {
            "ok": True,
            "modified": modified,
            "status": 200,
            "app_id": app_uuid(found.app_id),
            "sync_id": str(uuid5(NAMESPACE_URL, f"stepwell:sync:{found.checksum}")),
        }
        return plain(answer)

    async def remove(self, request: Request) -> Response:
        url = request.query_params.get("url", "")
        if not await self._apps.remove(url):
            raise NotFound(f"no app is known at {url!r}", "it was never synced, or is removed already", "GET /dev")
        return plain({"ok": True})
