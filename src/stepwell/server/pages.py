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
from stepwell.dashboard.compression import compress, takes_gzip
from stepwell.dashboard.guest import Guest
from stepwell.dashboard.page import Missing
from stepwell.dashboard.site import Site, Tried
from stepwell.dashboard.source import Source
from stepwell.errors import ConfigurationError
from stepwell.ids import secret
from stepwell.limits import HINT_TOPICS_MAX, SESSION_LIFE, USER_NAME_CHARS_MAX
from stepwell.model.settings import Setting
from stepwell.model.user import Role
from stepwell.runtime.acting import Actor
from stepwell.runtime.engine import Engine
from stepwell.runtime.hints import Looking
from stepwell.runtime.passwords import Passwords
from stepwell.runtime.users import add_user
from stepwell.server.access import page_role
from stepwell.server.apps import Apps
from stepwell.server.attempts import Attempts
from stepwell.server.desk import situation
from stepwell.server.guard import Guard, envelope
from stepwell.server.here import here
from stepwell.server.ingest import Disconnected, Receive, Scope, Send, read_body
from stepwell.server.meter import Meter
from stepwell.server.operating import Operating
from stepwell.server.replies import Refused, by_status
from stepwell.server.sessions import COOKIE, SECURE_COOKIE, Login, Sessions, TooMany, same

LOGIN: Final = "/login"
SETUP: Final = "/setup"
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
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_PRIVATE: Final = "no-store"  # what is on a page is nobody else's, and old the next moment
_TOPIC_CHARS_MAX: Final = 64
_FIELDS_MAX: Final = 40  # of a form; none of ours has so many
_STREAM_S: Final = 15 * 60.0  # then it is opened again, if the session has not ended
_ALIVE_S: Final = 15.0
_SLOW_S: Final = 10.0  # a browser that takes nothing for so long is gone
_BESIDES_MS: Final = 0.25  # what it costs to receive a request and to send an answer
_ALIVE: Final = b": alive\n\n"
_FIRST: Final = b"retry: 1000\n\n"


