"""The routes by which apps register, and are added and removed (protocol §4)."""

from __future__ import annotations

from functools import partial
from typing import Final
from uuid import NAMESPACE_URL, uuid5

import msgspec
from starlette.responses import Response

from stepwell.errors import NotFound
from stepwell.server.apps import Apps, app_uuid, attaching
from stepwell.server.envelopes import plain
from stepwell.server.operations import Asked, Opaque, Operation, Style
from stepwell.server.parameters import text

APP: Final = "its id, for apps whose workers connect: they have the address `wss://connect` in common"
_EXPECTED: Final = "x-inngest-expected-server-kind"


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """The functions are known. ``modified`` says whether anything is new."""

    ok: bool = True
    modified: bool
    status: int = 200
    app_id: str
    sync_id: str


class Removed(msgspec.Struct, frozen=True):
    """The app is asked no more."""

    ok: bool = True


class Sync:
    """The endpoints of the apps of a server. A process that only reads a file has no ``apps``."""

    def __init__(self, apps: Apps | None) -> None:
        self._given = apps

    def routes(self) -> list[Operation]:
        op = partial(Operation, style=Style.PLAIN)
        return [
            op(
                "POST",
                "/fn/register",
                self.register,
                "registers the functions of an app; SDKs send it",
                body=Opaque(schema={"type": "object"}),
                answer=Registered,
            ),
            op(
                "DELETE",
                "/fn/remove",
                self.remove,
                "asks an app no more, and starts no more runs of its functions",
                query=(text("url", "the address of the app"), text("app", APP)),
                answer=Removed,
                refuses=[404, 409],
            ),
        ]

    @property
    def _apps(self) -> Apps:
        return attaching(self._given)

    async def register(self, asked: Asked) -> Response:
        found, modified = await self._apps.register(asked.body, asked.request.headers.get(_EXPECTED, ""))
        answer = Registered(
            modified=modified,
            app_id=app_uuid(found.app_id),
            sync_id=str(uuid5(NAMESPACE_URL, f"stepwell:sync:{found.checksum}")),
        )
        return plain(answer)

    async def remove(self, asked: Asked) -> Response:
        url: str = asked.query["url"] or ""
        if await self._apps.remove(url, asked.query["app"]) is None:
            raise NotFound(f"no app is known at {url!r}", "it was never synced, or is removed already", "GET /dev")
        return plain(Removed())
