"""Where workers connect: a WebSocket for each, at a port of its own (protocol §11)."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, TypeVar

import msgspec

from stepwell.errors import ConfigurationError, StepwellError
from stepwell.ids import is_ulid
from stepwell.limits import (
    CONNECT_APPS_MAX,
    CONNECT_CONCURRENCY_DEFAULT,
    CONNECT_HEARTBEAT,
    CONNECT_HEARTBEATS_MISSED_MAX,
    CONNECT_HELLO_TIME_MAX,
    CONNECT_STRANGERS_MAX,
    CONNECT_TOKEN_LIFE,
    CONNECT_WAITING_BYTES_MAX,
    ID_CHARS_MAX,
)
from stepwell.protocol.connect import (
    PATH,
    SUBPROTOCOL,
    ConnectionReady,
    ExtendLease,
    ExtendLeaseAck,
    Frame,
    Kind,
    Malformed,
    ReplyAck,
    RequestAck,
    SystemError,
    WorkerConnect,
    WorkerReply,
    decode,
    frame,
)
from stepwell.protocol.registration import Registration, read_worker
from stepwell.protocol.tokens import InvalidToken, read
from stepwell.runtime.engine import Engine
from stepwell.runtime.logs import log
from stepwell.runtime.workers import Worker, functions_of, whole_seconds
from stepwell.server.apps import Apps, Gate
from stepwell.server.guard import Guard, envelope
from stepwell.server.ingest import Receive, Scope, Send
from stepwell.server.replies import Refused, by_status, refuse_socket
from stepwell.server.token_keys import TokenKeys

M = TypeVar("M", bound=msgspec.Struct)

PURPOSE: Final = "connect"
"""What a token has to be for, so that no other of ours lets anybody in."""

_POLICY, _INTERNAL, _GOING_AWAY, _TRY_LATER = 1008, 1011, 1001, 1013
_MS: Final = timedelta(milliseconds=1)
_TOKEN_MS: Final = CONNECT_TOKEN_LIFE // _MS
_UNFIT: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_HELLO_S: Final = CONNECT_HELLO_TIME_MAX.total_seconds()
_SILENCE_S: Final = (CONNECT_HEARTBEAT * CONNECT_HEARTBEATS_MISSED_MAX).total_seconds()
_SLOW_S: Final = 30.0  # a worker that takes nothing for so long is gone
_CLOSE_S: Final = 5.0
_PER_LEASE: Final = 4  # how often a worker says that it goes on, within the time of a lease
_REASON_BYTES_MAX: Final = 120


class _Closed(Exception):
    """The connection is to end, for this reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Gateway:
    """The ASGI application of that port. Only the process that runs the functions lets workers in."""

    def __init__(self, engine: Engine, apps: Apps, gate: Gate, guard: Guard) -> None:
        self.engine = engine
        self.apps = apps
        self.workers = gate.workers
        self.keys = TokenKeys(engine, guard)
        self._guard = guard
        self._connections: dict[_Connection, None] = {}  # in their order
        self._used: dict[str, int] = {}  # names that have let somebody in, and until when their tokens would be good

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        if (await receive())["type"] != "websocket.connect":
            return
        try:
            asked = envelope(scope["headers"])
            self._guard.check_host(asked.host)
            self._guard.check_origin(asked.host, asked.origin)
            if scope["path"] != PATH:
                raise by_status(404)
            if sum(connection.is_stranger for connection in self._connections) >= CONNECT_STRANGERS_MAX:
                why = f"{CONNECT_STRANGERS_MAX:,} connections have not said who they are"
                raise Refused(503, "too-many-workers", "nobody else can connect now", why, "try again a little later")
        except Refused as error:
            await refuse_socket(error, send, self._guard.kind, PATH)
            return
        speaks = SUBPROTOCOL if SUBPROTOCOL in scope["subprotocols"] else None
        await send({"type": "websocket.accept", "subprotocol": speaks, "headers": []})
        connection = _Connection(self, receive, send)
        self._connections[connection] = None
        try:
            await connection.serve()
        finally:
            del self._connections[connection]
        if not self.workers.closing:
            await self._resync(connection.apps)

    def let_in(self, connection_id: str) -> bool:
        """Use up the token of this connection: each lets in one, once."""
        now = self.engine.clock.now_ms()
        for known, until in tuple(self._used.items()):
            if until > now:
                break
            del self._used[known]
        if connection_id in self._used or connection_id in self.workers:
            return False
        self._used[connection_id] = now + _TOKEN_MS
        return True

    def known(self, registration: Registration) -> Registration:
        """The same, as another connection has it already: a thousand workers say the same."""
        others = (connection.apps.get(registration.app_id) for connection in self._connections)
        return next((each for each in others if each and each.checksum == registration.checksum), registration)

    async def _resync(self, apps: Mapping[str, Registration]) -> None:
        for app_id, gone in apps.items():
            known = [connection.apps[app_id] for connection in self._connections if app_id in connection.apps]
            if any(each.checksum == gone.checksum for each in known):
                continue
            try:
                await self.apps.resync(app_id, known)
            except StepwellError as error:
                log.warning("an app could not be synced with the workers that are left", app=app_id, error=error.what)

    async def close(self) -> None:
        """Send the workers to where the next process is. What they have not answered by now they will answer there."""
        self.workers.closing = True
        for connection in tuple(self._connections):
            connection.move()
        if self._connections:
            await asyncio.wait([connection.gone for connection in self._connections], timeout=_CLOSE_S)