class Pages:
    """An ASGI application. Raises ``Refused`` and ``StepwellError``, which its caller answers."""

    def __init__(self, engine: Engine, guard: Guard, apps: Apps | None, settings: Sequence[Setting] = ()) -> None:
        self._engine = engine
        self._guard = guard
        self._passwords = Passwords()
        attempts = Attempts()
        self._sessions = Sessions(engine, guard, self._passwords, attempts)
        production = guard.kind == "cloud"
        self._site = Site(
            Source(
                engine.store,
                lambda: engine.registry,
                lambda: situation(engine, led=True),
                version("stepwell"),
                here(engine, apps, guard, settings),
                production,
            ),
            Operating(engine, self._passwords, attempts, apps),
        )
        self._form_token = secret(128)  # what forms say where nobody logs in: another page cannot read it

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        path, method = _path(request), request.method
        if method not in ("GET", "HEAD", "POST"):
            raise by_status(405)
        if path.startswith(PREFIX):
            answer = self._asset(request)
        elif path == LOGIN:
            answer = await self._login(request)
        elif path == SETUP:
            answer = await self._set_up(request)
        else:
            login = await self._find(request)
            if login is None and self._sessions.needed:
                answer = self._turn_away(request)
            elif path == LIVE and method != "POST":
                await self._live(request, send, login)
                return
            else:
                answer = await self._answer(request, login)
        await _sealed(answer)(scope, receive, send)

    async def _answer(self, request: Request, login: Login | None) -> Response:
        guest, needed = self._guest(login), page_role(_path(request))
        if not guest.role.may(needed):
            return self._site.forbidden(request, guest, needed)
        return await (self._post(request, guest, login) if request.method == "POST" else self._page(request, guest))

    async def missing(self, scope: Scope, receive: Receive, send: Send, told: Refused) -> None:
        """For a browser, in place of an answer for programs."""
        request = Request(scope, receive)
        guest = self._guest(await self._find(request))
        answer = self._site.missing(request, guest, Missing(_sentence(told.what), told.why))
        await _sealed(answer)(scope, receive, send)

    async def failed(self, scope: Scope, receive: Receive, send: Send, told: Refused) -> None:
        """The same when it is our fault. Nobody is asked who looks: that may be what has failed."""
        answer = self._site.failed(Request(scope, receive), Missing(_sentence(told.what), told.why), told.status)
        await _sealed(answer)(scope, receive, send)

    # Who looks --------------------------------------------------------------------------------------------------------

    async def _find(self, request: Request) -> Login | None:
        """Whoever wants to do something is looked at anew. Over TLS only the cookie will do that nobody beside us can
        set: a page of another name under the same domain could have somebody go on in a session of its own."""
        cookie = request.cookies.get(SECURE_COOKIE if _is_secure(request) else COOKIE)
        return await self._sessions.find(cookie, anew=request.method == "POST") if cookie else None

    def _guest(self, login: Login | None) -> Guest:
        if login is None:
            return Guest(self._form_token)
        return Guest(login.csrf, session=True, role=login.role, name=login.who, id=login.id)

    def _turn_away(self, request: Request) -> Response:
        """Pages lead to the login, and back from there; parts of pages do not."""
        if request.method == "POST" or _path(request) == LIVE:
            raise Refused(401, "unauthorized", "nobody has logged in, or the session has ended", "", f"log in: {LOGIN}")
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{LOGIN}?next={quote(asked)}", 303)

    async def _login(self, request: Request) -> Response:
        if not self._sessions.needed:
            return RedirectResponse("/", 303)
        users = await self._sessions.anybody()
        if request.method != "POST":
            return self._site.login(request, _local(request.query_params.get("next", "/")), Tried(users=users))
        self._check_ours(request)
        given = await _form(request)
        to, name, agent = _local(given.get("next", "/")), given.get("name", ""), request.headers.get("user-agent", "")
        tried = Tried(name=name[:USER_NAME_CHARS_MAX], key="token" in given, users=users)
        try:
            if tried.key:
                cookie = await self._sessions.by_key(given["token"], agent)
            else:
                cookie = await self._sessions.by_password(name, given.get("password", ""), agent)
        except TooMany as error:
            wrong = f"Too many have tried. Wait {error.wait_s} seconds."
            return self._site.login(request, to, tried._replace(wrong=wrong), 429)
        if cookie is None:
            wrong = "That is not it." if tried.key else "The name or the password is wrong."
            return self._site.login(request, to, tried._replace(wrong=wrong), 401)
        return await self._begin(request, to, cookie)

    async def _set_up(self, request: Request) -> Response:
        """The first admin is made by whoever has the link that the server printed when there was nobody."""
        post = request.method == "POST"
        if post:
            self._check_ours(request)
        given = await _form(request) if post else dict(request.query_params)
        token = given.get("token", "")
        if not await self._sessions.may_set_up(token):
            return RedirectResponse(LOGIN, 303)
        if not post:
            return self._site.setup(request, token, Tried())
        name = given.get("name", "").strip().lower()
        try:
            if given.get("password", "") != given.get("again", ""):
                raise ConfigurationError("the two passwords differ", "one of them is misspelt", "type both again")
            with Actor(self._engine, name, "dashboard").act("add-user", name, "role=admin, the first"):
                user = await add_user(
                    self._engine, self._passwords, name, Role.ADMIN, given.get("password", ""), only_first=True
                )
        except ConfigurationError as error:
            tried = Tried(_sentence(error.what), _sentence(error.fix), name[:USER_NAME_CHARS_MAX])
            return self._site.setup(request, token, tried, 400)
        cookie = await self._sessions.begin(name, request.headers.get("user-agent", ""), user.password)
        return RedirectResponse(LOGIN, 303) if cookie is None else await self._begin(request, "/", cookie)

    async def _begin(self, request: Request, to: str, cookie: str) -> Response:
        """Lead somebody on who has logged in. What they were logged in with before ends."""
        before = await self._find(request)
        if before is not None:
            await self._sessions.end(before)
        answer = RedirectResponse(to, 303)
        secure = _is_secure(request)
        answer.set_cookie(
            SECURE_COOKIE if secure else COOKIE,
            cookie,
            max_age=int(SESSION_LIFE.total_seconds()),
            path="/",
            secure=secure,
            httponly=True,
            samesite="strict",
        )
        return answer

    async def _post(self, request: Request, guest: Guest, login: Login | None) -> Response:
        self._check_ours(request)
        form = await _form(request)
        if not same(guest.csrf, form.pop("csrf", "")):
            raise Refused(403, "foreign-origin", "the form is not one of this session", "", "reload the page")
        if _path(request) == "/logout":
            if login is not None:
                await self._sessions.log_out(login)
            return _logged_out()
        answer = await self._site.act(request, form, guest)
        if answer is None:
            raise by_status(405)
        self._sessions.forget()  # it may have been about users
        return answer

    def _check_ours(self, request: Request) -> None:
        """Raises ``Refused`` unless one of our own pages asks. Browsers say who does, and pages cannot lie."""
        asked = envelope(request.scope["headers"])
        self._guard.check_origin(asked.host, asked.origin)
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Refused(403, "foreign-origin", "a web page of another origin asks for this", "", "use our own page")

    # What they see ----------------------------------------------------------------------------------------------------

    async def _page(self, request: Request, guest: Guest) -> Response:
        meter = Meter()
        answer = await meter.of(self._looked(request, guest))
        answer.headers["cache-control"] = _PRIVATE
        answer.headers["server-timing"] = f"look;dur={meter.ms:.1f}"  # who looks again and again rests in proportion
        if request.headers.get("sec-fetch-mode") != "navigate":
            self._engine.hints.spent(meter.ms + _BESIDES_MS)
        return answer

    async def _looked(self, request: Request, guest: Guest) -> Response:
        answer = await self._site.answer(request, guest)
        if _may_be_compressed(request):
            await compress(answer)
        return answer

    def _asset(self, request: Request) -> Response:
        found = find(request.url.path)
        if found is None:
            raise by_status(404)
        asset, kept = found
        headers = {"cache-control": kept, "vary": "accept-encoding"}
        small = takes_gzip(request.headers.get("accept-encoding", ""))
        if small:
            headers["content-encoding"] = "gzip"
        return Response(asset.small if small else asset.body, 200, headers, asset.type)

    async def _live(self, request: Request, send: Send, login: Login | None) -> None:
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
                if told is None or (login is not None and await self._find(request) is None):
                    break
                await _say(send, b"data: " + " ".join(told).encode() + b"\n\n" if told else _ALIVE)
            await _say(send, b"", more=False)
        except (TimeoutError, OSError):
            raise Disconnected from None  # it does not read any more: there is nobody to tell
        finally:
            looking.close()
            gone.cancel()


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


