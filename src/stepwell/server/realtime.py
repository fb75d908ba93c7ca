"""Publish messages, and listen to them, over HTTP and WebSocket (protocol §12)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, MutableMapping, Sequence
from typing import Any, Final, cast
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stepwell.errors import InvalidMessage, StepwellError
from stepwell.ids import is_ulid
from stepwell.limits import REALTIME_BYTES_MAX, REALTIME_CHUNKS_MAX, REALTIME_STREAM_MAX
from stepwell.model.questions import GetRun
from stepwell.model.run import RunStatus
from stepwell.protocol.endpoints import Replayed, replay
from stepwell.protocol.realtime import (
    STREAM_TOPIC,
    Pieces,
    Topic,
    address,
    chunk,
    decode_control,
    message,
    read_topics,
    stream_edge,
    subscription_token,
    too_large,
    topics_of,
)
from stepwell.protocol.tokens import InvalidToken, read
from stepwell.runtime.engine import Engine
from stepwell.runtime.realtime import SLOW, Frame, Subscription
from stepwell.server.envelopes import plain
from stepwell.server.guard import Guard, bearer, envelope
from stepwell.server.ingest import BODY_S_MAX, Disconnected, Receive, Scope, Send
from stepwell.server.replies import Refused, refuse_socket, ulid_of
from stepwell.server.token_keys import TokenKeys

CONNECT: Final = "/v1/realtime/connect"
EVENTS: Final = "/v1/realtime/sse"

_STREAM: Final = "text/stream"
_STREAM_S: Final = REALTIME_STREAM_MAX.total_seconds()
_PATIENCE_S: Final = 15.0  # a stream of events that is silent for so long says that it is alive
_SLOW_S: Final = 10.0  # a subscriber that takes nothing for so long is gone
_CLOSE_S: Final = 5.0
_EVENT_END: Final = b"\n\n"
_ALIVE: Final = b": alive\n\n"
_BAD_TOKEN, _TOO_SLOW, _GOING_AWAY, _NORMAL = 1008, 1013, 1001, 1000
_JSON: Final = {"content-type": "application/json"}
_encode: Final = msgspec.json.Encoder().encode


class Realtime:
    """The endpoints of an engine. ``guard`` has the keys that tokens are made with."""

    def __init__(self, engine: Engine, guard: Guard) -> None:
        self._engine = engine
        self._hub = engine.realtime
        self._guard = guard
        self._keys = TokenKeys(engine, guard)

    def routes(self) -> list[Route]:
        return [
            Route("/v1/realtime/publish", self.publish, methods=["POST"]),
            Route("/v1/realtime/publish/tee", self.tee, methods=["POST"]),
            Route("/v1/realtime/token", self.token, methods=["POST"]),
            Route(EVENTS, self.events, methods=["GET"]),
        ]

    # Publishing -------------------------------------------------------------------------------------------------------

    async def publish(self, request: Request) -> Response:
        """One message, or a stream of them if that is what its content type says."""
        query = request.query_params
        # Some SDKs repeat the topic; the first counts (protocol §12.1).
        to = address(query.get("channel"), next(iter(query.getlist("topic")), None))
        await self._check_publisher(request, to)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == _STREAM:
            await self._publish_stream(request, to)
            return plain({"status": 200})
        run_id, metadata = query.get("run_id"), query.get("metadata")
        body = await _whole(request)
        await self._hub.publish(
            message(
                to,
                body,
                self._now(),
                run_id=ulid_of(run_id, "a run") if run_id else None,
                metadata=metadata.encode() if metadata else None,
            )
        )
        return plain({"status": 200})

    async def tee(self, request: Request) -> Response:
        """Bytes are passed on as they are, but not in the middle of an event: several may be published at once."""
        to = address(request.query_params.get("channel"), STREAM_TOPIC)
        await self._check_publisher(request, to)
        waiting = b""
        async for data in _parts(request):
            waiting += data
            whole, end, rest = waiting.rpartition(_EVENT_END)
            if end:
                await self._hub.tee(to.channel, whole + end)
                waiting = rest
            if len(waiting) > REALTIME_BYTES_MAX:
                raise too_large()
        if waiting:
            await self._hub.tee(to.channel, waiting)
        return plain({"status": 200})

    async def _publish_stream(self, request: Request, to: Topic) -> None:
        stream_id = self._hub.new_id()
        pieces, left = Pieces(), REALTIME_CHUNKS_MAX

        async def publish(texts: Iterable[str]) -> None:
            nonlocal left
            found = list(texts)
            await self._hub.publish(*(chunk(to, stream_id, text, self._now()) for text in found[:left]))
            left -= len(found)
            if left < 0:
                raise InvalidMessage(
                    f"the stream has more than {REALTIME_CHUNKS_MAX:,} chunks",
                    "subscribers put it together from them",
                    "publish it in several streams",
                )

        await self._hub.publish(stream_edge("datastream-start", to, stream_id, self._now()))
        try:
            async for data in _parts(request):
                await publish(pieces.feed(data))
            await publish(pieces.feed(b"", last=True))
        finally:  # whoever reads it must not wait for more
            await self._hub.publish(stream_edge("datastream-end", to, stream_id, self._now()))

    async def _check_publisher(self, request: Request, to: Topic) -> None:
        """A key of the server, or a token to publish there. Raises ``Refused``."""
        asked = envelope(request.scope["headers"])
        token = bearer(asked.authorization).decode("latin-1")
        if token.count(".") == 2:  # no key has this form
            allowed = await self._topics(token, publish=True)
            if not any((each.channel, each.name) == (to.channel, to.name) for each in allowed):
                raise _unauthorized("the token is for another channel or topic")
        else:
            self._guard.check_token(asked.authorization)

    # Tokens -----------------------------------------------------------------------------------------------------------

    async def token(self, request: Request) -> Response:
        """A token for a minute, to listen, or with ``?publish=true`` to publish."""
        topics = read_topics(await _whole(request))
        publish = request.query_params.get("publish") == "true"
        key = (await self._keys.all())[0]
        return plain(
            {"jwt": subscription_token(topics, key, self._now(), self._hub.new_id(), publish=publish)}, status=201
        )

    async def _topics(self, token: str, *, publish: bool = False) -> tuple[Topic, ...]:
        reason = ""
        for key in await self._keys.all():
            try:
                return topics_of(read(token, key, self._now()), publish=publish)
            except InvalidToken as error:
                reason = reason or str(error)
        raise _unauthorized(reason)

    # Listening --------------------------------------------------------------------------------------------------------

    async def events(self, request: Request) -> Response:
        """Server-sent events, for a quarter of an hour at most."""
        topics = await self._topics(request.query_params.get("token", ""))
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        subscription = await self._hub.subscribe(topics, raw=True)
        late = await self._answered(topics)
        if late is not None:
            subscription.offer(Frame(late, raw=True))
            subscription.close()
        return cast("Response", _Events(self._engine, subscription))

    async def _answered(self, topics: Sequence[Topic]) -> bytes | None:
        """For the client of a durable endpoint that comes when all is over: the answer, as the stream would have it."""
        channel = topics[0].channel
        if {(each.channel, each.name) for each in topics} != {(channel, STREAM_TOPIC)} or not is_ulid(channel):
            return None
        run = await self._engine.store.read(GetRun(channel))
        if run is None or not run.ended:
            return None
        succeeded = run.status == RunStatus.COMPLETED
        found = replay(run.output or b"null") if succeeded else None
        if found is None:
            found = Replayed(200 if succeeded else 500, _JSON, run.output or b"null")
        response = {"body": found.body.decode(errors="replace"), "headers": found.headers, "statusCode": found.status}
        told = {"status": "succeeded" if succeeded else "failed", "response": response}
        return b"event: inngest.response\ndata: " + _encode(told) + _EVENT_END

    async def connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket. What was wrong before it was open is told as an answer, later as the reason of its end."""
        if (await receive())["type"] != "websocket.connect":
            return
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        try:
            subscription = await self._hub.subscribe(await self._topics(query.get("token", "")))
        except (Refused, StepwellError) as error:
            await refuse_socket(error, send, self._guard.kind, CONNECT)
            return
        socket = _Socket(self, subscription, receive, send)
        try:
            await socket.serve(self._engine.spawn)
        finally:
            subscription.close()

    async def control(self, subscription: Subscription, said: str) -> bytes | None:
        """What a subscriber asks for; the answer, if there is one. Raises ``Refused`` and ``InvalidMessage``."""
        try:
            asked = decode_control(said)
        except (msgspec.MsgspecError, RecursionError):
            return None  # what we do not know we pass over, as subscribers do
        if asked.kind == "sub":
            added = await self._topics(str(asked.data))
            self._hub.add(subscription, added)
            return _encode({"kind": "sub", "data": [msgspec.to_builtins(each) for each in added]})
        if asked.kind == "unsub":
            names = _names(asked.data)
            self._hub.remove(subscription, names)
            return _encode({"kind": "unsub", "data": names})
        return b'{"kind":"pong"}' if asked.kind == "ping" else None

    def _now(self) -> int:
        return self._engine.clock.now_ms()


