"""The gateway, in virtual time: who is let in, and until when. Numbers are those of protocol §14."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar

import msgspec
import pytest

from stepwell.ids import RandomIds
from stepwell.limits import CONNECT_STRANGERS_MAX, CONNECT_WAITING_BYTES_MAX
from stepwell.protocol.connect import (
    PATH,
    AppConfiguration,
    AuthData,
    ConnectionReady,
    Frame,
    Kind,
    StartResponse,
    SystemError,
    WorkerConnect,
    decode,
    frame,
)
from stepwell.runtime.remote import Remote
from stepwell.runtime.signed import Signed
from stepwell.runtime.workers import Workers
from stepwell.server.apps import Apps, Gate
from stepwell.server.gateway import Gateway
from stepwell.testing.loop import VirtualLoop
from tests.core.runtime.wired import Said, Wired

M = TypeVar("M", bound=msgspec.Struct)

CONNECTIONS_MAX = 3


class Gated(Wired):
    """A server with a gateway, and no sockets."""

    url = "wss://connect"

    def __enter__(self) -> Gated:
        super().__enter__()
        self.apps = Apps(self.engine, Signed(self.app, self._clock), gate=Gate(self.workers, 8289))
        self.gateway = Gateway(self.engine, self.apps, Gate(self.workers, 8289), self.guard)
        return self

    def _remote(self) -> Remote:
        self.workers = Workers(self._clock, self._timers, RandomIds(1), connections_max=CONNECTIONS_MAX)
        return Remote(Signed(self.app, self._clock), self._where, self._clock, self._ids, workers=self.workers)

    @property
    def loop(self) -> VirtualLoop:
        return self._loop

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._do(lambda: work)

    def start(self) -> StartResponse:  # type: ignore[override]
        found = self.asked_to_connect()
        assert found.status == 200, found
        return decode(StartResponse, found.body)

    def asked_to_connect(self) -> Said:
        return self.http("POST", f"{PATH}/start", b"", content_type="application/protobuf")

    def line(self, **members: Any) -> Line:
        return Line(self, **members)


class Line:
    """A connection, from the worker's end."""

    def __init__(self, t: Gated, **members: Any) -> None:
        self.t = t
        self.stuck = False
        self.sent: list[Any] = []
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()
        self._inbox.put_nowait({"type": "websocket.connect"})
        told = t.start()
        self.members: dict[str, Any] = {
            "connection_id": told.connection_id,
            "instance_id": "worker",
            "auth_data": AuthData(told.session_token, told.sync_token),
            "apps": [AppConfiguration("app", None, json.dumps([_FUNCTION]).encode())],
            **members,
        }
        scope = {
            "type": "websocket",
            "path": PATH,
            "headers": [(b"host", b"localhost:8289")],
            "subprotocols": [],
        }
        self.served = t.loop.create_task(t.gateway(scope, self._inbox.get, self._send))
        t.advance(0)

    async def _send(self, message: Any) -> None:
        if self.stuck:
            await asyncio.get_running_loop().create_future()
        self.sent.append(message)

    def say(self, kind: Kind, message: msgspec.Struct | None = None) -> None:
        self._inbox.put_nowait({"type": "websocket.receive", "bytes": frame(kind, message)})

    def introduce(self) -> None:
        self.say(Kind.WORKER_CONNECT, WorkerConnect(**self.members))

    def connect(self) -> Line:
        self.introduce()
        self.t.advance(0)
        assert self.is_in
        return self

    def cut(self) -> None:
        self._inbox.put_nowait({"type": "websocket.disconnect", "code": 1006})
        self.t.advance(0)

    def heard(self, kind: Kind, message: type[M]) -> list[M]:
        frames = [decode(Frame, each["bytes"]) for each in self.sent if each["type"] == "websocket.send"]
        return [decode(message, each.payload) for each in frames if each.kind == kind]

    @property
    def is_in(self) -> bool:
        return bool(self.heard(Kind.GATEWAY_CONNECTION_READY, ConnectionReady))

    @property
    def closed(self) -> tuple[int, str] | None:
        ends = [(each["code"], each["reason"]) for each in self.sent if each["type"] == "websocket.close"]
        return ends[0] if ends else None