def _path(request: Request) -> str:
    """What is asked for, as it was found: not out of a whole address, which is made of what the request says of its
    host, too."""
    path: str = request.scope["path"]
    return path


def _may_be_compressed(request: Request) -> bool:
    """Whether the length of the answer tells nothing to somebody who may not read it: who can have pages of ours asked
    for, with words of their own in the address, and sees how long the answers are, finds out what else is in them
    (BREACH). So only what our own pages ask for, or the person themselves; where a browser does not say who asks, only
    what everybody on the way can read anyway."""
    asks = request.headers.get("sec-fetch-site")
    ours = asks in ("same-origin", "none") if asks is not None else not _is_secure(request)
    return ours and takes_gzip(request.headers.get("accept-encoding", ""))


def _is_secure(request: Request) -> bool:
    """Whether the browser came by TLS, as a proxy before us may have to say. Who lies harms themselves alone."""
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", ""))


async def _form(request: Request) -> dict[str, str]:
    length = envelope(request.scope["headers"]).length
    text = (await read_body(length, request.receive)).decode(errors="replace")
    try:
        found = parse_qs(text, keep_blank_values=True, max_num_fields=_FIELDS_MAX)
    except ValueError:
        why = f"there are more than {_FIELDS_MAX} fields in it"
        raise Refused(400, "invalid-body", "this is none of our forms", why, "use our own page") from None
    return {name: values[0] for name, values in found.items()}


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
