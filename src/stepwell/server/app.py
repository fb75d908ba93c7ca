"""The HTTP side of an engine: one ASGI application."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from stepwell.errors import StepwellError
from stepwell.runtime.engine import Engine
from stepwell.runtime.logs import log
from stepwell.server.access import CHECKED_BY_ROUTE, FOR_PAGES, PAGES, Access, access
from stepwell.server.guard import Envelope, Guard, Headers, envelope
from stepwell.server.ingest import Disconnected, Receive, Scope, Send, ingest
from stepwell.server.replies import Refused, by_status, error_body, refuse_socket, refused

if TYPE_CHECKING:
    from stepwell.model.settings import Setting
    from stepwell.server.apps import Apps
    from stepwell.server.pages import Pages

_JSON: Final = (b"content-type", b"application/json")
_ANY_ORIGIN: Final = (b"access-control-allow-origin", b"*")
_PREFLIGHT: Final[Headers] = [
    _ANY_ORIGIN,
    (b"access-control-allow-methods", b"GET, POST, PUT, DELETE, OPTIONS"),
    (b"access-control-allow-headers", b"*"),
    (b"access-control-max-age", b"86400"),
]
_RETRY_AFTER: Final = (b"retry-after", b"1")
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class App:
    """Events in, everything else out. ``guard`` says who may talk to it; with ``apps``, apps may register. With ``ui``
    it has pages for people, which show the ``settings``.

    The events route is plain ASGI. The rest is a Starlette application, which is imported when it is first needed or
    when ``warm()`` is called: a server that has just started need not wait for it.
    """

    def __init__(
        self,
        engine: Engine,
        guard: Guard,
        apps: Apps | None = None,
        *,
        ui: bool = False,
        settings: Sequence[Setting] = (),
    ) -> None:
        self._engine = engine
        self._apps = apps
        self._guard = guard
        self._rest: Any = None
        self._noting: Any = None
        self._ui = ui
        self._settings = settings
        self._pages: Pages | None = None
        self._warming = Lock()

    def warm(self) -> None:
        """Be ready for every route."""
        self._warm_rest()
        if self._ui:
            self._warm_pages()

    def _warm_rest(self) -> None:
        if self._rest is None:
            from stepwell.server.noted import Noting
            from stepwell.server.rest import Rest

            self._noting = Noting(self._engine, self._guard)
            self._rest = Rest(self._engine, self._apps, self._guard)

    def _warm_pages(self) -> Pages:
        with self._warming:  # ``warm`` is called on a thread, and there is one that counts failed logins
            if self._pages is None:
                from stepwell.server.pages import Pages

                self._pages = Pages(self._engine, self._guard, self._apps, self._settings)
            return self._pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"not an HTTP request: {scope['type']}")
        path: str = scope["path"]
        needed = access(path)
        try:
            asked = envelope(scope["headers"])
            self._guard.check_host(asked.host)
            if needed is Access.EVENT_KEY:
                await self._events(scope, asked, receive, send, path[3:])
            elif needed in PAGES and self._ui and _from_browser(scope):
                await self._warm_pages()(scope, receive, send)
            else:
                await self._other(scope, asked, receive, send, needed)
        except Disconnected:
            return
        except Exception as error:
            told = _told(error, path)
            if told.status == 404 and self._ui and _wants_html(scope):
                await self._warm_pages().missing(scope, receive, send, told)
                return
            if told.status >= 500 and needed in PAGES and self._ui and _wants_html(scope):
                await self._warm_pages().failed(scope, receive, send, told)
                return
            await _fail(told, path, send, cors=needed in FOR_PAGES)

    async def _events(self, scope: Scope, asked: Envelope, receive: Receive, send: Send, key: str) -> None:
        if not key or "/" in key:
            raise by_status(404)
        if scope["method"] == "OPTIONS":
            # Web pages send events directly, with whatever headers their SDK sets (protocol §2).
            await _answer(send, 204, _PREFLIGHT, b"")
            return
        self._guard.check_event_key(key, asked.authorization)
        body = await ingest(self._engine, scope, asked, receive)
        await _answer(send, 200, [_JSON, _ANY_ORIGIN], body)

    async def _other(self, scope: Scope, asked: Envelope, receive: Receive, send: Send, needed: Access) -> None:
        if needed is Access.DEVELOPMENT and self._guard.kind == "cloud":
            # SDKs that find any JSON here take the server for one of development (protocol §1.3, §4.8).
            await _answer(send, 404, [], b"")
            return
        if needed is Access.TOKEN and scope["method"] == "OPTIONS":
            # An app has sent the page of its user here.
            await _answer(send, 204, _PREFLIGHT, b"")
            return
        if needed not in CHECKED_BY_ROUTE:
            self._guard.check_token(asked.authorization)
        if scope["method"] not in _SAFE:
            self._guard.check_origin(asked.host, asked.origin)
        self._warm_rest()
        scope["stepwell.noting"] = self._noting
        await self._rest(scope, receive, send)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pages of any origin may listen: what they show is a token in the address, never what a browser adds."""
        from stepwell.server.realtime import CONNECT

        try:
            self._guard.check_host(envelope(scope["headers"]).host)
            if scope["path"] != CONNECT:
                raise by_status(404)
        except Refused as error:
            await refuse_socket(error, send, self._guard.kind, CONNECT)
            return
        self._warm_rest()
        await self._rest.realtime.connect(scope, receive, send)


def _from_browser(scope: Scope) -> bool:
    """``/`` is for programs what it is where there are no pages."""
    return scope["path"] != "/" or _wants_html(scope)


def _wants_html(scope: Scope) -> bool:
    return scope["method"] in ("GET", "HEAD") and any(
        name == b"accept" and b"text/html" in value for name, value in scope["headers"]
    )


def _told(error: Exception, path: str) -> Refused:
    if not isinstance(error, Refused | StepwellError | TimeoutError):
        log.exception("a request failed", path=path)
    return by_status(408) if isinstance(error, TimeoutError) else refused(error)


async def _fail(told: Refused, path: str, send: Send, *, cors: bool) -> None:
    headers: Headers = [_JSON]
    if cors:
        headers.append(_ANY_ORIGIN)
    if told.status == 503:
        headers.append(_RETRY_AFTER)
    await _answer(send, told.status, headers, error_body(told, path))


async def _answer(send: Send, status: int, headers: Headers, body: bytes) -> None:
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
