"""The two requests of workers over HTTP: where to connect, and answers for which there is no connection (protocol
§11.2)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final, TypeVar

import msgspec
from starlette.responses import Response

from stepwell.errors import NotRunning
from stepwell.ids import is_ulid
from stepwell.limits import CONNECT_TOKEN_LIFE
from stepwell.protocol.connect import (
    PATH,
    Malformed,
    ReplyAck,
    StartRequest,
    StartResponse,
    WorkerReply,
    decode,
    encode,
)
from stepwell.protocol.tokens import sign
from stepwell.runtime.engine import Engine
from stepwell.server.apps import Apps, Gate, attaching
from stepwell.server.gateway import PURPOSE
from stepwell.server.guard import Guard, bearer, envelope
from stepwell.server.operations import Asked, Opaque, Operation, Style, Written
from stepwell.server.replies import Refused
from stepwell.server.token_keys import TokenKeys

M = TypeVar("M", bound=msgspec.Struct)

_TYPE: Final = "application/protobuf"
_STORED_S: Final = 10.0  # a worker asks again if we are longer about it
_GROUP: Final = "stepwell"


class Connect:
    """The endpoints of an engine. A process that only reads a file has no ``apps``, and nobody connects to it."""

    def __init__(self, engine: Engine, apps: Apps | None, guard: Guard) -> None:
        self._engine = engine
        self._apps = apps
        self._keys = TokenKeys(engine, guard)

    def routes(self) -> list[Operation]:
        op = partial(
            Operation, style=Style.PLAIN, body=Opaque(types=(_TYPE,), required=False), answer=Written((_TYPE,))
        )
        return [
            op(
                "POST",
                f"{PATH}/start",
                self.start,
                "where a worker is to connect, and the token that lets it in",
                refuses=[429],
            ),
            op("POST", f"{PATH}/flush", self.flush, "takes an answer for which a worker has no connection"),
        ]

    async def start(self, asked: Asked) -> Response:
        """Where a worker is to connect, and the token that lets it in. 503 if another process runs the functions."""
        _read(StartRequest, asked.body)
        headers = envelope(asked.request.scope["headers"])
        gate = self._gate()
        workers = gate.workers
        if workers.closing or not self._engine.leads:
            raise NotRunning(
                "this process lets no workers in",
                "it is about to end, or another process runs the functions",
                "connect to that one, or try again a little later",
            )
        if len(workers) >= workers.connections_max:
            why, fix = f"the limit is {workers.connections_max:,}", "connect fewer, with more calls each"
            raise Refused(429, "too-many-workers", "there are too many workers", why, fix)
        now, key = self._engine.clock.now_ms(), (await self._keys.all())[0]
        connection_id = self._engine.token_id()
        expires = now // 1000 + int(CONNECT_TOKEN_LIFE.total_seconds())
        told = StartResponse(
            connection_id=connection_id,
            gateway_endpoint=gate.url or f"ws://{_host(headers.host.decode('latin-1'))}:{gate.port}{PATH}",
            gateway_group=_GROUP,
            session_token=sign({"for": PURPOSE, "id": connection_id, "exp": expires}, key),
            sync_token=bearer(headers.authorization).decode("latin-1"),
        )
        return Response(encode(told), media_type=_TYPE)

    async def flush(self, asked: Asked) -> Response:
        """An answer whose worker has not heard that we have it. One that we do not wait for is of no use any more."""
        reply = _read(WorkerReply, asked.body)
        if not is_ulid(reply.request_id):
            raise Refused(400, "invalid-id", "the answer does not say to which call", "request_id is not one of ours")
        workers = self._gate().workers
        if not self._engine.leads:
            raise NotRunning(
                "this process waits for no answers",
                "another process runs the functions, and has asked for this one",
                "send it to that one, or try again a little later",
            )
        stored = asyncio.Event()
        workers.replied(reply, stored.set)
        try:
            async with asyncio.timeout(_STORED_S):
                await stored.wait()
        except TimeoutError:
            what, why = "the answer is not written down yet", "the disk may be slow or full"
            raise Refused(503, "storage-unavailable", what, why, "send it again") from None
        return Response(encode(ReplyAck(reply.request_id)), media_type=_TYPE)

    def _gate(self) -> Gate:
        gate = attaching(self._apps).gate
        if gate is None:
            raise NotRunning("workers cannot connect to this process", "it has no gateway", "use a server")
        return gate


def _read(message: type[M], body: bytes) -> M:
    try:
        return decode(message, body)
    except Malformed as error:
        raise Refused(400, "invalid-body", "the body cannot be read", str(error), "send it as the SDKs do") from None


def _host(host: str) -> str:
    """The name of this machine as the worker knows it, without the port."""
    if host.startswith("["):
        return f"{host.partition(']')[0]}]"
    return host.partition(":")[0]
