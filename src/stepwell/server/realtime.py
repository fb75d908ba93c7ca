"""Publish messages, and listen to them, over HTTP and WebSocket (protocol §12)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, MutableMapping, Sequence
from functools import partial
from typing import Any, Final, cast
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from stepwell.errors import StepwellError
from stepwell.ids import is_ulid
from stepwell.limits import (
    REALTIME_BYTES_MAX,
    REALTIME_CHUNKS_MAX,
    REALTIME_NAME_BYTES_MAX,
    REALTIME_STREAM_MAX,
    REALTIME_TOPICS_MAX,
)
from stepwell.model.questions import GetRun
from stepwell.model.run import RunStatus
from stepwell.protocol.endpoints import Replayed
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
    too_many_chunks,
    topics_of,
)
from stepwell.protocol.tokens import InvalidToken, read
from stepwell.runtime.endpoints import answer_of_run
from stepwell.runtime.engine import Engine
from stepwell.runtime.realtime import Frame, Subscription
from stepwell.server.envelopes import plain
from stepwell.server.guard import Guard, bearer, envelope
from stepwell.server.ingest import BODY_S_MAX, Disconnected, Receive, Scope, Send
from stepwell.server.operations import Asked, Opaque, Operation, Style, Written
from stepwell.server.parameters import Parameter, flag, text, ulid
from stepwell.server.replies import Refused, refuse_socket
from stepwell.server.subscribers import EVENT_END, Events, Socket
from stepwell.server.token_keys import TokenKeys

CONNECT: Final = "/v1/realtime/connect"
EVENTS: Final = "/v1/realtime/sse"

_STREAM: Final = "text/stream"
_STREAM_S: Final = REALTIME_STREAM_MAX.total_seconds()
_JSON_TYPE: Final = "application/json"
_JSON: Final = {"content-type": _JSON_TYPE}
_encode: Final = msgspec.json.Encoder().encode

# What can be sent as part of an address, and no control character.
_NAME: Final[dict[str, Any]] = {
    "type": "string",
    "minLength": 1,
    "maxLength": REALTIME_NAME_BYTES_MAX,
    "pattern": r"^[^\u0000-\u001f\u007f-\u009f]+$",
}
_TOPICS: Final[dict[str, Any]] = {
    "type": "array",
    "minItems": 1,
    "maxItems": REALTIME_TOPICS_MAX,
    "items": {
        "type": "object",
        "required": ["channel", "name"],
        "properties": {"channel": _NAME, "name": _NAME, "kind": {"type": "string"}},
    },
}
_CHANNEL: Final = Parameter(name="channel", says="where it is told", schema=_NAME, read=str, required=True)
_TOPIC: Final = Parameter(
    name="topic", says="of what; of several the first counts", schema=_NAME, read=str, required=True
)
_METADATA: Final = text("metadata", "what is added to the message, as JSON")
_TOKEN: Final = text("token", "what POST /v1/realtime/token gives", required=True)


class Published(msgspec.Struct, frozen=True):
    """Whoever listens has it, or will have it soon."""

    status: int = 200


class TokenAnswer(msgspec.Struct, frozen=True):
    """What is good for a minute."""

    jwt: str


class Realtime:
    """The endpoints of an engine. ``guard`` has the keys that tokens are made with."""

    def __init__(self, engine: Engine, guard: Guard) -> None:
        self._engine = engine
        self._hub = engine.realtime
        self._guard = guard
        self._keys = TokenKeys(engine, guard)

    def routes(self) -> list[Operation]:
        op = partial(Operation, style=Style.PLAIN)
        return [
            op(
                "POST",
                "/v1/realtime/publish",
                self.publish,
                "tells whoever listens to a topic of a channel a message",
                query=(_CHANNEL, _TOPIC, ulid("run_id", "the run that it is about"), _METADATA),
                body=Opaque(types=(_JSON_TYPE, "text/plain", _STREAM), required=False, streamed=True),
                answer=Published,
                refuses=[413],
            ),
            op(
                "POST",
                "/v1/realtime/publish/tee",
                self.tee,
                "passes bytes on to those who read a channel as server-sent events",
                query=(_CHANNEL,),
                body=Opaque(types=("text/event-stream",), required=False, streamed=True),
                answer=Published,
                refuses=[413],
            ),
            op(
                "POST",
                "/v1/realtime/token",
                self.token,
                "a token for a minute, to listen to topics, or to publish on them",
                query=(flag("publish", "for publishing, and not for listening"),),
                body=Opaque(schema=_TOPICS, streamed=True),
                answer=TokenAnswer,
                status=201,
                refuses=[413],
            ),
            op(
                "GET",
                EVENTS,
                self.events,
                "what is published, as server-sent events, for 15 minutes at most",
                query=(_TOKEN,),
                answer=Written(("text/event-stream",)),
            ),
            op(
                "GET",
                CONNECT,
                self.not_a_socket,
                "what is published, as messages of a WebSocket; 426 if the request opens none",
                query=(_TOKEN,),
                status=101,
                refuses=[426],
            ),
        ]

    # Publishing -------------------------------------------------------------------------------------------------------

    async def publish(self, asked: Asked) -> Response:
        """One message, or a stream of them if that is what its content type says."""
        request, query = asked.request, asked.query
        to = address(query["channel"], query["topic"])
        await self._check_publisher(request, to)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == _STREAM:
            await self._publish_stream(request, to)
            return plain(Published())
        metadata: str | None = query["metadata"]
        body = await _whole(request)
        await self._hub.publish(
            message(
                to,
                body,
                self._now(),
                run_id=query["run_id"],
                metadata=None if metadata is None else metadata.encode(),
            )
        )
        return plain(Published())

    async def tee(self, asked: Asked) -> Response:
        """Bytes are passed on as they are, but not in the middle of an event: several may be published at once."""
        to = address(asked.query["channel"], STREAM_TOPIC)
        await self._check_publisher(asked.request, to)
        waiting = b""
        async for data in _parts(asked.request):
            waiting += data
            whole, end, rest = waiting.rpartition(EVENT_END)
            if end:
                await self._hub.tee(to.channel, whole + end)
                waiting = rest
            if len(waiting) > REALTIME_BYTES_MAX:
                raise too_large()
        if waiting:
            await self._hub.tee(to.channel, waiting)
        return plain(Published())

    async def _publish_stream(self, request: Request, to: Topic) -> None:
        stream_id = self._hub.new_id()
        pieces, left = Pieces(), REALTIME_CHUNKS_MAX

        async def publish(texts: Iterable[str]) -> None:
            nonlocal left
            found = list(texts)
            await self._hub.publish(*(chunk(to, stream_id, text, self._now()) for text in found[:left]))
            left -= len(found)
            if left < 0:
                raise too_many_chunks()

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

    async def token(self, asked: Asked) -> Response:
        """A token for a minute, to listen, or with ``?publish=true`` to publish."""
        topics = read_topics(await _whole(asked.request))
        key = (await self._keys.all())[0]
        jwt = subscription_token(topics, key, self._now(), self._hub.new_id(), publish=asked.query["publish"])
        return plain(TokenAnswer(jwt), status=201)

    async def _topics(self, token: str, *, publish: bool = False) -> tuple[Topic, ...]:
        reason = ""
        for key in await self._keys.all():
            try:
                return topics_of(read(token, key, self._now()), publish=publish)
            except InvalidToken as error:
                reason = reason or str(error)
        raise _unauthorized(reason)

    # Listening --------------------------------------------------------------------------------------------------------

    async def events(self, asked: Asked) -> Response:
        """Server-sent events, for a quarter of an hour at most."""
        topics = await self._topics(asked.query["token"] or "")
        if asked.request.method == "HEAD":
            return Response(media_type="text/event-stream")
        subscription = await self._hub.subscribe(topics, raw=True)
        late = await self._answered(topics)
        if late is not None:
            subscription.offer(Frame(late, raw=True))
            subscription.close()
        return cast("Response", Events(self._engine, subscription))

    async def _answered(self, topics: Sequence[Topic]) -> bytes | None:
        """For the client of a durable endpoint that comes when all is over: the answer, as the stream would have it."""
        channel = topics[0].channel
        if {(each.channel, each.name) for each in topics} != {(channel, STREAM_TOPIC)} or not is_ulid(channel):
            return None
        run = await self._engine.store.read(GetRun(channel))
        if run is None or not run.ended:
            return None
        succeeded = run.status == RunStatus.COMPLETED
        found = answer_of_run(self._engine, run)
        if found is None:
            found = Replayed(200 if succeeded else 500, _JSON, run.output or b"null")
        response = {"body": found.body.decode(errors="replace"), "headers": found.headers, "statusCode": found.status}
        told = {"status": "succeeded" if succeeded else "failed", "response": response}
        return b"event: inngest.response\ndata: " + _encode(told) + EVENT_END

    async def not_a_socket(self, asked: Asked) -> Response:
        """Whoever asks for the address of the WebSocket as for a page."""
        await self._topics(asked.query["token"] or "")
        why, fix = "messages come at any time", f"open a WebSocket, or read {EVENTS}"
        raise Refused(426, "upgrade-required", "this address is that of a WebSocket", why, fix)

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
        socket = Socket(self.control, subscription, receive, send)
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