class _Events:
    """The answer to whoever reads server-sent events, as an ASGI application."""

    def __init__(self, engine: Engine, subscription: Subscription) -> None:
        self._engine = engine
        self._subscription = subscription

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        subscription, time = self._subscription, asyncio.get_running_loop().time
        until = time() + _STREAM_S
        gone = self._engine.spawn(_until_gone(receive, subscription))
        headers = [
            (b"content-type", b"text/event-stream"),
            (b"cache-control", b"no-store"),
            (b"access-control-allow-origin", b"*"),
        ]
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await self._say(send, _ALIVE)
            while time() < until and (frame := await self._next()) is not None:
                await self._say(send, frame)
            if subscription.reason:
                reason = _encode({"kind": "closing", "data": subscription.reason})
                await self._say(send, b"data: " + reason + _EVENT_END)
            await self._say(send, b"", more=False)
        except (TimeoutError, OSError):
            raise Disconnected from None  # it does not read any more: there is nobody to tell
        finally:
            subscription.close()
            gone.cancel()

    async def _next(self) -> bytes | None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                frame = await self._subscription.next()
        except TimeoutError:
            return _ALIVE
        if frame is None:
            return None
        return frame.body if frame.raw else b"data: " + frame.body + _EVENT_END

    async def _say(self, send: Send, body: bytes, *, more: bool = True) -> None:
        async with asyncio.timeout(_SLOW_S):
            await send({"type": "http.response.body", "body": body, "more_body": more})


