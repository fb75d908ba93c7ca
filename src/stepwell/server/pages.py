"""The dashboard over HTTP: who may look, where people log in, the headers that keep pages ours, and hints."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final
from urllib.parse import parse_qs, quote

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from stepwell.dashboard.assets import PREFIX, find
from stepwell.dashboard.guest import Guest
from stepwell.dashboard.page import Missing
from stepwell.dashboard.site import Site
from stepwell.dashboard.source import Source
from stepwell.ids import secret
from stepwell.limits import HINT_TOPICS_MAX, SESSION_LIFE
from stepwell.runtime.engine import Engine
from stepwell.runtime.hints import Looking
from stepwell.server.desk import situation
from stepwell.server.guard import Guard, envelope
from stepwell.server.here import here
from stepwell.server.ingest import Disconnected, Receive, Scope, Send, read_body
from stepwell.server.operating import Operating
from stepwell.server.replies import Refused, by_status
from stepwell.server.sessions import COOKIE, SECURE_COOKIE, Session, Sessions, same

LOGIN: Final = "/login"
LIVE: Final = "/live"
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_PRIVATE: Final = "no-store"  # what is on a page is nobody else's, and old the next moment
_TOPIC_CHARS_MAX: Final = 64
_STREAM_S: Final = 15 * 60.0  # then it is opened again, if the session has not ended
_ALIVE_S: Final = 15.0
_SLOW_S: Final = 10.0  # a browser that takes nothing for so long is gone
_ALIVE: Final = b": alive\n\n"
_FIRST: Final = b"retry: 1000\n\n"


class Pages:
    """An ASGI application. Raises ``Refused`` and ``StepwellError``, which its caller answers."""

    def __init__(self, engine: Engine, guard: Guard) -> None:
        self._engine = engine
        self._guard = guard
        self._sessions = Sessions(guard.lasting_keys)
        production = guard.kind == "cloud"
        self._site = Site(
            Source(
                engine.store,
                lambda: engine.registry,
                lambda: situation(engine, led=True),
                version("stepwell"),
                here(engine),
                production,
            ),
            Operating(engine),
        )
        self._form_token = secret(128)  # what forms say where nobody logs in: another page cannot read it

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        path, method = request.url.path, request.method
        if method not in ("GET", "HEAD", "POST"):
            raise by_status(405)
        session = self._session(request)
        if path.startswith(PREFIX):
            answer = self._asset(request)
        elif path == LOGIN:
            answer = await self._login(request)
        elif session is None and self._sessions.needed:
            answer = self._turn_away(request)
        elif method == "POST":
            answer = await self._post(request, session)
        elif path == LIVE:
            await self._live(request, send)
            return
        else:
            answer = await self._page(request, session)
        await _sealed(answer)(scope, receive, send)

    async def missing(self, scope: Scope, receive: Receive, send: Send, told: Refused) -> None:
        """For a browser, in place of an answer for programs."""
        request = Request(scope, receive)
        answer = self._site.missing(
            request, self._guest(self._session(request)), Missing(_sentence(told.what), told.why)
        )
        await _sealed(answer)(scope, receive, send)

    # Who looks --------------------------------------------------------------------------------------------------------

    def _session(self, request: Request) -> Session | None:
        cookie = request.cookies.get(SECURE_COOKIE) or request.cookies.get(COOKIE)
        return self._sessions.find(cookie, self._now()) if cookie else None

    def _guest(self, session: Session | None) -> Guest:
        return Guest(self._form_token) if session is None else Guest(session.csrf, session=True)

    def _turn_away(self, request: Request) -> Response:
        """Pages lead to the login, and back from there; parts of pages do not."""
        if request.method == "POST" or request.url.path == LIVE:
            raise Refused(401, "unauthorized", "nobody has logged in, or the session has ended", "", f"log in: {LOGIN}")
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{LOGIN}?next={quote(asked)}", 303)

    async def _login(self, request: Request) -> Response:
        if not self._sessions.needed:
            return RedirectResponse("/", 303)
        if request.method != "POST":
            return self._site.login(request, _local(request.query_params.get("next", "/")))
        self._check_ours(request)
        now, given = self._now(), await _form(request)
        to = _local(given.get("next", "/"))
        wait = self._sessions.retry_after_s(now)
        if wait:
            return self._site.login(request, to, f"Too many have tried. Wait {wait} seconds.", 429)
        try:
            self._guard.check_token(b"Bearer " + given.get("token", "").strip().encode())
        except Refused:
            self._sessions.failed(now)
            return self._site.login(request, to, "That is not it.", 401)
        answer = RedirectResponse(to, 303)
        secure = _is_secure(request)
        answer.set_cookie(
            SECURE_COOKIE if secure else COOKIE,
            self._sessions.begin(secret(128), now),
            max_age=int(SESSION_LIFE.total_seconds()),
            path="/",
            secure=secure,
            httponly=True,
            samesite="strict",
        )
        return answer

    async def _post(self, request: Request, session: Session | None) -> Response:
        self._check_ours(request)
        form, guest = await _form(request), self._guest(session)
        if not same(guest.csrf, form.pop("csrf", "")):
            raise Refused(403, "foreign-origin", "the form is not one of this session", "", "reload the page")
        if request.url.path == "/logout":
            return _logged_out()
        answer = await self._site.act(request, form, guest)
        if answer is None:
            raise by_status(405)
        return answer

    def _check_ours(self, request: Request) -> None:
        """Raises ``Refused`` unless one of our own pages asks. Browsers say who does, and pages cannot lie."""
        asked = envelope(request.scope["headers"])
        self._guard.check_origin(asked.host, asked.origin)
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Refused(403, "foreign-origin", "a web page of another origin asks for this", "", "use our own page")

    # What they see ----------------------------------------------------------------------------------------------------

    async def _page(self, request: Request, session: Session | None) -> Response:
        answer = await self._site.answer(request, self._guest(session))
        answer.headers["cache-control"] = _PRIVATE
        return answer

    def _asset(self, request: Request) -> Response:
        found = find(request.url.path)
        if found is None:
            raise by_status(404)
        asset, kept = found
        headers = {"cache-control": kept, "vary": "accept-encoding"}
        small = "gzip" in request.headers.get("accept-encoding", "")
        if small:
            headers["content-encoding"] = "gzip"
        return Response(asset.small if small else asset.body, 200, headers, asset.type)

    async def _live(self, request: Request, send: Send) -> None:
        """Server-sent events: each line of data is the topics that have changed."""
        topics = request.query_params.get("topics", "").split()
        if not topics or len(topics) > HINT_TOPICS_MAX or any(len(topic) > _TOPIC_CHARS_MAX for topic in topics):
            why = f"there are 1 to {HINT_TOPICS_MAX} of them, of up to {_TOPIC_CHARS_MAX} characters"
            raise Refused(400, "invalid-parameter", "topics says nothing that can be looked at", why)
        looking = self._engine.hints.look(topics)
        gone = self._engine.spawn(_until_gone(request.receive, looking))
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
        headers += [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
        until = asyncio.get_running_loop().time() + _STREAM_S
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await _say(send, _FIRST)
            while asyncio.get_running_loop().time() < until:
                told = await _next(looking)
                if told is None:
                    break
                await _say(send, b"data: " + " ".join(told).encode() + b"\n\n" if told else _ALIVE)
            await _say(send, b"", more=False)
        except (TimeoutError, OSError):
            raise Disconnected from None  # it does not read any more: there is nobody to tell
        finally:
            looking.close()
            gone.cancel()

    def _now(self) -> int:
        return self._engine.clock.now_ms()


def _logged_out() -> Response:
    answer = RedirectResponse(LOGIN, 303)
    for name in (COOKIE, SECURE_COOKIE):
        answer.delete_cookie(name, path="/", secure=name == SECURE_COOKIE, httponly=True, samesite="strict")
    return answer


async def _next(looking: Looking) -> Sequence[str] | None:
    """The topics that have changed, none if nothing has for a while, and ``None`` when it is over."""
    try:
        async with asyncio.timeout(_ALIVE_S):
            return await looking.next()
    except TimeoutError:
        return ()


async def _say(send: Send, body: bytes, *, more: bool = True) -> None:
    async with asyncio.timeout(_SLOW_S):
        await send({"type": "http.response.body", "body": body, "more_body": more})


async def _until_gone(receive: Receive, looking: Looking) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    looking.close()


def _sealed(answer: Response) -> Response:
    headers = MutableHeaders(raw=answer.raw_headers)
    for name, value in _HEADERS.items():
        headers[name] = value
    headers.setdefault("cache-control", _PRIVATE)
    return answer


def _local(address: str) -> str:
    """An address of ours, whatever was asked for: nobody is to be led elsewhere by our login."""
    ours = address.startswith("/") and not address.startswith(("//", "/\\")) and "\\" not in address
    return address if ours and address.isprintable() else "/"


def _is_secure(request: Request) -> bool:
    """Whether the browser came by TLS, as a proxy before us may have to say. Who lies harms themselves alone."""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", ""))


async def _form(request: Request) -> dict[str, str]:
    length = envelope(request.scope["headers"]).length
    text = (await read_body(length, request.receive)).decode(errors="replace")
    return {name: values[0] for name, values in parse_qs(text, keep_blank_values=True, max_num_fields=40).items()}


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
