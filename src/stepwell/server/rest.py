"""Everything but events: health, what SDKs ask a server about itself, and the two versions of the REST API."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Router

from stepwell.model.questions import ListFunctions
from stepwell.runtime.engine import Engine
from stepwell.server.apps import Apps, Attached
from stepwell.server.cancelling import Cancelling, CancellingV2
from stepwell.server.connect import Connect
from stepwell.server.endpoints import Endpoints
from stepwell.server.envelopes import plain
from stepwell.server.guard import Guard
from stepwell.server.hurrying import HurryingV2
from stepwell.server.ingest import Receive, Scope, Send
from stepwell.server.metadata import Annotations
from stepwell.server.openapi import document
from stepwell.server.operations import Asked, Opaque, Operation, Style
from stepwell.server.ordering import OrderingV2
from stepwell.server.pausing import PausingV2
from stepwell.server.realtime import Realtime
from stepwell.server.replaying import ReplayingV2
from stepwell.server.replies import by_status
from stepwell.server.rest_access import AccessV2
from stepwell.server.rest_apps import AppsV2
from stepwell.server.rest_queues import QueuesV2
from stepwell.server.rest_v1 import V1
from stepwell.server.rest_v2 import EVENTS, V2
from stepwell.server.state import State
from stepwell.server.sync import Sync
from stepwell.views.functions import AppView, FunctionView, app_views, function_view

PREFIXES: Final = ("/v2", "/api/v2")


class HealthAnswer(msgspec.Struct, frozen=True):
    """Whether due work moves. ``message`` says why it does not."""

    status: int
    message: str


class DevAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a server for development says of itself."""

    version: str
    start_opts: dict[str, Any] = {}
    functions: list[FunctionView]
    handlers: list[AppView]
    apps: list[Attached]
    is_single_node_service: bool = True
    is_missing_signing_key: bool = True
    is_missing_event_keys: bool = True
    features: dict[str, Any] = {}


class AcceptedAnswer(msgspec.Struct, frozen=True):
    """The internal ids of events, in their order."""

    ids: list[str]
    status: int


class Rest:
    """An ASGI application. Raises ``Refused`` and ``StepwellError``, which its caller answers.

    ``apps`` attaches apps and ``guard`` knows the keys, where there is a server and not only a file that is read;
    without one nobody can listen.
    """

    def __init__(
        self, engine: Engine, apps: Apps | None = None, guard: Guard | None = None, *, led: bool = True
    ) -> None:
        self._engine = engine
        self.realtime = Realtime(engine, guard) if guard is not None else None
        self._apps = apps
        keys = guard.keys if guard is not None else None
        v2 = (
            V2(engine, led=led),
            CancellingV2(engine),
            HurryingV2(engine),
            ReplayingV2(engine),
            PausingV2(engine),
            OrderingV2(engine),
            QueuesV2(engine, led=led),
            AppsV2(engine, apps, keys),
            AccessV2(engine),
        )
        self.routes: list[Operation] = [
            *State(engine).routes(),  # the first of them each step of a call asks for: it is looked for from the top
            Operation("GET", "/health", self.health, "whether due work moves", style=Style.PLAIN, answer=HealthAnswer),
            Operation(
                "GET", "/dev", self.dev, "what SDKs look at to find a dev server", style=Style.PLAIN, answer=DevAnswer
            ),
            Operation(
                "GET",
                "/openapi.json",
                self.openapi,
                "this API as an OpenAPI 3.1 document",
                style=Style.PLAIN,
                answer=dict[str, Any],
            ),
            *Sync(apps).routes(),
            *(Endpoints(engine, apps, guard).routes() if guard is not None else ()),
            *(Connect(engine, apps, guard).routes() if guard is not None else ()),
            *V1(engine).routes(),
            *(self.realtime.routes() if self.realtime is not None else ()),
            *Annotations(engine).routes(),
            *Cancelling(engine).routes(),
            *(route for prefix in PREFIXES for part in v2 for route in part.routes(prefix)),
        ]
        self._router = Router(self.routes, redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self  # with it, the router raises where it would answer in its own words
        try:
            await self._router(scope, receive, send)
        except HTTPException as error:
            raise by_status(error.status_code) from None

    async def health(self, asked: Asked) -> Response:
        """Healthy means that due work moves (invariants §1.10)."""
        health = await self._engine.health(count=False)
        status = 200 if health.healthy else 503
        return plain(HealthAnswer(status, health.why), status)

    async def dev(self, asked: Asked) -> Response:
        """What SDKs and their tests look at to find a dev server (protocol §4.8)."""
        registered = await self._engine.store.read(ListFunctions())
        shown = DevAnswer(
            version=version("stepwell"),
            functions=[await function_view(self._engine.store, function) for function in registered],
            handlers=app_views(registered),
            apps=[] if self._apps is None else self._apps.attached(),
        )
        return plain(shown)

    async def openapi(self, asked: Asked) -> Response:
        return plain(self.document())

    def document(self) -> dict[str, Any]:
        """The API as an OpenAPI document."""
        return document(self.all_routes())

    def all_routes(self) -> list[Operation]:
        """Those of the router, and that of events."""
        return [INGEST, *self.routes]


async def _elsewhere(asked: Asked) -> Response:
    raise AssertionError("events are answered before the router (server/app.py)")


INGEST: Final = Operation(
    "POST",
    "/e/{key}",
    _elsewhere,
    "takes an event, or an array of up to 5,000",
    style=Style.PLAIN,
    body=Opaque(schema=EVENTS),
    answer=AcceptedAnswer,
)
"""The one route that is not in the router, for the document."""