class _Socket:
    """A WebSocket that is open."""

    def __init__(self, realtime: Realtime, subscription: Subscription, receive: Receive, send: Send) -> None:
        self._realtime = realtime
        self._subscription = subscription
        self._receive = receive
        self._send = send
        self._wrong = ""

    async def serve(self, spawn: Callable[[Any], asyncio.Task[Any]]) -> None:
        await self._send({"type": "websocket.accept", "headers": []})
        hearing = spawn(self._hear())
        try:
            while (frame := await self._subscription.next()) is not None:
                async with asyncio.timeout(_SLOW_S):
                    await self._tell(frame)
        except OSError:  # the other side has gone, or takes nothing: there is nobody to tell
            return
        finally:
            hearing.cancel()
        await self._close()

    async def _tell(self, frame: Frame) -> None:
        if not frame.raw:
            await self._send({"type": "websocket.send", "text": frame.body.decode()})

    async def _hear(self) -> None:
        """What the subscriber says, until it goes."""
        subscription = self._subscription
        while (said := await self._receive())["type"] != "websocket.disconnect":
            try:
                answer = await self._realtime.control(subscription, said.get("text") or "")
            except (Refused, StepwellError) as error:
                self._wrong = error.what
                break
            if answer is not None:
                subscription.offer(Frame(answer, raw=False))
        subscription.close()

    async def _close(self) -> None:
        reason = self._wrong or self._subscription.reason or ""
        code = _BAD_TOKEN if self._wrong else _TOO_SLOW if reason == SLOW else _GOING_AWAY if reason else _NORMAL
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._send({"type": "websocket.close", "code": code, "reason": reason[:120]})
        except (OSError, TimeoutError, RuntimeError):  # it is closed already, or it does not read
            return


async def _until_gone(receive: Receive, subscription: Subscription) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    subscription.close()


async def _whole(request: Request) -> bytes:
    """The body. Raises ``MessageTooLarge``, and ``TimeoutError`` if it does not arrive."""
    parts: list[bytes] = []
    size = 0
    async for data in _parts(request, BODY_S_MAX):
        parts.append(data)
        size += len(data)
        if size > REALTIME_BYTES_MAX:
            raise too_large()
    return b"".join(parts)


async def _parts(request: Request, seconds: float = _STREAM_S) -> AsyncIterator[bytes]:
    """The body as it arrives, for so long at most. Raises ``Disconnected`` and ``TimeoutError``."""
    until = asyncio.get_running_loop().time() + seconds
    while True:
        async with asyncio.timeout_at(until):
            part = await request.receive()
        if part["type"] == "http.disconnect":
            raise Disconnected
        if part.get("body"):
            yield part["body"]
        if not part.get("more_body"):
            return


def _unauthorized(why: str) -> Refused:
    return Refused(401, "unauthorized", "the token is wrong", why, "ask for a new one: it is valid for a minute")


def _names(data: object) -> list[str]:
    """The names of topics, which may also be given as objects."""
    if not isinstance(data, list):
        return []
    found: list[str] = []
    for each in cast("Sequence[object]", data):
        name = cast("MutableMapping[str, object]", each).get("name") if isinstance(each, dict) else each
        if isinstance(name, str):
            found.append(name)
    return found
