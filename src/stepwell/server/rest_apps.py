"""REST v2 about what is attached: apps, their functions, syncs, and keys (protocol §10.3)."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

import msgspec
from starlette.responses import Response

from stepwell.errors import NotFound
from stepwell.limits import URL_CHARS_MAX
from stepwell.model.event import rfc3339
from stepwell.model.history import Outcome
from stepwell.model.questions import ListApps, ListFunctions, StoredFunction
from stepwell.runtime.engine import Engine
from stepwell.runtime.outbound import ADDRESS_NOT_ALLOWED
from stepwell.server.apps import Apps, Attached, attaching
from stepwell.server.desk import find_function, find_run
from stepwell.server.envelopes import v2
from stepwell.server.guard import Keys
from stepwell.server.operations import Asked, Opaque, Operation, Style
from stepwell.server.parameters import flag, text
from stepwell.server.replies import Refused
from stepwell.server.rest_v1 import INVOCATION, nameless_event
from stepwell.server.sync import APP
from stepwell.views.functions import (
    AppView,
    FunctionView,
    SyncError,
    SyncView,
    app_views,
    function_view,
)
from stepwell.views.nouns import View, moment
from stepwell.views.versions import VersionView, version_views

_ARCHIVED: Final = flag("archived", "also those that have left their app")
_LIST: Final = "list them: stepwell apps, or GET /v2/apps and /v2/syncs"
_ALLOW: Final = "start the server with --allow-private or --allow-network NETWORK, or serve the app elsewhere"
_INVOCATION: Final = {
    "type": "object",
    "properties": {**INVOCATION["properties"], "idempotencyKey": {"type": "string"}},
}


class Syncing(msgspec.Struct, frozen=True):
    """Where an app serves its functions."""

    url: Annotated[str, msgspec.Meta(min_length=1, max_length=URL_CHARS_MAX)]


class KeyView(View, frozen=True):
    """A key without the key. ``fingerprint`` tells it from others; ``signs`` whether calls are signed with it."""

    name: str
    fingerprint: str
    signs: bool = False


class StartedView(View, frozen=True):
    """The run that an invocation started."""

    run_id: str
    queued_at: str


class AppsV2:
    """The endpoints of an engine. ``apps`` is what attaches apps, if this process does; ``keys`` those it asks for."""

    def __init__(self, engine: Engine, apps: Apps | None, keys: Keys | None) -> None:
        self._engine = engine
        self._clock = engine.clock
        self._apps = apps
        self._keys = keys

    def routes(self, prefix: str) -> list[Operation]:
        op = partial(Operation, style=Style.V2)
        app = f"{prefix}/apps/{{app_id}}"
        function = f"{prefix}/functions/{{function_id}}"
        return [
            op("GET", f"{prefix}/apps", self.apps, "apps", answer=list[AppView]),
            op(
                "GET",
                f"{app}/functions",
                self.functions_of_app,
                "the functions of an app",
                query=(_ARCHIVED,),
                answer=list[FunctionView],
            ),
            op(
                "GET",
                f"{app}/syncs",
                self.syncs,
                "the addresses of an app, and why one cannot be synced",
                answer=list[SyncView],
            ),
            op(
                "POST",
                f"{app}/syncs",
                self.sync,
                "asks an app at an address what it has; 422 if that fails",
                body=Syncing,
                answer=SyncView,
                refuses=[422],
            ),
            op(
                "GET",
                f"{prefix}/syncs",
                self.all_syncs,
                "all addresses that are asked for their functions, and why one cannot be synced",
                answer=list[SyncView],
            ),
            op(
                "POST",
                f"{prefix}/syncs",
                self.sync_any,
                "asks what is at an address, whichever app it is; 422 if that fails",
                body=Syncing,
                answer=SyncView,
                refuses=[422],
            ),
            op(
                "DELETE",
                f"{prefix}/syncs",
                self.remove,
                "asks an address no more, and starts no more runs of the functions there",
                query=(text("url", "the address of the app", required=True), text("app", APP)),
                answer=SyncView,
                refuses=[404, 409],
            ),
            op(
                "POST",
                f"{app}/functions/{{function_id}}/invoke",
                self.invoke,
                "starts one function",
                body=Opaque(schema=_INVOCATION, required=False),
                answer=StartedView,
                refuses=[409],
            ),
            op(
                "GET",
                f"{prefix}/functions",
                self.functions,
                "all functions",
                query=(_ARCHIVED,),
                answer=list[FunctionView],
            ),
            op("GET", function, self.function, "one function, also one that has left", answer=FunctionView),
            op(
                "GET",
                f"{function}/versions",
                self.versions,
                "[the configurations](#versions-of-a-function) that a function has had, the newest first",
                answer=list[VersionView],
            ),
            op(
                "GET",
                f"{prefix}/keys/events",
                self.event_keys,
                "the event keys, without the keys",
                answer=list[KeyView],
            ),
            op(
                "GET",
                f"{prefix}/keys/signing",
                self.signing_keys,
                "the signing keys, without the keys",
                answer=list[KeyView],
            ),
        ]

    async def apps(self, asked: Asked) -> Response:
        served = await self._engine.store.read(ListApps())
        errors = {each.app_id: found for each in self._attached() if each.app_id and (found := _error(each))}
        return v2(self._clock, app_views(await self._registered(archived=False), served, errors))

    async def functions(self, asked: Asked) -> Response:
        return v2(self._clock, await self._views(await self._registered(archived=asked.query["archived"])))

    async def functions_of_app(self, asked: Asked) -> Response:
        app_id = asked.path["app_id"]
        registered = await self._registered(archived=asked.query["archived"])
        found = [function for function in registered if function.app_id == app_id]
        if not found:
            raise _no_app(app_id, "no function is registered under it")
        return v2(self._clock, await self._views(found))

    async def function(self, asked: Asked) -> Response:
        found = await find_function(self._engine, asked.path["function_id"])
        return v2(self._clock, await function_view(self._engine.store, found))

    async def versions(self, asked: Asked) -> Response:
        found = await find_function(self._engine, asked.path["function_id"])
        return v2(self._clock, await version_views(self._engine.store, found))

    async def syncs(self, asked: Asked) -> Response:
        app_id: str = asked.path["app_id"]
        found = [_sync(each) for each in self._attached() if each.app_id == app_id]
        if not found and not any(each.app_id == app_id for each in await self._registered(archived=True)):
            raise _no_app(app_id, "none of that name was ever synced here")
        return v2(self._clock, found)

    async def sync(self, asked: Asked) -> Response:
        app_id: str = asked.path["app_id"]
        found = await self._synced(asked.body.url)
        if found.app_id is not None and found.app_id != app_id:
            why = f"the app at {found.url} is {found.app_id!r}, and was synced as that"
            raise Refused(422, "other-app", f"there is no app {app_id!r} at that address", why, "name the app it is")
        return v2(self._clock, _sync(found))

    async def all_syncs(self, asked: Asked) -> Response:
        return v2(self._clock, [_sync(each) for each in self._attached()])

    async def sync_any(self, asked: Asked) -> Response:
        return v2(self._clock, _sync(await self._synced(asked.body.url)))

    async def remove(self, asked: Asked) -> Response:
        url: str = asked.query["url"] or ""
        found = await attaching(self._apps).remove(url, asked.query["app"])
        if found is None:
            raise NotFound(f"no app is known at {url!r}", "it was never synced, or is removed already", _LIST)
        return v2(self._clock, _sync(found))

    async def _synced(self, url: str) -> Attached:
        found = await attaching(self._apps).sync(url)
        if found.error is None:
            return found
        fix = _ALLOW if found.code == ADDRESS_NOT_ALLOWED else "correct it, and repeat this"
        raise Refused(422, found.code or "sync_failed", f"the app at {found.url} cannot be synced", found.error, fix)

    async def invoke(self, asked: Asked) -> Response:
        app_id, name = asked.path["app_id"], asked.path["function_id"]
        event = nameless_event(self._engine, asked.body, key="idempotencyKey")
        composite = name if name.startswith(f"{app_id}-") else f"{app_id}-{name}"
        _, started = await self._engine.invoke(composite, event, seed=asked.seed)
        if isinstance(started, Outcome):
            if started.run_id is None:
                raise Refused(409, started.kind, f"{composite} was not started", started.reason)
            started = await find_run(self._engine, started.run_id)
        return v2(self._clock, StartedView(run_id=started.id, queued_at=rfc3339(started.queued_at)))

    async def event_keys(self, asked: Asked) -> Response:
        prints = self._keys.fingerprints()[1] if self._keys is not None else []
        shown = [KeyView(name=f"event key {n}", fingerprint=print) for n, print in enumerate(prints, 1)]
        return v2(self._clock, shown)

    async def signing_keys(self, asked: Asked) -> Response:
        prints = self._keys.fingerprints()[0] if self._keys is not None else []
        shown = [KeyView(name=f"signing key {n}", fingerprint=print, signs=n == 1) for n, print in enumerate(prints, 1)]
        return v2(self._clock, shown)

    def _attached(self) -> list[Attached]:
        return [] if self._apps is None else self._apps.attached()

    async def _registered(self, *, archived: bool) -> list[StoredFunction]:
        functions = await self._engine.store.read(ListFunctions(archived=archived))
        return sorted(functions, key=lambda function: function.id)

    async def _views(self, functions: list[StoredFunction]) -> list[FunctionView]:
        return [await function_view(self._engine.store, function) for function in functions]


def _sync(attached: Attached) -> SyncView:
    return SyncView(
        url=attached.url, app_id=attached.app_id, synced_at=moment(attached.synced_at), error=_error(attached)
    )


def _error(attached: Attached) -> SyncError | None:
    return None if attached.error is None else SyncError(code=attached.code or "sync_failed", message=attached.error)


def _no_app(app_id: str, why: str) -> NotFound:
    return NotFound(f"there is no app {app_id!r}", why, _LIST)