_FUNCTION = {
    "id": "app-f",
    "name": "f",
    "triggers": [{"event": "f"}],
    "steps": {"step": {"id": "step", "name": "step", "runtime": {"type": "ws", "url": "wss://connect"}}},
}


def test_a_worker_is_cut_off_when_it_has_missed_five_heartbeats() -> None:
    with Gated() as t:
        worker, beating = t.line().connect(), t.line(instance_id="beating").connect()
        for _ in range(4):
            t.advance("10s")
            beating.say(Kind.WORKER_HEARTBEAT)
        t.advance("9s")
        assert worker.closed is None
        t.advance("1s")

        assert worker.closed == (1008, "CONSECUTIVE_HEARTBEATS_MISSED")
        assert worker.served.done()
        assert [each.instance_id for each in t.workers.of("app")] == ["beating"]
        t.advance("39s")
        assert beating.closed is None
        t.advance("1s")
        assert beating.closed == (1008, "CONSECUTIVE_HEARTBEATS_MISSED")


def test_there_are_so_many_connections_at_most() -> None:
    with Gated() as t:
        asking = [t.line() for _ in range(CONNECTIONS_MAX + 1)]  # all of them are told where to connect
        workers = [line.connect() for line in asking[:CONNECTIONS_MAX]]
        asking[-1].introduce()
        t.advance(0)
        refused = t.asked_to_connect()

        assert asking[-1].closed == (1013, "connect_too_many_connections")
        assert refused.status == 429
        assert "the limit is 3" in refused.json["error"]
        workers[0].cut()
        t.line().connect()


def test_so_are_those_who_have_not_said_who_they_are() -> None:
    with Gated() as t:
        first = t.line()
        strangers = t.gateway._connections
        for each in range(CONNECT_STRANGERS_MAX - 1):
            strangers[_Stranger(each)] = None  # type: ignore[index]
        refused = t.line()
        assert refused.sent[0] == {**refused.sent[0], "type": "websocket.http.response.start", "status": 503}

        first.connect()
        t.line().connect()


class _Stranger:
    is_stranger = True
    apps: ClassVar[dict[str, Any]] = {}

    def __init__(self, number: int) -> None:
        self.number = number


def test_106_a_token_lets_one_in_once() -> None:
    """Two that show it at the same moment are both asked for their functions before either is in."""
    with Gated() as t:
        one, two = t.line(), t.line()
        two.members |= {name: one.members[name] for name in ("connection_id", "auth_data")}
        one.introduce()
        two.introduce()
        t.advance(0)
        assert [one.is_in, two.is_in] == [True, False]
        assert two.closed == (1008, "connect_authentication_failed")

        one.cut()
        late = t.line()
        late.members |= {name: one.members[name] for name in ("connection_id", "auth_data")}
        late.introduce()
        t.advance(0)
        assert late.closed == (1008, "connect_authentication_failed")


def test_106_a_token_is_good_for_five_minutes() -> None:
    with Gated() as t:
        told = t.start()
        t.advance("5m")
        line = t.line(connection_id=told.connection_id, auth_data=AuthData(told.session_token, ""))
        line.introduce()
        t.advance(0)
        assert line.closed == (1008, "connect_authentication_failed")

        t.line().connect()
        assert list(t.gateway._used) == [t.workers.all()[0].id], "what is over is forgotten"


