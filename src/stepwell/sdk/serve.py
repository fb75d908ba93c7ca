"""Serves the functions of an app over HTTP, inside a web application: what ``app.serve()`` gives (protocol §4, §5)."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from stepwell.clock import SystemClock
from stepwell.errors import ConfigurationError
from stepwell.ids import is_ulid, ulid_ms
from stepwell.limits import SERVED_BYTES_MAX
from stepwell.model.log import Said
from stepwell.protocol.codec import (
    Unreadable,
    decode_call,
    dispatch_id,
    encode_answer,
    encode_ops,
    function_uuid,
    state_elsewhere,
)
from stepwell.protocol.gate import Gate
from stepwell.protocol.messages import (
    LAZY,
    STEP_FAILED,
    STEP_RUN,
    Answer,
    Call,
    Executing,
    Memo,
    Op,
    Ops,
    Pending,
    Settled,
    Superseded,
)
from stepwell.protocol.signing import HEADER, SigningKey, sign, verified
from stepwell.protocol.signing import signing_key as read_key
from stepwell.sdk.drive_by_step import DISCOVERY, DriveByStep
from stepwell.sdk.pool import THREADS_MAX
from stepwell.sdk.server import Server, Unreachable
from stepwell.sdk.transport import InProcess

if TYPE_CHECKING:
    from stepwell.sdk.app import Stepwell

VERSION: Final = "0.1.0"
SDK: Final = f"stepwell-py:v{VERSION}"
_DEFAULT: Final = "http://127.0.0.1:8288"
_SERVER: Final = ("STEPWELL_SERVER", "INNGEST_API_BASE_URL", "INNGEST_BASE_URL")  # the first that is set
_CLOUD: Final = "cloud"
_DEV: Final = "dev"

_NO_REPORTS: Final = (400, 404, 405)  # a server without this route, a proxy before it, or one of another kind
_encode: Final = msgspec.json.Encoder().encode

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Request(NamedTuple):
    """What came in. Header names are lower case; ``url`` is the address without its query."""

    method: str
    url: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class Response(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Endpoint:
    """The address at which an app is served: an ASGI application, and by ``wsgi`` a WSGI one.

    ``server`` is where events go and where the app registers. In production calls are signed with ``signing_key``;
    with ``dev`` nothing is checked. Steps are reported while a call goes on if the server takes that, which a Stepwell
    server does; without ``checkpointing``, and with other servers, there is a call for each step. Raises
    ``ConfigurationError`` for production without a key.
    """

    def __init__(
        self,
        app: Stepwell,
        *,
        server: str | None = None,
        dev: bool | None = None,
        signing_key: str | None = None,
        signing_key_fallback: str | None = None,
        event_key: str | None = None,
        url: str | None = None,
        checkpointing: bool = True,
    ) -> None:
        hint = _told("DEV")
        self.dev = dev if dev is not None else hint.lower() not in ("", "0", "false")
        named = (os.environ.get(name) for name in _SERVER)
        origin = server or next(filter(None, named), None)
        keys = (signing_key or _told("SIGNING_KEY"), signing_key_fallback or _told("SIGNING_KEY_FALLBACK"))
        self._keys: tuple[SigningKey, ...] = tuple(read_key(text) for text in keys if text)
        if not self.dev and not self._keys:
            raise ConfigurationError(
                what=f"app {app.app_id!r} is served without a signing key",
                why="anybody who can reach it could run its functions",
                fix="set STEPWELL_SIGNING_KEY to that of the server, or STEPWELL_DEV=1 while you develop",
            )
        self._app = app
        self._url = url
        self._clock = SystemClock()
        self._checkpointing = checkpointing
        self._transport = InProcess(app, self._clock, THREADS_MAX)
        self._by_step = InProcess(app, self._clock, THREADS_MAX)
        self._by_step.pool, self._by_step.drive = self._transport.pool, DriveByStep
        self.server = Server(
            origin or (hint if "://" in hint else _DEFAULT), self._keys, event_key or _told("EVENT_KEY") or None
        )
        self._refused = False  # whether the server has refused a report as such
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = threading.Lock()

    # Frameworks -------------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an ASGI application, to be mounted where the app is to be served."""
        if scope["type"] != "http":
            raise ValueError(f"not an HTTP request: {scope['type']}")
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        received = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            received += message.get("body", b"")
            if len(received) > SERVED_BYTES_MAX or not message.get("more_body"):
                break
        host = headers.get("host") or "{}:{}".format(*(scope.get("server") or ("localhost", 80)))
        root, path = scope.get("root_path", ""), scope["path"]
        path = path if path.startswith(root) else root + path
        response = await self.handle(
            Request(
                scope["method"],
                f"{headers.get('x-forwarded-proto', scope.get('scheme', 'http'))}://{host}{path}",
                dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"))),
                headers,
                bytes(received),
            )
        )
        told = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.headers.items()]
        told.append((b"content-length", str(len(response.body)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": told})
        await send({"type": "http.response.body", "body": response.body})

    def wsgi(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """As a WSGI application. Functions run in an event loop of their own, in a thread of this process."""
        headers = {
            name[5:].replace("_", "-").lower(): str(value)
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        length = int(environ.get("CONTENT_LENGTH") or 0)
        host = headers.get("host") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        scheme = headers.get("x-forwarded-proto", environ.get("wsgi.url_scheme", "http"))
        request = Request(
            environ["REQUEST_METHOD"],
            f"{scheme}://{host}{path}",
            dict(parse_qsl(environ.get("QUERY_STRING", ""))),
            headers,
            environ["wsgi.input"].read(min(length, SERVED_BYTES_MAX + 1)) if length else b"",
        )
        response = self.handle_sync(request)
        told = [*response.headers.items(), ("Content-Length", str(len(response.body)))]
        start_response(f"{response.status} {HTTPStatus(response.status).phrase}", told)
        return [response.body]

    def handle_sync(self, request: Request) -> Response:
        """``handle``, from a thread that has no event loop."""
        return asyncio.run_coroutine_threadsafe(self.handle(request), self.background()).result()

    def background(self) -> asyncio.AbstractEventLoop:
        """An event loop in a thread of its own, for web applications that have none."""
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="stepwell-served", daemon=True).start()
            return self._loop

    # Requests ---------------------------------------------------------------------------------------------------------

    async def handle(self, request: Request) -> Response:
        """One request of a server, whatever framework it came through."""
        if len(request.body) > SERVED_BYTES_MAX:
            return self._refuse(413, "body_too_large", f"a request may have {SERVED_BYTES_MAX:,} bytes")
        if request.method == "GET":
            return self._look(request)
        if request.method == "PUT":
            return await self._sync(request)
        if request.method == "POST":
            return await self._call(request)
        return self._refuse(405, "method_not_allowed", "GET, PUT and POST are possible")

    def _signer(self, request: Request) -> SigningKey | None:
        header = request.headers.get(HEADER.lower(), "")
        return verified(self._keys, request.body, header, self._clock.now_ms() // 1000)

    def _look(self, request: Request) -> Response:
        """What the app is, for whoever wants to know whether it is set up well (protocol §4.7)."""
        found: dict[str, Any] = {
            "schema_version": "2024-05-24",
            "function_count": len(self._app.functions),
            "has_signing_key": bool(self._keys),
            "has_signing_key_fallback": len(self._keys) > 1,
            "mode": _DEV if self.dev else _CLOUD,
        }
        if not self.dev:
            if self._signer(request) is None:
                return self._refuse(401, "unauthorized", "Unauthorized")
            found |= {
                "authentication_succeeded": True,
                "app_id": self._app.app_id,
                "api_origin": self.server.origin,
                "sdk_language": "py",
                "sdk_version": VERSION,
                "framework": "stepwell",
            }
        return self._answer(200, found)

    async def _sync(self, request: Request) -> Response:
        """The server asks what we have: told at once if it may be, else by registering with it (protocol §4.2)."""
        signer = None if self.dev else self._signer(request)
        if not self.dev and signer is None:
            return self._refuse(401, "unauthorized", "Unauthorized")
        registration = self._registration(self._url or request.url)
        if signer is not None and request.headers.get("x-inngest-sync-kind") == "in_band":
            told: dict[str, Any] = {**registration, "app_id": self._app.app_id, "inspection": {}}
            return self._signed(self._answer(200, told, {"X-Inngest-Sync-Kind": "in_band"}), signer)
        kind = request.headers.get("x-inngest-server-kind", "")
        headers = {"X-Inngest-SDK": SDK, **({"X-Inngest-Expected-Server-Kind": kind} if kind else {})}
        deploy = request.query.get("deployId")
        path = "/fn/register" + (f"?deployId={deploy}" if deploy else "")
        try:
            reply = await self.server.request("POST", path, _encode(registration), headers)
        except Unreachable as error:
            where = f"{self.server.origin} (STEPWELL_SERVER, or serve(server=…))"
            return self._refuse(500, "registration_failed", f"no server answers at {where}: {error}")
        return self._with_headers(reply.status, reply.body, {"X-Inngest-Sync-Kind": "out_of_band"})

    async def _call(self, request: Request) -> Response:
        signer = None if self.dev else self._signer(request)
        if not self.dev and signer is None:
            return self._refuse(401, "sig_verification_failed", "the request is not signed with our key")
        if request.query.get("probe") == "trust":
            return self._signed(self._answer(200, None), signer)
        function_id = request.query.get("fnId", "")
        if function_id not in self._app.functions:
            return self._signed(
                self._refuse(500, "function_not_found", f"app {self._app.app_id!r} has no function {function_id!r}"),
                signer,
            )
        try:
            call = await self._read(request.body, function_id, request.query.get("stepId"))
        except (Unreadable, Unreachable) as error:
            return self._signed(self._refuse(500, "body_invalid", str(error)), signer)
        progress = Reporting(self.server, call)
        transport = self._transport if self._reports(call) else self._by_step
        try:
            answer = await transport.call(call, progress)
        except Superseded:
            return self._signed(self._refuse(400, "superseded", "another call has taken the place of this one"), signer)
        if progress.refused:
            self._refused = True
        answer, foreign = progress.with_held(answer), not call.generation
        status, headers, body = encode_answer(answer, sdk=SDK, foreign=foreign, attempt=call.attempt)
        return self._signed(Response(status, headers, body), signer)

    def _reports(self, call: Call) -> bool:
        """Is the server to be told of steps while the call goes on? Then it must have asked what comes next, and be one
        that keeps what it is told: a run that dies would else begin anew."""
        function = self._app.functions[call.function_id]
        wanted = self._checkpointing if function.checkpointing is None else function.checkpointing
        return (
            wanted and call.generation > 0 and call.step_id == DISCOVERY and not call.plans_only and not self._refused
        )

    async def _read(self, body: bytes, function_id: str, step_id: str | None) -> Call:
        """The call, with its state if that was too large to be sent along (protocol §5.4)."""
        call = await self._read_whole(body, function_id, step_id)
        if call.started_at or not is_ulid(call.run_id):
            return call
        # Other servers do not say when the run began; its id does, and says the same in each call.
        return msgspec.structs.replace(call, started_at=ulid_ms(call.run_id))

    async def _read_whole(self, body: bytes, function_id: str, step_id: str | None) -> Call:
        run_id = state_elsewhere(body)
        if run_id is None:
            return decode_call(body, function_id=function_id, step_id=step_id)
        actions, batch = await asyncio.gather(
            *(self.server.request("GET", f"/v0/runs/{run_id}/{what}") for what in ("actions", "batch"))
        )
        if actions.status != 200 or batch.status != 200:
            raise Unreachable(f"the state of the run cannot be fetched: status {actions.status} and {batch.status}")
        return decode_call(body, function_id=function_id, step_id=step_id, state=(actions.body, batch.body))

    def _registration(self, url: str) -> dict[str, Any]:
        return {
            "url": url,
            "v": "0.1",
            "deployType": "ping",
            "sdk": f"stepwell-py:v{VERSION}",
            "framework": "stepwell",
            "appName": self._app.app_id,
            "functions": [_served(config, url) for config in self._app.configs()],
            "capabilities": {"trust_probe": "v1", "in_band_sync": "v1"},
        }

    # Answers ----------------------------------------------------------------------------------------------------------

    def _answer(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> Response:
        return self._with_headers(status, _encode(body), headers or {})

    def _refuse(self, status: int, code: str, message: str) -> Response:
        return self._answer(status, {"code": code, "message": message, "name": "Error"})

    def _with_headers(self, status: int, body: bytes, headers: Mapping[str, str]) -> Response:
        told = {"Content-Type": "application/json", "X-Inngest-SDK": SDK, "X-Inngest-SDK-Handled": "true", **headers}
        if status == 401:
            del told["X-Inngest-SDK"]
        return Response(status, told, body)

    def _signed(self, response: Response, signer: SigningKey | None) -> Response:
        if signer is None:
            return response
        signature = sign(signer, response.body, self._clock.now_ms() // 1000)
        return response._replace(headers={**response.headers, HEADER: signature})


class Reporting:
    """A ``protocol.messages.Reports`` for a call that came over HTTP.

    A step that has its result, or is out of attempts, is reported at once, while the call goes on. Everything else is
    held and told when the call ends, which it does as soon as its code has nothing left to do.
    """

    def __init__(self, server: Server, call: Call) -> None:
        self.lost = False
        self.refused = False  # whether the server takes no reports at all
        self.unsure = False
        self.stopping = False
        self.keeps = False
        self.executing: dict[str, Executing] = {}
        self.gate = Gate(call.parallel_max, self.widen) if call.parallel_max else None
        self.news: set[str] = set()
        self._server = server
        self._call = call
        self._held: list[Op] = []
        self._lazy: list[Op] = []

    @property
    def call(self) -> Call:
        return self._call

    async def report(self, ops: Sequence[Op], version: int | None) -> None:
        raise NotImplementedError("an app reports each step by itself")

    async def keep(self, said: Sequence[Said]) -> None:
        raise NotImplementedError("an app says it with its reports, and with its answer")

    def with_held(self, answer: Answer) -> Answer:
        """The answer, with all that was not reported yet."""
        held = (*self._held, *self._lazy)
        if not held:
            return answer
        if isinstance(answer, Ops):
            return Ops((*held, *answer.ops), logs=answer.logs)
        return Ops(held, then=answer)

    async def look(self) -> None:
        """There is nothing to look at: the server refuses what comes too late."""

    async def catch_up(self) -> bool:
        return False

    async def hear(self) -> None:
        """An app hears of nobody else."""

    async def save(self, op: Op) -> Settled:
        if op.op in LAZY:
            self._lazy.append(op)  # it goes with the next step, or with the end
            return Settled()
        if op.op not in (STEP_RUN, STEP_FAILED):
            self._held.append(op)
            return Settled(pending=Pending(op.kind, op.attempt + 1, None))
        told = [*self._lazy, op]
        self._lazy = []
        if not await self._reported(told):
            self._held += told  # told at the end instead: nothing is lost but the time since
        if op.op == STEP_RUN or op.error is None:
            return Settled()
        return Settled(memo=Memo("error", op.error.json()))

    async def _reported(self, ops: Sequence[Op]) -> bool:
        """Whether the server has taken them. Raises ``Superseded`` if another call has taken the place of this one."""
        call = self._call
        if not call.generation:
            return False
        body = {
            "run_id": call.run_id,
            "fn_id": function_uuid(call.function_id),
            "qi_id": dispatch_id(call.run_id, call.generation),
            "request_id": call.request_id,
            "generation_id": call.generation,
            "steps": msgspec.Raw(encode_ops(ops)),
        }
        path = f"/v1/checkpoint/{call.run_id}/async"
        try:
            reply = await self._server.request("POST", path, _encode(body), patient=True)
        except Unreachable:
            return False
        if reply.status == 409:
            self.lost = True
            raise Superseded
        self.refused = reply.status in _NO_REPORTS
        return reply.status == 200

    async def widen(self, wanted: int) -> int:
        return 0

    async def watch(self, step_id: str) -> Settled:
        """What rests is moved by the server, which calls again: not within this call."""
        never: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
        return await never


def _told(name: str) -> str:
    """What the environment says, in our words or in those of the other SDKs."""
    return os.environ.get(f"STEPWELL_{name}") or os.environ.get(f"INNGEST_{name}") or ""


def _served(config: Mapping[str, Any], url: str) -> dict[str, Any]:
    """The configuration of a function, with where it is served."""
    found = dict(config)
    steps: dict[str, dict[str, Any]] = found.get("steps") or {}
    step: dict[str, Any] = {"id": "step", "name": "step", **(steps.get("step") or {})}
    separator = "&" if "?" in url else "?"
    step["runtime"] = {"type": "http", "url": f"{url}{separator}fnId={found['id']}&stepId=step"}
    return {**found, "steps": {"step": step}}