class _Connection:
    """A worker, from its first word to its last."""

    def __init__(self, gateway: Gateway, receive: Receive, send: Send) -> None:
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._gateway = gateway
        self._workers = gateway.workers
        self._receive = receive
        self._send = send
        self.apps: dict[str, Registration] = {}  # as they were synced
        self._worker: Worker | None = None
        self._out: deque[bytes] = deque()
        self._out_bytes = 0
        self._given_up = False
        self._news = asyncio.Event()
        self._end: _Closed | None = None  # once what is to be said is said

    @property
    def is_stranger(self) -> bool:
        """Has it not said yet who it is?"""
        return self._worker is None

    async def serve(self) -> None:
        saying = self._gateway.engine.spawn(self._write())
        hearing = self._gateway.engine.spawn(self._hear())
        try:
            await asyncio.wait({saying, hearing}, return_when=asyncio.FIRST_COMPLETED)
            if hearing.done() and not saying.done():
                self._finish(hearing.result())
                await asyncio.wait({saying}, timeout=_SLOW_S)
        finally:
            hearing.cancel()
            saying.cancel()
            worker = self._worker
            if worker is not None:
                self._workers.leave(worker)
                log.info("worker gone", worker=worker.instance, connection=worker.id, apps=sorted(worker.apps))
            self.gone.set_result(None)

    def move(self) -> None:
        """It is to go to another gateway."""
        if self._worker is not None:
            self._workers.pause(self._worker)
            self._say(frame(Kind.GATEWAY_CLOSING))
        self._finish(_Closed(_GOING_AWAY, "connect_gateway_closing"))

    # Saying -----------------------------------------------------------------------------------------------------------

    def _say(self, message: bytes) -> None:
        if self._given_up:
            return
        self._out.append(message)
        self._out_bytes += len(message)
        if self._out_bytes > CONNECT_WAITING_BYTES_MAX:
            self._given_up = True
            self._out.clear()
            self._out_bytes = 0
            self._finish(_Closed(_POLICY, "it does not read what is sent to it"))
        self._news.set()

    def _finish(self, end: _Closed | None) -> None:
        self._end = self._end or end or _Closed(1000, "")
        self._news.set()

    async def _write(self) -> None:
        """Whatever is to be said, in order, and at last the end."""
        try:
            while True:
                while self._out:
                    message = self._out.popleft()
                    self._out_bytes -= len(message)
                    async with asyncio.timeout(_SLOW_S):
                        await self._send({"type": "websocket.send", "bytes": message})
                if self._end is not None:
                    break
                self._news.clear()
                await self._news.wait()
            async with asyncio.timeout(_CLOSE_S):
                reason = self._end.reason[:_REASON_BYTES_MAX]
                await self._send({"type": "websocket.close", "code": self._end.code, "reason": reason})
        except (OSError, TimeoutError, RuntimeError):  # it has gone, or takes nothing: there is nobody to tell
            return

    # Hearing ----------------------------------------------------------------------------------------------------------

    async def _hear(self) -> _Closed | None:
        """All that it says. Returns why the connection is to end, ``None`` if it has ended."""
        try:
            self._say(frame(Kind.GATEWAY_HELLO))
            if not await self._shake_hands():
                return None
            while (said := await self._next(_SILENCE_S, "CONSECUTIVE_HEARTBEATS_MISSED")) is not None:
                self._hear_one(said)
        except _Closed as end:
            log.warning("worker turned away", code=end.reason, **self._name())
            return end
        except StepwellError as error:
            log.warning("worker turned away", error=error.what, **self._name())
            return _Closed(_INTERNAL, "connect_internal_error")
        except Exception:  # ours: the worker is told to connect anew, instead of being left with a connection gone dumb
            log.exception("a connection failed", **self._name())
            return _Closed(_INTERNAL, "connect_internal_error")
        return None

    def _name(self) -> dict[str, Any]:
        return {} if self._worker is None else {"worker": self._worker.instance, "connection": self._worker.id}

    async def _next(self, seconds: float, late: str) -> Frame | None:
        try:
            async with asyncio.timeout(seconds):
                said = await self._receive()
        except TimeoutError:
            raise _Closed(_POLICY, late) from None
        if said["type"] == "websocket.disconnect":
            return None
        invalid = "connect_worker_hello_invalid_msg" if self._worker is None else "connect_run_invalid_message"
        return _decoded(Frame, said.get("bytes") or b"", invalid)

    async def _shake_hands(self) -> bool:
        """Know who it is, and what its apps have. False if it has gone meanwhile."""
        said = await self._next(_HELLO_S, "connect_worker_hello_timeout")
        if said is None:
            return False
        if said.kind != Kind.WORKER_CONNECT:
            raise _Closed(_POLICY, "connect_worker_hello_invalid_msg")
        found = _decoded(WorkerConnect, said.payload, "connect_worker_hello_invalid_payload")
        if not is_ulid(found.connection_id) or not _is_fit(found):
            raise _Closed(_POLICY, "connect_worker_hello_invalid_payload")
        await self._check(found)
        if not found.apps:
            raise _Closed(_POLICY, "connect_worker_hello_invalid_payload")
        if len(found.apps) > CONNECT_APPS_MAX:
            raise _Closed(_POLICY, "connect_too_many_apps_per_connection")
        if self._workers.closing or not self._gateway.engine.leads:
            raise _Closed(_GOING_AWAY, "connect_gateway_closing")
        if len(self._workers) >= self._workers.connections_max:
            raise _Closed(_TRY_LATER, "connect_too_many_connections")  # several may have asked at once where to
        registrations = [self._gateway.known(each) for each in self._read(found)]
        worker = self._worker = Worker(
            found.connection_id,
            found.instance_id,
            {each.app_id: functions_of(each.functions) for each in registrations},
            self._say,
            capacity=found.max_worker_concurrency or CONNECT_CONCURRENCY_DEFAULT,
            connected_at=self._gateway.engine.clock.now_ms(),
            sdk=registrations[0].sdk,
            versions={each.app_id: each.version for each in registrations},
        )
        self._workers.join(worker)  # before its apps are synced, so that nobody takes them for those of an address
        try:
            for registration in registrations:
                await self._gateway.apps.connect(registration)
                self.apps[registration.app_id] = registration
        except ConfigurationError as error:
            raise self._not_synced(found, error) from None
        log.info("worker connected", worker=worker.instance, connection=worker.id, apps=sorted(worker.apps))
        ready = ConnectionReady(
            whole_seconds(CONNECT_HEARTBEAT // _MS), whole_seconds(self._workers.lease_ms // _PER_LEASE), "0s"
        )
        self._say(frame(Kind.GATEWAY_CONNECTION_READY, ready))
        if not found.worker_manual_readiness_ack:
            self._make_ready(worker)
        return True

    async def _check(self, found: WorkerConnect) -> None:
        """It was let in a moment ago, by ``server/connect.py``, and by this name."""
        engine = self._gateway.engine
        for key in await self._gateway.keys.all():
            try:
                claims = read(found.auth_data.session_token, key, engine.clock.now_ms())
            except InvalidToken:
                continue
            known = claims.get("for") == PURPOSE and claims.get("id") == found.connection_id
            if known and self._gateway.let_in(found.connection_id):
                return
        raise _Closed(_POLICY, "connect_authentication_failed")

    def _read(self, found: WorkerConnect) -> list[Registration]:
        """Its apps, each as it would have registered."""
        try:
            registrations = [read_worker(app, found) for app in found.apps]
            if len({each.app_id for each in registrations}) < len(registrations):
                raise ConfigurationError(
                    "an app is listed twice",
                    "the functions of the second would replace those of the first",
                    "list each app once, with all its functions",
                )
        except ConfigurationError as error:
            raise self._not_synced(found, error) from None
        return registrations

    def _not_synced(self, found: WorkerConnect, error: ConfigurationError) -> _Closed:
        code = "connect_invalid_function_config"
        log.error("worker cannot be synced", worker=found.instance_id, error=str(error))
        self._say(frame(Kind.SYNC_FAILED, SystemError(code=code, message=f"{error.what}: {error.why}")))
        return _Closed(_POLICY, code)

    def _make_ready(self, worker: Worker) -> None:
        if self._workers.make_ready(worker):
            engine = self._gateway.engine
            engine.spawn(engine.serve(worker.functions))

    def _hear_one(self, said: Frame) -> None:
        worker, workers = self._worker, self._workers
        assert worker is not None, "it has been let in"
        workers.heard(worker)
        if said.kind == Kind.WORKER_HEARTBEAT:
            self._say(frame(Kind.GATEWAY_HEARTBEAT))
        elif said.kind == Kind.WORKER_REQUEST_ACK:
            got = _decoded(RequestAck, said.payload, "connect_worker_request_ack_invalid_payload")
            workers.acked(got.request_id, worker)
        elif said.kind == Kind.WORKER_REQUEST_EXTEND_LEASE:
            asks = _decoded(ExtendLease, said.payload, "connect_worker_request_extend_lease_invalid_payload")
            told = ExtendLeaseAck(
                request_id=asks.request_id,
                account_id=asks.account_id,
                env_id=asks.env_id,
                app_id=asks.app_id,
                function_slug=asks.function_slug,
                new_lease_id=workers.extended(asks.request_id, asks.lease_id, worker),
            )
            self._say(frame(Kind.WORKER_REQUEST_EXTEND_LEASE_ACK, told))
        elif said.kind == Kind.WORKER_REPLY:
            reply = _decoded(WorkerReply, said.payload, "connect_run_invalid_message")
            ack = frame(Kind.WORKER_REPLY_ACK, ReplyAck(reply.request_id))  # whoever keeps that keeps no answer
            workers.replied(reply, lambda: self._say(ack), worker)
        elif said.kind == Kind.WORKER_READY:
            self._make_ready(worker)
        elif said.kind == Kind.WORKER_PAUSE:
            workers.pause(worker)
        # What it does besides is of no interest to us, and newer SDKs may say more.


def _is_fit(found: WorkerConnect) -> bool:
    """Can it be shown to people, and be given calls?"""
    name, most = found.instance_id, found.max_worker_concurrency
    return 0 < len(name) <= ID_CHARS_MAX and not _UNFIT.search(name) and (most is None or most >= 0)


def _decoded(message: type[M], data: bytes, invalid: str) -> M:
    try:
        return decode(message, data)
    except Malformed:
        raise _Closed(_POLICY, invalid) from None
