"""Everything but events: health, what SDKs ask a server about itself, and the two versions of the REST API."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from stepwell.model.questions import ListFunctions
from stepwell.runtime.engine import Engine
from stepwell.server.apps import Apps
from stepwell.server.endpoints import Endpoints
from stepwell.server.envelopes import plain
from stepwell.server.guard import Guard
from stepwell.server.ingest import Receive, Scope, Send
from stepwell.server.metadata import Annotations
from stepwell.server.realtime import Realtime
from stepwell.server.replies import by_status
from stepwell.server.rest_v1 import V1
from stepwell.server.rest_v2 import V2
from stepwell.server.state import State
from stepwell.server.sync import Sync
from stepwell.server.views import app_views, function_view


class Rest:
    """An ASGI application. Raises ``Refused`` and ``StepwellError``, which its caller answers.

    Without a ``guard`` nobody can listen: there is no server then, only a file that is read.
    """

    def __init__(
        self, engine: Engine, apps: Apps | None = None, guard: Guard | None = None, *, led: bool = True
    ) -> None:
        self._engine = engine
        self.realtime = Realtime(engine, guard) if guard is not None else None
        self._apps = apps
        routes = [
            Route("/health", self.health, methods=["GET"]),
            Route("/dev", self.dev, methods=["GET"]),
            *(Sync(apps).routes() if apps is not None else ()),
            *(Endpoints(engine, apps, guard).routes() if apps is not None and guard is not None else ()),
            *State(engine).routes(),
            *V1(engine).routes(),
            *(self.realtime.routes() if self.realtime is not None else ()),
            *Annotations(engine).routes(),
            *V2(engine, led=led).routes(),
        ]
        self._router = Router(routes, redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self  # with it, the router raises where it would answer in its own words
        try:
            await self._router(scope, receive, send)
        except HTTPException as error:
            raise by_status(error.status_code) from None

    async def health(self, request: Request) -> Response:
        """Healthy means that due work moves (invariants §1.10)."""
        health = await self._engine.health(count=False)
        status = 200 if health.healthy else 503
        return plain({"status": status, "message": health.why}, status)

    async def dev(self, request: Request) -> Response:
        """What SDKs and their tests look at to find a dev server (protocol §4.8)."""
        registered = await self._engine.store.read(ListFunctions())
        functions = [await function_view(self._engine.store, function) for function in registered]
        shown: dict[str, Any] = {
            "version": version("stepwell"),
            "startOpts": {},
            "functions": functions,
            "handlers": app_views(registered),
            "apps": [] if self._apps is None else self._apps.attached(),
            "isSingleNodeService": True,
            "isMissingSigningKey": True,
            "isMissingEventKeys": True,
            "features": {},
        }
        return plain(shown)