@pytest.mark.parametrize(
    "members",
    [
        {"instance_id": "x" * 256},
        {"instance_id": "two\nlines"},
        {"max_worker_concurrency": -1},
    ],
)
def test_who_cannot_be_shown_or_be_given_calls_is_turned_away(members: dict[str, Any]) -> None:
    with Gated() as t:
        line = t.line(**members)
        line.introduce()
        t.advance(0)

        assert line.closed == (1008, "connect_worker_hello_invalid_payload")


def test_an_app_that_is_listed_twice_is_refused() -> None:
    with Gated() as t:
        one = AppConfiguration("app", None, json.dumps([_FUNCTION]).encode())
        line = t.line(apps=[one, AppConfiguration("app", None, b"[]")])
        line.introduce()
        t.advance(0)

        assert line.closed == (1008, "connect_invalid_function_config")
        assert "listed twice" in line.heard(Kind.SYNC_FAILED, SystemError)[0].message
        assert t.engine.registry.get("app-f") is None


def test_a_worker_that_takes_nothing_is_cut_off() -> None:
    with Gated() as t:
        worker = t.line().connect()
        worker.stuck = True
        worker.say(Kind.WORKER_HEARTBEAT)
        t.advance("29s")
        assert len(t.workers) == 1
        t.advance("1s")
        assert (len(t.workers), worker.served.done()) == (0, True)


def test_no_more_waits_for_a_worker_than_fits() -> None:
    with Gated() as t:
        worker = t.line().connect()
        worker.stuck = True
        (known,) = t.workers.all()
        known.say(b"x" * CONNECT_WAITING_BYTES_MAX)
        t.advance(0)
        (connection,) = t.gateway._connections
        known.say(b"x")  # the first is on its way
        known.say(b"x" * CONNECT_WAITING_BYTES_MAX)
        t.advance(0)

        assert connection._out_bytes == 0
        t.advance("30s")
        assert len(t.workers) == 0


def test_111_who_is_connected_or_about_to_be_is_sent_away_when_the_gateway_closes() -> None:
    with Gated() as t:
        worker, stranger = t.line().connect(), t.line()
        t.do(t.gateway.close())

        assert worker.heard(Kind.GATEWAY_CLOSING, ConnectionReady) == [ConnectionReady()]
        assert [worker.closed, stranger.closed] == [(1001, "connect_gateway_closing")] * 2
        assert (worker.served.done(), stranger.served.done(), len(t.workers)) == (True, True, 0)
        assert t.asked_to_connect().status == 503


def test_108_to_be_ready_again_and_again_writes_nothing() -> None:
    with Gated() as t:
        worker = t.line(worker_manual_readiness_ack=True).connect()
        asked: list[Any] = []
        serve = t.engine.serve
        t.engine.serve = lambda functions: asked.append(functions) or serve(functions)  # type: ignore[method-assign]
        for _ in range(5):
            worker.say(Kind.WORKER_READY)
            t.advance(0)
        worker.say(Kind.WORKER_PAUSE)
        worker.say(Kind.WORKER_READY)
        t.advance(0)

        assert asked == [{"app-f"}]


def test_k28_what_is_registered_is_what_a_worker_that_is_there_has() -> None:
    """In the middle of a deployment an old worker connects again, and registers what it has; then it is replaced."""
    with Gated() as t:
        added = {**_FUNCTION, "id": "app-g"}
        new = [AppConfiguration("app", "2", json.dumps([_FUNCTION, added]).encode())]
        old, first, second = t.line().connect(), t.line(apps=new).connect(), t.line(apps=new)
        version = t.engine.registry.functions["app-f"].version
        assert "app-g" in t.engine.registry.functions
        old.cut()
        again = t.line().connect()
        assert "app-g" not in t.engine.registry.functions
        second.connect().cut()
        again.cut()

        assert sorted(t.engine.registry.functions) == ["app-f", "app-g"]
        assert t.engine.registry.functions["app-f"].version == version
        first.cut()
        assert sorted(t.engine.registry.functions) == ["app-f", "app-g"], "nobody is left to say anything else"
